//! Appends in two phases: attempts wait as prepared transactions, with their rows in the target.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, RecordBatch};
use serde_json::{Value, json};
use tonic::Code;

use crate::support::{Client, Cluster, Database, Pgflight, Put, attempt, batch, wait_until};

const PREPARED: &str = "SELECT count(*) FROM pg_prepared_xacts WHERE database = current_database()";

fn rows(values: &[i32]) -> RecordBatch {
    batch(&[("n", Arc::new(Int32Array::from(values.to_vec())) as ArrayRef)])
}

fn append(publish: &str) -> Value {
    json!({"table": "t", "append": {"publish": publish}})
}

async fn setup(sql: &str, options: &[&str]) -> (Database, Pgflight, Client) {
    let database = Database::new().await;
    database.execute(sql).await;
    let server = Pgflight::start_with(&database, options);
    let client = server.client().await;
    (database, server, client)
}

async fn send(client: &mut Client, id: (&str, u32, &str), values: &[i32]) -> Value {
    let put = Put::whole(attempt(id.0, id.1, id.2), &[rows(values)]);
    client.put(put).await.unwrap()
}

#[tokio::test]
async fn only_accepted_attempts_become_visible() {
    let (database, _server, mut client) = setup("CREATE TABLE t (n int)", &[]).await;
    let begun = append("PUBLISH_UNSPECIFIED");
    client.begin("w", begun, &rows(&[])).await.unwrap();
    let first = send(&mut client, ("w", 0, "p0"), &[1, 2]).await;
    send(&mut client, ("w", 1, "p1-cut"), &[3]).await;
    let second = send(&mut client, ("w", 1, "p1"), &[3, 4]).await;
    let again = send(&mut client, ("w", 1, "p1"), &[3, 4]).await;
    assert_eq!(again, second, "the same attempt, the same receipt");
    assert_eq!(database.text(PREPARED).await, "3");
    assert_eq!(database.text("SELECT n FROM t").await, "");

    let receipts = [first, second];
    let committed = client.commit("w", &receipts).await.unwrap();
    assert_eq!(committed["state"], "WRITE_STATE_COMMITTED");
    assert_eq!(committed["rowCount"], "4");
    assert_eq!(database.text("SELECT n FROM t ORDER BY n").await, "1,2,3,4");
    assert_eq!(database.text(PREPARED).await, "0");
    assert_eq!(client.commit("w", &receipts).await.unwrap(), committed);
    assert_eq!(client.abort("w").await.unwrap(), committed);
}

/// Every role sees the names of prepared transactions, and may use one that is free.
#[tokio::test]
async fn a_name_that_another_role_takes_does_not_stop_a_decided_write() {
    let (database, _server, mut client) = setup("CREATE TABLE t (n int)", &[]).await;
    let other = format!("other_{}", database.text("SELECT current_database()").await);
    let spec = append("PUBLISH_TWO_PHASE");
    client.begin("w", spec, &rows(&[])).await.unwrap();
    let receipts = [
        send(&mut client, ("w", 0, "a"), &[1]).await,
        send(&mut client, ("w", 1, "b"), &[2]).await,
    ];
    // As after a crash in the second phase: the write is decided, and one attempt is committed.
    let gid = database
        .text("SELECT gid FROM pgflight.attempt WHERE attempt_id = 'a'")
        .await;
    database
        .execute(
            "UPDATE pgflight.attempt SET accepted = true; UPDATE pgflight.write SET state = 'committing', row_count = 2",
        )
        .await;
    database.execute(&format!("COMMIT PREPARED '{gid}'")).await;
    database
        .execute(&format!(
            "CREATE ROLE {other}; GRANT INSERT ON t TO {other}"
        ))
        .await;
    database
        .execute(&format!(
            "BEGIN; SET LOCAL ROLE {other}; INSERT INTO t VALUES (99); PREPARE TRANSACTION '{gid}'"
        ))
        .await;
    let committed = client.commit("w", &receipts).await.unwrap();
    assert_eq!(committed["state"], "WRITE_STATE_COMMITTED");
    assert_eq!(database.text("SELECT n FROM t ORDER BY n").await, "1,2");
    wait_until(
        async || database.text(PREPARED).await == "0",
        "the other transaction of that name is rolled back",
    )
    .await;
    database
        .execute(&format!("DROP OWNED BY {other}; DROP ROLE {other}"))
        .await;
}

#[tokio::test]
async fn an_abort_and_an_expiry_leave_nothing_prepared() {
    let options = ["--reaper-interval", "50ms", "--prepared-ttl", "400ms"];
    let (database, _server, mut client) = setup("CREATE TABLE t (n int)", &options).await;
    for id in ["aborted", "expired"] {
        let spec = append("PUBLISH_TWO_PHASE");
        client.begin(id, spec, &rows(&[])).await.unwrap();
        send(&mut client, (id, 0, "a"), &[1]).await;
        if id == "aborted" {
            client.abort(id).await.unwrap();
            assert_eq!(database.text(PREPARED).await, "0");
        }
    }
    wait_until(
        async || database.text(PREPARED).await == "0",
        "the expired one is rolled back",
    )
    .await;
    let states = "SELECT state FROM pgflight.write ORDER BY write_id";
    assert_eq!(database.text(states).await, "aborted,aborted");
    assert_eq!(database.text("SELECT n FROM t").await, "");
}

#[tokio::test]
async fn tables_that_prepared_transactions_do_not_suit_are_staged() {
    let cases = [
        ("n int PRIMARY KEY", "", "unique index"),
        (
            "n int, EXCLUDE USING btree (n WITH =)",
            "",
            "exclusion constraint",
        ),
        ("n int REFERENCES other", "", "foreign keys"),
        (
            "n int",
            "CREATE RULE r AS ON INSERT TO t DO ALSO NOTHING",
            "rules",
        ),
        ("n int", "ALTER TABLE t SET UNLOGGED", "unlogged"),
        (
            "n int",
            "ALTER TABLE t ENABLE ROW LEVEL SECURITY",
            "row-level security",
        ),
        (
            "n int",
            "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
             CREATE TRIGGER watched BEFORE INSERT ON t EXECUTE FUNCTION f()",
            "triggers",
        ),
    ];
    let (database, _server, mut client) = setup("", &[]).await;
    for (number, (columns, sql, obstacle)) in cases.into_iter().enumerate() {
        database
            .execute(&format!(
                "DROP SCHEMA public CASCADE; CREATE SCHEMA public; CREATE TABLE other (n int PRIMARY KEY);
                 CREATE TABLE t ({columns}); {sql}"
            ))
            .await;
        let spec = append("PUBLISH_TWO_PHASE");
        let refused = client
            .begin("w", spec, &rows(&[]))
            .await
            .expect_err(obstacle);
        assert_eq!(refused.code(), Code::Unimplemented, "{refused}");
        assert!(refused.message().contains(obstacle), "{refused}");
        let id = format!("w{number}");
        let spec = append("PUBLISH_UNSPECIFIED");
        client.begin(&id, spec, &rows(&[])).await.unwrap();
        let publish = format!("SELECT publish FROM pgflight.write WHERE write_id = '{id}'");
        assert_eq!(database.text(&publish).await, "append", "{obstacle}");
        client.abort(&id).await.unwrap();
    }
}

#[tokio::test]
async fn attempts_without_a_slot_are_staged_and_published_together() {
    let cluster = Cluster::start_with(&["max_prepared_transactions=1"]);
    let database = Database::on(&cluster.url).await;
    database.execute("CREATE TABLE t (n int)").await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let spec = append("PUBLISH_TWO_PHASE");
    client.begin("w", spec, &rows(&[])).await.unwrap();
    let mut receipts = Vec::new();
    for (partition, id) in [(0, "a"), (1, "b"), (2, "c")] {
        receipts.push(send(&mut client, ("w", partition, id), &[1]).await);
    }
    send(&mut client, ("w", 2, "unaccepted"), &[1]).await;
    let prepared = "SELECT count(gid) FROM pgflight.attempt";
    assert_eq!(database.text(prepared).await, "1");
    client.commit("w", &receipts).await.unwrap();
    assert_eq!(database.text("SELECT count(*) FROM t").await, "3");
    assert_eq!(database.text(PREPARED).await, "0");
}

#[tokio::test]
async fn a_prepared_transaction_ended_by_hand_is_reported_lost() {
    let (database, _server, mut client) = setup("CREATE TABLE t (n int)", &[]).await;
    let spec = append("PUBLISH_TWO_PHASE");
    client.begin("w", spec, &rows(&[])).await.unwrap();
    let receipts = [
        send(&mut client, ("w", 0, "a"), &[1]).await,
        send(&mut client, ("w", 1, "b"), &[2]).await,
    ];
    let gid = "SELECT min(gid) FROM pg_prepared_xacts WHERE database = current_database()";
    let gid = database.text(gid).await;
    database
        .execute(&format!("ROLLBACK PREPARED '{gid}'"))
        .await;
    let lost = client.commit("w", &receipts).await.expect_err("lost");
    assert_eq!(lost.code(), Code::FailedPrecondition);
    assert!(lost.message().contains("prepared_lost: 1 of 2"), "{lost}");
    assert_eq!(database.text("SELECT n FROM t").await, "");
    assert_eq!(database.text(PREPARED).await, "0");
}

#[tokio::test]
async fn a_commit_does_not_wait_for_sessions_blocked_by_its_attempts() {
    let (database, _server, mut client) = setup("CREATE TABLE t (n int)", &[]).await;
    let spec = append("PUBLISH_TWO_PHASE");
    client.begin("w", spec, &rows(&[])).await.unwrap();
    let receipt = send(&mut client, ("w", 0, "a"), &[1]).await;
    let other = Database::connect(&database.url).await;
    let altered = tokio::spawn(async move { other.batch_execute("ALTER TABLE t ADD z int").await });
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
                   AND wait_event_type = 'Lock'";
    wait_until(
        async || database.text(waiting).await == "1",
        "the ALTER waits",
    )
    .await;
    client.commit("w", &[receipt]).await.unwrap();
    altered.await.unwrap().unwrap();
    assert_eq!(database.text("SELECT n FROM t").await, "1");
}

#[tokio::test]
async fn prepared_transactions_of_strangers_hold_up_nothing() {
    let options = ["--reaper-interval", "50ms", "--write-ttl", "300ms"];
    let (database, _server, mut client) = setup("CREATE TABLE t (n int)", &options).await;
    database
        .execute("BEGIN; PREPARE TRANSACTION 'pgflight:not ours'")
        .await;
    let spec = append("PUBLISH_STAGED");
    client.begin("w", spec, &rows(&[])).await.unwrap();
    let staged = "SELECT count(*) FROM pg_class WHERE relname LIKE 'staging%'";
    wait_until(
        async || database.text(staged).await == "0",
        "the expired write is cleaned up",
    )
    .await;
    assert_eq!(database.text(PREPARED).await, "1");
}
