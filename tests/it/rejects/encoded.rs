//! Rows that cannot be encoded.

use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, Float64Array, Int64Array, RecordBatch, StringArray};
use serde_json::{Value, json};

use super::{DOORS, Door, ENCODED, check_and_forget, rejecting, rejects};
use crate::support::{Database, Pgflight, Put, attempt, batch, write};

fn texts(values: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

#[tokio::test]
async fn every_kind_is_rejected_between_good_rows_at_every_door() {
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
    // Kind, type of the column, its conversion, data, SQLSTATE.
    let cases: Vec<(&str, &str, Value, ArrayRef, &str)> = vec![
        (
            "conversion",
            "uuid",
            json!({}),
            texts(&[
                "00000000-0000-0000-0000-000000000001",
                "s3cret",
                "00000000-0000-0000-0000-000000000003",
            ]),
            "22P02",
        ),
        (
            "range",
            "int",
            json!({}),
            Arc::new(Int64Array::from(vec![1, 1 << 40, 3])),
            "22003",
        ),
        (
            "length",
            "varchar(3)",
            json!({}),
            texts(&["a", "s3cret", "c"]),
            "22001",
        ),
        (
            "nul",
            "text",
            json!({}),
            texts(&["a", "s3cret\0", "c"]),
            "22021",
        ),
        (
            "utf8",
            "text",
            json!({"c": {"form": "FORM_UTF8"}}),
            Arc::new(BinaryArray::from(vec![&b"a"[..], b"s3cret\xff", b"c"])),
            "22021",
        ),
        (
            "enum",
            "mood",
            json!({}),
            texts(&["sad", "s3cret", "ok"]),
            "22P02",
        ),
        (
            "not_null",
            "int NOT NULL",
            json!({}),
            Arc::new(Int64Array::from(vec![Some(1), None, Some(3)])),
            "23502",
        ),
        (
            "document",
            "xml",
            json!({}),
            texts(&[
                "<a/>",
                "<?xml version=\"1.0\" encoding=\"latin1\"?><s3cret/>",
                "<c/>",
            ]),
            "2200N",
        ),
    ];
    assert_eq!(cases.iter().map(|case| case.0).collect::<Vec<_>>(), ENCODED);
    let database = Database::new().await;
    database
        .execute("CREATE TYPE mood AS ENUM ('sad', 'ok')")
        .await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let has_xml = database.was_built_with("libxml").await;
    for (kind, sql_type, conversions, array, sqlstate) in cases {
        if sql_type == "xml" && !has_xml {
            continue;
        }
        for door in DOORS {
            let shown = format!("{kind} {door:?}");
            database
                .execute(&format!(
                    "DROP TABLE IF EXISTS t; CREATE TABLE t (id bigint, c {sql_type})"
                ))
                .await;
            let rows = batch(&[("id", Arc::clone(&ids)), ("c", Arc::clone(&array))]);
            let spec = rejecting(door.append(), json!({"conversions": conversions}));
            let done = door.send(&mut client, &shown, spec, &[rows]).await;
            let done = done.unwrap_or_else(|error| panic!("{shown}: {error}"));
            let (row_count, rejected) = (&done["rowCount"], &done["rejectedCount"]);
            assert_eq!(
                (row_count, rejected),
                (&"2".into(), &"1".into()),
                "{shown}: {done}"
            );
            let reason = json!([{"kind": kind, "column": "c", "rowCount": "1"}]);
            assert_eq!(done["rejectReasons"], reason, "{shown}");
            let landed = database.text("SELECT id FROM t ORDER BY id").await;
            assert_eq!(landed, "1,3", "{shown}");
            let columns = "write_id = ".to_owned()
                + &format!("'{}'", done["writeId"].as_str().unwrap())
                + ", kind, sqlstate, column_name, row_number, keys, row, ipc";
            let expected = format!("t {kind} {sqlstate} c 1");
            check_and_forget(&database, &columns, &expected, &shown).await;
        }
    }
}

/// Rows 0 to `count`, of which each for which `is_bad` holds cannot be written.
fn numbers(from: i64, count: i64, is_bad: impl Fn(i64) -> bool) -> RecordBatch {
    let rows = || from..from + count;
    let values = rows().map(|row| if is_bad(row) { i64::MAX } else { row });
    batch(&[
        (
            "id",
            Arc::new(Int64Array::from_iter_values(rows())) as ArrayRef,
        ),
        ("n", Arc::new(Int64Array::from_iter_values(values))),
    ])
}

/// Says which rows are bad.
type IsBad = fn(i64) -> bool;

#[tokio::test]
async fn any_rows_of_any_batches_can_be_bad() {
    let database = Database::new().await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let patterns: [(&str, IsBad); 7] = [
        ("none", |_| false),
        ("the first", |row| row == 0),
        ("the last", |row| row == 9_999),
        ("around a block", |row| row == 255 || row == 256),
        ("a whole batch", |row| (3_000..6_000).contains(&row)),
        ("one of a hundred", |row| row % 100 == 7),
        ("all", |_| true),
    ];
    for (what, is_bad) in patterns {
        for door in [Door::Stream, Door::Attempts("PUBLISH_STAGED")] {
            let shown = format!("{what} {door:?}");
            database
                .execute("DROP TABLE IF EXISTS t; CREATE TABLE t (id bigint PRIMARY KEY, n int)")
                .await;
            let batches = [(0, 3_000), (3_000, 3_000), (6_000, 4_000)]
                .map(|(from, count)| numbers(from, count, is_bad));
            let spec = rejecting(door.append(), json!({}));
            let done = door
                .send(&mut client, &shown, spec, &batches)
                .await
                .unwrap();
            let bad: Vec<i64> = (0..10_000).filter(|row| is_bad(*row)).collect();
            let count = |name: &str| -> i64 {
                let count = done[name].as_str().unwrap_or("0");
                count.parse().unwrap()
            };
            let found = (count("rowCount"), count("rejectedCount"));
            let bad_count = i64::try_from(bad.len()).unwrap();
            assert_eq!(found, (10_000 - bad_count, bad_count), "{shown}");
            let list: Vec<String> = bad.iter().map(ToString::to_string).collect();
            // The keys name each bad row, and every other row is in the table as it was sent.
            let keys = database
                .text("SELECT keys->>'id' FROM pgflight.reject ORDER BY (keys->>'id')::int")
                .await;
            assert_eq!(keys, list.join(","), "{shown}");
            let wrong = format!(
                "SELECT count(*) FROM generate_series(0, 9999) s(id) LEFT JOIN t USING (id)
                 WHERE (n IS DISTINCT FROM id) <> (id = ANY ('{{{}}}'))",
                list.join(",")
            );
            assert_eq!(database.text(&wrong).await, "0", "{shown}");
            let within = match door {
                Door::Stream => "row_number",
                Door::Attempts(_) => "row_number + partition_id * 3000",
            };
            let misplaced = format!(
                "SELECT count(*) FROM pgflight.reject WHERE {within} <> (keys->>'id')::int"
            );
            assert_eq!(database.text(&misplaced).await, "0", "{shown}");
            let staged = database
                .text("SELECT count(*) FROM pgflight.staged_reject")
                .await;
            assert_eq!(staged, "0", "{shown}");
            database.execute("TRUNCATE pgflight.reject").await;
        }
    }
}

#[tokio::test]
async fn only_accepted_attempts_leave_rejects() {
    let database = Database::new().await;
    database
        .execute("CREATE TABLE t (id bigint PRIMARY KEY, n int)")
        .await;
    let server = Pgflight::start_with(&database, &["--reaper-interval", "50ms"]);
    let mut client = server.client().await;
    let rows = numbers(0, 10, |row| row == 4);
    let spec = || rejecting(json!({"append": {"publish": "PUBLISH_STAGED"}}), json!({}));
    for id in ["accepted", "aborted"] {
        client.begin(id, spec(), &rows).await.unwrap();
        let mut receipts = Vec::new();
        // Speculation runs a task twice, and a client sends an attempt again.
        for attempt_id in ["a", "b", "b"] {
            let put = Put::whole(attempt(id, 0, attempt_id), std::slice::from_ref(&rows));
            receipts.push(client.put(put).await.unwrap());
        }
        assert_eq!(receipts[1], receipts[2]);
        assert_eq!(receipts[1]["rejectedCount"], "1");
        let open = client.status(id).await.unwrap();
        assert_eq!(
            (&open["rowCount"], &open["rejectedCount"]),
            (&"18".into(), &"2".into())
        );
        assert_eq!(
            database
                .text("SELECT count(*) FROM pgflight.staged_reject")
                .await,
            "2"
        );
        match id {
            "accepted" => {
                let committed = client.commit(id, &receipts[1..2]).await.unwrap();
                assert_eq!(
                    (&committed["rowCount"], &committed["rejectedCount"]),
                    (&"9".into(), &"1".into())
                );
                assert_eq!(client.commit(id, &receipts[1..2]).await.unwrap(), committed);
            }
            _ => drop(client.abort(id).await.unwrap()),
        }
        crate::support::wait_until(
            async || {
                rejects(&database, "write_id, attempt_id, row_number").await
                    == ("accepted b 4".to_owned(), "0".to_owned())
            },
            "only the accepted attempt has rejects",
        )
        .await;
    }
}

#[tokio::test]
async fn kinds_that_are_not_named_end_the_write() {
    let database = Database::new().await;
    database.execute("CREATE TABLE t (n int, s text)").await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let rows = batch(&[
        (
            "n",
            Arc::new(Int64Array::from(vec![1, i64::MAX, 3])) as ArrayRef,
        ),
        ("s", texts(&["a", "b", "\0"])),
    ]);
    for door in DOORS {
        let spec = rejecting(door.append(), json!({"rejectKinds": ["range"]}));
        let error = door
            .send(
                &mut client,
                &format!("{door:?}"),
                spec,
                std::slice::from_ref(&rows),
            )
            .await;
        let error = error.expect_err("nul is not named");
        assert!(error.message().contains("NUL"), "{door:?}: {error}");
        assert!(error.message().contains("row 2"), "{door:?}: {error}");
    }
    assert_eq!(database.text("SELECT count(*) FROM t").await, "0");
}

#[tokio::test]
async fn values_are_kept_as_the_write_asks() {
    let database = Database::new().await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let rows = batch(&[
        ("id", Arc::new(Int64Array::from(vec![7, 8])) as ArrayRef),
        ("n", Arc::new(Float64Array::from(vec![0.5, 1e300]))),
        ("s", texts(&["a", "s3cret\0"])),
    ]);
    for (values, expected) in [
        ("REJECT_VALUES_NONE", "f f f"),
        ("REJECT_VALUES_KEYS", "{\"id\": 8} t f f"),
        (
            "REJECT_VALUES_ROW",
            "{\"id\": 8} {\"n\": 1e300, \"s\": \"s3cret\u{fffd}\", \"id\": 8} t t t",
        ),
    ] {
        let expected = expected.replace("1e300", &format!("1{}", "0".repeat(300)));
        database
            .execute(
                "DROP TABLE IF EXISTS t; CREATE TABLE t (id int PRIMARY KEY, n float8, s text)",
            )
            .await;
        let spec = rejecting(json!({"append": {}}), json!({"rejectValues": values}));
        client
            .put(Put::whole(write(spec), std::slice::from_ref(&rows)))
            .await
            .unwrap();
        let columns = "keys, row, keys IS NOT NULL, row IS NOT NULL, ipc IS NOT NULL";
        assert_eq!(rejects(&database, columns).await.0, expected, "{values}");
        database.execute("TRUNCATE pgflight.reject").await;
    }
}

#[tokio::test]
async fn rows_are_rejected_in_every_mode() {
    let database = Database::new().await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let rows = numbers(0, 3, |row| row == 1);
    let modes = [
        json!({"append": {}}),
        json!({"create": {"ifExists": "IF_EXISTS_APPEND"}}),
        json!({"overwrite": {"with": "OVERWRITE_WITH_TRUNCATE"}}),
        json!({"overwrite": {"with": "OVERWRITE_WITH_DELETE"}}),
        json!({"overwrite": {"with": "OVERWRITE_WITH_SWAP"}}),
        json!({"overwrite": {"replaceBy": ["n"]}}),
        json!({"overwrite": {"replaceWhere": "n >= 0"}}),
        json!({"upsert": {}}),
        json!({"insertIfAbsent": {"keys": ["id"]}}),
    ];
    for mode in modes {
        for door in [Door::Stream, Door::Attempts("")] {
            let shown = format!("{mode} {door:?}");
            database
                .execute("DROP TABLE IF EXISTS t; CREATE TABLE t (id bigint PRIMARY KEY, n int)")
                .await;
            let spec = rejecting(mode.clone(), json!({}));
            let done = door
                .send(&mut client, &shown, spec, std::slice::from_ref(&rows))
                .await;
            let done = done.unwrap_or_else(|error| panic!("{shown}: {error}"));
            assert_eq!(
                (&done["rowCount"], &done["rejectedCount"]),
                (&"2".into(), &"1".into()),
                "{shown}"
            );
            assert_eq!(
                database.text("SELECT id FROM t ORDER BY id").await,
                "0,2",
                "{shown}"
            );
            let (published, staged) = rejects(&database, "keys, row_number, kind").await;
            assert_eq!(
                (&*published, &*staged),
                ("{\"id\": 1} 1 range", "0"),
                "{shown}"
            );
            database.execute("TRUNCATE pgflight.reject").await;
        }
    }
}
