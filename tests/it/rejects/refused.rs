//! Rows that only PostgreSQL rejects, when the staged rows are inserted.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use serde_json::{Value, json};

use super::{Door, check_and_forget, rejecting, rejects};
use crate::support::{Database, Pgflight, Put, attempt, batch};

/// Rows with these numbers.
fn numbers(values: impl IntoIterator<Item = i64>) -> RecordBatch {
    let values: Vec<i64> = values.into_iter().collect();
    let ids = Int64Array::from_iter_values(0..i64::try_from(values.len()).unwrap());
    batch(&[
        ("id", Arc::new(ids) as ArrayRef),
        ("n", Arc::new(Int64Array::from(values))),
    ])
}

const DOORS: [Door; 2] = [Door::Stream, Door::Attempts("")];

#[tokio::test]
async fn every_kind_is_rejected_between_good_rows() {
    let database = Database::new().await;
    database
        .execute(
            "CREATE TABLE other (n int PRIMARY KEY); INSERT INTO other VALUES (1), (3);
             CREATE FUNCTION odd() RETURNS trigger LANGUAGE plpgsql AS
                 'BEGIN IF NEW.n = 2 THEN RAISE ''s3cret %'', NEW.n; END IF; RETURN NEW; END'",
        )
        .await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    // Kind, definition of n, SQLSTATE, constraint.
    let cases = [
        (
            "check",
            "int CONSTRAINT odd CHECK (n % 2 = 1)",
            "23514",
            "odd",
        ),
        ("unique", "int CONSTRAINT single UNIQUE", "23505", "single"),
        (
            "foreign_key",
            "int CONSTRAINT there REFERENCES other",
            "23503",
            "there",
        ),
        (
            "exclusion",
            "int, CONSTRAINT apart EXCLUDE USING btree (n WITH =)",
            "23P01",
            "apart",
        ),
        ("trigger", "int", "P0001", ""),
    ];
    for (kind, definition, sqlstate, constraint) in cases {
        for door in DOORS {
            let shown = format!("{kind} {door:?}");
            database
                .execute(&format!(
                    "DROP TABLE IF EXISTS t; CREATE TABLE t (id int, n {definition})"
                ))
                .await;
            match kind {
                "unique" | "exclusion" => database.execute("INSERT INTO t VALUES (-1, 2)").await,
                "trigger" => database
                    .execute(
                        "CREATE TRIGGER odd BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION odd()",
                    )
                    .await,
                _ => {}
            }
            let spec = rejecting(json!({"append": {}}), json!({"rejectKinds": [kind]}));
            let done = door
                .send(&mut client, &shown, spec, &[numbers([1, 2, 3])])
                .await;
            let done = done.unwrap_or_else(|error| panic!("{shown}: {error}"));
            assert_eq!(
                (&done["rowCount"], &done["rejectedCount"]),
                (&"2".into(), &"1".into()),
                "{shown}: {done}"
            );
            assert_eq!(done["counts"]["inserted"], "2", "{shown}");
            let mut reason = json!({"kind": kind, "rowCount": "1"});
            if !constraint.is_empty() {
                reason["constraint"] = constraint.into();
            }
            assert_eq!(done["rejectReasons"], json!([reason]), "{shown}");
            assert_eq!(
                database
                    .text("SELECT n FROM t WHERE id >= 0 ORDER BY n")
                    .await,
                "1,3",
                "{shown}"
            );
            let columns = "kind, sqlstate, constraint_name, partition_id, row_number";
            let expected = match constraint {
                "" => format!("{kind} {sqlstate} 0 1"),
                name => format!("{kind} {sqlstate} {name} 0 1"),
            };
            check_and_forget(&database, columns, &expected, &shown).await;
            // The name of the table's own column is not there.
            let staged = "SELECT count(*) FROM pg_class WHERE relname LIKE 'staging%'";
            assert_eq!(database.text(staged).await, "0", "{shown}");
        }
    }
}

#[tokio::test]
async fn all_kinds_go_together_and_the_first_of_doubled_keys_stays() {
    let database = Database::new().await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    for mode in [
        json!({"append": {}}),
        json!({"overwrite": {"with": "OVERWRITE_WITH_TRUNCATE"}}),
        json!({"overwrite": {"with": "OVERWRITE_WITH_DELETE"}}),
    ] {
        for door in DOORS {
            let shown = format!("{mode} {door:?}");
            database
                .execute(
                    "DROP TABLE IF EXISTS t;
                     CREATE TABLE t (id int, n int PRIMARY KEY CHECK (n <> 500)); INSERT INTO t VALUES (-1, 100)",
                )
                .await;
            // Of 3,000 rows, the row 500 breaks the check, every row from 2,000 on comes again, and one is no integer.
            let values = (0..3_000).map(|row| match row {
                1_500 => i64::MAX,
                row => row % 2_000,
            });
            let rows = numbers(values);
            let parts = [
                rows.slice(0, 1_000),
                rows.slice(1_000, 1_000),
                rows.slice(2_000, 1_000),
            ];
            let more = json!({"rejectKinds": [], "rejectValues": "REJECT_VALUES_ROW"});
            let spec = rejecting(mode.clone(), more);
            let done = door.send(&mut client, &shown, spec, &parts).await;
            let done = done.unwrap_or_else(|error| panic!("{shown}: {error}"));
            let keeps_old = mode.get("append").is_some();
            let rejected = 1_000 + 2 + u32::from(keeps_old);
            let expected = (
                Value::from((3_000 - rejected).to_string()),
                Value::from(rejected.to_string()),
            );
            assert_eq!(
                (done["rowCount"].clone(), done["rejectedCount"].clone()),
                expected,
                "{shown}: {done}"
            );
            let wrong = "SELECT count(*) FROM t WHERE id <> -1 AND (id <> n OR n = 500)";
            assert_eq!(database.text(wrong).await, "0", "{shown}");
            let by_kind = "SELECT string_agg(concat_ws(' ', kind, count), ', ' ORDER BY kind)
                           FROM (SELECT kind, count(*) FROM pgflight.reject GROUP BY kind) s";
            // Row 2,500 doubles a row that is not there, and breaks the check as well.
            let unique = 999 + u32::from(keeps_old);
            assert_eq!(
                database.text(by_kind).await,
                format!("check 2, range 1, unique {unique}"),
                "{shown}"
            );
            let place = match door {
                Door::Stream => "row_number",
                Door::Attempts(_) => "partition_id * 1000 + row_number",
            };
            let misplaced = format!(
                "SELECT count(*) FROM pgflight.reject WHERE row->>'id' <> ({place})::text OR keys IS NULL"
            );
            assert_eq!(database.text(&misplaced).await, "0", "{shown}");
            assert_eq!(
                database
                    .text("SELECT count(*) FROM pgflight.staged_reject")
                    .await,
                "0",
                "{shown}"
            );
            database.execute("TRUNCATE pgflight.reject").await;
        }
    }
}

#[tokio::test]
async fn limits_hold_for_rows_of_both_kinds_together() {
    let database = Database::new().await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let rows = || numbers([1, -1, i64::MAX, 4]);
    for door in DOORS {
        for (limits, part) in [
            (json!({"rejectLimit": "2"}), ""),
            (
                json!({"rejectLimit": "1"}),
                "reject_limit is 1: 1 check by constraint \"plus\", 1 range in column \"n\"",
            ),
            (json!({"rejectPercent": 50}), ""),
            (
                json!({"rejectPercent": 49}),
                "2 of 4 row(s) are rejected, and reject_percent is 49",
            ),
        ] {
            let shown = format!("{limits} {door:?}");
            database
                .execute("DROP TABLE IF EXISTS t; CREATE TABLE t (id int, n int CONSTRAINT plus CHECK (n > 0))")
                .await;
            let mut more = limits;
            more["rejectKinds"] = json!([]);
            let spec = rejecting(json!({"append": {}}), more);
            let done = door.send(&mut client, &shown, spec, &[rows()]).await;
            match part {
                "" => assert_eq!(done.unwrap()["rejectedCount"], "2", "{shown}"),
                part => {
                    let error = done.expect_err(&shown);
                    assert!(error.message().contains(part), "{shown}: {error}");
                    assert_eq!(
                        database.text("SELECT count(*) FROM t").await,
                        "0",
                        "{shown}"
                    );
                    assert_eq!(rejects(&database, "kind").await.0, "", "{shown}");
                }
            }
            database.execute("DELETE FROM pgflight.reject").await;
        }
    }
}

#[tokio::test]
async fn errors_that_no_row_is_the_reason_of_end_the_write() {
    let database = Database::new().await;
    database
        .execute(
            "CREATE TABLE t (id int, n int CHECK (n > 0));
             CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS
                 'BEGIN IF NEW.n = 2 THEN RAISE SQLSTATE ''22012''; END IF; RETURN NEW; END';
             CREATE TRIGGER fail BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION fail()",
        )
        .await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    for door in DOORS {
        let spec = rejecting(json!({"append": {}}), json!({"rejectKinds": []}));
        let done = door
            .send(
                &mut client,
                &format!("{door:?}"),
                spec,
                &[numbers([1, -1, 2])],
            )
            .await;
        let error = done.expect_err("a trigger divides by zero");
        assert!(error.message().contains("22012"), "{door:?}: {error}");
        assert_eq!(
            database.text("SELECT count(*) FROM t").await,
            "0",
            "{door:?}"
        );
    }
}

#[tokio::test]
async fn attempts_that_are_not_accepted_are_not_published() {
    let database = Database::new().await;
    database
        .execute("CREATE TABLE t (id int, n int PRIMARY KEY CHECK (n > 0))")
        .await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let spec = rejecting(json!({"append": {}}), json!({"rejectKinds": []}));
    client.begin("w", spec, &numbers([])).await.unwrap();
    let mut receipts = Vec::new();
    for attempt_id in ["lost", "won"] {
        let put = Put::whole(attempt("w", 7, attempt_id), &[numbers([1, 1, -1, 3])]);
        receipts.push(client.put(put).await.unwrap());
    }
    let done = client.commit("w", &receipts[1..]).await.unwrap();
    assert_eq!(
        (&done["rowCount"], &done["rejectedCount"]),
        (&"2".into(), &"2".into())
    );
    assert_eq!(database.text("SELECT n FROM t ORDER BY n").await, "1,3");
    let found = rejects(&database, "partition_id, attempt_id, row_number, kind").await;
    assert_eq!(found.0, "7 won 1 unique,7 won 2 check");
}
