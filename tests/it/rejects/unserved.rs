//! Kinds that a write cannot reject are refused by name.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use serde_json::{Value, json};

use super::{Door, rejecting};
use crate::support::{Database, Pgflight, batch};

/// Two rows, of which the first cannot be encoded.
fn rows() -> RecordBatch {
    let values = Int64Array::from(vec![i64::MAX, 1]);
    batch(&[("n", Arc::new(values) as ArrayRef)])
}

#[tokio::test]
async fn a_write_that_names_no_kinds_is_refused_if_others_may_come() {
    let database = Database::new().await;
    database
        .execute("CREATE DOMAIN positive AS int CHECK (VALUE > 0)")
        .await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let append = || json!({"append": {}});
    let cases: Vec<(&str, Value, &str)> = vec![
        ("CREATE TABLE t (n int NOT NULL, m int)", append(), ""),
        ("CREATE TABLE t (n int PRIMARY KEY)", append(), ""),
        ("CREATE TABLE t (n positive)", append(), "domain"),
        ("CREATE TABLE t (n int, a positive[])", append(), "domain"),
        (
            "CREATE TABLE t (n int); ALTER TABLE t ENABLE ROW LEVEL SECURITY",
            append(),
            "policy",
        ),
        (
            "CREATE TABLE t (n int UNIQUE DEFERRABLE INITIALLY DEFERRED)",
            append(),
            "foreign_key or unique",
        ),
        (
            "CREATE TABLE t (n int PRIMARY KEY, m int REFERENCES t)",
            append(),
            "foreign_key or unique",
        ),
        (
            "CREATE TABLE t (n int PRIMARY KEY)",
            json!({"upsert": {}}),
            "duplicate",
        ),
        (
            "CREATE TABLE t (n int)",
            json!({"overwrite": {"replaceWhere": "n > 0"}}),
            "outside",
        ),
        (
            "CREATE TABLE t (n int CHECK (n > 0))",
            json!({"overwrite": {"with": "OVERWRITE_WITH_SWAP"}}),
            "check",
        ),
        (
            "CREATE TABLE t (n int CHECK (n > 0))",
            json!({"append": {"publish": "PUBLISH_DIRECT"}}),
            "check",
        ),
    ];
    for (number, (sql, mode, kind)) in cases.into_iter().enumerate() {
        database.execute("DROP TABLE IF EXISTS t").await;
        database.execute(sql).await;
        for door in [Door::Stream, Door::Attempts("")] {
            let shown = format!("{sql} {mode} {door:?}");
            let spec = rejecting(mode.clone(), json!({"rejectKinds": []}));
            let id = format!("{number} {door:?}");
            let done = door.send(&mut client, &id, spec, &[rows()]).await;
            match kind {
                "" => {
                    let done = done.unwrap_or_else(|error| panic!("{shown}: {error}"));
                    assert_eq!(done["rejectedCount"], "1", "{shown}");
                    database.execute("TRUNCATE t").await;
                }
                kind => {
                    let error = done.expect_err(&shown);
                    let part = format!("rows of kind {kind} cannot be rejected");
                    assert!(error.message().contains(&part), "{shown}: {error}");
                }
            }
        }
    }
}

#[tokio::test]
async fn kinds_are_refused_by_name() {
    let database = Database::new().await;
    database.execute("CREATE TABLE t (n int)").await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let create = json!({"append": {"createIfMissing": {}}});
    let cases = [
        (json!({"append": {}}), "domain"),
        (json!({"append": {}}), "policy"),
        (json!({"upsert": {"keys": ["n"]}}), "unique"),
        (
            json!({"table": "missing", "append": create["append"]}),
            "check",
        ),
    ];
    for (mode, kind) in cases {
        let spec = rejecting(mode, json!({"rejectKinds": ["nul", kind]}));
        let error = Door::Stream.send(&mut client, "", spec, &[rows()]).await;
        let error = error.expect_err(kind);
        let part = format!("rows of kind {kind} cannot");
        assert!(error.message().contains(&part), "{error}");
    }
    let two_phase = json!({"append": {"publish": "PUBLISH_TWO_PHASE"}});
    database.execute("ALTER TABLE t ADD CHECK (n > 0)").await;
    let spec = rejecting(two_phase, json!({"rejectKinds": ["check"]}));
    let error = Door::Attempts("")
        .send(&mut client, "w", spec, &[rows()])
        .await;
    let error = error.expect_err("prepared");
    assert!(
        error.message().contains("in prepared transactions"),
        "{error}"
    );
}

#[tokio::test]
async fn a_column_with_the_name_of_the_places_is_refused() {
    let database = Database::new().await;
    database
        .execute("CREATE TABLE t (n int, _pgflight_row bigint)")
        .await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let spec = rejecting(json!({"append": {}}), json!({}));
    let error = Door::Stream.send(&mut client, "", spec, &[rows()]).await;
    let error = error.expect_err("the name is taken");
    assert!(
        error.message().contains("for the places of rows"),
        "{error}"
    );
}
