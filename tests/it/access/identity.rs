//! Authentication: accepted and rejected credentials, and no service for unauthenticated calls.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, RecordBatch};
use arrow_flight::{Criteria, Empty};
use base64::prelude::{BASE64_STANDARD, Engine};
use futures_util::{StreamExt, stream};
use pgflight::auth::{digest_of, new_token};
use serde_json::json;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Request, Status};

use crate::support::{
    CallError, Certificates, Client, Database, File, Pgflight, Put, batch, path, wait_until,
};

fn rows() -> RecordBatch {
    batch(&[("n", Arc::new(Int32Array::from(vec![1])) as ArrayRef)])
}

/// A server whose only principal `etl` may write everything; the lines of TOML are its credentials.
async fn server_of(etl: &str, more: &str, options: &[&str]) -> (Database, Pgflight, File) {
    let database = Database::new().await;
    database.execute("CREATE TABLE t (n int)").await;
    let file = File::new(&format!(
        "{more}\n[principals.etl]\n{etl}\n\
         grants = [{{ tables = ['*.*'], modes = ['append', 'create', 'overwrite'] }}]\n"
    ));
    let options = [&["--config", file.name()], options].concat();
    let server = Pgflight::start_with(&database, &options);
    (database, server, file)
}

fn is_unauthenticated(what: &str, status: Status, secret: &str) {
    assert_eq!(status.code(), Code::Unauthenticated, "{what}: {status}");
    assert!(!status.message().contains(secret), "{what}: {status}");
    let reported = CallError::from(status);
    assert_eq!(reported.reason, "UNAUTHENTICATED", "{what}");
    assert_eq!(reported.details["retryable"], "false", "{what}");
}

#[tokio::test]
async fn unauthenticated_calls_reach_only_health() {
    let (token, old) = (new_token().unwrap(), new_token().unwrap());
    let tokens = format!(
        "tokens = ['{}', {{ digest = '{}', expires = '2020-01-01T00:00:00Z' }}]",
        digest_of(&token),
        digest_of(&old)
    );
    let (database, server, _file) = server_of(&tokens, "", &[]).await;
    let anonymous = server.client().await;
    let bearer = format!("Bearer {token}");
    let basic = format!("Basic {}", BASE64_STANDARD.encode(format!("etl:{token}")));
    let huge = format!("Bearer {}", "x".repeat(10_000));
    let (digest, wrong) = (digest_of(&token), new_token().unwrap());
    let cases: [(&str, &[&str]); 18] = [
        ("no header", &[]),
        ("a wrong token", &[&format!("Bearer {wrong}")]),
        ("an expired token", &[&format!("Bearer {old}")]),
        ("the digest", &[&format!("Bearer {digest}")]),
        ("a huge token", &[&huge]),
        ("two headers", &[&bearer, &bearer]),
        ("two headers, one of them wrong", &[&bearer, "Bearer x"]),
        ("name and token where a token is wanted", &[&basic]),
        ("two tokens in a header", &[&format!("{bearer}, {bearer}")]),
        ("a token in quotes", &[&format!("Bearer \"{token}\"")]),
        ("a token and more", &[&format!("{bearer}x")]),
        ("a token cut short", &[&bearer[..bearer.len() - 1]]),
        ("a token in capitals", &[&bearer.to_uppercase()]),
        ("letters beyond ASCII", &["Bearer \u{e9}"]),
        ("no scheme", &[&token]),
        ("another scheme", &[&format!("Digest {token}")]),
        ("an empty token", &["Bearer "]),
        ("a forged session", &["Bearer pgfs_eyJwIjoiZXRsIn0.AAAA"]),
    ];
    for (what, values) in cases {
        let mut client = anonymous.authorized(values);
        // The body never ends, so the answer is to the headers.
        let messages = stream::iter(Put::bare(path(&["t"]), &[rows()]).0).chain(stream::pending());
        let refused = client.put_stream(messages).await.expect_err(what);
        is_unauthenticated(what, refused, &token);
        let refused = client
            .act("info", "InfoRequest", json!({}))
            .await
            .expect_err(what);
        is_unauthenticated(what, refused, &token);
        let flight = &mut client.flight;
        let refused = [
            flight.list_flights(Criteria::default()).await.err(),
            flight.list_actions(Empty {}).await.err(),
            flight.get_schema(path(&["t"])).await.err(),
            flight.get_flight_info(path(&["t"])).await.err(),
            // Without TLS, any credentials are rejected.
            flight.handshake(Request::new(stream::empty())).await.err(),
        ];
        for refused in refused {
            is_unauthenticated(what, refused.expect(what), &token);
        }
    }
    assert_eq!(database.text("SELECT count(*) FROM t").await, "0");
    server.assert_unharmed("all of it").await;
    // The name of a scheme is case-insensitive; that of a header is lower case (RFC 9113, 8.2).
    let mut any_case = anonymous.authorized(&[&format!("bEARER  {token}")]);
    any_case
        .act("info", "InfoRequest", json!({}))
        .await
        .unwrap();
    let mut known = anonymous.bearing(&token);
    known.put(Put::bare(path(&["t"]), &[rows()])).await.unwrap();
    assert_eq!(database.text("SELECT count(*) FROM t").await, "1");

    let channel = anonymous.channel.clone();
    let mut health = tonic_health::pb::health_client::HealthClient::new(channel.clone());
    let asked = tonic_health::pb::HealthCheckRequest::default();
    assert_eq!(health.check(asked).await.unwrap().into_inner().status, 1);
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    let mut reflection = ServerReflectionClient::new(channel);
    let asked = reflection.server_reflection_info(stream::empty());
    is_unauthenticated("reflection", asked.await.expect_err("reflection"), &token);
}

#[tokio::test]
async fn a_token_made_by_the_command_authenticates() {
    let database = Database::new().await;
    database.execute("CREATE TABLE t (n int)").await;
    let printed = Pgflight::command().arg("token").output().unwrap();
    let printed = String::from_utf8(printed.stdout).unwrap();
    let mut words = printed.split_whitespace();
    let mut after = |word| {
        assert_eq!(words.next(), Some(word), "{printed}");
        words.next().unwrap().to_owned()
    };
    let (token, digest) = (after("token"), after("digest"));
    let server = Pgflight::start_with(&database, &["--token-digest", &digest]);
    let anonymous = server.client().await;
    let put = || Put::bare(path(&["t"]), &[rows()]);
    anonymous.bearing(&token).put(put()).await.unwrap();
    let refused = anonymous
        .bearing(&digest)
        .put(put())
        .await
        .expect_err("the digest is no token");
    is_unauthenticated("the digest", refused, &token);
}

/// Connects with TLS, and with a client certificate if there is one.
async fn connect_by_tls(
    server: &Pgflight,
    certificates: &Certificates,
    client: Option<&str>,
) -> Client {
    let authority = Certificate::from_pem(certificates.read("ca.crt"));
    let mut tls = ClientTlsConfig::new().ca_certificate(authority);
    if let Some(name) = client {
        let [certificate, key] =
            ["crt", "key"].map(|part| certificates.read(&format!("{name}.{part}")));
        tls = tls.identity(Identity::from_pem(certificate, key));
    }
    let endpoint = Endpoint::from_shared(format!("https://{}", server.address)).unwrap();
    let channel = endpoint.tls_config(tls).unwrap().connect().await.unwrap();
    Client::over(channel)
}

/// Opens a session with name and token, and returns its token.
async fn shake_hands(client: &Client, name: &str, token: &str) -> Result<String, Status> {
    let said = format!(
        "Basic {}",
        BASE64_STANDARD.encode(format!("{name}:{token}"))
    );
    let mut client = client.authorized(&[&said]);
    let answer = client
        .flight
        .handshake(Request::new(stream::empty()))
        .await?;
    let header = answer.metadata().get("authorization").unwrap();
    let session = header.to_str().unwrap().strip_prefix("Bearer ").unwrap();
    Ok(session.to_owned())
}

#[tokio::test]
async fn sessions_are_valid_on_all_replicas_until_they_expire() {
    let certificates = Certificates::new();
    certificates.sign("server", "127.0.0.1");
    let (certificate, key) = (
        certificates.name("server.crt"),
        certificates.name("server.key"),
    );
    let tls = ["--tls-cert", &*certificate, "--tls-key", &*key];
    let (ours, others) = (File::new(&"k".repeat(40)), File::new(&"o".repeat(40)));
    let token = new_token().unwrap();
    let etl = format!("tokens = ['{}']", digest_of(&token));
    let auth = |key: &File, ttl| {
        format!(
            "[auth]\nsession_key_file = '{}'\nsession_ttl = '{ttl}'",
            key.name()
        )
    };
    let (database, first, _f) = server_of(&etl, &auth(&ours, "1h"), &tls).await;
    let options = |file: &File| [&["--config", file.name()], &tls[..]].concat().join(" ");
    let more = |more: String, etl: &str| {
        let file = File::new(&format!(
            "{more}\n[principals.etl]\n{etl}\ngrants = [{{ tables = ['*.*'], modes = ['append'] }}]"
        ));
        let options = options(&file);
        let options: Vec<&str> = options.split(' ').collect();
        (Pgflight::start_with(&database, &options), file)
    };
    let (second, _s) = more(auth(&ours, "1h"), &etl);
    let (third, _t) = more(auth(&others, "1h"), &etl);
    let other_token = format!("tokens = ['{}']", digest_of(&new_token().unwrap()));
    let (renewed, _r) = more(auth(&ours, "1h"), &other_token);
    let (short, _u) = more(auth(&ours, "0s"), &etl);

    let client = connect_by_tls(&first, &certificates, None).await;
    let session = shake_hands(&client, "etl", &token).await.unwrap();
    for (what, name, said) in [
        ("another's name", "ana", token.as_str()),
        ("a wrong token", "etl", "pgf_x"),
        ("a session in place of a token", "etl", &session),
        ("nothing", "", ""),
    ] {
        let refused = shake_hands(&client, name, said).await.expect_err(what);
        is_unauthenticated(what, refused, &token);
    }
    let mut bearing = client.bearing(&token);
    let refused = bearing.flight.handshake(Request::new(stream::empty()));
    is_unauthenticated("a token alone", refused.await.expect_err("no name"), &token);

    let check = async |what: &str, server: &Pgflight, session: &str, taken: bool| {
        let client = connect_by_tls(server, &certificates, None).await;
        let put = client
            .bearing(session)
            .put(Put::bare(path(&["t"]), &[rows()]))
            .await;
        match taken {
            true => assert!(put.is_ok(), "{what}: {put:?}"),
            false => is_unauthenticated(what, put.expect_err(what), session),
        }
    };
    check("where it was opened", &first, &session, true).await;
    check("a replica with the key", &second, &session, true).await;
    check("a server with another key", &third, &session, false).await;
    check("where the token was taken away", &renewed, &session, false).await;
    let client = connect_by_tls(&short, &certificates, None).await;
    let session = shake_hands(&client, "etl", &token).await.unwrap();
    check("expired", &first, &session, false).await;
}

#[tokio::test]
async fn certificate_names_authenticate_a_client() {
    let certificates = Certificates::new();
    certificates.sign("server", "127.0.0.1");
    certificates.sign("etl", "etl.example");
    certificates.sign("other", "other.example");
    certificates.sign("named", "named.example");
    let (name, house) = (rcgen::DnType::CommonName, rcgen::DnType::OrganizationName);
    let subjects = [
        (
            "whole",
            vec![(name.clone(), "loader"), (house.clone(), "Example")],
        ),
        ("comma", vec![(name.clone(), "a, b+c")]),
        // One part of the subject holds the text of two, and the other way round.
        ("spoofed", vec![(name.clone(), "loader, O=Example")]),
        ("escaped", vec![(name.clone(), "loader\\, O=Example")]),
        ("split", vec![(name.clone(), "a"), (name, "b+c")]),
        ("turned", vec![(house, "etl.example")]),
    ];
    for (file, subject) in &subjects {
        certificates.sign_as(file, "stranger.example", subject);
    }
    let (certificate, key) = (
        certificates.name("server.crt"),
        certificates.name("server.key"),
    );
    let authority = certificates.name("ca.crt");
    let tls = [
        "--tls-cert",
        &*certificate,
        "--tls-key",
        &*key,
        "--tls-client-ca",
        &*authority,
    ];
    let token = new_token().unwrap();
    let etl = format!(
        "certificates = ['CN=etl.example', 'DNS:named.example', 'CN=loader, O=Example', 'CN=a\\, b\\+c']\n\
         tokens = ['{}']",
        digest_of(&token)
    );
    let (_database, server, _file) = server_of(&etl, "", &tls).await;
    let put = || Put::bare(path(&["t"]), &[rows()]);
    for name in ["spoofed", "escaped", "split", "turned"] {
        let mut client = connect_by_tls(&server, &certificates, Some(name)).await;
        let refused = client.put(put()).await.expect_err(name);
        is_unauthenticated(name, refused, &token);
    }
    for name in ["etl", "named", "whole", "comma"] {
        let mut client = connect_by_tls(&server, &certificates, Some(name)).await;
        client.put(put()).await.expect(name);
    }
    let other = connect_by_tls(&server, &certificates, Some("other")).await;
    let refused = other.authorized(&[]).put(put()).await.expect_err("unknown");
    is_unauthenticated("an unknown certificate", refused, &token);
    // The credentials of the call win over those of the connection.
    other.bearing(&token).put(put()).await.unwrap();
    let etl = connect_by_tls(&server, &certificates, Some("etl")).await;
    let refused = etl
        .bearing("x")
        .put(put())
        .await
        .expect_err("a wrong token");
    is_unauthenticated("a wrong token over a right certificate", refused, &token);
}

#[tokio::test]
async fn sighup_applies_changes_of_principals() {
    let token = new_token().unwrap();
    let etl = format!("tokens = ['{}']", digest_of(&token));
    let (database, server, file) = server_of(&etl, "", &[]).await;
    database.execute("CREATE TABLE u (n int)").await;
    let mut client = server.client().await.bearing(&token);
    let put = |table| Put::bare(path(&[table]), &[rows()]);
    client.put(put("t")).await.unwrap();
    let text = std::fs::read_to_string(&file.0).unwrap();
    let reloaded = async |text: &str| {
        let before = server.log().len();
        std::fs::write(&file.0, text).unwrap();
        server.signal("HUP");
        let is_told = |line: &String| line.contains("configuration was read again");
        wait_until(
            async || server.log()[before..].iter().any(is_told),
            "it was read",
        )
        .await;
    };
    reloaded(&text.replace("*.*", "*.u")).await;
    client.put(put("u")).await.unwrap();
    let refused = client.put(put("t")).await.expect_err("no longer");
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    // An invalid configuration changes nothing.
    reloaded(&text.replace("sha256:", "sha257:")).await;
    client.put(put("u")).await.unwrap();
    reloaded(&text.replace(&digest_of(&token), &digest_of("another"))).await;
    let refused = client.put(put("u")).await.expect_err("unknown");
    is_unauthenticated("a token that was taken away", refused, &token);
    assert!(server.log().iter().all(|line| !line.contains(&token)));
}
