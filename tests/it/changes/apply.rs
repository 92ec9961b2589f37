//! Upserts that apply changes: deletes within the data, and rows that are newer than those of the table.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, StringArray};
use serde_json::{Value, json};

use super::replace::replace;
use crate::modes::keyed::ints;
use crate::support::{CallError, Database, Pgflight, Put, batch, write};

pub(super) const TABLE: &str = "DROP TABLE IF EXISTS t CASCADE;
                     CREATE TABLE t (id int PRIMARY KEY, name text NOT NULL, at int, note text DEFAULT 'new',
                                     gone boolean);
                     INSERT INTO t VALUES (1, 'a', 10, 'old'), (2, 'b', 10, 'old'), (3, 'c', NULL, 'old')";

/// Changes: the key, the name, `at` and `op`.
pub(super) fn changes(rows: &[(i32, Option<&str>, Option<i32>, &str)]) -> RecordBatch {
    let ids: Vec<Option<i32>> = rows.iter().map(|row| Some(row.0)).collect();
    let names: Vec<Option<&str>> = rows.iter().map(|row| row.1).collect();
    let times: Vec<Option<i32>> = rows.iter().map(|row| row.2).collect();
    let ops: Vec<&str> = rows.iter().map(|row| row.3).collect();
    let deletes: Vec<Option<bool>> = ops
        .iter()
        .map(|op| (*op != "u").then_some(*op == "d"))
        .collect();
    batch(&[
        ("id", ints(&ids)),
        ("name", Arc::new(StringArray::from(names)) as ArrayRef),
        ("at", ints(&times)),
        ("op", Arc::new(StringArray::from(ops))),
        ("is_gone", Arc::new(BooleanArray::from(deletes))),
    ])
}

/// Leaves one of the two columns that say which rows delete.
fn with_marker(rows: &RecordBatch, marker: &str) -> RecordBatch {
    let last = if marker == "op" { 3 } else { 4 };
    rows.project(&[0, 1, 2, last]).unwrap()
}

fn upsert(rules: &Value) -> Value {
    json!({"table": "t", "upsert": rules})
}

#[tokio::test]
async fn changes_are_applied_and_counted() {
    let database = Database::new().await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let by_op = json!({"column": "op", "values": ["d", "D"]});
    let by_flag = json!({"column": "is_gone"});
    let mixed = changes(&[
        (1, None, Some(20), "d"),
        (2, Some("B"), Some(5), "u"),
        (3, Some("C"), Some(1), "u"),
        (4, Some("D"), Some(1), "i"),
        (5, None, Some(1), "d"),
    ]);
    let late = changes(&[
        (1, None, Some(10), "d"),
        (2, Some("B"), Some(10), "u"),
        (3, Some("C"), None, "u"),
    ]);
    let doubled = changes(&[
        (1, Some("x"), Some(30), "u"),
        (1, None, Some(40), "d"),
        (2, None, Some(50), "d"),
        (2, Some("y"), Some(60), "i"),
        (3, Some("z"), None, "i"),
        (3, Some("Z"), Some(7), "u"),
    ]);
    let counts = |inserted: u32, updated: u32, deleted: Option<u32>, ignored: u32| {
        let mut counts = json!({"inserted": inserted.to_string(), "updated": updated.to_string(),
                                "ignored": ignored.to_string()});
        if let Some(deleted) = deleted {
            counts["deleted"] = deleted.to_string().into();
        }
        counts
    };
    let cases = [
        (
            json!({"deleteWhen": by_op}),
            &mixed,
            "(2,B,5,old,),(3,C,1,old,),(4,D,1,new,)",
            counts(1, 2, Some(1), 1),
        ),
        (
            json!({"deleteWhen": by_op, "newerBy": "at"}),
            &mixed,
            "(2,b,10,old,),(3,C,1,old,),(4,D,1,new,)",
            counts(1, 1, Some(1), 2),
        ),
        (
            json!({"deleteWhen": by_op, "newerBy": "at"}),
            &late,
            "(1,a,10,old,),(2,b,10,old,),(3,c,,old,)",
            counts(0, 0, Some(0), 3),
        ),
        (
            json!({"deleteWhen": by_op, "newerBy": "at"}),
            &doubled,
            "(2,y,60,old,),(3,Z,7,old,)",
            counts(0, 2, Some(1), 3),
        ),
        (
            json!({"deleteWhen": by_op, "newerBy": "at", "tombstone": "gone"}),
            &doubled,
            "(1,a,40,old,t),(2,y,60,old,f),(3,Z,7,old,f)",
            counts(0, 2, Some(1), 3),
        ),
        (
            json!({"deleteWhen": by_op, "orderBy": "at"}),
            &doubled,
            "(2,y,60,old,),(3,Z,7,old,)",
            counts(0, 2, Some(1), 3),
        ),
    ];
    let mut number = 0;
    for (rules, rows, expected, counts) in cases {
        for marker in ["op", "is_gone"] {
            let mut rules = rules.clone();
            if marker == "is_gone" {
                rules["deleteWhen"] = by_flag.clone();
            }
            number += 1;
            let id = format!("w{number}");
            for id in [None, Some(id.as_str())] {
                database.execute(TABLE).await;
                let rows = with_marker(rows, marker);
                let written = replace(&mut client, upsert(&rules), &rows, id).await;
                let written = written.unwrap_or_else(|status| panic!("{rules}: {status}"));
                let found = database.text("SELECT t FROM t ORDER BY id").await;
                assert_eq!(found, expected, "{rules}, {id:?}");
                assert_eq!(written["counts"], counts, "{rules}, {id:?}");
                let remark = written.get("remark").or(written.get("reason"));
                let says = remark.is_some_and(|text| text.as_str().unwrap().contains("tombstone"));
                let deletes = counts["deleted"] != "0";
                let is_open = rules.get("newerBy").is_some() && rules.get("tombstone").is_none();
                assert_eq!(says, is_open && deletes, "{rules}: {written}");
            }
        }
    }
    let newer = changes(&[(1, Some("A"), Some(11), "u"), (2, Some("B"), Some(9), "u")]);
    let newer = newer.project(&[0, 1, 2]).unwrap();
    database.execute(TABLE).await;
    let written = replace(&mut client, upsert(&json!({"newerBy": "at"})), &newer, None).await;
    assert_eq!(written.unwrap()["counts"], counts(0, 1, None, 1));
    let left = database.text("SELECT t FROM t ORDER BY id").await;
    assert_eq!(left, "(1,A,11,old,),(2,b,10,old,),(3,c,,old,)");
}

#[tokio::test]
async fn a_tombstone_keeps_late_changes_from_bringing_a_row_back() {
    let database = Database::new().await;
    database.execute(TABLE).await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    // The column of the data may be the tombstone itself.
    let flags = |rows: &RecordBatch| {
        batch(&[
            ("id", rows.column(0).clone()),
            ("name", rows.column(1).clone()),
            ("at", rows.column(2).clone()),
            ("gone", rows.column(4).clone()),
        ])
    };
    let rules = json!({"deleteWhen": {"column": "gone"}, "newerBy": "at", "tombstone": "gone"});
    for (rows, expected) in [
        // A delete keeps the other values, and adds a row that does not exist.
        (
            changes(&[(1, Some("x"), Some(20), "d"), (9, Some("y"), Some(20), "d")]),
            "(1,a,20,old,t),(2,b,10,old,),(3,c,,old,),(9,y,20,new,t)",
        ),
        (
            changes(&[(1, Some("x"), Some(19), "u"), (9, Some("z"), Some(20), "i")]),
            "(1,a,20,old,t),(2,b,10,old,),(3,c,,old,),(9,y,20,new,t)",
        ),
        (
            changes(&[(1, Some("x"), Some(21), "u"), (9, Some("z"), Some(21), "d")]),
            "(1,x,21,old,f),(2,b,10,old,),(3,c,,old,),(9,y,21,new,t)",
        ),
    ] {
        replace(&mut client, upsert(&rules), &flags(&rows), None)
            .await
            .unwrap();
        assert_eq!(database.text("SELECT t FROM t ORDER BY id").await, expected);
    }
}

#[tokio::test]
async fn shuffled_changes_end_like_changes_in_order() {
    let database = Database::new().await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    database
        .execute(
            "SELECT setseed(0.4);
             CREATE TABLE t (id int PRIMARY KEY, name text, at int, gone boolean);
             CREATE TABLE change AS
             SELECT (random() * 199)::int AS id, 'n' || at AS name, at,
                    CASE WHEN random() < 0.3 THEN 'd' ELSE 'u' END AS op,
                    row_number() OVER (ORDER BY random()) AS place
             FROM generate_series(1, 3000) at",
        )
        .await;
    let connection = Database::connect(&database.url).await;
    let rules = json!({"deleteWhen": {"column": "op", "values": ["d"]}, "newerBy": "at", "tombstone": "gone"});
    for number in 0..15 {
        let rows = connection
            .query(
                "SELECT id, name, at, op FROM change WHERE place % 15 = $1 ORDER BY place",
                &[&i64::from(number)],
            )
            .await
            .unwrap();
        let texts: Vec<(i32, String, i32, String)> = rows
            .iter()
            .map(|row| (row.get(0), row.get(1), row.get(2), row.get(3)))
            .collect();
        let rows: Vec<_> = texts
            .iter()
            .map(|(id, name, at, op)| (*id, Some(name.as_str()), Some(*at), op.as_str()))
            .collect();
        let rows = with_marker(&changes(&rows), "op");
        let id = format!("b{number}");
        replace(&mut client, upsert(&rules), &rows, Some(&id))
            .await
            .unwrap();
        // A replay under another name changes nothing.
        let again = replace(&mut client, upsert(&rules), &rows, None)
            .await
            .unwrap();
        assert_eq!(
            again["counts"]["ignored"],
            rows.num_rows().to_string(),
            "{again}"
        );
    }
    let newest = "SELECT DISTINCT ON (id) id, at, op = 'd' AS gone,
                         (SELECT c.name FROM change c WHERE c.id = change.id AND c.op = 'u' AND c.at <= change.at
                          ORDER BY c.at DESC LIMIT 1) AS name
                  FROM change ORDER BY id, at DESC";
    // Where a delete came first, a row has the values of that delete.
    let differs = format!(
        "SELECT count(*) FROM ({newest}) n FULL JOIN t ON t.id = n.id
         WHERE t.at IS DISTINCT FROM n.at OR t.gone IS DISTINCT FROM n.gone
            OR NOT n.gone AND t.name IS DISTINCT FROM n.name"
    );
    assert_eq!(database.text(&differs).await, "0");
    assert!(
        database
            .text("SELECT count(*) FROM t WHERE gone")
            .await
            .parse::<u32>()
            .unwrap()
            > 10
    );
}

#[tokio::test]
async fn columns_may_be_set_only_in_new_or_only_in_known_rows() {
    let database = Database::new().await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let rows = batch(&[
        ("id", ints(&[Some(1), Some(7)])),
        (
            "name",
            Arc::new(StringArray::from(vec!["x", "y"])) as ArrayRef,
        ),
        ("at", ints(&[Some(20), Some(20)])),
        ("note", Arc::new(StringArray::from(vec!["p", "q"]))),
    ]);
    for (rules, expected) in [
        (
            json!({"updateColumns": ["name"]}),
            "(1,x,10,old,),(7,y,20,q,)",
        ),
        (
            json!({"updateColumns": ["name"], "newerBy": "at"}),
            "(1,x,20,old,),(7,y,20,q,)",
        ),
        (
            json!({"insertColumns": ["name", "at"]}),
            "(1,x,20,old,),(7,y,20,new,)",
        ),
        (
            json!({"insertColumns": ["name", "at"], "updateColumns": ["at"]}),
            "(1,a,20,old,),(7,y,20,new,)",
        ),
    ] {
        for id in [None, Some(format!("w{rules}"))] {
            database.execute(TABLE).await;
            let written = replace(&mut client, upsert(&rules), &rows, id.as_deref()).await;
            written.unwrap_or_else(|status| panic!("{rules}: {status}"));
            let found = database
                .text("SELECT t FROM t WHERE id NOT IN (2, 3) ORDER BY id")
                .await;
            assert_eq!(found, expected, "{rules}, {id:?}");
        }
    }
}

#[tokio::test]
async fn rules_that_cannot_be_applied_are_rejected_at_begin() {
    let database = Database::new().await;
    database.execute(TABLE).await;
    database.execute("ALTER TABLE t ADD COLUMN doc json").await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let rows = with_marker(&changes(&[(1, None, Some(1), "d")]), "op");
    let by_op = json!({"column": "op", "values": ["d"]});
    for (rules, part, reason) in [
        (
            json!({"deleteWhen": {}}),
            "delete_when names no column",
            "INVALID_COMMAND",
        ),
        (
            json!({"deleteWhen": {"column": "nope"}}),
            "the data has no such delete_when column",
            "SCHEMA_MISMATCH",
        ),
        (
            json!({"deleteWhen": {"column": "op"}}),
            "is no boolean",
            "SCHEMA_MISMATCH",
        ),
        (
            json!({"deleteWhen": by_op, "tombstone": "gone"}),
            "not both delete_when and newer_by",
            "INVALID_COMMAND",
        ),
        (
            json!({"deleteWhen": by_op, "newerBy": "at", "tombstone": "note"}),
            "the table has no such boolean column, which tombstone names",
            "SCHEMA_MISMATCH",
        ),
        (
            json!({"deleteWhen": by_op, "newerBy": "note"}),
            "the data has no such order_by column",
            "SCHEMA_MISMATCH",
        ),
        (
            json!({"deleteWhen": by_op, "newerBy": "id"}),
            "order_by names a key",
            "SCHEMA_MISMATCH",
        ),
        (
            json!({"deleteWhen": by_op, "newerBy": "op"}),
            "which newer_by names",
            "SCHEMA_MISMATCH",
        ),
        (
            json!({"deleteWhen": by_op, "updateColumns": ["id"]}),
            "update_columns names a key",
            "SCHEMA_MISMATCH",
        ),
        (
            json!({"deleteWhen": by_op, "updateColumns": ["doc"]}),
            "the data has no such column",
            "SCHEMA_MISMATCH",
        ),
        (
            json!({"deleteWhen": by_op, "updateColumns": ["name"], "insertColumns": ["at"]}),
            "a column that insert_columns lacks",
            "INVALID_COMMAND",
        ),
        (
            json!({"deleteWhen": by_op, "keys": ["id"], "createIfMissing": {}}),
            "delete_when needs a table that exists",
            "INVALID_COMMAND",
        ),
    ] {
        let put = Put::whole(write(upsert(&rules)), std::slice::from_ref(&rows));
        let streamed = client.put(put).await.expect_err(part);
        let begun = client
            .begin("w", upsert(&rules), &rows)
            .await
            .expect_err(part);
        for status in [streamed, begun] {
            let error = CallError::from(status);
            assert!(error.message.contains(part), "{rules}: {}", error.message);
            assert_eq!(error.reason, reason, "{rules}: {}", error.message);
        }
    }
    let schema = rows.schema();
    let fields = schema.fields().iter().zip(rows.columns());
    let columns: Vec<_> = fields
        .map(|(field, column)| (field.name().as_str(), column.clone()))
        .collect();
    let plan = client
        .plan(
            &columns,
            upsert(&json!({"deleteWhen": by_op, "newerBy": "at"})),
        )
        .await
        .unwrap();
    let marker = &plan["columns"][3]["encoding"];
    assert_eq!(marker, "not written: says which rows delete", "{plan}");
    assert!(
        plan["warnings"]
            .to_string()
            .contains("a tombstone column prevents"),
        "{plan}"
    );
    // A live row still needs what the table needs.
    let live = with_marker(&changes(&[(1, None, Some(99), "u")]), "op");
    let put = Put::whole(write(upsert(&json!({"deleteWhen": by_op}))), &[live]);
    let error = CallError::from(client.put(put).await.expect_err("NULL"));
    assert_eq!(error.reason, "DATA_REJECTED", "{}", error.message);
    assert_eq!(error.details["column"], "name");
}

#[tokio::test]
async fn a_marker_that_is_a_key_or_has_a_reserved_name_is_rejected_at_begin() {
    let database = Database::new().await;
    let table = "CREATE TABLE t (id int PRIMARY KEY, at int)";
    database.execute(table).await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let one = || ints(&[Some(1)]);
    for (column, marker, message) in [
        ("at", "id", "the delete_when column is a key"),
        ("_pgflight_deletes", "at", "whose name pgflight uses"),
    ] {
        let rows = batch(&[("id", one()), ("at", one()), (column, one())]);
        let rows = if column == "at" {
            rows.project(&[0, 1]).unwrap()
        } else {
            rows
        };
        let rules = json!({"deleteWhen": {"column": marker, "values": ["1"]}});
        for id in [None, Some("w")] {
            let refused = replace(&mut client, upsert(&rules), &rows, id).await;
            let refused = refused.expect_err(message);
            assert_eq!(refused.code(), tonic::Code::InvalidArgument, "{refused}");
            assert!(refused.message().contains(message), "{refused}");
        }
    }
}
