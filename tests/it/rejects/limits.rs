//! How many rows a write may reject.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use serde_json::{Value, json};
use tonic::Code;

use super::{Door, rejecting, rejects};
use crate::support::{Database, Pgflight, Put, attempt, batch, write};

/// Ten rows, of which the first cannot be written.
fn rows(bad: usize) -> RecordBatch {
    let values = (0..10).map(|row| if row < bad { i64::MAX } else { 0 });
    batch(&[(
        "n",
        Arc::new(Int64Array::from_iter_values(values)) as ArrayRef,
    )])
}

#[tokio::test]
async fn a_write_beyond_its_limits_publishes_nothing() {
    let database = Database::new().await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    // Limits, bad rows of ten in each batch, part of the error.
    let cases: Vec<(Value, [usize; 3], &str)> = vec![
        (json!({}), [10, 10, 10], ""),
        (json!({"rejectLimit": "3"}), [1, 1, 1], ""),
        (
            json!({"rejectLimit": "3"}),
            [1, 1, 2],
            "reject_limit is 3: 4 range in column \"n\"",
        ),
        (json!({"rejectLimit": "0"}), [0, 0, 0], ""),
        (
            json!({"rejectLimit": "0"}),
            [0, 1, 0],
            "1 row(s) are rejected, and reject_limit is 0",
        ),
        // A prefix of the rows, and one attempt, may have a greater share than all of them.
        (json!({"rejectPercent": 34}), [10, 0, 0], ""),
        (
            json!({"rejectPercent": 33}),
            [10, 0, 0],
            "10 of 30 row(s) are rejected, and reject_percent is 33",
        ),
        (
            json!({"rejectPercent": 100, "rejectLimit": "2"}),
            [1, 1, 1],
            "reject_limit is 2",
        ),
    ];
    for (limits, bad, part) in cases {
        for door in [
            Door::Stream,
            Door::Attempts("PUBLISH_STAGED"),
            Door::Attempts("PUBLISH_TWO_PHASE"),
        ] {
            let shown = format!("{limits} {bad:?} {door:?}");
            database
                .execute("DROP TABLE IF EXISTS t; CREATE TABLE t (n int)")
                .await;
            let spec = rejecting(door.append(), limits.clone());
            let done = door.send(&mut client, &shown, spec, &bad.map(rows)).await;
            let found = database.text("SELECT count(*) FROM t").await;
            match part {
                "" => {
                    done.unwrap_or_else(|error| panic!("{shown}: {error}"));
                    assert_eq!(
                        found,
                        (30 - bad.iter().sum::<usize>()).to_string(),
                        "{shown}"
                    );
                }
                part => {
                    let error = done.expect_err(&shown);
                    assert_eq!(error.code(), Code::InvalidArgument, "{shown}");
                    // A stream stops at the first row beyond the limit.
                    let is_there = error.message().contains(part)
                        || door == Door::Stream && error.message().contains("reject_limit");
                    assert!(is_there, "{shown}: {error}");
                    assert_eq!(found, "0", "{shown}");
                    assert_eq!(rejects(&database, "kind").await.0, "", "{shown}");
                }
            }
            database.execute("TRUNCATE pgflight.reject").await;
        }
    }
}

#[tokio::test]
async fn attempts_that_are_not_accepted_do_not_count() {
    let database = Database::new().await;
    database.execute("CREATE TABLE t (n int)").await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let limits = json!({"rejectLimit": "1", "rejectPercent": 10});
    let spec = rejecting(json!({"append": {"publish": "PUBLISH_STAGED"}}), limits);
    client.begin("w", spec, &rows(0)).await.unwrap();
    let mut receipts = Vec::new();
    for (attempt_id, bad) in [("worse", 1), ("good", 0), ("bad", 1)] {
        let put = Put::whole(attempt("w", 0, attempt_id), &[rows(bad)]);
        receipts.push(client.put(put).await.unwrap());
    }
    let committed = client.commit("w", &receipts[2..]).await.unwrap();
    assert_eq!(
        (&committed["rowCount"], &committed["rejectedCount"]),
        (&"9".into(), &"1".into())
    );
    assert_eq!(
        rejects(&database, "attempt_id").await,
        ("bad".to_owned(), "0".to_owned())
    );
}

#[tokio::test]
async fn a_stream_ends_at_the_first_row_beyond_the_limit() {
    let database = Database::new().await;
    database.execute("CREATE TABLE t (n int)").await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let spec = rejecting(json!({"append": {}}), json!({"rejectLimit": "2"}));
    let all_bad = vec![rows(10); 100];
    let error = client
        .put(Put::whole(write(spec), &all_bad))
        .await
        .expect_err("too many");
    assert!(error.message().contains("3 row(s) are rejected"), "{error}");
}

#[tokio::test]
async fn rejects_that_are_gone_stop_the_commit() {
    let database = Database::new().await;
    database.execute("CREATE TABLE t (n int)").await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let spec = rejecting(json!({"append": {"publish": "PUBLISH_STAGED"}}), json!({}));
    client.begin("w", spec, &rows(0)).await.unwrap();
    let receipt = client
        .put(Put::whole(attempt("w", 0, "a"), &[rows(2)]))
        .await
        .unwrap();
    database
        .execute("DELETE FROM pgflight.staged_reject WHERE row_number = 0")
        .await;
    let error = client
        .commit("w", &[receipt])
        .await
        .expect_err("one is gone");
    assert!(error.message().contains("1 of 2 rejected rows"), "{error}");
    assert_eq!(database.text("SELECT count(*) FROM t").await, "0");
}

#[tokio::test]
async fn options_that_say_nothing_are_refused() {
    let database = Database::new().await;
    database.execute("CREATE TABLE t (n int)").await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let cases = [
        (json!({"rejectLimit": "1"}), "on_error is not reject"),
        (
            json!({"onError": "ON_ERROR_ABORT", "rejectKinds": ["nul"]}),
            "on_error is not reject",
        ),
        (
            json!({"onError": "ON_ERROR_REJECT", "rejectKinds": ["nil"]}),
            "\"nil\", which is no kind",
        ),
        (
            json!({"onError": "ON_ERROR_REJECT", "rejectKinds": ["nul"], "rejectPercent": 101}),
            "from 0 to 100",
        ),
        (
            json!({"onError": "ON_ERROR_REJECT", "rejectKinds": ["nul"], "rejectTable": "missing"}),
            "does not exist",
        ),
        (
            json!({"onError": "ON_ERROR_REJECT", "rejectKinds": ["nul"], "rejectTable": "t"}),
            "lacks a column",
        ),
    ];
    for (fields, part) in cases {
        let mut spec = json!({"table": "t", "append": {}});
        for (name, value) in fields.as_object().unwrap() {
            spec[name] = value.clone();
        }
        for door in [Door::Stream, Door::Attempts("")] {
            let error = door.send(&mut client, "w", spec.clone(), &[rows(0)]).await;
            let error = error.expect_err(part);
            assert!(error.message().contains(part), "{fields} {door:?}: {error}");
        }
    }
}
