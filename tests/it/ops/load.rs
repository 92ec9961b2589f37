//! `pgflight load`: loads files through a running server, all or nothing.

use std::io;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{
    Certificates, Cluster, Database, Folder, Pgflight, batch, load, stderr, stdout, wait_until,
};

const TABLE: &str = "CREATE TABLE trips (id bigint PRIMARY KEY, fare double precision, note text)";

fn trips(ids: std::ops::Range<i64>) -> RecordBatch {
    let id: ArrayRef = Arc::new(Int64Array::from_iter_values(ids.clone()));
    let fare = ids.clone().map(|id| (id % 3 > 0).then_some(1.5));
    let fare: ArrayRef = Arc::new(Float64Array::from_iter(fare));
    let note = ids.map(|id| format!("trip, \"{id}\""));
    let note: ArrayRef = Arc::new(StringArray::from_iter_values(note));
    batch(&[("id", id), ("fare", fare), ("note", note)])
}

async fn setup() -> (Database, Pgflight, String, Folder) {
    let database = Database::new().await;
    database.execute(TABLE).await;
    let server = Pgflight::start(&database);
    let url = format!("grpc://{}", server.address);
    (database, server, url, Folder::new())
}

/// Loads three files of a format as one write, and compares the values in PostgreSQL.
async fn check(ending: &str) {
    let (database, _server, url, folder) = setup().await;
    let files = [0..20_000, 20_000..20_001, 20_001..30_000];
    let files = (0..)
        .zip(files)
        .map(|(number, ids)| folder.write(&format!("{number}.{ending}"), &trips(ids)));
    let files: Vec<String> = files.collect();
    let mut arguments = vec!["--to", "public.trips"];
    arguments.extend(files.iter().map(String::as_str));
    let output = load(&url, &arguments);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stdout(&output).starts_with("loaded 30,000 rows of 3 files into public.trips in"));
    let sums = "SELECT (count(*), min(id), max(id), sum(fare), count(fare),
        count(*) FILTER (WHERE note = 'trip, \"' || id || '\"')) FROM trips";
    assert_eq!(
        database.text(sums).await,
        "(30000,0,29999,30000,20000,30000)"
    );
    let writes = "SELECT (state, row_count, attempt_count) FROM pgflight.write";
    assert_eq!(database.text(writes).await, "(committed,30000,3)");
}

#[tokio::test]
async fn parquet_files_land_whole() {
    check("parquet").await;
}

#[tokio::test]
async fn arrow_files_and_streams_land_whole() {
    check("arrow").await;
    check("arrows").await;
}

#[tokio::test]
async fn csv_fields_are_converted_to_the_columns_types() {
    check("csv").await;
}

/// A relay to a server that the test can exchange; it counts the bytes that clients send.
struct Relay {
    address: String,
    to: Arc<Mutex<String>>,
    sent: Arc<AtomicUsize>,
}

impl Relay {
    async fn to(server: &Pgflight) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let relay = Self {
            address: format!("grpc://{}", listener.local_addr().unwrap()),
            to: Arc::new(Mutex::new(server.address.clone())),
            sent: Arc::default(),
        };
        let (to, sent) = (Arc::clone(&relay.to), Arc::clone(&relay.sent));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let to = to.lock().unwrap().clone();
                tokio::spawn(pass_on(client, to, Arc::clone(&sent)));
            }
        });
        relay
    }

    fn lead_to(&self, server: &Pgflight) {
        self.to.lock().unwrap().clone_from(&server.address);
    }

    fn sent(&self) -> usize {
        self.sent.load(Ordering::Relaxed)
    }
}

async fn pass_on(mut client: TcpStream, to: String, sent: Arc<AtomicUsize>) -> io::Result<()> {
    let mut server = TcpStream::connect(to).await?;
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    let mut bytes = Vec::new();
    let up = async {
        while from_client.read_buf(&mut bytes).await? > 0 {
            sent.fetch_add(bytes.len(), Ordering::Relaxed);
            to_server.write_all(&bytes).await?;
            bytes.clear();
        }
        to_server.shutdown().await
    };
    let down = async {
        tokio::io::copy(&mut from_server, &mut to_client).await?;
        to_client.shutdown().await
    };
    tokio::try_join!(up, down).map(drop)
}

#[tokio::test]
async fn an_unanswered_commit_is_retried() {
    let database = Database::new().await;
    database.execute(TABLE).await;
    let folder = Folder::new();
    let file = folder.write("trips.parquet", &trips(0..10));
    let first = Pgflight::start_to_fail(&database.url, &[], Some("CommitAfterCommit"));
    let relay = Relay::to(&first).await;
    let url = relay.address.clone();
    let loading = tokio::task::spawn_blocking(move || load(&url, &["--to", "trips", &file]));
    wait_until(async || first.has_failed(), "the rows are in").await;
    let second = Pgflight::start(&database);
    relay.lead_to(&second);
    drop(first);
    let output = loading.await.unwrap();
    let said = stderr(&output);
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains("commit: the connection to the server broke"),
        "{said}"
    );
    assert!(
        stdout(&output).contains("10 rows of 1 file"),
        "{}",
        stdout(&output)
    );
    assert_eq!(database.text("SELECT count(*) FROM trips").await, "10");
}

#[tokio::test]
async fn interrupting_a_commit_reports_an_unknown_outcome() {
    let database = Database::new().await;
    database.execute(TABLE).await;
    let folder = Folder::new();
    let file = folder.write("trips.csv", &trips(0..10));
    let server = Pgflight::start_to_fail(&database.url, &[], Some("CommitBeforeLock"));
    let url = format!("grpc://{}", server.address);
    let loading = Pgflight::command()
        .args([
            "load",
            "--server",
            &url,
            "--to",
            "trips",
            "--write-id",
            "mine",
            &file,
        ])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_until(async || server.has_failed(), "it commits").await;
    let pid = loading.id().to_string();
    let sent = Command::new("kill").args(["-INT", &pid]).status();
    assert!(sent.unwrap().success());
    let waited = tokio::task::spawn_blocking(move || loading.wait_with_output());
    let output = waited.await.unwrap().unwrap();
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("not known whether the rows are in"), "{said}");
    assert!(said.contains("--write-id mine"), "{said}");
}

#[tokio::test]
async fn one_bad_file_among_good_ones_leaves_nothing() {
    let (database, _server, url, folder) = setup().await;
    let good = folder.write("good.csv", &trips(0..10));
    let bad = folder.path("bad.csv");
    std::fs::write(&bad, "id,fare,note\n11,1.5,fine\ntwelve,s3cret,no\n").unwrap();
    let ragged = folder.path("ragged.csv");
    std::fs::write(&ragged, "id,fare,note\n11,1.5,s3cret,more\n").unwrap();
    let gone = folder.path("gone.csv");
    let other = folder.write(
        "other.parquet",
        &batch(&[("id", trips(0..1).column(0).clone())]),
    );
    let empty = folder.path("empty.csv");
    std::fs::write(&empty, "").unwrap();
    let named = folder.path("named.parquet");
    std::fs::write(&named, "id\n1\n").unwrap();
    let cases: [(&str, i32, &str); 6] = [
        (&bad, 1, "bad.csv: "),
        (&empty, 64, "empty.csv: "),
        (&named, 64, "named.parquet: "),
        (
            &ragged,
            64,
            "ragged.csv: line 2: the line has 4 fields, and the file has 3 columns",
        ),
        (&gone, 64, "gone.csv: "),
        (&other, 64, "id is Int64 instead of Utf8"),
    ];
    for (file, code, reported) in cases {
        let output = load(&url, &["--to", "trips", &good, file]);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{file}: {said}");
        assert!(said.contains(reported), "{file}: {said}");
        assert!(!said.contains("s3cret"), "{said}");
        assert_eq!(database.text("SELECT count(*) FROM trips").await, "0");
    }
    let open = "SELECT count(*) FROM pgflight.write WHERE state = 'open'";
    assert_eq!(database.text(open).await, "0", "what failed was aborted");
}

#[tokio::test]
async fn a_named_load_runs_once_and_takes_keys_and_modes() {
    let (database, _server, url, folder) = setup().await;
    let file = folder.write("t.parquet", &trips(0..100));
    let named = ["--to", "trips", "--write-id", "january", &file];
    let first = load(&url, &named);
    assert_eq!(first.status.code(), Some(0), "{}", stderr(&first));
    let again = load(&url, &named);
    assert_eq!(again.status.code(), Some(0), "{}", stderr(&again));
    assert!(
        stdout(&again).contains("was committed before, at 20")
            && stdout(&again).contains("with 100 rows"),
        "{}",
        stdout(&again)
    );
    assert_eq!(database.text("SELECT count(*) FROM trips").await, "100");

    let later = folder.write("later.parquet", &trips(50..150));
    let upsert = ["--to", "trips", "--mode", "upsert", "--keys", "id", &later];
    let upserted = load(&url, &upsert);
    assert_eq!(upserted.status.code(), Some(0), "{}", stderr(&upserted));
    assert_eq!(database.text("SELECT count(*) FROM trips").await, "150");
    let create = ["--to", "copy", "--mode", "create", &later];
    let created = load(&url, &create);
    assert_eq!(created.status.code(), Some(0), "{}", stderr(&created));
    assert_eq!(database.text("SELECT count(*) FROM copy").await, "100");
    let appended = load(&url, &["--to", "trips", &later]);
    assert_eq!(appended.status.code(), Some(1));
    assert!(
        stderr(&appended).contains("trips_pkey"),
        "{}",
        stderr(&appended)
    );
    assert_eq!(database.text("SELECT count(*) FROM trips").await, "150");
}

#[tokio::test]
async fn load_works_with_tls_and_client_certificates() {
    let database = Database::new().await;
    database.execute(TABLE).await;
    let (certificates, others) = (Certificates::new(), Certificates::new());
    certificates.sign("server", "127.0.0.1");
    certificates.sign("client", "loader");
    let [cert, key, ca] =
        ["server.crt", "server.key", "ca.crt"].map(|file| certificates.name(file));
    let options = [
        "--tls-cert",
        &cert,
        "--tls-key",
        &key,
        "--tls-client-ca",
        &ca,
    ];
    let server = Pgflight::start_with(&database, &options);
    let url = format!("grpc+tls://{}", server.address);
    let folder = Folder::new();
    let file = folder.write("t.arrow", &trips(0..10));
    let [cert, key] = ["client.crt", "client.key"].map(|file| certificates.name(file));
    let foreign = others.name("ca.crt");
    let identity = ["--tls-cert", &cert, "--tls-key", &key];
    let cases: [(&[&str], i32); 4] = [
        (&[], 64),
        (&["--tls-ca", &ca], 1),
        (&[&["--tls-ca", &foreign], &identity[..]].concat(), 1),
        (&[&["--tls-ca", &ca], &identity[..]].concat(), 0),
    ];
    for (options, code) in cases {
        let arguments = ["--to", "trips", "--retry-timeout", "1s", &file];
        let arguments = [&arguments, options].concat();
        let output = load(&url, &arguments);
        assert_eq!(
            output.status.code(),
            Some(code),
            "{options:?}: {}",
            stderr(&output)
        );
    }
    assert_eq!(database.text("SELECT count(*) FROM trips").await, "10");
}

/// Starts a load whose stream waits for a lock on the table that the test holds.
async fn waiting_load(database: &Database, url: &str, file: &str) -> std::process::Child {
    database
        .execute("BEGIN; LOCK TABLE trips IN SHARE MODE")
        .await;
    let direct = r#"{"append": {"publish": "PUBLISH_DIRECT"}}"#;
    Pgflight::command()
        .args([
            "load", "--server", url, "--to", "trips", "--spec", direct, file,
        ])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

const WAITING: &str =
    "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'trips'::regclass";

#[tokio::test]
async fn a_load_that_is_killed_leaves_no_open_write() {
    let database = Database::new().await;
    database.execute(TABLE).await;
    let folder = Folder::new();
    let file = folder.write("trips.csv", &trips(0..10));
    let options = [
        "--driver-ttl",
        "3s",
        "--reaper-interval",
        "50ms",
        "--lock-timeout",
        "5m",
    ];
    let server = Pgflight::start_with(&database, &options);
    let url = format!("grpc://{}", server.address);
    let mut loading = waiting_load(&database, &url, &file).await;
    wait_until(async || database.text(WAITING).await == "1", "it waits").await;
    let open = "SELECT count(*) FROM pgflight.write WHERE state = 'open'";
    assert_eq!(database.text(open).await, "1");
    let heard = "SELECT count(*) FROM pgflight.write JOIN pgflight.heartbeat USING (driver)";
    wait_until(async || database.text(heard).await == "1", "it is heard").await;
    loading.kill().unwrap();
    loading.wait().unwrap();
    database.execute("COMMIT").await;
    wait_until(async || database.text(open).await == "0", "it is aborted").await;
}

#[tokio::test]
async fn a_load_sends_no_rows_before_postgresql_takes_them() {
    let database = Database::new().await;
    database.execute(TABLE).await;
    let folder = Folder::new();
    // More data than a stream buffers before PostgreSQL reads.
    let file = folder.write("trips.csv", &trips(0..1_000_000));
    let server = Pgflight::start_with(&database, &["--lock-timeout", "5m"]);
    let relay = Relay::to(&server).await;
    let loading = waiting_load(&database, &relay.address, &file).await;
    wait_until(async || database.text(WAITING).await == "1", "it waits").await;
    let rows = wait_until(async || relay.sent() > 100_000, "rows are sent");
    let early = tokio::time::timeout(Duration::from_millis(500), rows).await;
    assert!(early.is_err(), "{} bytes are sent", relay.sent());
    database.execute("COMMIT").await;
    let waited = tokio::task::spawn_blocking(move || loading.wait_with_output());
    let output = waited.await.unwrap().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(relay.sent() > 10_000_000, "{} bytes are sent", relay.sent());
    assert_eq!(database.text("SELECT count(*) FROM trips").await, "1000000");
}

#[tokio::test]
async fn a_load_continues_after_an_outage_of_postgresql() {
    let cluster = Cluster::start();
    let database = Database::on(&cluster.url).await;
    database.execute(TABLE).await;
    let folder = Folder::new();
    let file = folder.write("trips.csv", &trips(0..10));
    let server = Pgflight::start_with(&database, &["--lock-timeout", "5m"]);
    let url = format!("grpc://{}", server.address);
    let loading = waiting_load(&database, &url, &file).await;
    wait_until(async || database.text(WAITING).await == "1", "it waits").await;
    cluster.halt();
    tokio::time::sleep(Duration::from_secs(5)).await;
    cluster.crash();
    let waited = tokio::task::spawn_blocking(move || loading.wait_with_output());
    let output = waited.await.unwrap().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("trying again"),
        "{}",
        stderr(&output)
    );
    database.reconnect().await;
    assert_eq!(database.text("SELECT count(*) FROM trips").await, "10");
}
