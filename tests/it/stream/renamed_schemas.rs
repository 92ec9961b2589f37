//! Schemas that another session renames while a write runs: PostgreSQL finds tables by their names, and no lock keeps
//! the name of a schema.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, StringArray};
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::{Code, Status};

use super::fan_out::{SOON, batches};
use crate::support::{COPIES, Client, Database, Pgflight, Put, attempt, batch, wait_until, write};

/// A stream that sends its first batches, and the others on request.
fn held(
    server: &Pgflight,
    put: Put,
    first: usize,
) -> (JoinHandle<Result<Value, Status>>, oneshot::Sender<()>) {
    let (sender, receiver) = oneshot::channel();
    let mut messages = put.0;
    let rest = messages.split_off(first);
    let rest = stream::once(async move {
        receiver.await.unwrap();
        stream::iter(rest)
    });
    let messages = stream::iter(messages).chain(rest.flatten());
    let address = server.address.clone();
    let putting =
        tokio::spawn(async move { Client::connect(&address).await.put_stream(messages).await });
    (putting, sender)
}

/// Rows with a value that PostgreSQL stores apart, which makes a COPY see renamed schemas.
fn large() -> Vec<arrow::array::RecordBatch> {
    let text: String = (0..6_000_u32)
        .map(|n| format!("{:x}", n.wrapping_mul(2_654_435_761)))
        .collect();
    let large = batch(&[
        ("id", Arc::new(Int32Array::from(vec![-1])) as ArrayRef),
        ("text", Arc::new(StringArray::from(vec![text]))),
    ]);
    let mut all = vec![batches(None)[0].clone(), large];
    all.extend(batches(None));
    all
}

/// Another table of that name, in a schema that takes the place of `a`.
const OTHER: &str = "
    CREATE SCHEMA a; CREATE SCHEMA b; CREATE TABLE b.t (id int, text text);
    INSERT INTO b.t VALUES (1, 'old'), (2, 'old')";
const TURN: &str = "BEGIN; ALTER SCHEMA a RENAME TO c; ALTER SCHEMA b RENAME TO a; COMMIT";

#[tokio::test]
async fn a_schema_replaced_during_a_new_table_fails_the_stream() {
    let create = json!({"table": "a.t", "create": {}});
    let swap = json!({"table": "a.t", "overwrite": {"with": "OVERWRITE_WITH_SWAP"}});
    let one: [&str; 0] = [];
    for (options, spec, setup) in [
        (&SOON[..], &create, ""),
        (&one[..], &create, ""),
        (&SOON[..], &swap, "CREATE TABLE a.t (id int, text text)"),
        (&one[..], &swap, "CREATE TABLE a.t (id int, text text)"),
    ] {
        for is_whole in [true, false] {
            let what = format!("{spec} {options:?} {is_whole}");
            let database = Database::new().await;
            database.execute(OTHER).await;
            database.execute(setup).await;
            let server = Pgflight::start_with(&database, options);
            let put = match is_whole {
                true => Put::whole(write(spec.clone()), &large()),
                false => Put::bare(write(spec.clone()), &large()),
            };
            // The schema and the first batch.
            let (putting, sender) = held(&server, put, 2);
            let copies = async || database.text(COPIES).await == "1";
            wait_until(copies, "a COPY runs").await;
            database.execute(TURN).await;
            sender.send(()).unwrap();
            let status = putting.await.unwrap().expect_err(&what);
            let codes = [Code::FailedPrecondition, Code::InvalidArgument];
            assert!(codes.contains(&status.code()), "{what}: {status}");
            let rows = "SELECT string_agg(text, ' ') FROM a.t";
            assert_eq!(database.text(rows).await, "old old", "{what}");
            let left = "SELECT count(*) FROM pg_class WHERE relname LIKE '\\_pgflight\\_%'";
            let clean = async || database.text(left).await == "0";
            wait_until(clean, &what).await;
        }
    }
}

/// A table that keeps the session that writes to it waiting until `(7)` is unlocked.
const SLOW: &str = "
    CREATE SCHEMA a; CREATE SCHEMA b; CREATE TABLE a.t (id int PRIMARY KEY, text text);
    CREATE TABLE b.t (id int PRIMARY KEY, text text);
    CREATE FUNCTION b.wait() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN PERFORM pg_advisory_xact_lock(7); RETURN NULL; END';
    CREATE TRIGGER wait BEFORE INSERT ON b.t FOR EACH STATEMENT EXECUTE FUNCTION b.wait()";
const BACK: &str = "BEGIN; ALTER SCHEMA a RENAME TO b; ALTER SCHEMA c RENAME TO a; COMMIT";

/// Renames the schemas, and back once the write waits in the other table.
async fn there_and_back(
    database: &Database,
    writing: impl Future<Output = Result<Value, Status>> + Send + 'static,
) -> Status {
    database.execute("SELECT pg_advisory_lock(7)").await;
    database.execute(TURN).await;
    let writing = tokio::spawn(writing);
    let waits =
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 7 AND NOT granted
                 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    let waiting = async || database.text(waits).await == "1";
    wait_until(waiting, "the write waits in the other table").await;
    database.execute(BACK).await;
    database.execute("SELECT pg_advisory_unlock(7)").await;
    let status = writing.await.unwrap();
    status.expect_err("the rows are in the other table")
}

#[tokio::test]
async fn a_schema_renamed_there_and_back_fails_the_write() {
    let database = Database::new().await;
    database.execute(SLOW).await;
    let server = Pgflight::start(&database);
    let upsert = json!({"table": "a.t", "upsert": {"keys": ["id"]}});
    let rows = &batches(None)[..1];
    // The stream has found and locked its target when its first rows are copied.
    let put = Put::whole(write(upsert.clone()), rows);
    let last = put.0.len() - 1;
    let (putting, sender) = held(&server, put, last);
    let copies = async || database.text(COPIES).await == "1";
    wait_until(copies, "a COPY runs").await;
    let ending = async move {
        sender.send(()).unwrap();
        putting.await.unwrap()
    };
    let status = there_and_back(&database, ending).await;
    assert_eq!(status.code(), Code::FailedPrecondition, "{status}");
    let counts = "SELECT (SELECT count(*) FROM a.t) + (SELECT count(*) FROM b.t)";
    assert_eq!(database.text(counts).await, "0");
}

/// A change of a schema that is no renaming does not fail a write.
#[tokio::test]
async fn a_grant_on_the_schema_during_a_stream_changes_nothing() {
    let database = Database::new().await;
    database.execute(SLOW).await;
    let server = Pgflight::start(&database);
    for (spec, count) in [
        (json!({"table": "a.t", "append": {}}), "500"),
        (json!({"table": "a.t", "upsert": {"keys": ["id"]}}), "500"),
    ] {
        let put = Put::whole(write(spec), &batches(None)[..1]);
        let last = put.0.len() - 1;
        let (putting, sender) = held(&server, put, last);
        let copies = async || database.text(COPIES).await == "1";
        wait_until(copies, "a COPY runs").await;
        database
            .execute("GRANT USAGE ON SCHEMA a TO PUBLIC; REVOKE USAGE ON SCHEMA a FROM PUBLIC")
            .await;
        sender.send(()).unwrap();
        putting.await.unwrap().unwrap();
        assert_eq!(database.text("SELECT count(*) FROM a.t").await, count);
    }
}

#[tokio::test]
async fn an_abort_finds_its_table_in_a_renamed_schema_and_no_other() {
    let database = Database::new().await;
    database.execute("CREATE SCHEMA a").await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let rows = &batches(None)[0];
    let create = json!({"table": "a.t", "create": {}});
    client.begin("w", create, rows).await.unwrap();
    let put = Put::whole(attempt("w", 0, "a"), std::slice::from_ref(rows));
    client.put(put).await.unwrap();
    let name =
        "SELECT relname FROM pg_class WHERE relname LIKE '\\_pgflight\\_%' AND relkind = 'r'";
    let shadow = database.text(name).await;
    database
        .execute(&format!(
            "ALTER SCHEMA a RENAME TO c; CREATE SCHEMA a; CREATE TABLE a.{shadow} (id int)"
        ))
        .await;
    client.abort("w").await.unwrap();
    let left = "SELECT string_agg(relnamespace::regnamespace::text, ' ') FROM pg_class
                WHERE relname LIKE '\\_pgflight\\_%' AND relkind = 'r'";
    assert_eq!(database.text(left).await, "a");
}
