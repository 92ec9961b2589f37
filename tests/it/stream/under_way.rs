//! Events during a stream: early errors, and a PostgreSQL that stalls.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::{ArrayRef, BinaryArray, Int32Array, Int64Array};
use arrow_flight::FlightData;
use futures_util::{Stream, StreamExt, stream};
use serde_json::json;
use tonic::Code;

use crate::support::{
    COPIES, COPYING, CallError, Client, Database, Pgflight, Put, attempt, batch, end_record, path,
    wait_until, write,
};

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
    let error = CallError::from(
        client
            .put_stream(messages)
            .await
            .expect_err("row 0 is refused"),
    );
    assert_eq!(error.code, Code::InvalidArgument, "{}", error.message);
    assert_eq!(error.details["sqlstate"], "23514");
    assert_eq!(error.details["constraint"], "not_negative");
    assert_eq!(error.details["row"], "0");
    let taken = taken.load(Ordering::SeqCst);
    assert!(taken <= 16, "{taken} MiB were taken after the row");
    assert_eq!(database.text("SELECT count(*) FROM t").await, "0");
    server.assert_unharmed("a row that is refused").await;
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
    let backend = database.text(&format!("SELECT pid FROM {COPYING}")).await;
    signal(&backend, "STOP");
    go_on.send(()).unwrap();
    let error = CallError::from(running.await.unwrap().expect_err("PostgreSQL stalls"));
    signal(&backend, "CONT");
    assert_eq!(error.code, Code::Unavailable, "{}", error.message);
    assert!(
        error.message.contains("--copy-stall-timeout"),
        "{}",
        error.message
    );
    wait_until(
        async || database.text(COPIES).await == "0",
        "the COPY has ended",
    )
    .await;
    assert_eq!(database.text("SELECT count(*) FROM t").await, "0");
}

/// Stalls every COPY into t until the lock with this number is free.
const STALLED_BY_LOCK: &str = "CREATE TABLE t (n int, b bytea);
    CREATE FUNCTION wait_for_lock() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN PERFORM pg_advisory_xact_lock_shared(7); RETURN NULL; END';
    CREATE TRIGGER t BEFORE INSERT ON t FOR EACH STATEMENT EXECUTE FUNCTION wait_for_lock();
    SELECT pg_advisory_lock(7)";

#[tokio::test(flavor = "multi_thread")]
async fn memory_stays_below_its_limit_while_postgresql_stalls() {
    const STREAMS: usize = 64;
    const BATCHES: usize = 3;
    const LIMIT: u64 = 512 << 20;
    let database = Database::new().await;
    database.execute(STALLED_BY_LOCK).await;
    // The operating system enforces the limit as well: beyond it, an allocation fails and the server aborts.
    let server = Pgflight::start_below(
        &database,
        LIMIT,
        &[
            "--max-message-size",
            "16MiB",
            "--memory-limit",
            "512MiB",
            "--max-copies",
            "48",
            "--lock-timeout",
            "5m",
        ],
    );
    let bytes: ArrayRef = Arc::new(BinaryArray::from(vec![&vec![b'x'; 8 * MIB / 64][..]; 64]));
    let numbers: ArrayRef = Arc::new(Int32Array::from_iter_values(0..64));
    let rows = batch(&[("n", numbers), ("b", bytes)]);
    let messages = Put::bare(path(&["t"]), &vec![rows; BATCHES]);
    let taken = Arc::new(AtomicUsize::new(0));
    let mut streams = tokio::task::JoinSet::new();
    for _ in 0..STREAMS {
        let (messages, taken) = (messages.clone(), Arc::clone(&taken));
        let mut client = server.client().await;
        streams.spawn(async move {
            let counted = stream::iter(messages.0).inspect(move |_| {
                taken.fetch_add(1, Ordering::SeqCst);
            });
            client.put_stream(counted).await
        });
    }
    wait_until(async || database.text(COPIES).await != "0", "COPYs stall").await;
    // Everything that the server accepts has arrived when a second passes without more.
    let mut before = (0, 0);
    wait_until(
        async || {
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            let now = (taken.load(Ordering::SeqCst), server.memory("VmRSS"));
            std::mem::replace(&mut before, now) == now
        },
        "the server takes no more",
    )
    .await;
    let mut client = server.client().await;
    let status = client.status("unknown").await.expect_err("no such write");
    assert_eq!(
        status.code(),
        Code::NotFound,
        "control calls do not wait: {status}"
    );

    database.execute("SELECT pg_advisory_unlock(7)").await;
    while let Some(receipt) = streams.join_next().await {
        assert_eq!(
            receipt.unwrap().unwrap()["rowCount"],
            (64 * BATCHES).to_string()
        );
    }
    let landed = database.text("SELECT count(*) FROM t").await;
    assert_eq!(landed, (64 * BATCHES * STREAMS).to_string());
    let peak = server.memory("VmHWM");
    eprintln!("peak {} MiB of {}", peak >> 20, LIMIT >> 20);
    assert!(peak < LIMIT, "{} MiB were resident", peak >> 20);
}

#[tokio::test]
async fn five_hundred_partitions_at_once_finish_on_eight_connections() {
    let database = Database::new().await;
    database.execute("CREATE TABLE t (n int)").await;
    let server = Pgflight::start_with(&database, &["--max-copies", "8"]);
    let rows = |n| batch(&[("n", Arc::new(Int32Array::from(vec![n])) as ArrayRef)]);
    let spec = json!({"table": "t", "append": {}});
    let mut client = server.client().await;
    client.begin("large", spec.clone(), &rows(0)).await.unwrap();
    client.begin("small", spec, &rows(0)).await.unwrap();
    let connections = futures_util::future::join_all((0..32).map(|_| server.client())).await;
    let mut streams = tokio::task::JoinSet::new();
    for partition in 0..500_u32 {
        let channel = connections[usize::try_from(partition).unwrap() % 32]
            .channel
            .clone();
        let put = Put::whole(
            attempt("large", partition, &format!("a{partition}")),
            &[rows(1)],
        );
        streams.spawn(async move { Client::over(channel).put(put).await });
    }
    // A write of one partition waits for a turn of the other, not for its five hundred.
    wait_until(
        async || streams.try_join_next().is_some(),
        "the large write is under way",
    )
    .await;
    let small = client
        .put(Put::whole(attempt("small", 0, "a"), &[rows(1)]))
        .await
        .unwrap();
    let mut receipts = Vec::new();
    let mut left = 0;
    while let Some(receipt) = streams.join_next().await {
        left += 1;
        receipts.push(receipt.unwrap().unwrap());
    }
    assert!(
        left > 250,
        "the small write came in before {left} of the large one"
    );
    client.commit("small", &[small]).await.unwrap();
    assert_eq!(database.text("SELECT count(*) FROM t").await, "1");
}

#[tokio::test]
async fn a_stream_that_waits_too_long_for_its_turn_is_unavailable() {
    let database = Database::new().await;
    database.execute(STALLED_BY_LOCK).await;
    let options = [
        "--max-copies",
        "1",
        "--copy-wait",
        "200ms",
        "--lock-timeout",
        "5m",
    ];
    let server = Pgflight::start_with(&database, &options);
    let mut first = server.client().await;
    let (messages, _) = long_stream(vec![1], 1);
    let running = tokio::spawn(async move { first.put_stream(messages).await });
    wait_until(async || database.text(COPIES).await == "1", "the COPY runs").await;
    let (messages, _) = long_stream(vec![1], 1);
    let mut client = server.client().await;
    let error = CallError::from(client.put_stream(messages).await.expect_err("no turn"));
    assert_eq!(error.code, Code::Unavailable, "{}", error.message);
    assert!(error.message.contains("--max-copies"), "{}", error.message);
    database.execute("SELECT pg_advisory_unlock(7)").await;
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_sender_that_sends_no_more_is_not_waited_for() {
    let database = Database::new().await;
    database.execute("CREATE TABLE t (n int, b bytea)").await;
    for (option, part) in [
        ("--idle-timeout", "no whole message"),
        ("--stream-timeout", "in all"),
    ] {
        let server = Pgflight::start_with(&database, &[option, "300ms"]);
        let mut client = server.client().await;
        let (messages, _) = long_stream(vec![1], 1);
        let endless = messages.chain(stream::pending());
        let error = CallError::from(client.put_stream(endless).await.expect_err(part));
        assert_eq!(error.code, Code::DeadlineExceeded, "{}", error.message);
        assert!(error.message.contains(option), "{}", error.message);
        assert_eq!(database.text("SELECT count(*) FROM t").await, "0");
        server.assert_unharmed(option).await;
    }
}

/// A new PostgreSQL process for each rejected stream would cost more than everything else in the stream.
#[tokio::test]
async fn rejected_and_dropped_streams_return_their_connection() {
    let database = Database::new().await;
    database
        .execute(
            "CREATE TABLE t (n int UNIQUE, by int NOT NULL DEFAULT pg_backend_pid(), b bytea);
             CREATE TABLE closed (n int);
             CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''closed''; END';
             CREATE TRIGGER closed BEFORE INSERT ON closed FOR EACH STATEMENT EXECUTE FUNCTION refuse();
             INSERT INTO t VALUES (0, 0)",
        )
        .await;
    let server = Pgflight::start_with(&database, &["--max-copies", "1"]);
    let mut client = server.client().await;
    let rows = |n: i64| batch(&[("n", Arc::new(Int64Array::from(vec![n])) as ArrayRef)]);
    let into = |mode: &str| {
        let options = match mode {
            "upsert" => json!({"keys": ["n"]}),
            _ => json!({}),
        };
        write(json!({"table": "t", mode: options}))
    };
    let cut = |mut put: Put| {
        put.0[1].data_header.truncate(20);
        put
    };
    let put = |n: i64| Put::bare(path(&["t"]), &[rows(n)]);
    let refused = [
        ("a message that is cut", cut(put(-1))),
        ("a value that does not go", put(1 << 40)),
        ("a row that is there", put(0)),
        ("an end record that lies", put(-1).and(end_record(2, 1))),
        (
            "no end record, over a temporary table",
            Put::bare(into("upsert"), &[rows(-1)]),
        ),
        (
            "no end record, into a table that was emptied",
            Put::bare(into("overwrite"), &[rows(-1)]),
        ),
        (
            "a table that does not exist",
            Put::bare(path(&["nowhere"]), &[rows(-1)]),
        ),
        (
            "a trigger that refuses all",
            Put::bare(path(&["closed"]), &[rows(-1)]),
        ),
    ];
    let mut sent = 0;
    for (what, stream) in refused {
        client.put(stream).await.expect_err(what);
        sent += 1;
        client.put(put(sent)).await.expect(what);
    }
    // A client that disconnects in the middle of its rows: its whole runtime is shut down.
    let unfinished = Put::bare(into("append"), &[rows(-1)]).0;
    let (go, gone) = tokio::sync::oneshot::channel::<()>();
    let address = server.address.clone();
    let leaving = std::thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let mut client = Client::connect(&address).await;
            let endless = stream::iter(unfinished).chain(stream::pending());
            tokio::select! {
                receipt = client.put_stream(endless) => panic!("{receipt:?}"),
                _ = gone => {}
            }
        });
    });
    wait_until(async || database.text(COPIES).await == "1", "the COPY runs").await;
    go.send(()).unwrap();
    leaving.join().unwrap();
    client.put(put(sent + 1)).await.unwrap();
    let landed =
        "SELECT count(*) || ':' || min(n) || ':' || max(n) || ':' || count(DISTINCT by) FROM t";
    assert_eq!(
        database.text(landed).await,
        "10:0:9:2",
        "all that was sound, by one process of PostgreSQL's beside the test's"
    );
}

#[tokio::test]
async fn connections_beyond_the_limit_are_closed_until_others_leave() {
    let database = Database::new().await;
    for option in ["--max-connections", "--max-connections-per-peer"] {
        let server = Pgflight::start_with(&database, &[option, "3"]);
        let mut guests = Vec::new();
        for _ in 0..3 {
            let mut client = server.client().await;
            client
                .status("w")
                .await
                .expect_err("no such write, but an answer");
            guests.push(client);
        }
        let refused = match Client::try_connect(&server.address).await {
            Ok(mut client) => client.status("w").await.expect_err("closed"),
            Err(status) => status,
        };
        assert_ne!(refused.code(), Code::NotFound, "{option}: {refused}");
        guests.pop();
        wait_until(
            async || match Client::try_connect(&server.address).await {
                Ok(mut client) => client
                    .status("w")
                    .await
                    .is_err_and(|s| s.code() == Code::NotFound),
                Err(_) => false,
            },
            "there is room again",
        )
        .await;
    }
}

fn signal(process: &str, name: &str) {
    let sent = Command::new("kill")
        .args([&format!("-{name}"), process])
        .status();
    assert!(sent.unwrap().success());
}
