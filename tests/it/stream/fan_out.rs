//! One stream into a new table over several connections: the result is the same as over one.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray};
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::{Code, Status};

use crate::support::{
    COPIES, CallError, Client, Database, Pgflight, Put, batch, client_process, metric, wait_until,
    write,
};

/// Three connections, after few bytes.
pub(crate) const SOON: [&str; 4] = ["--fan-out", "3", "--fan-out-after", "1MiB"];
const ROWS: i32 = 500;
const BATCHES: i32 = 40;
/// Tables of pgflight that are not renamed yet, and writes that have not ended.
const LEFT: &str = "SELECT (SELECT count(*) FROM pg_class WHERE relname LIKE '\\_pgflight\\_%')
                    + (SELECT count(*) FROM pgflight.write WHERE state = 'open')";

/// Batches of some 260 KiB with consecutive ids. The caller gives the last id, which may be a wrong one.
pub(crate) fn batches(last: Option<i32>) -> Vec<RecordBatch> {
    let of = |number: i32| {
        let mut ids: Vec<i32> = (number * ROWS..(number + 1) * ROWS).collect();
        if let (Some(last), true) = (last, number == BATCHES - 1) {
            *ids.last_mut().unwrap() = last;
        }
        let texts = ids
            .iter()
            .map(|id| Some(format!("{id:0>500}")))
            .collect::<StringArray>();
        batch(&[
            ("id", Arc::new(Int32Array::from(ids)) as ArrayRef),
            ("text", Arc::new(texts)),
        ])
    };
    (0..BATCHES).map(of).collect()
}

fn spec(table: &str, mode: &str) -> Value {
    json!({"table": table, mode: {}})
}

async fn setup(options: &[&str]) -> (Database, Pgflight, Client) {
    let database = Database::new().await;
    let server = Pgflight::start_with(&database, options);
    let client = server.client().await;
    (database, server, client)
}

async fn check_whole(database: &Database, table: &str) {
    let found = database
        .text(&format!(
            "SELECT count(*) || ' ' || count(DISTINCT id) || ' ' || sum(id) || ' ' || bool_and(text::int = id) FROM {table}"
        ))
        .await;
    let count = i64::from(ROWS * BATCHES);
    let sum = count * (count - 1) / 2;
    assert_eq!(found, format!("{count} {count} {sum} true"), "{table}");
}

#[tokio::test]
async fn a_long_stream_fans_out_and_lands_once() {
    let (database, _server, mut client) = setup(&SOON).await;
    database
        .execute("CREATE TABLE old (id int PRIMARY KEY, text text NOT NULL); INSERT INTO old VALUES (-1, 'old')")
        .await;
    let swap = json!({"table": "old", "overwrite": {"with": "OVERWRITE_WITH_SWAP"}});
    let keyed = json!({"table": "keyed", "create": {"newTable": {"primaryKey": ["id"]}}});
    for (spec, table) in [
        (spec("made", "create"), "made"),
        (spec("replaced", "overwrite"), "replaced"),
        (keyed, "keyed"),
        (swap, "old"),
    ] {
        let put = Put::whole(write(spec), &batches(None));
        let receipt = client.put(put).await.unwrap();
        assert_eq!(receipt["rowCount"], "20000");
        assert_eq!(receipt["table"], format!("public.{table}"));
        check_whole(&database, table).await;
        let lanes = format!("SELECT count(DISTINCT xmin::text) FROM {table}");
        assert_eq!(database.text(&lanes).await, "4", "the first, then three");
        let recorded =
            "SELECT state || ' ' || row_count || ' ' || attempt_count FROM pgflight.write";
        assert_eq!(database.text(recorded).await, "committed 20000 4");
        assert_eq!(database.text(LEFT).await, "0");
        database.execute("TRUNCATE pgflight.write CASCADE").await;
    }
    assert_eq!(
        database.text("SELECT count(*) FROM pg_index WHERE indrelid IN ('old'::regclass, 'keyed'::regclass)").await,
        "2",
        "keys are there"
    );
}

#[tokio::test]
async fn short_streams_and_named_tables_use_one_connection() {
    let no_room = [&SOON[..], &["--max-copies", "1"]].concat();
    let append = json!({"table": "t", "append": {"createIfMissing": {}}});
    let if_exists = json!({"table": "t", "create": {"ifExists": "IF_EXISTS_APPEND"}});
    let create = || spec("t", "create");
    let cases: [(&[&str], Value, usize); 5] = [
        (&SOON, create(), 1),
        (&SOON, append, 40),
        (&SOON, if_exists, 40),
        (&no_room, create(), 40),
        (&["--fan-out", "1", "--fan-out-after", "1KiB"], create(), 40),
    ];
    for (options, spec, count) in cases {
        let (database, _server, mut client) = setup(options).await;
        let put = Put::whole(write(spec.clone()), &batches(None)[..count]);
        client.put(put).await.unwrap();
        let lanes = "SELECT count(DISTINCT xmin::text) FROM t";
        assert_eq!(database.text(lanes).await, "1", "{options:?} {spec}");
        let ledger = "SELECT to_regclass('pgflight.write') IS NULL";
        assert_eq!(database.text(ledger).await, "true", "no ledger is needed");
    }
}

#[tokio::test]
async fn a_role_that_may_make_no_ledger_still_writes() {
    let (database, _server, _client) = setup(&[]).await;
    let role = format!("loader_{}", std::process::id());
    database
        .execute(&format!(
            "DROP ROLE IF EXISTS {role}; CREATE ROLE {role} LOGIN; GRANT CREATE ON SCHEMA public TO {role}"
        ))
        .await;
    let server = Pgflight::start_at(&database.url_as(&role), &SOON);
    let mut client = server.client().await;
    let put = Put::whole(write(spec("t", "create")), &batches(None));
    client.put(put).await.unwrap();
    check_whole(&database, "t").await;
    drop(server);
    database
        .execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}"))
        .await;
}

#[tokio::test]
async fn a_stream_that_fails_late_names_its_row_and_leaves_nothing() {
    let (database, _server, mut client) = setup(&SOON).await;
    database
        .execute("CREATE DOMAIN few AS int CHECK (VALUE >= 0)")
        .await;
    let domain = json!({"table": "t", "create": {}, "columnTypes": {"id": "few"}});
    let small = json!({"table": "t", "create": {}, "columnTypes": {"id": "smallint"}});
    let keyed = json!({"table": "t", "create": {"newTable": {"primaryKey": ["id"]}}});
    let whole = |spec: &Value, last| Put::whole(write(spec.clone()), &batches(last));
    let cases = [
        (
            whole(&domain, Some(-5)),
            Code::InvalidArgument,
            Some("19999"),
            "few",
        ),
        (
            whole(&small, Some(70_000)),
            Code::InvalidArgument,
            Some("19999"),
            "range",
        ),
        (
            whole(&keyed, Some(7)),
            Code::InvalidArgument,
            None,
            "unique",
        ),
        (
            Put::bare(write(spec("t", "create")), &batches(None)),
            Code::InvalidArgument,
            None,
            "without its end record",
        ),
    ];
    for (put, code, row, words) in cases {
        let error = CallError::from(client.put(put).await.expect_err(words));
        assert_eq!(error.code, code, "{}", error.message);
        assert!(error.message.contains(words), "{}", error.message);
        assert_eq!(
            error.details.get("row").map(String::as_str),
            row,
            "{}",
            error.message
        );
        assert_eq!(
            error.details.get("table").map(String::as_str),
            Some("public.t")
        );
        assert!(!error.message.contains("_pgflight_"), "{}", error.message);
        assert_eq!(database.text(LEFT).await, "0", "{words}");
        let there = "SELECT to_regclass('t') IS NULL";
        assert_eq!(database.text(there).await, "true", "{words}");
    }
}

#[tokio::test]
async fn a_client_that_leaves_in_mid_stream_leaves_nothing() {
    let (database, server, _client) = setup(&SOON).await;
    let messages = Put::bare(write(spec("t", "create")), &batches(None)).0;
    let process = client_process();
    let address = server.address.clone();
    process.spawn(async move {
        let endless = stream::iter(messages).chain(stream::pending());
        Client::connect(&address).await.put_stream(endless).await
    });
    wait_until(
        async || database.text(COPIES).await == "3",
        "three COPYs run",
    )
    .await;
    process.shutdown_background();
    wait_until(
        async || database.text(LEFT).await == "0",
        "all is cleaned up",
    )
    .await;
    assert_eq!(
        database.text("SELECT to_regclass('t') IS NULL").await,
        "true"
    );
    assert_eq!(
        database.text("SELECT state FROM pgflight.write").await,
        "aborted"
    );
}

#[tokio::test]
async fn a_client_that_leaves_while_its_stream_fails_leaves_nothing() {
    let options = [&SOON[..], &["--metrics-listen", "127.0.0.1:0"]].concat();
    let (database, server, _client) = setup(&options).await;
    let messages = Put::bare(write(spec("t", "create")), &batches(None)).0;
    let process = client_process();
    let address = server.address.clone();
    let (end, ended) = oneshot::channel::<()>();
    process.spawn(async move {
        // Without an end record, the end is a failure.
        let end = stream::once(ended).flat_map(|_| stream::empty());
        let messages = stream::iter(messages).chain(end);
        Client::connect(&address).await.put_stream(messages).await
    });
    let three = async || database.text(COPIES).await == "3";
    wait_until(three, "three COPYs run").await;
    database
        .execute("BEGIN; SELECT FROM pgflight.write FOR UPDATE")
        .await;
    end.send(()).unwrap();
    let waiting = "SELECT count(*) FROM pg_stat_activity
                   WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let waits = async || {
        // Within a transaction, PostgreSQL repeats the sessions of the first query.
        database.execute("SELECT pg_stat_clear_snapshot()").await;
        database.text(waiting).await == "1"
    };
    wait_until(waits, "the server aborts the write").await;
    process.shutdown_background();
    let left = async || metric(&server.monitor, "pgflight_streams_active").await == 0.0;
    wait_until(left, "the client has left").await;
    database.execute("COMMIT").await;
    let clean = async || database.text(LEFT).await == "0";
    wait_until(clean, "all is cleaned up").await;
}

/// A stream that makes `t`, has sent its rows by three COPYs, and sends its end on request.
async fn held_open(
    database: &Database,
    server: &Pgflight,
) -> (JoinHandle<Result<Value, Status>>, oneshot::Sender<()>) {
    let (sender, receiver) = oneshot::channel();
    let mut messages = Put::whole(write(spec("t", "create")), &batches(None)).0;
    let last = messages.pop();
    let rest = stream::once(async move {
        receiver.await.unwrap();
        stream::iter(last)
    });
    let messages = stream::iter(messages).chain(rest.flatten());
    let address = server.address.clone();
    let putting =
        tokio::spawn(async move { Client::connect(&address).await.put_stream(messages).await });
    wait_until(
        async || database.text(COPIES).await == "3",
        "three COPYs run",
    )
    .await;
    (putting, sender)
}

#[tokio::test]
async fn a_table_that_another_session_creates_meanwhile_is_kept() {
    let (database, server, _client) = setup(&SOON).await;
    let (putting, sender) = held_open(&database, &server).await;
    database.execute("CREATE TABLE t (his int)").await;
    sender.send(()).unwrap();
    let status = putting.await.unwrap().expect_err("the name is taken");
    assert_eq!(status.code(), Code::AlreadyExists, "{status}");
    assert_eq!(database.text("SELECT count(*) FROM t").await, "0");
    assert_eq!(database.text(LEFT).await, "0");
}

#[tokio::test]
async fn rows_of_other_sessions_in_the_shadow_are_not_published() {
    let (database, server, _client) = setup(&SOON).await;
    database
        .execute("ALTER DEFAULT PRIVILEGES GRANT INSERT ON TABLES TO PUBLIC")
        .await;
    let (putting, sender) = held_open(&database, &server).await;
    let name =
        "SELECT relname FROM pg_class WHERE relname LIKE '\\_pgflight\\_%' AND relkind = 'r'";
    let shadow = database.text(name).await;
    database
        .execute(&format!("INSERT INTO {shadow} VALUES (-7, '-7')"))
        .await;
    sender.send(()).unwrap();
    putting.await.unwrap().unwrap();
    check_whole(&database, "t").await;
}

#[tokio::test]
async fn clients_cannot_begin_a_write_of_the_server() {
    let (database, _server, mut client) = setup(&SOON).await;
    database.execute("CREATE TABLE t (id int, text text)").await;
    let rows = &batches(None)[0];
    let begun = client.begin("stream:mine", spec("t", "append"), rows);
    let status = begun.await.expect_err("not one's own");
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    assert!(
        status.message().contains("reserved for the server"),
        "{status}"
    );
}
