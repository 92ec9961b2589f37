//! Where rejected rows are kept.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use serde_json::json;

use super::{DOORS, Door, rejecting, rejects};
use crate::support::{Database, Pgflight, batch};

/// Rows of which the given one of a hundred cannot be written.
fn rows() -> RecordBatch {
    let ids = Int64Array::from_iter_values(0..300);
    let values = (0..300).map(|row| if row % 2 == 1 { i64::MAX } else { row });
    batch(&[
        ("id", Arc::new(ids) as ArrayRef),
        ("n", Arc::new(Int64Array::from_iter_values(values))),
    ])
}

#[tokio::test]
async fn a_table_of_the_caller_gets_the_rejects_in_the_same_transaction() {
    let database = Database::new().await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    database.execute("CREATE TABLE t (id int, n int)").await;
    // The ledger is there after the first write.
    let spec = rejecting(json!({"append": {}}), json!({}));
    Door::Stream
        .send(&mut client, "", spec, &[rows()])
        .await
        .unwrap();
    database
        .execute(
            "CREATE SCHEMA s; CREATE TABLE s.bad (LIKE pgflight.reject); TRUNCATE pgflight.reject",
        )
        .await;
    for door in DOORS {
        let shown = format!("{door:?}");
        database.execute("TRUNCATE t, s.bad").await;
        let spec = rejecting(door.append(), json!({"rejectTable": "s.bad"}));
        // Direct and prepared attempts write the table before the commit.
        if !matches!(door, Door::Attempts("PUBLISH_TWO_PHASE")) {
            database
                .execute("ALTER TABLE s.bad ADD CONSTRAINT full_up CHECK (row_number < 250)")
                .await;
            let error = door
                .send(&mut client, &format!("{shown} 0"), spec.clone(), &[rows()])
                .await;
            let error = error.expect_err("the table takes no more");
            assert!(
                error
                    .message()
                    .contains("cannot be inserted into their table"),
                "{shown}: {error}"
            );
            assert!(error.message().contains("s.bad"), "{shown}: {error}");
            database
                .execute("ALTER TABLE s.bad DROP CONSTRAINT full_up")
                .await;
            assert_eq!(
                database.text("SELECT count(*) FROM s.bad").await,
                "0",
                "{shown}"
            );
            if door != Door::Attempts("PUBLISH_DIRECT") {
                assert_eq!(
                    database.text("SELECT count(*) FROM t").await,
                    "0",
                    "{shown}"
                );
            }
            database.execute("TRUNCATE t, pgflight.staged_reject").await;
        }
        let done = door.send(&mut client, &shown, spec, &[rows()]).await;
        let done = done.unwrap_or_else(|error| panic!("{shown}: {error}"));
        assert_eq!(
            (&done["rowCount"], &done["rejectedCount"]),
            (&"150".into(), &"150".into()),
            "{shown}"
        );
        let found = database
            .text("SELECT concat_ws(' ', count(*), count(DISTINCT row_number), min(kind), min(write_id)) FROM s.bad")
            .await;
        let id = done["writeId"].as_str().unwrap();
        assert_eq!(found, format!("150 150 range {id}"), "{shown}");
        assert_eq!(
            rejects(&database, "kind").await,
            (String::new(), "0".to_owned()),
            "{shown}"
        );
    }
}

#[tokio::test]
async fn rejects_go_with_the_record_of_their_write() {
    let database = Database::new().await;
    let server = Pgflight::start_with(
        &database,
        &["--reaper-interval", "50ms", "--retention", "1s"],
    );
    let mut client = server.client().await;
    database
        .execute("CREATE TABLE t (id int PRIMARY KEY, n int)")
        .await;
    let spec = rejecting(json!({"append": {}}), json!({}));
    Door::Stream
        .send(&mut client, "", spec, &[rows()])
        .await
        .unwrap();
    crate::support::wait_until(
        async || database.text("SELECT count(*) FROM pgflight.reject").await == "0",
        "the reaper has deleted the write and its rejects",
    )
    .await;
    assert_eq!(
        database.text("SELECT count(*) FROM pgflight.write").await,
        "0"
    );
}
