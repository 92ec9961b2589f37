//! Changes in Debezium's envelope.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, StructArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, Fields};
use serde_json::{Value, json};

use super::replace::replace;
use crate::modes::keyed::ints;
use crate::support::{CallError, Database, Pgflight, batch};

const TABLE: &str = "DROP TABLE IF EXISTS t; CREATE TABLE t (id int PRIMARY KEY, name text NOT NULL, lsn bigint, gone bool);
                     INSERT INTO t VALUES (1, 'a', 10, false), (2, 'b', 10, false), (3, 'c', 10, false)";

type Row = Option<(i32, Option<&'static str>)>;
/// The operation, the rows before and after, the lsn and the milliseconds.
type Change = (Option<&'static str>, Row, Row, i64, i64);

fn row(id: i32, name: &'static str) -> Row {
    Some((id, Some(name)))
}

fn key(id: i32) -> Row {
    Some((id, None))
}

fn structs(rows: &[Row]) -> ArrayRef {
    let ids: Vec<Option<i32>> = rows.iter().map(|row| row.map(|row| row.0)).collect();
    let names: Vec<Option<&str>> = rows.iter().map(|row| row.and_then(|row| row.1)).collect();
    let nulls = NullBuffer::from_iter(rows.iter().map(Option::is_some));
    let fields = Fields::from(vec![
        Field::new("id", DataType::Int32, true),
        Field::new("name", DataType::Utf8, true),
    ]);
    let columns: Vec<ArrayRef> = vec![ints(&ids), Arc::new(StringArray::from(names))];
    Arc::new(StructArray::new(fields, columns, Some(nulls)))
}

fn envelope(changes: &[Change], has_source: bool) -> RecordBatch {
    let ops: Vec<Option<&str>> = changes.iter().map(|change| change.0).collect();
    let before: Vec<Row> = changes.iter().map(|change| change.1).collect();
    let after: Vec<Row> = changes.iter().map(|change| change.2).collect();
    let lsns: ArrayRef = Arc::new(Int64Array::from_iter_values(changes.iter().map(|c| c.3)));
    let times: ArrayRef = Arc::new(Int64Array::from_iter_values(changes.iter().map(|c| c.4)));
    let field = Arc::new(Field::new("lsn", DataType::Int64, true));
    let mut columns = vec![
        ("before", structs(&before)),
        ("after", structs(&after)),
        ("op", Arc::new(StringArray::from(ops)) as ArrayRef),
        ("ts_ms", times),
    ];
    if has_source {
        let source: ArrayRef = Arc::new(StructArray::from(vec![(field, lsns)]));
        columns.insert(2, ("source", source));
    }
    batch(&columns)
}

fn upsert(rules: &Value) -> Value {
    let mut spec = json!({"table": "t", "upsert": rules.clone()});
    spec["upsert"]["envelope"] = "ENVELOPE_DEBEZIUM".into();
    spec
}

#[tokio::test]
async fn an_envelope_is_applied_as_it_is() {
    let database = Database::new().await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let marked = json!({"newerBy": "lsn", "tombstone": "gone"});
    // The changes of a row come in another order than they were made.
    let by_lsn = envelope(
        &[
            (Some("u"), key(1), row(1, "A"), 21, 5),
            (Some("d"), key(2), None, 23, 5),
            (Some("u"), key(1), row(1, "old"), 20, 9),
            (Some("u"), row(2, "b"), row(2, "B"), 22, 9),
            (Some("c"), None, row(4, "d"), 24, 5),
            (Some("d"), row(5, "e"), None, 26, 5),
            (Some("c"), None, row(5, "e"), 25, 9),
            (Some("r"), None, row(6, "f"), 1, 5),
            (Some("u"), key(3), row(3, "late"), 9, 9),
        ],
        true,
    );
    // In one stream, the place of a change decides within a millisecond.
    let by_time = envelope(
        &[
            (Some("u"), key(1), row(1, "older"), 9, 20),
            (Some("c"), None, row(4, "d"), 9, 20),
            (Some("u"), None, row(4, "D"), 8, 20),
            (Some("d"), key(4), None, 7, 20),
            (Some("d"), key(1), None, 9, 20),
            (Some("c"), None, row(1, "A"), 5, 20),
            (Some("u"), key(2), row(2, "B"), 9, 21),
            (Some("u"), key(2), row(2, "old"), 9, 20),
        ],
        false,
    );
    for (rules, rows, expected, counts) in [
        (
            json!({}),
            &by_lsn,
            "(1,A),(3,late),(4,d),(6,f)",
            json!({"inserted": "2", "updated": "2", "deleted": "1", "ignored": "4"}),
        ),
        (
            json!({"newerBy": "lsn"}),
            &by_lsn,
            "(1,A),(3,c),(4,d),(6,f)",
            json!({"inserted": "2", "updated": "1", "deleted": "1", "ignored": "5"}),
        ),
        (
            marked,
            &by_lsn,
            "(1,A),(3,c),(4,d),(6,f)",
            json!({"inserted": "2", "updated": "1", "deleted": "2", "ignored": "4"}),
        ),
        (
            json!({}),
            &by_time,
            "(1,A),(2,B),(3,c)",
            json!({"inserted": "0", "updated": "2", "deleted": "0", "ignored": "6"}),
        ),
    ] {
        for id in [None, Some(format!("w{}{rules}", rows.num_rows()))] {
            if id.is_some() && rows.num_columns() == 4 {
                // Two partitions have no common order within a millisecond.
                continue;
            }
            database.execute(TABLE).await;
            let answer = replace(&mut client, upsert(&rules), rows, id.as_deref()).await;
            let answer = answer.unwrap_or_else(|status| panic!("{rules}: {status}"));
            let left = database
                .text("SELECT (id, name) FROM t WHERE gone IS NOT TRUE ORDER BY id")
                .await;
            assert_eq!(left, expected, "{rules}, {id:?}");
            assert_eq!(answer["counts"], counts, "{rules}, {id:?}");
            if rules.get("newerBy").is_some() {
                let lsn = database.text("SELECT lsn FROM t WHERE id = 1").await;
                assert_eq!(lsn, "21", "{rules}");
            }
        }
    }
}

#[tokio::test]
async fn shuffled_envelopes_with_replays_end_like_changes_in_order() {
    let database = Database::new().await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    database.execute(TABLE).await;
    let mut changes: Vec<Change> = Vec::new();
    let mut rows: Vec<bool> = vec![true, true, true, false, false, false, false];
    let mut expected = ["a", "b", "c", "", "", "", ""];
    let names = ["v", "w", "x", "y", "z"];
    for number in 0..400_usize {
        let at = (number * number + number / 7) % rows.len();
        let id = i32::try_from(at).unwrap() + 1;
        let lsn = 100 + i64::try_from(number).unwrap();
        let name = names[number % names.len()];
        let change = match (rows[at], number % 3) {
            (true, 0) => (Some("d"), key(id), None, lsn, 0),
            (true, _) => (Some("u"), key(id), row(id, name), lsn, 0),
            (false, _) => (Some("c"), None, row(id, name), lsn, 0),
        };
        rows[at] = change.2.is_some();
        expected[at] = if rows[at] { name } else { "" };
        changes.push(change);
    }
    // Deletes of rows that the table never had need values for NOT NULL, as REPLICA IDENTITY FULL gives.
    for change in &mut changes {
        if let (Some("d"), Some((id, _))) = (change.0, change.1) {
            change.1 = row(id, "deleted");
        }
    }
    changes.sort_by_key(|change| (change.3 * 7919) % 401);
    let rules = json!({"newerBy": "lsn", "tombstone": "gone"});
    for part in [0..150, 100..250, 230..400, 0..150] {
        let rows = envelope(&changes[part], true);
        replace(&mut client, upsert(&rules), &rows, None)
            .await
            .unwrap();
    }
    let left = database
        .text("SELECT string_agg(CASE WHEN gone THEN '' ELSE name END, '+' ORDER BY id) FROM t")
        .await;
    assert_eq!(left, expected.join("+"));
}

#[tokio::test]
async fn what_is_no_envelope_is_rejected_and_changes_nothing() {
    let database = Database::new().await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    database.execute(TABLE).await;
    let one = |op, before, after| {
        envelope(
            &[
                (Some("c"), None, row(7, "g"), 1, 1),
                (op, before, after, 2, 2),
            ],
            true,
        )
    };
    let good = one(Some("u"), None, row(1, "A"));
    let without = |name: &str| {
        let columns = good.schema_ref().fields().iter().zip(good.columns());
        let left = columns.filter(|(field, _)| field.name() != name);
        batch(
            &left
                .map(|(field, column)| (field.name().as_str(), Arc::clone(column)))
                .collect::<Vec<_>>(),
        )
    };
    let unlike: Vec<(&str, ArrayRef)> = vec![
        ("before", Arc::clone(good.column(2))),
        ("after", Arc::clone(good.column(1))),
        ("op", Arc::clone(good.column(3))),
        ("ts_ms", Arc::clone(good.column(4))),
    ];
    let cases = [
        (
            json!({}),
            one(Some("t"), None, None),
            "an op other than c, r, u and d",
            "row ",
        ),
        (
            json!({}),
            one(None, None, None),
            "an op other than",
            "tombstones",
        ),
        (
            json!({}),
            one(Some("u"), key(1), None),
            "NULL in after",
            "row ",
        ),
        (
            json!({}),
            one(Some("d"), None, row(1, "x")),
            "NULL in before",
            "REPLICA IDENTITY",
        ),
        (
            json!({}),
            one(Some("u"), None, row(1, "__debezium_unavailable_value")),
            "Debezium's placeholder",
            "column name, row",
        ),
        (
            json!({}),
            without("op"),
            "lacks a column of Debezium's envelope",
            "column op",
        ),
        (
            json!({}),
            without("before"),
            "lacks a column",
            "column before",
        ),
        (
            json!({}),
            batch(&unlike),
            "before and after of the envelope have different columns",
            "",
        ),
        (
            json!({"newerBy": "name"}),
            good.clone(),
            "a column that the server fills",
            "column name",
        ),
        (
            json!({"deleteWhen": {"column": "op"}}),
            good.clone(),
            "have no meaning with an envelope",
            "",
        ),
        (
            json!({"orderBy": "ts_ms"}),
            good.clone(),
            "have no meaning with an envelope",
            "",
        ),
        (
            json!({"createIfMissing": {}, "keys": ["id"]}),
            good.clone(),
            "needs a table that exists",
            "",
        ),
    ];
    for (number, (rules, rows, part, place)) in cases.into_iter().enumerate() {
        let id = format!("w{number}");
        for id in [None, Some(id.as_str())] {
            let error = replace(&mut client, upsert(&rules), &rows, id).await;
            let error = CallError::from(error.expect_err(part));
            assert!(error.message.contains(part), "{part}: {}", error.message);
            assert!(error.message.contains(place), "{place}: {}", error.message);
            let left = database
                .text("SELECT count(*) FILTER (WHERE lsn = 10) FROM t")
                .await;
            assert_eq!(left, "3", "{part}");
        }
    }
    let columns: Vec<(&str, ArrayRef)> = good
        .schema_ref()
        .fields()
        .iter()
        .map(|field| field.name().as_str())
        .zip(good.columns().iter().cloned())
        .collect();
    let plan = client
        .plan(&columns, upsert(&json!({"newerBy": "lsn"})))
        .await
        .unwrap();
    let names: Vec<&str> = plan["columns"]
        .as_array()
        .unwrap()
        .iter()
        .map(|column| column["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["id", "name", "lsn"]);
    assert!(plan["problems"].is_null(), "{plan}");
    let warnings = plan["warnings"].to_string();
    assert!(warnings.contains("ordered by source.lsn"), "{warnings}");
}

#[tokio::test]
async fn a_change_without_its_number_is_rejected() {
    let database = Database::new().await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    database.execute(TABLE).await;
    let changes = [
        (Some("u"), key(1), row(1, "A"), 20, 20),
        (Some("u"), key(1), row(1, "B"), 99, 99),
    ];
    let with_null = |has_source: bool, name: &str, array: ArrayRef| {
        let rows = envelope(&changes, has_source);
        let at = rows.schema().index_of(name).unwrap();
        let mut columns = rows.columns().to_vec();
        columns[at] = array;
        RecordBatch::try_new(rows.schema(), columns).unwrap()
    };
    let lsns = |numbers: Vec<Option<i64>>, known: Vec<bool>| -> ArrayRef {
        let fields = Fields::from(vec![Field::new("lsn", DataType::Int64, true)]);
        let numbers: ArrayRef = Arc::new(Int64Array::from(numbers));
        Arc::new(StructArray::new(
            fields,
            vec![numbers],
            Some(NullBuffer::from(known)),
        ))
    };
    let cases = [
        (
            with_null(
                true,
                "source",
                lsns(vec![Some(20), Some(999)], vec![true, false]),
            ),
            "source.lsn",
        ),
        (
            with_null(true, "source", lsns(vec![Some(20), None], vec![true, true])),
            "source.lsn",
        ),
        (
            with_null(
                false,
                "ts_ms",
                Arc::new(Int64Array::from(vec![Some(20), None])),
            ),
            "ts_ms",
        ),
    ];
    for (rows, name) in cases {
        let done = replace(&mut client, upsert(&json!({})), &rows, None).await;
        let error = CallError::from(done.unwrap_err());
        assert!(
            error.message.contains(&format!("NULL in {name}")),
            "{error:?}"
        );
        assert_eq!(error.details["row"], "1", "{error:?}");
        let kept = "SELECT name FROM t WHERE id = 1";
        assert_eq!(database.text(kept).await, "a");
    }
}

/// An update that changes a key would leave the row of the old one.
#[tokio::test]
async fn an_update_that_changes_a_key_is_rejected_by_its_row() {
    let database = Database::new().await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let two = json!({"keys": ["id", "name"]});
    let none = json!({});
    let unknown = Some((8, None));
    // Two changes, and the row and column of the error; an accepted change has none.
    let cases = [
        (
            &none,
            [("u", row(2, "b"), row(9, "b")), ("c", None, row(8, "h"))],
            Some((0, "id")),
        ),
        (
            &none,
            [("c", None, row(8, "h")), ("u", key(2), row(9, "b"))],
            Some((1, "id")),
        ),
        // A chain: the key of the first change is changed by the second.
        (
            &none,
            [("c", None, row(8, "h")), ("u", row(8, "h"), row(9, "h"))],
            Some((1, "id")),
        ),
        (
            &none,
            [
                ("u", row(2, "b"), row(9, "b")),
                ("u", row(9, "b"), row(2, "b")),
            ],
            Some((0, "id")),
        ),
        (
            &none,
            [("u", None, row(2, "B")), ("u", key(3), row(3, "C"))],
            None,
        ),
        (
            &none,
            [("u", row(2, "b"), row(2, "B")), ("d", row(2, "B"), None)],
            None,
        ),
        // What Debezium sends instead.
        (
            &none,
            [("d", row(2, "b"), None), ("c", None, row(9, "b"))],
            None,
        ),
        (
            &two,
            [("u", row(2, "b"), row(2, "B")), ("c", None, row(8, "h"))],
            Some((0, "name")),
        ),
        (
            &two,
            [("c", None, row(8, "h")), ("u", row(2, "b"), row(9, "b"))],
            Some((1, "id")),
        ),
        // The old key is not known as a whole.
        (
            &two,
            [("u", unknown, row(8, "h")), ("c", None, row(7, "g"))],
            Some((0, "name")),
        ),
        (
            &two,
            [("u", row(2, "b"), row(2, "b")), ("u", None, row(3, "c"))],
            None,
        ),
    ];
    for (number, (rules, changes, refused)) in cases.into_iter().enumerate() {
        let changes = changes.map(|(op, before, after)| (Some(op), before, after, 20, 20));
        let id = format!("w{number}");
        for id in [None, Some(id.as_str())] {
            let case = format!("{changes:?}, {id:?}");
            database.execute(TABLE).await;
            database
                .execute("CREATE UNIQUE INDEX ON t (id, name)")
                .await;
            let rows = envelope(&changes, true);
            let sent = replace(&mut client, upsert(rules), &rows, id).await;
            let Some((row, column)) = refused else {
                sent.unwrap_or_else(|status| panic!("{case}: {status}"));
                continue;
            };
            let error = CallError::from(sent.expect_err(&case));
            assert!(error.message.contains("changes a key"), "{case}: {error:?}");
            // With an id, each change is in a partition of its own.
            let row = if id.is_none() { row } else { 0 };
            assert_eq!(error.details["row"], row.to_string(), "{case}");
            assert_eq!(error.details["column"], column, "{case}");
            let left = "SELECT string_agg(name, ',' ORDER BY id) FROM t";
            assert_eq!(database.text(left).await, "a,b,c", "{case}");
        }
    }
}
