//! Which rows are the same: composites with NULL, several unique indexes on the keys, rows that a view hides.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int32Array, RecordBatch, StringArray, StructArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field};
use serde_json::{Value, json};
use tonic::Code;

use super::replace::replace;
use crate::modes::keyed::ints;
use crate::support::{Client, Database, Pgflight, Put, batch, write};

type Fields = (Option<i32>, Option<i32>);

/// The fields of a composite; `None` for NULL instead of a composite.
type Composite = Option<Fields>;

fn rows(rows: &[(Composite, i32)]) -> RecordBatch {
    let field = |get: fn(&Fields) -> Option<i32>| -> ArrayRef {
        let values = rows.iter().map(|(k, _)| k.as_ref().and_then(get));
        Arc::new(values.collect::<Int32Array>())
    };
    let fields = ["a", "b"].map(|name| Field::new(name, DataType::Int32, true));
    let known: NullBuffer = rows.iter().map(|(k, _)| k.is_some()).collect();
    let composites = StructArray::new(
        fields.to_vec().into(),
        vec![field(|k| k.0), field(|k| k.1)],
        Some(known),
    );
    let values: Vec<Option<i32>> = rows.iter().map(|row| Some(row.1)).collect();
    batch(&[
        ("k", Arc::new(composites) as ArrayRef),
        ("v", ints(&values)),
    ])
}

#[tokio::test]
async fn a_composite_with_null_is_a_value_and_not_null() {
    let database = Database::new().await;
    database.execute("CREATE TYPE pair AS (a int, b int)").await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let parts: [Composite; 4] = [
        None,
        Some((None, None)),
        Some((Some(1), None)),
        Some((Some(1), Some(2))),
    ];
    for (number, part) in parts.into_iter().enumerate() {
        for id in [None, Some("by attempts")] {
            let values =
                "(NULL::pair), (ROW(NULL, NULL)::pair), (ROW(1, NULL)::pair), (ROW(1, 2)::pair)";
            database
                .execute(&format!(
                    "DROP TABLE IF EXISTS t; DROP SCHEMA IF EXISTS pgflight CASCADE;
                     CREATE TABLE t (k pair, v int);
                     INSERT INTO t SELECT x, row_number() OVER () - 1 FROM (VALUES {values}) v(x)"
                ))
                .await;
            let spec = json!({"table": "t", "overwrite": {"replaceBy": ["k"]}});
            let done = replace(&mut client, spec, &rows(&[(part, 9)]), id).await;
            let done = done.unwrap_or_else(|status| panic!("{part:?}: {status}"));
            let replaced = &done["counts"]["replaced"];
            assert_eq!(replaced, "1", "{part:?} {id:?}: {done}");
            let mut expected = ["0", "1", "2", "3"];
            expected[number] = "9";
            expected.sort_unstable();
            let found = "SELECT string_agg(v::text, ',' ORDER BY v) FROM t";
            assert_eq!(
                database.text(found).await,
                expected.join(","),
                "{part:?} {id:?}"
            );
        }
    }
    // As a key, and as the value that says which row is newer.
    database
        .execute("DROP TABLE t; CREATE TABLE t (k pair PRIMARY KEY, v int)")
        .await;
    let upsert = |newer: bool| match newer {
        false => json!({"table": "t", "upsert": {}}),
        true => json!({"table": "n", "upsert": {"newerBy": "k"}}),
    };
    for value in [1, 2] {
        let all = rows(&[(Some((None, None)), value), (Some((Some(1), None)), value)]);
        client
            .put(Put::whole(write(upsert(false)), &[all]))
            .await
            .unwrap();
        assert_eq!(
            database
                .text("SELECT count(*) || ' ' || sum(v) FROM t")
                .await,
            format!("2 {}", 2 * value)
        );
    }
    database
        .execute("CREATE TABLE n (k pair, v int PRIMARY KEY); INSERT INTO n VALUES (NULL, 1)")
        .await;
    let newer = rows(&[(Some((Some(1), None)), 1)]);
    client
        .put(Put::whole(write(upsert(true)), &[newer]))
        .await
        .unwrap();
    assert_eq!(database.text("SELECT k::text FROM n").await, "(1,)");
}

fn words(words: &[&str], value: i32) -> RecordBatch {
    let words = StringArray::from(words.to_vec());
    let values = vec![Some(value); words.len()];
    batch(&[("k", Arc::new(words) as ArrayRef), ("v", ints(&values))])
}

#[tokio::test]
async fn another_unique_index_on_the_keys_identifies_no_row() {
    let database = Database::new().await;
    if !database.was_built_with("ICU").await {
        return;
    }
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let check = async |client: &mut Client, mode: &str, key: &str, expected: Result<&str, &str>| {
        database
            .execute(
                "DROP TABLE IF EXISTS t;
                 CREATE COLLATION IF NOT EXISTS ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
                 CREATE TABLE t (k text PRIMARY KEY, v int); CREATE UNIQUE INDEX ON t (k COLLATE ci);
                 INSERT INTO t VALUES ('a', 1)",
            )
            .await;
        let spec = json!({"table": "t", mode: {}});
        let done = client
            .put(Put::whole(write(spec), &[words(&[key], 2)]))
            .await;
        match (done, expected) {
            (Ok(_), Ok(rows)) => {
                let found = "SELECT string_agg(k || v, ',' ORDER BY k) FROM t";
                assert_eq!(database.text(found).await, rows, "{mode} {key}");
            }
            (Err(status), Err(part)) => {
                assert!(status.message().contains(part), "{mode} {key}: {status}");
                assert_eq!(database.text("SELECT k || v FROM t").await, "a1");
            }
            (done, expected) => panic!("{mode} {key}: {done:?}, not {expected:?}"),
        }
    };
    for mode in ["upsert", "insertIfAbsent"] {
        let same = if mode == "upsert" { "a2" } else { "a1" };
        check(&mut client, mode, "a", Ok(same)).await;
        check(&mut client, mode, "b", Ok("a1,b2")).await;
        check(&mut client, mode, "A", Err("t_k_idx")).await;
    }
}

#[tokio::test]
async fn a_part_is_replaced_through_a_view_only_if_the_view_shows_all_its_rows() {
    let database = Database::new().await;
    database
        .execute(
            "CREATE TABLE base (k text, v int); CREATE VIEW t AS SELECT * FROM base WHERE v < 5",
        )
        .await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let check =
        async |client: &mut Client, part: Value, value: i32, expected: Result<&str, Code>| {
            let spec = json!({"table": "t", "overwrite": part});
            for _ in 0..2 {
                let row = words(&["a"], value);
                let done = client.put(Put::whole(write(spec.clone()), &[row])).await;
                assert_eq!(
                    done.as_ref().err().map(tonic::Status::code),
                    expected.err(),
                    "{part}: {done:?}"
                );
            }
            let found = "SELECT coalesce(string_agg(k || v, ','), '') FROM base";
            assert_eq!(database.text(found).await, expected.unwrap_or(""), "{part}");
        };
    let parts = || {
        [
            json!({"replaceBy": ["k"]}),
            json!({"replaceWhere": "k = 'a'"}),
        ]
    };
    for part in parts() {
        check(&mut client, part, 9, Err(Code::Unimplemented)).await;
    }
    database
        .execute(
            "CREATE OR REPLACE VIEW t AS SELECT * FROM base WHERE v < 5 WITH CASCADED CHECK OPTION",
        )
        .await;
    for part in parts() {
        check(&mut client, part, 1, Ok("a1")).await;
        database.execute("TRUNCATE base").await;
        check(
            &mut client,
            json!({"replaceBy": ["k"]}),
            9,
            Err(Code::InvalidArgument),
        )
        .await;
    }
}
