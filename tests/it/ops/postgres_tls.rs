//! TLS to PostgreSQL: every mode of libpq, with the right and a wrong authority.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array};
use futures_util::{StreamExt, stream};

use crate::support::{
    COPIES, COPYING, CallError, Certificates, Cluster, Database, Pgflight, Put, batch, path,
    wait_until,
};

const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// A PostgreSQL with TLS for the host `db.example`, and its authority; `other` has another one.
struct Secured {
    cluster: Cluster,
    certificates: Certificates,
    other: Certificates,
}

impl Secured {
    /// `None` where PostgreSQL was built without TLS.
    async fn start() -> Option<Self> {
        let cluster = Cluster::start();
        let (certificates, other) = (Certificates::new(), Certificates::new());
        certificates.sign("server", "db.example");
        let database = Database::on(&cluster.url).await;
        if !database.was_built_with("TLS").await {
            return None;
        }
        // PostgreSQL must own its key, so it writes the file itself.
        for (file, pem) in [
            ("server.crt", certificates.read("server.crt")),
            ("server.key", certificates.read("server.key")),
            ("ca.crt", certificates.read("ca.crt")),
        ] {
            let lines = format!(
                "SELECT unnest(string_to_array('{}', E'\\n'))",
                pem.trim_end()
            );
            let copy = format!("COPY ({lines}) TO PROGRAM 'umask 077; cat > {file}'");
            database.execute(&copy).await;
        }
        database
            .execute("ALTER SYSTEM SET ssl_ca_file = 'ca.crt'")
            .await;
        let secured = Self {
            cluster,
            certificates,
            other,
        };
        secured.turn(&database, "on").await;
        Some(secured)
    }

    async fn turn(&self, database: &Database, on_or_off: &str) {
        database
            .execute(&format!("ALTER SYSTEM SET ssl = {on_or_off}"))
            .await;
        database.execute("SELECT pg_reload_conf()").await;
        let expected = if on_or_off == "on" { b'S' } else { b'N' };
        wait_until(
            async || self.answer() == expected,
            "PostgreSQL has read its settings",
        )
        .await;
    }

    /// Returns PostgreSQL's answer to a request for TLS.
    fn answer(&self) -> u8 {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port())).unwrap();
        stream.write_all(&SSL_REQUEST).unwrap();
        let mut answer = [0];
        stream.read_exact(&mut answer).unwrap();
        answer[0]
    }

    fn port(&self) -> u16 {
        let (_, rest) = self.cluster.url.rsplit_once(':').unwrap();
        rest.split('/').next().unwrap().parse().unwrap()
    }

    fn text(&self, database: &str, host: &str, options: &str) -> String {
        let port = self.port();
        format!(
            "host={host} hostaddr=127.0.0.1 port={port} user=postgres dbname={database} \
             application_name=tested {options}"
        )
    }

    /// Checks whether a server with these options has TLS, or the error with which it does not start.
    async fn check(
        &self,
        database: &Database,
        host: &str,
        options: &str,
        expected: Result<bool, &str>,
    ) {
        let name = database.text("SELECT current_database()").await;
        let text = self.text(&name, host, options);
        match expected {
            Ok(expected) => {
                let _server = Pgflight::start_at(&text, &[]);
                let has_tls = "SELECT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
                    WHERE application_name = 'tested' AND datname = current_database()";
                assert_eq!(
                    database.text(has_tls).await,
                    expected.to_string(),
                    "{host} {options}"
                );
                database.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'tested'").await;
                let left =
                    "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'tested'";
                wait_until(
                    async || database.text(left).await == "0",
                    "its sessions end",
                )
                .await;
            }
            Err(expected) => {
                let output = Pgflight::command()
                    .args(["migrate", "--postgres", &text])
                    .output()
                    .unwrap();
                let printed = String::from_utf8_lossy(&output.stderr);
                assert!(
                    !output.status.success() && printed.contains(expected),
                    "{host} {options}: {printed}"
                );
            }
        }
    }
}

#[tokio::test]
async fn sslmode_means_the_same_as_in_libpq() {
    let Some(secured) = Secured::start().await else {
        return;
    };
    let database = Database::on(&secured.cluster.url).await;
    let right = format!("sslrootcert={}", secured.certificates.name("ca.crt"));
    let wrong = format!("sslrootcert={}", secured.other.name("ca.crt"));
    let unknown = Err("UnknownIssuer");
    let other_name = Err("not valid for name");
    let not_offered = Err("offers no TLS");

    // Mode: with the right authority, with a wrong one, with another host's name.
    for (mode, with_right, with_wrong, with_other_host) in [
        ("disable", Ok(false), Ok(false), Ok(false)),
        ("prefer", Ok(true), Ok(true), Ok(true)),
        ("require", Ok(true), unknown, Ok(true)),
        ("verify-ca", Ok(true), unknown, Ok(true)),
        ("verify-full", Ok(true), unknown, other_name),
    ] {
        let check = async |host, root: &str, expected| {
            let options = format!("sslmode={mode} {root}");
            secured.check(&database, host, &options, expected).await;
        };
        check("db.example", &right, with_right).await;
        check("db.example", &wrong, with_wrong).await;
        check("other.example", &right, with_other_host).await;
    }
    secured
        .check(&database, "db.example", "sslmode=require", Ok(true))
        .await;
    secured.check(&database, "db.example", "", Ok(true)).await;

    secured.turn(&database, "off").await;
    for (mode, expected) in [
        ("disable", Ok(false)),
        ("prefer", Ok(false)),
        ("require", not_offered),
        ("verify-ca", not_offered),
        ("verify-full", not_offered),
    ] {
        let options = format!("sslmode={mode} {right}");
        secured
            .check(&database, "db.example", &options, expected)
            .await;
    }
}

#[tokio::test]
async fn postgresql_knows_us_by_our_certificate() {
    let Some(secured) = Secured::start().await else {
        return;
    };
    let database = Database::on(&secured.cluster.url).await;
    let hba = "COPY (SELECT 'hostssl all all 127.0.0.1/32 trust clientcert=verify-ca') TO PROGRAM";
    secured.certificates.sign("client", "client.example");
    let path = |file: &str| secured.certificates.name(file);
    let named = format!(
        "sslmode=verify-full sslrootcert={} sslcert={} sslkey={}",
        path("ca.crt"),
        path("client.crt"),
        path("client.key")
    );
    let nameless = format!("sslmode=verify-full sslrootcert={}", path("ca.crt"));
    let stranger = named.replace("client.key", "server.key");
    secured
        .check(
            &database,
            "db.example",
            &stranger,
            Err("sslkey does not match sslcert"),
        )
        .await;
    // Only over TLS: the test itself connects without TLS.
    database
        .execute(&format!(
            "{hba} 'cat - pg_hba.conf > pg_hba.new && mv pg_hba.new pg_hba.conf'"
        ))
        .await;
    database.execute("SELECT pg_reload_conf()").await;
    let rules = "SELECT count(*) FROM pg_hba_file_rules WHERE options IS NOT NULL";
    wait_until(
        async || database.text(rules).await == "1",
        "the rule is read",
    )
    .await;
    secured
        .check(&database, "db.example", &named, Ok(true))
        .await;
    secured
        .check(&database, "db.example", &nameless, Err("certificate"))
        .await;
}

#[tokio::test]
async fn the_last_error_of_a_backend_is_reported_through_tls() {
    let Some(secured) = Secured::start().await else {
        return;
    };
    let database = Database::on(&secured.cluster.url).await;
    database.execute("CREATE TABLE t (n int)").await;
    let name = database.text("SELECT current_database()").await;
    let server = Pgflight::start_at(&secured.text(&name, "db.example", "sslmode=require"), &[]);
    let mut client = server.client().await;
    let rows = batch(&[("n", Arc::new(Int32Array::from(vec![1; 1000])) as ArrayRef)]);
    let mut messages = Put::bare(path(&["t"]), &vec![rows; 200]).0;
    let rest = messages.split_off(100);
    let (kill, killed) = tokio::sync::oneshot::channel::<()>();
    let rest = stream::once(killed).flat_map(move |_| stream::iter(rest.clone()));
    let messages = stream::iter(messages).chain(rest);
    let running = tokio::spawn(async move { client.put_stream(messages).await });
    wait_until(async || database.text(COPIES).await == "1", "the COPY runs").await;
    database
        .execute(&format!("SELECT pg_terminate_backend(pid) FROM {COPYING}"))
        .await;
    // The server may have noticed already and ended the stream.
    let _ = kill.send(());
    let error = CallError::from(running.await.unwrap().expect_err("the backend is gone"));
    assert_eq!(error.details["sqlstate"], "57P01", "{}", error.message);
}
