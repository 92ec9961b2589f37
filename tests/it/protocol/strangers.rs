//! Calls about a write of another client: they cannot end a write that a server makes for a stream, and a list of
//! receipts that is empty by mistake publishes nothing.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, RecordBatch};
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tonic::{Code, Status};

use crate::stream::fan_out::{SOON, batches};
use crate::support::{Client, Database, Pgflight, Put, attempt, batch, wait_until, write};

const OPEN: &str = "SELECT write_id FROM pgflight.write WHERE state = 'open'";

/// A stream over several connections that has sent its rows, and sends its end after `go_on`.
struct Held {
    database: Database,
    server: Pgflight,
    id: String,
    go_on: oneshot::Sender<()>,
    sent: tokio::task::JoinHandle<Result<Value, Status>>,
}

impl Held {
    async fn new(spec: Value) -> Self {
        let database = Database::new().await;
        database
            .execute(
                "CREATE TABLE old AS SELECT id, 'old' AS text FROM generate_series(1, 1000) id",
            )
            .await;
        let server = Pgflight::start_with(&database, &SOON);
        let mut client = server.client().await;
        let mut messages = Put::whole(write(spec), &batches(None)).0;
        let end = messages.pop().unwrap();
        let (go_on, word) = oneshot::channel();
        let rest = stream::once(async {
            word.await.ok();
            end
        });
        let sent =
            tokio::spawn(
                async move { client.put_stream(stream::iter(messages).chain(rest)).await },
            );
        let is_there = "SELECT to_regclass('pgflight.write') IS NOT NULL";
        wait_until(async || database.text(is_there).await == "true", "a ledger").await;
        wait_until(
            async || !database.text(OPEN).await.is_empty(),
            "it fans out",
        )
        .await;
        let id = database.text(OPEN).await;
        assert!(id.starts_with("stream:"), "{id}");
        Self {
            database,
            server,
            id,
            go_on,
            sent,
        }
    }

    async fn count(&self, table: &str) -> String {
        self.database
            .text(&format!("SELECT count(*) FROM {table}"))
            .await
    }
}

fn swap() -> Value {
    json!({"table": "old", "overwrite": {"with": "OVERWRITE_WITH_SWAP"}})
}

#[tokio::test]
async fn no_client_ends_or_feeds_a_stream_that_a_server_drives() {
    for (spec, table) in [
        (swap(), "old"),
        (json!({"table": "new", "create": {}}), "new"),
    ] {
        let held = Held::new(spec).await;
        let mut stranger = held.server.client().await;
        let (id, one) = (held.id.as_str(), batches(None).remove(0));
        let put = Put::whole(attempt(id, 99, "lane-99"), &[one]);
        let lane = json!({"writeId": id, "partitionId": 0, "attemptId": "lane-0", "rowCount": "1"});
        for (what, refused) in [
            ("commit", stranger.commit(id, &[]).await),
            ("commit of a lane", stranger.commit(id, &[lane]).await),
            (
                "commit of nothing",
                stranger
                    .act(
                        "commit",
                        "CommitRequest",
                        json!({"writeId": id, "allowNoReceipts": true}),
                    )
                    .await,
            ),
            ("abort", stranger.abort(id).await),
            ("attempt", stranger.put(put).await),
        ] {
            let refused = refused.expect_err(what);
            assert_eq!(refused.code(), Code::InvalidArgument, "{what}: {refused}");
            assert!(
                refused.message().contains("pgflight abort"),
                "{what}: {refused}"
            );
        }
        assert_eq!(
            stranger.status(id).await.unwrap()["state"],
            "WRITE_STATE_OPEN"
        );
        let recorded =
            "SELECT staging_oid IS NOT NULL AND staging_columns IS NOT NULL FROM pgflight.write";
        assert_eq!(held.database.text(recorded).await, "true");
        assert_eq!(held.count("old").await, "1000", "nothing is replaced");
        held.go_on.send(()).unwrap();
        let receipt = held.sent.await.unwrap().unwrap();
        assert_eq!(receipt["rowCount"], "20000");
        let rows = format!("SELECT count(*) FROM {table}");
        assert_eq!(held.database.text(&rows).await, "20000");
    }
}

#[tokio::test]
async fn aborting_a_stream_by_command_fails_its_sender() {
    let held = Held::new(swap()).await;
    let aborted = Pgflight::command()
        .args(["abort", &held.id, "--postgres", &held.database.url])
        .output()
        .unwrap();
    assert!(aborted.status.success(), "{aborted:?}");
    // The server may have ended its sessions before the client can send its end.
    held.go_on.send(()).ok();
    held.sent.await.unwrap().expect_err("it was aborted");
    let old = "SELECT count(*) FROM old WHERE text = 'old'";
    assert_eq!(held.database.text(old).await, "1000");
}

fn rows(values: &[i32]) -> RecordBatch {
    batch(&[("n", Arc::new(Int32Array::from(values.to_vec())) as ArrayRef)])
}

async fn begun(spec: &Value, table: &str) -> (Database, Pgflight, Client) {
    let database = Database::new().await;
    database.execute(table).await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    client.begin("w", spec.clone(), &rows(&[])).await.unwrap();
    (database, server, client)
}

#[tokio::test]
async fn a_commit_without_receipts_needs_allow_no_receipts() {
    const PLAIN: &str = "CREATE TABLE t (n int); INSERT INTO t VALUES (1)";
    for (spec, table, after) in [
        (json!({"table": "t", "overwrite": {}}), PLAIN, "0"),
        (
            json!({"table": "t", "overwrite": {"with": "OVERWRITE_WITH_SWAP"}}),
            PLAIN,
            "0",
        ),
        (
            json!({"table": "t", "append": {"publish": "PUBLISH_TWO_PHASE"}}),
            PLAIN,
            "1",
        ),
        (json!({"table": "t", "create": {}}), "", "0"),
    ] {
        let (database, _server, mut client) = begun(&spec, table).await;
        let put = Put::whole(attempt("w", 0, "a"), &[rows(&[2])]);
        client.put(put).await.unwrap();
        let refused = client.commit("w", &[]).await.expect_err("no receipts");
        assert_eq!(
            refused.code(),
            Code::FailedPrecondition,
            "{spec}: {refused}"
        );
        for said in [
            "1 attempt(s) are recorded",
            "allow_no_receipts",
            "stays open",
        ] {
            assert!(refused.message().contains(said), "{spec}: {refused}");
        }
        let status = client.status("w").await.unwrap();
        assert_eq!(status["state"], "WRITE_STATE_OPEN", "{spec}");
        let asked = json!({"writeId": "w", "allowNoReceipts": true});
        let status = client.act("commit", "CommitRequest", asked).await.unwrap();
        assert_eq!(status["state"], "WRITE_STATE_COMMITTED", "{spec}");
        let count = database.text("SELECT count(*) FROM t").await;
        assert_eq!(count, after, "{spec}");
    }
}

#[tokio::test]
async fn a_commit_without_receipts_and_attempts_is_allowed() {
    let spec = json!({"table": "t", "overwrite": {}});
    let (database, _server, mut client) = begun(&spec, "CREATE TABLE t AS SELECT 1 AS n").await;
    let status = client.commit("w", &[]).await.unwrap();
    assert_eq!(status["state"], "WRITE_STATE_COMMITTED");
    assert_eq!(database.text("SELECT count(*) FROM t").await, "0");
    let again = client.commit("w", &[]).await.unwrap();
    assert_eq!(again, status, "a committed write gives its result");
}
