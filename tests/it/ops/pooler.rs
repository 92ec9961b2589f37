//! Poolers: what `check` reports, a pool that is too small, and that nothing is left on a connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, Int32Array};
use futures_util::{StreamExt, stream};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tonic::Code;

use crate::support::{
    COPIES, CallError, Client, Database, Pgflight, Pooler, Put, attempt, batch, client_process,
    path, wait_until, write,
};

fn ints(values: &[i32]) -> ArrayRef {
    Arc::new(Int32Array::from(values.to_vec()))
}

/// The same database at another address.
fn at(database: &Database, address: &str) -> String {
    let (user, rest) = database.url.split_once('@').unwrap();
    let (_, name) = rest.split_once('/').unwrap();
    format!("{user}@{address}/{name}")
}

fn postgres(database: &Database) -> &str {
    let (_, rest) = database.url.split_once('@').unwrap();
    rest.split_once('/').unwrap().0
}

fn check(url: &str) -> String {
    let output = Pgflight::command()
        .args(["check", "--postgres", url])
        .output()
        .unwrap();
    String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
}

#[tokio::test]
async fn check_names_a_pooler_and_its_mode() {
    let database = Database::new().await;
    let error = check(&database.url);
    assert!(!error.contains("pooler"), "{error}");
    for (mode, also) in [
        ("session", "pool needs 33 connections"),
        ("transaction", "query_timeout"),
    ] {
        let settings = [&*format!("pool_mode = {mode}"), "default_pool_size = 20"];
        let Some(pooler) = Pooler::start(postgres(&database), &settings) else {
            return;
        };
        let error = check(&at(&database, &pooler.address));
        assert!(error.contains(&format!("in {mode} mode")), "{error}");
        assert!(error.contains(also), "{error}");
        assert!(
            error.contains("from the pooler to PostgreSQL: no TLS"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_pool_that_is_too_small_is_named_in_time() {
    let database = Database::new().await;
    database.execute("CREATE TABLE t (id int)").await;
    for mode in ["session", "transaction"] {
        let settings = [&*format!("pool_mode = {mode}"), "default_pool_size = 3"];
        let Some(pooler) = Pooler::start(postgres(&database), &settings) else {
            return;
        };
        let url = format!("{}?connect_timeout=1", at(&database, &pooler.address));
        let server = Pgflight::start_at(&url, &[]);
        let mut streams = Vec::new();
        for _ in 0..3 {
            let address = server.address.clone();
            let messages = Put::bare(path(&["t"]), &[batch(&[("id", ints(&[1]))])]).0;
            streams.push(tokio::spawn(async move {
                let endless = stream::iter(messages).chain(stream::pending());
                Client::connect(&address).await.put_stream(endless).await
            }));
        }
        // In session mode a connection for control calls keeps one of the three.
        let most = if mode == "session" { "2" } else { "3" };
        wait_until(
            async || database.text(COPIES).await == most,
            "the pool is full",
        )
        .await;
        let began = Instant::now();
        let more = Put::bare(path(&["t"]), &[batch(&[("id", ints(&[1]))])]);
        let error = server.client().await.put(more).await;
        let error = CallError::from(error.expect_err("the pool is full"));
        assert_eq!(error.code, Code::Unavailable, "{}", error.message);
        assert!(
            error.message.contains("behind a pooler"),
            "{}",
            error.message
        );
        assert!(
            began.elapsed() < Duration::from_secs(8),
            "{:?}",
            began.elapsed()
        );
        streams.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

#[tokio::test]
async fn a_stream_that_a_pooler_cuts_is_retryable_and_says_why() {
    let database = Database::new().await;
    database.execute("CREATE TABLE t (id int)").await;
    let settings = ["pool_mode = transaction", "query_timeout = 1"];
    let Some(pooler) = Pooler::start(postgres(&database), &settings) else {
        return;
    };
    let server = Pgflight::start_at(&at(&database, &pooler.address), &[]);
    let messages = Put::bare(path(&["t"]), &[batch(&[("id", ints(&[1]))])]).0;
    let endless = stream::iter(messages).chain(stream::pending());
    let error = server.client().await.put_stream(endless).await;
    let error = CallError::from(error.expect_err("the pooler cuts it"));
    assert_eq!(error.code, Code::Unavailable, "{}", error.message);
    assert!(error.message.contains("query timeout"), "{}", error.message);
    assert!(
        error.message.contains("the pooler that reports this"),
        "{}",
        error.message
    );
}

#[tokio::test]
async fn idle_connections_are_closed() {
    let database = Database::new().await;
    database.execute("CREATE TABLE t (id int)").await;
    let options = ["--pool-idle-timeout", "1s", "--reaper-interval", "1h"];
    let server = Pgflight::start_with(&database, &options);
    let rows = batch(&[("id", ints(&[1]))]);
    server
        .client()
        .await
        .put(Put::bare(path(&["t"]), &[rows]))
        .await
        .unwrap();
    let ours = "SELECT count(*) FROM pg_stat_activity
                WHERE datname = current_database() AND application_name LIKE 'pgflight%'";
    assert_ne!(
        database.text(ours).await,
        "0",
        "a connection waits for the next stream"
    );
    wait_until(async || database.text(ours).await == "0", "they are closed").await;
    let rows = batch(&[("id", ints(&[2]))]);
    server
        .client()
        .await
        .put(Put::bare(path(&["t"]), &[rows]))
        .await
        .unwrap();
    assert_eq!(database.text("SELECT count(*) FROM t").await, "2");
}

/// A proxy that records what a server sends to PostgreSQL: one text for each message of one connection.
struct Wire {
    address: String,
    said: Arc<std::sync::Mutex<Vec<Vec<String>>>>,
    /// Holds PostgreSQL's answers back once a statement of a COPY was prepared.
    hold: Arc<AtomicBool>,
    held: watch::Receiver<bool>,
}

impl Wire {
    async fn to(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (sender, held) = watch::channel(false);
        let wire = Self {
            address: listener.local_addr().unwrap().to_string(),
            said: Arc::default(),
            hold: Arc::default(),
            held,
        };
        let (said, hold, target) = (
            Arc::clone(&wire.said),
            Arc::clone(&wire.hold),
            target.to_owned(),
        );
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let mut said_here = said.lock().unwrap();
                said_here.push(Vec::new());
                let number = said_here.len() - 1;
                let server = TcpStream::connect(target.clone());
                let (said, hold, sender) = (Arc::clone(&said), Arc::clone(&hold), sender.clone());
                tokio::spawn(async move {
                    let Ok(server) = server.await else { return };
                    let (mut from_client, mut to_client) = client.into_split();
                    let (mut from_server, mut to_server) = server.into_split();
                    let mut is_held = sender.subscribe();
                    let answers = tokio::spawn(async move {
                        let mut bytes = vec![0; 64 * 1024];
                        while let Ok(count @ 1..) = from_server.read(&mut bytes).await {
                            is_held.wait_for(|held| !held).await.unwrap();
                            if to_client.write_all(&bytes[..count]).await.is_err() {
                                return;
                            }
                        }
                    });
                    let mut bytes = vec![0; 64 * 1024];
                    let mut messages = Messages::default();
                    while let Ok(count @ 1..) = from_client.read(&mut bytes).await {
                        let new = messages.take_in(&bytes[..count]);
                        if hold.load(Ordering::SeqCst)
                            && new.iter().any(|text| text.starts_with("P s"))
                        {
                            sender.send_replace(true);
                        }
                        said.lock().unwrap()[number].extend(new);
                        if to_server.write_all(&bytes[..count]).await.is_err() {
                            break;
                        }
                    }
                    drop(to_server);
                    let _ = answers.await;
                });
            }
        });
        wire
    }

    fn said(&self) -> Vec<Vec<String>> {
        self.said.lock().unwrap().clone()
    }
}

/// Splits the bytes of a client into messages (PostgreSQL manual, 55.7).
#[derive(Default)]
struct Messages {
    bytes: Vec<u8>,
    is_begun: bool,
}

impl Messages {
    /// Returns the new messages: their type and texts.
    fn take_in(&mut self, new: &[u8]) -> Vec<String> {
        self.bytes.extend_from_slice(new);
        let mut found = Vec::new();
        loop {
            let head = usize::from(self.is_begun);
            let Some(length) = self.bytes.get(head..head + 4) else {
                return found;
            };
            let length = u32::from_be_bytes(length.try_into().unwrap()) as usize;
            if self.bytes.len() < head + length {
                return found;
            }
            let message: Vec<u8> = self.bytes.drain(..head + length).collect();
            // The request for TLS comes before all else.
            if message[4..] == 80_877_103_u32.to_be_bytes() {
                continue;
            }
            if self.is_begun {
                let kind = char::from(message[0]);
                let body = String::from_utf8_lossy(&message[5..]);
                match kind {
                    // Parse: name and statement. Close: kind and name. Query: statement.
                    'P' => {
                        let mut texts = body.split('\0');
                        let (name, sql) = (texts.next().unwrap(), texts.next().unwrap());
                        found.push(format!("P {name} {}", sql.trim()));
                    }
                    'C' => found.push(format!("C {}", body[1..].trim_end_matches('\0'))),
                    'Q' => found.push(format!("Q {}", body.trim_end_matches('\0').trim())),
                    _ => found.push(kind.to_string()),
                }
            }
            self.is_begun = true;
        }
    }
}

/// Checks that each name is that of a COPY, and is closed before its transaction ends. Returns the number of names.
fn check_names(said: &[Vec<String>]) -> usize {
    let mut count = 0;
    for messages in said {
        let mut open: Option<String> = None;
        for message in messages {
            if let Some(named) = message.strip_prefix("P s") {
                let (name, sql) = named.split_once(' ').unwrap();
                assert!(sql.starts_with("COPY "), "{sql} has a name");
                assert_eq!(open.replace(format!("C s{name}")), None);
                count += 1;
            } else if open.as_ref() == Some(message) {
                open = None;
            } else if let Some(sql) = message.strip_prefix("Q ") {
                let ends = ["COMMIT", "ROLLBACK", "PREPARE TRANSACTION"];
                if sql.contains("DEALLOCATE ALL") {
                    open = None;
                }
                if ends.iter().any(|end| sql.starts_with(end)) {
                    assert_eq!(open, None, "a name is open when the server sends {sql}");
                }
            }
        }
    }
    count
}

// The proxy must run while the server starts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_of_copies_are_closed_before_their_transactions_end() {
    let database = Database::new().await;
    database
        .execute("CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE u (id int); CREATE VIEW v AS SELECT 1 AS id")
        .await;
    let wire = Wire::to(postgres(&database)).await;
    let server = Pgflight::start_at(&at(&database, &wire.address), &[]);
    let mut client = server.client().await;
    let rows = |values: &[i32]| batch(&[("id", ints(values))]);
    // A COPY that succeeds, and one that is rejected in the middle.
    client
        .put(Put::bare(path(&["t"]), &[rows(&[1])]))
        .await
        .unwrap();
    client
        .put(Put::bare(path(&["t"]), &[rows(&[1])]))
        .await
        .unwrap_err();
    // A write of many partitions, in two phases and staged.
    for (id, publish) in [("two", "PUBLISH_TWO_PHASE"), ("staged", "PUBLISH_STAGED")] {
        let spec = json!({"table": "u", "append": {"publish": publish}});
        client.begin(id, spec, &rows(&[])).await.unwrap();
        let receipt = client
            .put(Put::whole(attempt(id, 0, "a"), &[rows(&[1, 2])]))
            .await
            .unwrap();
        client.commit(id, &[receipt]).await.unwrap();
    }
    let keyed = json!({"table": "t", "upsert": {"keys": ["id"]}});
    client
        .put(Put::whole(write(keyed), &[rows(&[1, 5])]))
        .await
        .unwrap();
    assert_eq!(check_names(&wire.said()), 5);

    // A client that disconnects in the middle of the COPY. A runtime of its own stands for its process.
    let messages = Put::bare(path(&["t"]), &[rows(&[7])]).0;
    let send = || {
        let process = client_process();
        let (address, messages) = (server.address.clone(), messages.clone());
        process.spawn(async move {
            let endless = stream::iter(messages).chain(stream::pending());
            Client::connect(&address).await.put_stream(endless).await
        });
        process
    };
    let process = send();
    wait_until(async || database.text(COPIES).await == "1", "the COPY runs").await;
    process.shutdown_background();
    wait_until(
        async || database.text(COPIES).await == "0",
        "the COPY has ended",
    )
    .await;

    // A client that disconnects before the statement is known to be prepared.
    wire.hold.store(true, Ordering::SeqCst);
    let process = send();
    let mut held = wire.held.clone();
    held.wait_for(|held| *held).await.unwrap();
    process.shutdown_background();
    let has_forgotten = || {
        let said = wire.said();
        said.iter()
            .flatten()
            .any(|message| message.starts_with("Q ROLLBACK; DEALLOCATE ALL"))
    };
    wait_until(async || has_forgotten(), "the server closes all names").await;
    assert_eq!(check_names(&wire.said()), 7);
    assert_eq!(
        database
            .text("SELECT string_agg(id::text, ' ' ORDER BY id) FROM t")
            .await,
        "1 5"
    );
}
