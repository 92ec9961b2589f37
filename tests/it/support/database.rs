//! PostgreSQL for tests: a database per test on a running cluster, or a cluster of its own.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::SinkExt;
use tokio_postgres::{Client, NoTls};

/// The sessions that copy into the database of the test. PostgreSQL has a view of them from 14 on.
pub const COPYING: &str = "pg_stat_activity
    WHERE datname = current_database() AND state = 'active' AND query LIKE 'COPY %'";

/// Counts these sessions.
pub const COPIES: &str = "SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND state = 'active' AND query LIKE 'COPY %'";

/// Reports that a part of a test is skipped and why, also in the file that PGFLIGHT_TEST_LEFT_OUT names.
pub fn left_out(why: &str) {
    eprintln!("left out: {why}");
    let Ok(file) = std::env::var("PGFLIGHT_TEST_LEFT_OUT") else {
        return;
    };
    let test = std::thread::current().name().unwrap_or("?").to_owned();
    let mut file = OpenOptions::new()
        .append(true)
        .create(true)
        .open(file)
        .unwrap();
    // One write, so that concurrent tests do not mix their lines.
    file.write_all(format!("{test}: {why}\n").as_bytes())
        .unwrap();
}

/// A new database, dropped with the value.
pub struct Database {
    pub url: String,
    server_url: String,
    name: String,
    client: Mutex<Arc<Client>>,
}

impl Database {
    pub async fn new() -> Self {
        let server_url = std::env::var("PGFLIGHT_TEST_URL").expect(
            "PGFLIGHT_TEST_URL names no PostgreSQL to test with; run `scripts/test rust`, or \
             `scripts/postgres run -- cargo test`",
        );
        Self::on(&server_url).await
    }

    pub async fn on(server_url: &str) -> Self {
        Self::made(server_url, "").await
    }

    /// Creates a database with this encoding.
    pub async fn encoded(encoding: &str) -> Self {
        let server_url = std::env::var("PGFLIGHT_TEST_URL").unwrap();
        let options =
            format!("ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0");
        Self::made(&server_url, &options).await
    }

    async fn made(server_url: &str, options: &str) -> Self {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let name = format!("pgflight_test_{}_{number}", std::process::id());
        let server = connect(server_url).await;
        server
            .batch_execute(&format!("DROP DATABASE IF EXISTS {name}"))
            .await
            .unwrap();
        server
            .batch_execute(&format!("CREATE DATABASE {name} {options}"))
            .await
            .unwrap();
        let url = on_server(server_url, &name);
        let client = connect(&url).await;
        Self {
            url,
            server_url: server_url.to_owned(),
            name,
            client: Mutex::new(Arc::new(client)),
        }
    }

    /// Opens another session, for statements that wait.
    pub async fn connect(url: &str) -> Client {
        connect(url).await
    }

    /// Connects again, after a crash of the server.
    pub async fn reconnect(&self) {
        self.move_to(&self.server_url).await;
    }

    /// Connects to the database of the same name on another server.
    pub async fn move_to(&self, server_url: &str) {
        let client = connect(&on_server(server_url, &self.name)).await;
        *self.client.lock().unwrap() = Arc::new(client);
    }

    fn client(&self) -> Arc<Client> {
        Arc::clone(&self.client.lock().unwrap())
    }

    pub async fn execute(&self, sql: &str) {
        self.client()
            .batch_execute(sql)
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    /// The URL with another role.
    pub fn url_as(&self, role: &str) -> String {
        let (scheme, rest) = self.url.split_once("://").unwrap();
        let place = rest.rsplit_once('@').map_or(rest, |(_, place)| place);
        format!("{scheme}://{role}@{place}")
    }

    /// Whether PostgreSQL was built with TLS, ICU or libxml, as this SQL shows; reports it if not.
    pub async fn was_built_with(&self, what: &str) -> bool {
        let sql = match what {
            "TLS" => "SELECT current_setting('ssl_library') <> ''",
            // initdb imports this collation only with ICU; `unicode` is in the catalog in any case.
            "ICU" => "SELECT EXISTS (SELECT FROM pg_collation WHERE collname = 'en-x-icu')",
            "libxml" => {
                "SELECT setting LIKE '%--with-libxml%' FROM pg_config() WHERE name = 'CONFIGURE'"
            }
            _ => panic!("nothing tells whether PostgreSQL was built with {what}"),
        };
        let was = self.text(sql).await == "true";
        if !was {
            left_out(&format!("this PostgreSQL was built without {what}"));
        }
        was
    }

    /// Whether PostgreSQL has at least this major version; reports it if not.
    pub async fn is_at_least(&self, major: u32, for_what: &str) -> bool {
        let number = self
            .text("SELECT current_setting('server_version_num')")
            .await;
        let is = number.parse::<u32>().unwrap() / 10_000 >= major;
        if !is {
            left_out(&format!("{for_what}: from PostgreSQL {major} on"));
        }
        is
    }

    /// A COPY of this text.
    pub async fn copy(&self, sql: &str, text: String) {
        let sink = self.client().copy_in::<_, Bytes>(sql).await.unwrap();
        let mut sink = std::pin::pin!(sink);
        sink.send(text.into()).await.unwrap();
        sink.finish().await.unwrap();
    }

    /// Returns whether PostgreSQL accepts a COPY of these bytes.
    pub async fn try_copy(&self, sql: &str, bytes: &[u8]) -> bool {
        let sink = self.client().copy_in::<_, Bytes>(sql).await.unwrap();
        let mut sink = std::pin::pin!(sink);
        sink.send(Bytes::copy_from_slice(bytes)).await.is_ok() && sink.finish().await.is_ok()
    }

    /// The first column of all rows, as text, joined by commas; NULL as `null`.
    pub async fn text(&self, sql: &str) -> String {
        let sql = format!("SELECT string_agg(coalesce(q.v::text, 'null'), ',') FROM ({sql}) q(v)");
        let row = self
            .client()
            .query_one(&sql, &[])
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        row.get::<_, Option<String>>(0).unwrap_or_default()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let (server_url, name) = (self.server_url.clone(), self.name.clone());
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                if let Ok((client, connection)) = tokio_postgres::connect(&server_url, NoTls).await
                {
                    tokio::spawn(connection);
                    roll_back_prepared(&client, &server_url, &name).await;
                    // FORCE ends the sessions of servers that are still shutting down.
                    let _ = client
                        .batch_execute(&format!("DROP DATABASE {name} WITH (FORCE)"))
                        .await;
                }
            });
        });
        let _ = dropped.join();
    }
}

/// Replaces the database in a URL.
fn on_server(server_url: &str, name: &str) -> String {
    let (base, _) = server_url
        .rsplit_once('/')
        .expect("the URL ends in a database");
    format!("{base}/{name}")
}

/// Rolls back prepared transactions, which a failed test may leave and which block DROP DATABASE.
async fn roll_back_prepared(server: &Client, server_url: &str, name: &str) {
    let select = "SELECT gid FROM pg_prepared_xacts WHERE database = $1";
    let rows = server.query(select, &[&name]).await.unwrap_or_default();
    if !rows.is_empty()
        && let Ok((client, connection)) =
            tokio_postgres::connect(&on_server(server_url, name), NoTls).await
    {
        tokio::spawn(connection);
        for row in rows {
            let gid: String = row.get(0);
            let _ = client
                .batch_execute(&format!("ROLLBACK PREPARED '{gid}'"))
                .await;
        }
    }
}

/// A cluster for one test, which can stop and start it.
pub struct Cluster {
    folder: PathBuf,
    pub url: String,
}

impl Cluster {
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts a cluster with settings, each as `name=value`.
    pub fn start_with(settings: &[&str]) -> Self {
        let mut start = script();
        start.arg("start");
        for setting in settings {
            start.args(["--set", setting]);
        }
        Self::make(start)
    }

    /// Starts a standby; this cluster stops for a moment to be copied.
    pub fn standby(&self) -> Self {
        let mut standby = script();
        standby.arg("standby").arg(&self.folder);
        Self::make(standby)
    }

    /// Starts a cluster with a command that takes a new folder and prints a URL.
    fn make(mut command: Command) -> Self {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let folder = format!("pgflight-cluster-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(folder);
        let output = command.arg(&folder).output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let url = String::from_utf8(output.stdout).unwrap().trim().to_owned();
        Self { folder, url }
    }

    /// Crashes the cluster and starts it again at the same address.
    pub fn crash(&self) {
        self.run("crash");
    }

    /// Crashes the cluster.
    pub fn halt(&self) {
        self.run("halt");
    }

    pub fn stop(&self) {
        self.run("stop");
    }

    fn run(&self, verb: &str) {
        let status = script().arg(verb).arg(&self.folder).status().unwrap();
        assert!(status.success(), "{verb}");
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.folder.exists() {
            self.stop();
        }
    }
}

fn script() -> Command {
    Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/postgres"))
}

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls)
        .await
        .expect("PostgreSQL for tests answers");
    tokio::spawn(connection);
    client
}
