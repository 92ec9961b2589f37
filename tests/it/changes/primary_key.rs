//! The keys of keyed modes: those of the table where the write names none, and its unique indexes.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use serde_json::{Value, json};

use super::replace::replace;
use crate::modes::keyed::{ints, many, rows};
use crate::support::{CallError, Database, Pgflight, Put, attempt, batch, write};

const TABLE: &str = "DROP TABLE IF EXISTS t CASCADE;
                     CREATE TABLE t (id int, part int, name text, v int, PRIMARY KEY (part, id) INCLUDE (name));
                     INSERT INTO t VALUES (1, 0, 'one', 1), (2, 0, 'two', 1)";

fn without_keys(mode: &str) -> Value {
    json!({"table": "t", mode: {}})
}

#[tokio::test]
async fn a_keyed_mode_without_keys_takes_the_primary_key() {
    let database = Database::new().await;
    database.execute(TABLE).await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let new = rows(&[(Some(2), "zwei", 5), (Some(3), "drei", 5)]);
    let schema = new.schema();
    let columns: Vec<_> = schema
        .fields()
        .iter()
        .zip(new.columns())
        .map(|(field, column)| (field.name().as_str(), column.clone()))
        .collect();
    for (mode, expected) in [
        ("upsert", "(1,0,one,1),(2,0,zwei,5),(3,0,drei,5)"),
        ("insertIfAbsent", "(1,0,one,1),(2,0,two,1),(3,0,drei,5)"),
        ("updateOnly", "(1,0,one,1),(2,0,zwei,5)"),
        ("deleteByKey", "(1,0,one,1)"),
    ] {
        let plan = client.plan(&columns, without_keys(mode)).await.unwrap();
        assert_eq!(plan["keys"], json!(["part", "id"]), "{mode}");
        for is_stream in [true, false] {
            database.execute(TABLE).await;
            if is_stream {
                let put = Put::whole(write(without_keys(mode)), std::slice::from_ref(&new));
                client.put(put).await.unwrap();
            } else {
                many(&mut client, &without_keys(mode), &new).await.unwrap();
            }
            let written = database.text("SELECT t FROM t ORDER BY id").await;
            assert_eq!(written, expected, "{mode}, stream: {is_stream}");
        }
    }
    let named = json!({"table": "t", "updateOnly": {"keys": ["id"]}});
    let plan = client.plan(&columns, named).await.unwrap();
    assert_eq!(plan["keys"], json!(["id"]));
}

#[tokio::test]
async fn a_commit_has_the_primary_key_of_its_begin() {
    let database = Database::new().await;
    database.execute(TABLE).await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let new = rows(&[(Some(2), "zwei", 5)]);
    for (mode, change, expected) in [
        // The rows are still found by the old key, for which an update needs no index.
        (
            "updateOnly",
            "ADD PRIMARY KEY (name)",
            Ok("(1,0,one,1),(2,0,zwei,5)"),
        ),
        (
            "upsert",
            "ADD PRIMARY KEY (name)",
            Err("unique index on the keys was dropped"),
        ),
    ] {
        database.execute(TABLE).await;
        client.begin(mode, without_keys(mode), &new).await.unwrap();
        let put = Put::whole(attempt(mode, 0, "a"), std::slice::from_ref(&new));
        let receipt = client.put(put).await.unwrap();
        database
            .execute(&format!(
                "ALTER TABLE t DROP CONSTRAINT t_pkey; ALTER TABLE t {change}"
            ))
            .await;
        let outcome = client.commit(mode, &[receipt]).await;
        match expected {
            Ok(rows) => {
                outcome.unwrap();
                assert_eq!(database.text("SELECT t FROM t ORDER BY id").await, rows);
            }
            Err(part) => {
                let error = CallError::from(outcome.expect_err(part));
                assert!(error.message.contains(part), "{}", error.message);
            }
        }
    }
}

#[tokio::test]
async fn without_a_primary_key_the_error_lists_unique_indexes() {
    let database = Database::new().await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let new = rows(&[(Some(2), "zwei", 5)]);
    let by_id = batch(&[("id", ints(&[Some(2)]))]);
    let keyless =
        "DROP TABLE IF EXISTS t CASCADE; CREATE TABLE t (id int, part int, name text, v int);";
    for (made, spec, rows, parts) in [
        (
            "",
            without_keys("deleteByKey"),
            &new,
            [
                "names no keys, and the table has no primary key",
                "no unique index either",
            ],
        ),
        (
            "CREATE UNIQUE INDEX ON t (part, id); CREATE UNIQUE INDEX ON t (name);
             CREATE UNIQUE INDEX ON t (v) WHERE v > 5",
            without_keys("upsert"),
            &new,
            [
                "names no keys, and the table has no primary key",
                "unique indexes on (part, id), (name)",
            ],
        ),
        (
            "ALTER TABLE t ADD PRIMARY KEY (id, part)",
            without_keys("deleteByKey"),
            &by_id,
            ["the data has no such key column", "column part"],
        ),
        (
            "ALTER TABLE t ADD PRIMARY KEY (id, part)",
            json!({"table": "t", "upsert": {"orderBy": "part"}}),
            &new,
            ["order_by names a key", "that is not a key"],
        ),
        (
            "",
            json!({"table": "t", "upsert": {"createIfMissing": {}}}),
            &new,
            ["no keys are named", "become its primary key"],
        ),
    ] {
        database.execute(&format!("{keyless}{made}")).await;
        let put = Put::whole(write(spec.clone()), std::slice::from_ref(rows));
        let streamed = client.put(put).await.expect_err(parts[0]);
        let begun = client.begin("w", spec, rows).await.expect_err(parts[0]);
        for status in [streamed, begun] {
            let error = CallError::from(status);
            for part in parts {
                assert!(error.message.contains(part), "{part}: {}", error.message);
            }
        }
    }
}

/// Rows of a, b and v.
fn pairs(rows: &[(Option<i32>, Option<i32>, i32)]) -> RecordBatch {
    let a: Vec<Option<i32>> = rows.iter().map(|row| row.0).collect();
    let b: Vec<Option<i32>> = rows.iter().map(|row| row.1).collect();
    let v: Vec<Option<i32>> = rows.iter().map(|row| Some(row.2)).collect();
    batch(&[("a", ints(&a)), ("b", ints(&b)), ("v", ints(&v))])
}

#[tokio::test]
async fn null_identifies_a_row_where_the_unique_index_says_so() {
    let database = Database::new().await;
    if !database.is_at_least(15, "NULLS NOT DISTINCT").await {
        return;
    }
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let rows = pairs(&[(None, None, 7), (Some(1), None, 7), (Some(9), None, 7)]);
    let gone = json!({"keys": ["a", "b"], "deleteWhen": {"column": "v", "values": ["7"]}});
    let marked = json!({"keys": ["a", "b"], "deleteWhen": {"column": "op", "values": ["d"]},
                        "newerBy": "v", "tombstone": "gone"});
    let changes = pairs(&[(None, None, 7), (Some(1), None, 7), (Some(9), None, 7)]);
    let ops: ArrayRef = Arc::new(StringArray::from(vec!["d", "u", "d"]));
    let columns = changes.columns().iter().cloned().chain([ops]);
    let names = ["a", "b", "v", "op"];
    let changes = batch(&names.into_iter().zip(columns).collect::<Vec<_>>());
    let keys = || json!({"keys": ["a", "b"]});
    for (mode, options, rows, expected, counts) in [
        (
            "upsert",
            keys(),
            &rows,
            "(1,1,1,),(1,,7,),(9,,7,),(,,7,)",
            json!({"inserted": "1", "updated": "2", "ignored": "0"}),
        ),
        (
            "insertIfAbsent",
            keys(),
            &rows,
            "(1,1,1,),(1,,1,),(9,,7,),(,,1,)",
            json!({"inserted": "1", "ignored": "2"}),
        ),
        (
            "updateOnly",
            keys(),
            &rows,
            "(1,1,1,),(1,,7,),(,,7,)",
            json!({"updated": "2", "ignored": "1"}),
        ),
        (
            "deleteByKey",
            keys(),
            &rows,
            "(1,1,1,)",
            json!({"deleted": "2", "ignored": "1"}),
        ),
        (
            "upsert",
            gone,
            &rows,
            "(1,1,1,)",
            // The data has no column to update.
            json!({"deleted": "2", "inserted": "0", "ignored": "1"}),
        ),
        (
            "upsert",
            marked,
            &changes,
            "(1,1,1,),(1,,7,f),(9,,7,t),(,,7,t)",
            json!({"deleted": "2", "inserted": "0", "updated": "1", "ignored": "0"}),
        ),
    ] {
        for id in [None, Some(format!("{mode}{}", expected.len()))] {
            database
                .execute(
                    "DROP TABLE IF EXISTS t; CREATE TABLE t (a int, b int, v int, gone bool);
                     CREATE UNIQUE INDEX ON t (b, a) NULLS NOT DISTINCT; CREATE UNIQUE INDEX ON t (a, b);
                     INSERT INTO t VALUES (NULL, NULL, 1), (1, NULL, 1), (1, 1, 1)",
                )
                .await;
            let spec = json!({"table": "t", mode: options.clone()});
            let written = replace(&mut client, spec, rows, id.as_deref()).await;
            let written = written.unwrap_or_else(|status| panic!("{mode}, {options}: {status}"));
            let left = database.text("SELECT t FROM t ORDER BY a, b").await;
            assert_eq!(left, expected, "{mode}, {options}");
            assert_eq!(written["counts"], counts, "{mode}, {options}");
        }
    }
    let twice = pairs(&[(None, Some(1), 1), (None, Some(1), 2)]);
    let spec = json!({"table": "t", "upsert": {"keys": ["a", "b"]}});
    let error = replace(&mut client, spec, &twice, None).await;
    let error = CallError::from(error.expect_err("a key comes twice"));
    assert!(
        error.message.contains("1 key(s) come more than once"),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_missing_unique_index_is_told_with_those_that_exist() {
    let database = Database::new().await;
    database
        .execute(
            "CREATE TABLE t (a int, b int, v int); CREATE UNIQUE INDEX ON t (b, a); CREATE UNIQUE INDEX ON t (v);
             CREATE UNIQUE INDEX ON t (a) WHERE v > 0; CREATE UNIQUE INDEX ON t ((a + 0))",
        )
        .await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let spec = json!({"table": "t", "upsert": {"keys": ["a"]}});
    let error = replace(&mut client, spec, &pairs(&[(Some(1), None, 1)]), None).await;
    let error = CallError::from(error.expect_err("no index"));
    for part in [
        "no unique index on exactly (a)",
        "the keys of a unique index of the table, (b, a), (v), or",
        "CREATE UNIQUE INDEX ON public.t (a)",
    ] {
        assert!(error.message.contains(part), "{part}: {}", error.message);
    }
}
