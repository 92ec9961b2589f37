//! TLS of the listener: trusted and untrusted clients, and changed certificates.

use std::io::Read;
use std::net::TcpStream;
use std::time::Duration;

use serde_json::json;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

use crate::support::{Certificates, Client, Database, Pgflight, get, wait_until};

/// A server with the certificate of a host, and further options.
fn start(database: &Database, certificates: &Certificates, options: &[&str]) -> Pgflight {
    let (certificate, key) = (
        certificates.name("server.crt"),
        certificates.name("server.key"),
    );
    let tls = ["--tls-cert", &certificate, "--tls-key", &key];
    Pgflight::start_with(database, &[&tls, options].concat())
}

/// The client's TLS settings that trust an authority.
fn trust(certificates: &Certificates) -> ClientTlsConfig {
    ClientTlsConfig::new().ca_certificate(Certificate::from_pem(certificates.read("ca.crt")))
}

fn identity(certificates: &Certificates) -> Identity {
    Identity::from_pem(
        certificates.read("client.crt"),
        certificates.read("client.key"),
    )
}

/// Connects and makes a call, since a server rejects a certificate only then.
async fn call(server: &Pgflight, tls: Option<ClientTlsConfig>) -> Result<Client, String> {
    let scheme = if tls.is_some() { "https" } else { "http" };
    let mut endpoint = Endpoint::from_shared(format!("{scheme}://{}", server.address)).unwrap();
    if let Some(tls) = tls {
        endpoint = endpoint.tls_config(tls).unwrap();
    }
    let channel = endpoint
        .connect()
        .await
        .map_err(|error| format!("{error:?}"))?;
    let mut client = Client::over(channel);
    client
        .act("info", "InfoRequest", json!({}))
        .await
        .map(|_| client)
        .map_err(|status| format!("{status:?}"))
}

#[tokio::test]
async fn tls_rejects_untrusted_clients_and_servers() {
    let database = Database::new().await;
    let (ours, others) = (Certificates::new(), Certificates::new());
    ours.sign("server", "127.0.0.1");
    ours.sign("client", "client.example");
    others.sign("client", "client.example");
    let open = start(&database, &ours, &[]);
    let closed = start(&database, &ours, &["--tls-client-ca", &ours.name("ca.crt")]);
    let check = async |server, tls, served: bool, what: &str| {
        let called = call(server, tls).await;
        assert_eq!(called.is_ok(), served, "{what}: {:?}", called.err());
    };
    check(&open, Some(trust(&ours)), true, "who trusts the authority").await;
    check(
        &open,
        Some(trust(&others)),
        false,
        "who trusts another authority",
    )
    .await;
    let misled = trust(&ours).domain_name("other.example");
    check(&open, Some(misled), false, "who wants another host").await;
    check(&open, None, false, "who speaks no TLS").await;

    check(
        &closed,
        Some(trust(&ours).identity(identity(&ours))),
        true,
        "who has a certificate",
    )
    .await;
    let stranger = trust(&ours).identity(identity(&others));
    check(
        &closed,
        Some(stranger),
        false,
        "who has one of another authority",
    )
    .await;
    check(&closed, Some(trust(&ours)), false, "who has none").await;
}

#[tokio::test]
async fn later_connections_use_a_changed_certificate() {
    let database = Database::new().await;
    let (first, second) = (Certificates::new(), Certificates::new());
    first.sign("server", "127.0.0.1");
    second.sign("server", "127.0.0.1");
    let server = start(&database, &first, &[]);
    let mut before = call(&server, Some(trust(&first))).await.unwrap();

    // The old certificate stays in use until the matching key is there.
    std::fs::write(first.path("server.crt"), second.read("server.crt")).unwrap();
    call(&server, Some(trust(&first))).await.unwrap();
    std::fs::write(first.path("server.key"), second.read("server.key")).unwrap();
    let uses_second = async || call(&server, Some(trust(&second))).await.is_ok();
    wait_until(uses_second, "the new certificate is used").await;
    assert!(
        call(&server, Some(trust(&first))).await.is_err(),
        "the old one is gone"
    );
    before.act("info", "InfoRequest", json!({})).await.unwrap();
}

#[tokio::test]
async fn a_certificate_that_ends_is_reported_and_so_are_refused_handshakes() {
    let database = Database::new().await;
    let ours = Certificates::new();
    ours.sign_until("server", "127.0.0.1", 2020, 2, 1);
    let server = start(&database, &ours, &["--metrics-listen", "127.0.0.1:0"]);
    let value = async |name: &str| {
        let answer = get(&server.monitor, "/metrics").await.body;
        let line = answer
            .lines()
            .find_map(|line| line.strip_prefix(&format!("{name} ")));
        line.unwrap_or_else(|| panic!("{name} in {answer}"))
            .to_owned()
    };
    let is_reported = async || value("pgflight_certificate_end_seconds").await == "1580515200";
    wait_until(is_reported, "the end of the certificate is reported").await;
    server
        .wait_for_line(&["the listener's certificate has expired"])
        .await;
    assert_eq!(value("pgflight_handshakes_refused_total").await, "0");
    let called = call(&server, Some(trust(&ours))).await;
    assert!(called.is_err(), "the certificate has expired");
    let is_counted = async || value("pgflight_handshakes_refused_total").await == "1";
    wait_until(is_counted, "the handshake is counted").await;
    server.wait_for_line(&["the TLS handshake failed"]).await;
    // A later certificate ends the warning.
    let renewed = Certificates::new();
    renewed.sign_until("server", "127.0.0.1", 2099, 2, 1);
    for file in ["server.crt", "server.key"] {
        std::fs::write(ours.path(file), renewed.read(file)).unwrap();
    }
    let is_renewed = async || value("pgflight_certificate_end_seconds").await == "4073587200";
    wait_until(is_renewed, "the new certificate is reported").await;
    call(&server, Some(trust(&renewed))).await.unwrap();
}

#[tokio::test]
async fn slow_tls_handshakes_are_closed_and_delay_no_others() {
    let database = Database::new().await;
    let ours = Certificates::new();
    ours.sign("server", "127.0.0.1");
    let server = start(&database, &ours, &[]);
    let silent: Vec<TcpStream> = (0..100)
        .map(|_| TcpStream::connect(&server.address).unwrap())
        .collect();
    call(&server, Some(trust(&ours))).await.unwrap();
    for mut stream in silent {
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        assert_eq!(stream.read(&mut [0]).unwrap(), 0, "closed");
    }
}
