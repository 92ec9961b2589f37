//! The number of round trips of a write to PostgreSQL.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow_flight::FlightDescriptor;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{Client, Database, Pgflight, Put, batch, json as message};

/// A proxy before PostgreSQL that counts round trips: how often the server sends something after PostgreSQL has
/// answered.
#[derive(Default)]
struct Counter {
    round_trips: AtomicUsize,
    has_answered: AtomicBool,
}

impl Counter {
    /// The database's URL through the counter.
    async fn before(self: &Arc<Self>, database: &Database) -> String {
        let (before, rest) = database.url.split_once("@127.0.0.1:").unwrap();
        let (port, rest) = rest.split_once('/').unwrap();
        let postgres = format!("127.0.0.1:{port}");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let counter = Arc::clone(self);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&postgres).await.unwrap();
                tokio::spawn(Arc::clone(&counter).pass_on(client, server));
            }
        });
        format!("{before}@{address}/{rest}")
    }

    async fn pass_on(self: Arc<Self>, mut client: TcpStream, mut server: TcpStream) {
        let (mut asked, mut answered) = ([0; 65536], [0; 65536]);
        loop {
            tokio::select! {
                Ok(count @ 1..) = client.read(&mut asked) => {
                    if self.has_answered.swap(false, Ordering::SeqCst) {
                        self.round_trips.fetch_add(1, Ordering::SeqCst);
                    }
                    server.write_all(&asked[..count]).await.unwrap();
                }
                Ok(count @ 1..) = server.read(&mut answered) => {
                    self.has_answered.store(true, Ordering::SeqCst);
                    client.write_all(&answered[..count]).await.unwrap();
                }
                else => return,
            }
        }
    }

    fn take(&self) -> usize {
        self.round_trips.swap(0, Ordering::SeqCst)
    }
}

fn rows(ids: std::ops::Range<i64>) -> RecordBatch {
    batch(&[(
        "id",
        Arc::new(Int64Array::from_iter_values(ids)) as ArrayRef,
    )])
}

async fn check(setup: &str, spec: Value, most: usize) {
    let database = Database::new().await;
    database.execute(setup).await;
    let counter = Arc::new(Counter::default());
    let url = counter.before(&database).await;
    let server = Pgflight::start_at(&url, &[]);
    let mut client: Client = server.client().await;
    let mut counts = Vec::new();
    // The first write opens the connection. An answer that arrives in pieces can count twice, so the fewest count.
    for start in (0..80).step_by(10) {
        counter.take();
        let fields = json!({"spec": spec});
        let descriptor = FlightDescriptor::new_cmd(message("WriteCommand", fields));
        let written = client.put(Put::whole(descriptor, &[rows(start..start + 10)]));
        written.await.unwrap();
        counts.push(counter.take());
    }
    let fewest = counts.iter().skip(1).min().unwrap();
    assert!(*fewest <= most, "{spec}: {counts:?} round trips");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_append_takes_eight_round_trips() {
    let spec = json!({"table": "t", "append": {}});
    check("CREATE TABLE t (id int8)", spec, 8).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overwrite_takes_nine_round_trips() {
    let spec = json!({"table": "t", "overwrite": {}});
    check("CREATE TABLE t (id int8)", spec, 9).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upsert_takes_thirteen_round_trips() {
    let spec = json!({"table": "t", "upsert": {"keys": ["id"]}});
    check("CREATE TABLE t (id int8 PRIMARY KEY)", spec, 13).await;
}
