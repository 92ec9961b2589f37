//! Prepared transactions of a decided write that are ended by hand: exactly the missing rows are reported.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, RecordBatch};
use futures_util::future::join_all;
use serde_json::{Value, json};
use tonic::{Code, Status};

use crate::support::{CallError, Client, Database, Pgflight, Put, attempt, batch, wait_until};

const PREPARED: &str = "SELECT count(*) FROM pg_prepared_xacts WHERE database = current_database()";

fn rows(values: &[i32]) -> RecordBatch {
    batch(&[("n", Arc::new(Int32Array::from(values.to_vec())) as ArrayRef)])
}

fn two_phase() -> Value {
    json!({"table": "t", "append": {"publish": "PUBLISH_TWO_PHASE"}})
}

/// Starts a server without a reaper, which stops at the failpoint if one is given.
fn server(database: &Database, failpoint: Option<&str>) -> Pgflight {
    let options = ["--reaper-interval", "1h"];
    Pgflight::start_to_fail(&database.url, &options, failpoint)
}

async fn begin_and_send(client: &mut Client, id: &str, partitions: i32) -> Vec<Value> {
    client.begin(id, two_phase(), &rows(&[])).await.unwrap();
    let mut receipts = Vec::new();
    for partition in 0..partitions {
        let number = u32::try_from(partition).unwrap();
        let name = format!("a{partition}");
        let put = Put::whole(
            attempt(id, number, &name),
            &[rows(&[partition * 10, partition * 10 + 1])],
        );
        receipts.push(client.put(put).await.unwrap());
    }
    receipts
}

/// Makes a write of this many partitions of two rows, which is decided and has no committed attempt yet.
async fn decided(partitions: i32) -> (Database, Vec<Value>) {
    let database = Database::new().await;
    database.execute("CREATE TABLE t (n int)").await;
    let stuck = server(&database, Some("CommitAfterCommit"));
    let mut client = stuck.client().await;
    let receipts = begin_and_send(&mut client, "w", partitions).await;
    let committing = {
        let receipts = receipts.clone();
        tokio::spawn(async move { client.commit("w", &receipts).await })
    };
    wait_until(async || stuck.has_failed(), "it is decided").await;
    drop(stuck);
    committing.await.unwrap().expect_err("its server has died");
    (database, receipts)
}

/// Ends the prepared transactions of these partitions by hand.
async fn by_hand(database: &Database, how: &str, partitions: &[i32]) {
    for partition in partitions {
        let gid = format!("SELECT gid FROM pgflight.attempt WHERE partition_id = {partition}");
        let gid = database.text(&gid).await;
        database.execute(&format!("{how} PREPARED '{gid}'")).await;
    }
}

fn assert_lost(answer: Result<Value, Status>, named: &[&str]) {
    let error = CallError::from(answer.expect_err("rows are lost"));
    assert_eq!(error.code, Code::DataLoss, "{}", error.message);
    assert_eq!(error.reason, "PREPARED_LOST");
    assert_eq!(error.details["retryable"], "false");
    for named in named {
        assert!(error.message.contains(named), "{}", error.message);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn rows_rolled_back_by_hand_after_the_decision_are_reported() {
    for (rolled_back, left, count) in [
        (&[1][..], "0,1,20,21", "4"),
        (&[0, 2], "10,11", "2"),
        (&[0, 1, 2], "", "0"),
    ] {
        let (database, receipts) = decided(3).await;
        by_hand(&database, "ROLLBACK", rolled_back).await;
        let server = server(&database, None);
        let mut client = server.client().await;
        let named: Vec<String> = rolled_back
            .iter()
            .map(|partition| format!("partition {partition} (2 rows)"))
            .collect();
        let mut named: Vec<&str> = named.iter().map(String::as_str).collect();
        let others = format!("the other {count} rows are in the table");
        named.push(&others);
        for _ in 0..2 {
            assert_lost(client.commit("w", &receipts).await, &named);
        }
        assert_lost(client.begin("w", two_phase(), &rows(&[])).await, &named);
        assert_eq!(database.text("SELECT n FROM t ORDER BY n").await, left);
        assert_eq!(database.text(PREPARED).await, "0");

        let lost: Vec<Value> = rolled_back
            .iter()
            .map(|partition| match partition {
                0 => json!({"rowCount": "2"}),
                _ => json!({"partitionId": partition, "rowCount": "2"}),
            })
            .collect();
        for status in [client.status("w").await, client.abort("w").await] {
            let status = status.unwrap();
            assert_eq!(status["state"], "WRITE_STATE_PREPARED_LOST");
            assert_eq!(status["lost"], Value::from(lost.clone()));
            assert_eq!(status["rowCount"].as_str().unwrap_or("0"), count);
        }
        let put = Put::whole(attempt("w", 7, "late"), &[rows(&[70])]);
        let refused = client.put(put).await.expect_err("it has ended");
        assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
        let listed = Pgflight::command()
            .args(["writes", "--postgres", &database.url])
            .output()
            .unwrap();
        let listed = String::from_utf8(listed.stdout).unwrap();
        assert!(listed.contains("prepared_lost"), "{listed}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn rows_that_were_committed_by_hand_after_the_decision_count() {
    for committed in [&[1][..], &[0, 1, 2]] {
        let (database, receipts) = decided(3).await;
        by_hand(&database, "COMMIT", committed).await;
        let server = server(&database, None);
        let status = server.client().await.commit("w", &receipts).await.unwrap();
        assert_eq!(status["state"], "WRITE_STATE_COMMITTED");
        assert_eq!(status["rowCount"], "6");
        assert_eq!(database.text("SELECT count(*) FROM t").await, "6");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_reaper_ends_a_write_that_lacks_rows_and_logs_it() {
    let (database, _) = decided(2).await;
    by_hand(&database, "ROLLBACK", &[0]).await;
    let reaping = Pgflight::start_with(&database, &["--reaper-interval", "50ms"]);
    let state = "SELECT state || ' ' || row_count FROM pgflight.write";
    wait_until(
        async || database.text(state).await == "prepared_lost 2",
        "the reaper ends it",
    )
    .await;
    wait_until(
        async || {
            reaping
                .log()
                .iter()
                .any(|line| line.contains("rows of a write that was decided are lost"))
        },
        "it is logged",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_gone_attempt_without_a_recorded_xact_id_is_committed() {
    let (database, receipts) = decided(2).await;
    database
        .execute("UPDATE pgflight.attempt SET prepared_xact_id = NULL")
        .await;
    by_hand(&database, "COMMIT", &[0]).await;
    let server = server(&database, None);
    let status = server.client().await.commit("w", &receipts).await.unwrap();
    assert_eq!(status["state"], "WRITE_STATE_COMMITTED");
    assert_eq!(database.text("SELECT count(*) FROM t").await, "4");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_id_that_postgresql_does_not_know_counts_as_lost() {
    let (database, receipts) = decided(2).await;
    // The state after a restore from a dump into a cluster that has assigned fewer ids.
    by_hand(&database, "ROLLBACK", &[1]).await;
    database
        .execute(
            "UPDATE pgflight.attempt SET prepared_xact_id = '9000000000000' WHERE partition_id = 1",
        )
        .await;
    let server = server(&database, None);
    let answer = server.client().await.commit("w", &receipts).await;
    assert_lost(answer, &["partition 1 (2 rows)"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn servers_that_finish_one_write_together_report_nothing_lost() {
    for _ in 0..8 {
        let (database, receipts) = decided(6).await;
        let options = ["--reaper-interval", "1ms"];
        let servers = [(); 3].map(|()| Pgflight::start_with(&database, &options));
        let calls = servers.iter().flat_map(|server| {
            let receipts = &receipts;
            (0..3).map(async move |_| server.client().await.commit("w", receipts).await)
        });
        for answer in join_all(calls).await {
            let status = answer.unwrap_or_else(|status| panic!("{status}"));
            assert_eq!(status["state"], "WRITE_STATE_COMMITTED");
        }
        assert_eq!(database.text("SELECT count(*) FROM t").await, "12");
        assert_eq!(database.text(PREPARED).await, "0");
    }
}
