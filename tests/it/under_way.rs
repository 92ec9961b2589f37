//! What happens to a stream while it is under way: errors that come early, a PostgreSQL that stalls.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow_array::{ArrayRef, BinaryArray, Int32Array};
use arrow_flight::FlightData;
use futures_util::{Stream, StreamExt, stream};
use tonic::Code;

use crate::support::{COPIES, Database, Pgflight, Put, Told, batch, path, wait_until};

const MIB: usize = 1 << 20;

/// A stream into table t: a batch with these numbers, then batches of 1 MiB, and how many were taken.
fn long_stream(
    first: Vec<i32>,
    batch_count: usize,
) -> (
    impl Stream<Item = FlightData> + Send + 'static,
    Arc<AtomicUsize>,
) {
    let bytes = |size: usize, rows: usize| {
        let row = vec![b'x'; size / rows];
        Arc::new(BinaryArray::from(vec![row.as_slice(); rows])) as ArrayRef
    };
    let head: ArrayRef = Arc::new(Int32Array::from(first.clone()));
    let head = batch(&[("n", head), ("b", bytes(first.len(), first.len()))]);
    let large: ArrayRef = Arc::new(Int32Array::from_iter_values(0..64));
    let large = batch(&[("n", large), ("b", bytes(MIB, 64))]);
    let mut messages = Put::bare(path(&["t"]), &[head, large]).0;
    let large = messages.pop().unwrap();
    let taken = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&taken);
    let rest = stream::iter(std::iter::repeat_n(large, batch_count)).inspect(move |_| {
        counter.fetch_add(1, Ordering::SeqCst);
    });
    (stream::iter(messages).chain(rest), taken)
}

#[tokio::test]
async fn an_error_in_the_first_row_ends_the_stream_soon() {
    let database = Database::new().await;
    database
        .execute("CREATE TABLE t (n int CONSTRAINT not_negative CHECK (n >= 0), b bytea)")
        .await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let (messages, taken) = long_stream(vec![-1], 300);
    let told = Told::from(
        client
            .put_stream(messages)
            .await
            .expect_err("row 0 is refused"),
    );
    assert_eq!(told.code, Code::InvalidArgument, "{}", told.message);
    assert_eq!(told.details["sqlstate"], "23514");
    assert_eq!(told.details["constraint"], "not_negative");
    assert_eq!(told.details["row"], "0");
    let taken = taken.load(Ordering::SeqCst);
    assert!(taken <= 16, "{taken} MiB were taken after the row");
    assert_eq!(database.text("SELECT count(*) FROM t").await, "0");
}

#[tokio::test]
async fn a_copy_that_postgresql_no_longer_takes_is_ended() {
    let database = Database::new().await;
    database.execute("CREATE TABLE t (n int, b bytea)").await;
    let server = Pgflight::start_with(&database, &["--copy-stall-timeout", "1s"]);
    let mut client = server.client().await;
    let (messages, _) = long_stream(vec![1], 300);
    let (go_on, stopped) = tokio::sync::oneshot::channel::<()>();
    let mut messages = Box::pin(messages);
    let head = stream::iter([
        messages.next().await.unwrap(),
        messages.next().await.unwrap(),
    ]);
    let messages = head.chain(stream::once(stopped).flat_map(move |_| {
        let (rest, _) = long_stream(vec![1], 300);
        rest.skip(2)
    }));
    let running = tokio::spawn(async move { client.put_stream(messages).await });
    wait_until(async || database.text(COPIES).await == "1", "the COPY runs").await;
    let backend = database
        .text("SELECT pid FROM pg_stat_progress_copy WHERE datname = current_database()")
        .await;
    signal(&backend, "STOP");
    go_on.send(()).unwrap();
    let told = Told::from(running.await.unwrap().expect_err("PostgreSQL stands still"));
    signal(&backend, "CONT");
    assert_eq!(told.code, Code::Unavailable, "{}", told.message);
    assert!(
        told.message.contains("--copy-stall-timeout"),
        "{}",
        told.message
    );
    wait_until(
        async || database.text(COPIES).await == "0",
        "the COPY has ended",
    )
    .await;
    assert_eq!(database.text("SELECT count(*) FROM t").await, "0");
}

fn signal(process: &str, name: &str) {
    let sent = Command::new("kill")
        .args([&format!("-{name}"), process])
        .status();
    assert!(sent.unwrap().success());
}
