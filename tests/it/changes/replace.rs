//! Overwrites of a part: what has the values that the data has, or what meets a condition.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray, StructArray};
use arrow::datatypes::{DataType, Field};
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use tonic::Code;

use crate::modes::keyed::ints;
use crate::support::{
    CallError, Client, Database, Pgflight, Put, attempt, batch, end_record, wait_until, write,
};

const TABLE: &str = "DROP TABLE IF EXISTS t CASCADE;
                     CREATE TABLE t (day text, part int, v int, note text DEFAULT 'new');
                     INSERT INTO t VALUES ('mon', 1, 1, 'old'), ('mon', NULL, 2, 'old'), ('tue', 1, 3, 'old'),
                                          ('tue', NULL, 4, 'old'), (NULL, 1, 5, 'old'), (NULL, NULL, 6, 'old')";

fn overwrite(part: &Value) -> Value {
    json!({"table": "t", "overwrite": part})
}

fn rows(rows: &[(Option<&str>, Option<i32>, i32)]) -> RecordBatch {
    let days: Vec<Option<&str>> = rows.iter().map(|row| row.0).collect();
    let parts: Vec<Option<i32>> = rows.iter().map(|row| row.1).collect();
    let values: Vec<Option<i32>> = rows.iter().map(|row| Some(row.2)).collect();
    batch(&[
        ("day", Arc::new(StringArray::from(days)) as ArrayRef),
        ("part", ints(&parts)),
        ("v", ints(&values)),
    ])
}

/// Writes the rows as one stream, or as two attempts that are committed. Returns the answer with the counts.
pub(super) async fn replace(
    client: &mut Client,
    spec: Value,
    rows: &RecordBatch,
    id: Option<&str>,
) -> Result<Value, tonic::Status> {
    let Some(id) = id else {
        return client
            .put(Put::whole(write(spec), std::slice::from_ref(rows)))
            .await;
    };
    client.begin(id, spec, rows).await?;
    let middle = rows.num_rows() / 2;
    let halves = [
        rows.slice(0, middle),
        rows.slice(middle, rows.num_rows() - middle),
    ];
    let mut receipts = Vec::new();
    for (partition, half) in (0..).zip(halves) {
        let descriptor = attempt(id, partition, &format!("a{partition}"));
        receipts.push(client.put(Put::whole(descriptor, &[half])).await?);
    }
    client.commit(id, &receipts).await
}

#[tokio::test]
async fn an_overwrite_of_a_part_replaces_it_and_counts_its_rows() {
    let database = Database::new().await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let monday = rows(&[(Some("mon"), Some(1), 10), (Some("mon"), Some(7), 11)]);
    let unknown = rows(&[
        (None, None, 10),
        (None, Some(1), 11),
        (Some("wed"), None, 12),
    ]);
    let none = rows(&[]);
    let cases = [
        (json!({"replaceBy": ["day"]}), &monday, "3+4+5+6+10+11", 2),
        (
            json!({"replaceBy": ["day", "part"]}),
            &monday,
            "2+3+4+5+6+10+11",
            1,
        ),
        (
            json!({"replaceBy": ["part", "day"]}),
            &unknown,
            "1+2+3+4+10+11+12",
            2,
        ),
        (
            json!({"replaceBy": ["day"]}),
            &unknown,
            "1+2+3+4+10+11+12",
            2,
        ),
        (json!({"replaceBy": ["part"]}), &unknown, "10+11+12", 6),
        (json!({"replaceBy": ["day"]}), &none, "1+2+3+4+5+6", 0),
        (
            json!({"replaceWhere": "day = 'mon'"}),
            &monday,
            "3+4+5+6+10+11",
            2,
        ),
        (json!({"replaceWhere": "day = 'mon'"}), &none, "3+4+5+6", 2),
        (
            json!({"replaceWhere": "day IS NULL OR day = 'wed'"}),
            &unknown,
            "1+2+3+4+10+11+12",
            2,
        ),
    ];
    for (number, (part, rows, expected, replaced)) in cases.into_iter().enumerate() {
        let id = format!("w{number}");
        for id in [None, Some(id.as_str())] {
            database.execute(TABLE).await;
            let spec = overwrite(&part);
            let answer = replace(&mut client, spec, rows, id).await;
            let answer = answer.unwrap_or_else(|status| panic!("{part}: {status}"));
            let written = database
                .text("SELECT string_agg(v::text, '+' ORDER BY v) FROM t")
                .await;
            assert_eq!(written, expected, "{part}, {id:?}");
            let counts =
                json!({"inserted": rows.num_rows().to_string(), "replaced": replaced.to_string()});
            assert_eq!(answer["counts"], counts, "{part}, {id:?}");
            if let Some(id) = id {
                assert_eq!(client.status(id).await.unwrap()["counts"], counts, "{part}");
            }
        }
    }
    let listed = Pgflight::command()
        .args(["writes", "--postgres", &database.url])
        .output()
        .unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.contains("3 inserted, 6 replaced"), "{listed}");
}

#[tokio::test]
async fn a_row_outside_the_condition_is_named_and_nothing_is_kept() {
    let database = Database::new().await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let mixed = rows(&[
        (Some("mon"), Some(1), 10),
        (Some("mon"), Some(1), 11),
        (Some("secret"), Some(1), 12),
        (Some("wed"), Some(1), 13),
    ]);
    let null = rows(&[(Some("mon"), Some(1), 10), (None, Some(1), 11)]);
    let policies =
        "ALTER TABLE t ENABLE ROW LEVEL SECURITY; ALTER TABLE t FORCE ROW LEVEL SECURITY;
                    CREATE POLICY p ON t USING (true) WITH CHECK (true)";
    for (made, rows, row) in [("", &mixed, 2), ("", &null, 1), (policies, &mixed, 2)] {
        database.execute(TABLE).await;
        database.execute(made).await;
        let spec = overwrite(&json!({"replaceWhere": "day <> 'secret' AND day = 'mon'"}));
        let put = Put::whole(write(spec.clone()), std::slice::from_ref(rows));
        let streamed = CallError::from(client.put(put).await.expect_err("outside"));
        let id = format!("w{row}{}", made.len());
        client.begin(&id, spec, rows).await.unwrap();
        let put = Put::whole(attempt(&id, 7, "a"), std::slice::from_ref(rows));
        let attempted = CallError::from(client.put(put).await.expect_err("outside"));
        for error in [&streamed, &attempted] {
            let message = &error.message;
            assert!(
                message.contains("the row is outside replace_where"),
                "{message}"
            );
            assert!(!message.contains("secret"), "{message}");
            assert_eq!(error.reason, "DATA_REJECTED", "{message}");
            assert_eq!(error.details["row"], row.to_string(), "{message}");
            assert_eq!(error.details["table"], "public.t", "{message}");
        }
        assert_eq!(attempted.details["partition"], "7");
        let left = database
            .text("SELECT count(*) FROM t WHERE note = 'old'")
            .await;
        assert_eq!(left, "6", "{made}");
        let committed = client.commit(&id, &[]).await.unwrap();
        assert_eq!(committed["counts"]["replaced"], "2", "{committed}");
    }
}

#[tokio::test]
async fn a_part_that_cannot_be_replaced_is_rejected_at_begin() {
    let database = Database::new().await;
    database.execute(TABLE).await;
    database
        .execute(
            "ALTER TABLE t ADD COLUMN doc json, ADD COLUMN at timestamptz, ADD COLUMN place point",
        )
        .await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let monday = rows(&[(Some("mon"), Some(1), 10)]);
    let cases = [
        (
            json!({"replaceBy": ["nope"]}),
            "the table has no such column, which replace_by names",
            "SCHEMA_MISMATCH",
        ),
        (
            json!({"replaceBy": ["note"]}),
            "the data has no such column, which replace_by names",
            "SCHEMA_MISMATCH",
        ),
        (
            json!({"replaceWhere": "note = 'x'"}),
            "the data has no such column, which replace_where names",
            "SCHEMA_MISMATCH",
        ),
        (
            json!({"replaceWhere": "Day = 'x'"}),
            "the table has no such column",
            "SCHEMA_MISMATCH",
        ),
        (
            json!({"replaceBy": ["day", "day"]}),
            "replace_by names a column twice",
            "INVALID_COMMAND",
        ),
        (
            json!({"replaceBy": ["day"], "replaceWhere": "v = 1"}),
            "contradict each other",
            "INVALID_COMMAND",
        ),
        (
            json!({"replaceBy": ["day"], "with": "OVERWRITE_WITH_DELETE"}),
            "a part has no with",
            "INVALID_COMMAND",
        ),
        (
            json!({"replaceBy": ["day"], "newTable": {"primaryKey": ["v"]}}),
            "a part has no new_table",
            "INVALID_COMMAND",
        ),
        (
            json!({"replaceWhere": "v = 1 AND"}),
            "name of a column is expected at character 10",
            "INVALID_COMMAND",
        ),
        (
            json!({"replaceWhere": "v = 'x'"}),
            "not valid for the type of its column",
            "SCHEMA_MISMATCH",
        ),
        (
            json!({"replaceWhere": "v = true"}),
            "another type than its column",
            "SCHEMA_MISMATCH",
        ),
    ];
    for (part, message, reason) in cases {
        let spec = overwrite(&part);
        let put = Put::whole(write(spec.clone()), std::slice::from_ref(&monday));
        let streamed = client.put(put).await.expect_err(message);
        let begun = client
            .begin("w", spec.clone(), &monday)
            .await
            .expect_err(message);
        for status in [streamed, begun] {
            let error = CallError::from(status);
            assert!(error.message.contains(message), "{part}: {}", error.message);
            assert_eq!(error.reason, reason, "{part}: {}", error.message);
        }
    }
    let schema = monday.schema();
    let fields = schema.fields().iter().zip(monday.columns());
    let columns: Vec<_> = fields
        .map(|(field, column)| (field.name().as_str(), column.clone()))
        .collect();
    let bad = overwrite(&json!({"replaceWhere": "v = 'x'"}));
    let plan = client.plan(&columns, bad).await.unwrap();
    assert!(
        plan["problems"][0].as_str().unwrap().contains("column v"),
        "{plan}"
    );
    let missing = json!({"table": "missing", "overwrite": {"replaceBy": ["day"]}});
    let put = Put::whole(write(missing), std::slice::from_ref(&monday));
    let error = CallError::from(client.put(put).await.expect_err("missing"));
    assert_eq!(error.reason, "NOT_FOUND", "{}", error.message);
    assert_eq!(database.text("SELECT count(*) FROM t").await, "6");
}

#[tokio::test]
async fn readers_and_writers_go_on_while_a_part_is_replaced() {
    let database = Database::new().await;
    database.execute(TABLE).await;
    let server = Pgflight::start(&database);
    let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 't'::regclass";
    let copying = "SELECT count(*) FROM pg_stat_activity
                   WHERE query LIKE 'COPY%' AND state = 'active' AND datname = current_database()";
    let monday = rows(&[(Some("mon"), Some(1), 10)]);
    // A stream that is copied straight into the table has replaced its part before.
    for (part, waits) in [
        (json!({"replaceWhere": "day = 'mon'"}), true),
        (json!({"replaceBy": ["day"]}), false),
    ] {
        database.execute(TABLE).await;
        let (mut first, mut second) = (server.client().await, server.client().await);
        let (release, released) = tokio::sync::oneshot::channel::<()>();
        let begun = Put::bare(write(overwrite(&part)), std::slice::from_ref(&monday));
        let end = stream::once(async move {
            released.await.ok();
            end_record(1, 1)
        });
        let messages = stream::iter(begun.0).chain(end);
        let slow = tokio::spawn(async move { first.put_stream(messages).await });
        wait_until(async || database.text(copying).await == "1", "a COPY").await;
        assert_eq!(database.text("SELECT count(*) FROM t").await, "6", "{part}");
        let others =
            "INSERT INTO t VALUES ('mon', 1, 99), ('fri', 1, 98); DELETE FROM t WHERE day = 'tue'";
        database.execute(others).await;
        let again = Put::whole(write(overwrite(&part)), std::slice::from_ref(&monday));
        let again = tokio::spawn(async move { second.put(again).await });
        if waits {
            wait_until(
                async || database.text(waiting).await == "1",
                "another write",
            )
            .await;
            release.send(()).unwrap();
            slow.await.unwrap().unwrap();
            again.await.unwrap().unwrap();
        } else {
            again.await.unwrap().unwrap();
            release.send(()).unwrap();
            slow.await.unwrap().unwrap();
        }
        let left = "SELECT string_agg(v::text, '+' ORDER BY v) FROM t";
        assert_eq!(database.text(left).await, "5+6+10+98", "{part}");
    }
}

#[tokio::test]
async fn two_commits_of_one_part_replace_each_other() {
    let database = Database::new().await;
    database.execute(TABLE).await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    for (part, written) in [
        (json!({"replaceWhere": "day = 'mon'"}), "3+4+5+6+11"),
        (json!({"replaceBy": ["day"]}), "3+4+5+6+11"),
    ] {
        database.execute(TABLE).await;
        let mut receipts = Vec::new();
        let ids = [format!("{part}1"), format!("{part}2")];
        for (value, id) in (10..).zip(&ids) {
            let rows = rows(&[(Some("mon"), Some(1), value)]);
            client.begin(id, overwrite(&part), &rows).await.unwrap();
            let put = Put::whole(attempt(id, 0, "a"), &[rows]);
            receipts.push(client.put(put).await.unwrap());
        }
        // Another session keeps the first row, so that both commits overlap.
        let blocker = Database::connect(&database.url).await;
        let held = "BEGIN; SELECT FROM t WHERE v = 1 FOR UPDATE";
        blocker.batch_execute(held).await.unwrap();
        let mut commits = Vec::new();
        for (number, (id, receipt)) in (1..).zip(ids.into_iter().zip(receipts)) {
            let mut client = server.client().await;
            commits.push(tokio::spawn(
                async move { client.commit(&id, &[receipt]).await },
            ));
            let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND database =
                           (SELECT oid FROM pg_database WHERE datname = current_database())
                           OR NOT granted AND locktype = 'transactionid'";
            let expected = number.to_string();
            wait_until(
                async || database.text(waiting).await == expected,
                "a commit",
            )
            .await;
        }
        blocker.batch_execute("COMMIT").await.unwrap();
        for commit in commits {
            commit.await.unwrap().unwrap();
        }
        let left = "SELECT string_agg(v::text, '+' ORDER BY v) FROM t";
        assert_eq!(database.text(left).await, written, "{part}");
    }
}

#[tokio::test]
async fn an_index_serves_to_replace_a_part() {
    let database = Database::new().await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let monday = rows(&[(Some("d77"), Some(1), 10), (Some("d77"), None, 11)]);
    let parts = [
        json!({"replaceWhere": "day = 'd77'"}),
        json!({"replaceWhere": "day IN ('d77') AND (part = 1 OR part IS NULL)"}),
        json!({"replaceBy": ["day"]}),
        json!({"replaceBy": ["day", "part"]}),
    ];
    for (number, part) in parts.iter().enumerate() {
        database
            .execute(&format!(
                "CREATE TABLE t{number} (day text, part int, v int);
                 INSERT INTO t{number} SELECT 'd' || i % 100, i % 5, i FROM generate_series(1, 20000) i;
                 CREATE INDEX ON t{number} (day, part); ANALYZE t{number}"
            ))
            .await;
        for id in [None, Some(format!("w{number}"))] {
            let mut spec = overwrite(part);
            spec["table"] = format!("t{number}").into();
            let written = replace(&mut client, spec, &monday, id.as_deref()).await;
            let counts = written.unwrap()["counts"].clone();
            assert_eq!(counts["inserted"], "2", "{part}");
        }
    }
    let before = "SELECT string_agg(relname, ',' ORDER BY relname) FROM pg_stat_user_tables
                  WHERE relname LIKE 't_' AND idx_scan >= 2";
    // Sessions report what they read at their end.
    drop(server);
    wait_until(
        async || database.text(before).await == "t0,t1,t2,t3",
        "reports",
    )
    .await;
    let scanned = "SELECT string_agg(relname || ' ' || seq_tup_read, ',') FROM pg_stat_user_tables
                   WHERE relname LIKE 't_' AND seq_tup_read > 20000";
    // Making the index has read each table once.
    assert_eq!(database.text(scanned).await, "null");
}

#[tokio::test]
async fn overwrites_of_a_table_and_of_its_partition_wait_for_each_other() {
    let database = Database::new().await;
    let partitioned = "CREATE TABLE t (day text, part int, v int) PARTITION BY LIST (day);
                       CREATE TABLE mon PARTITION OF t FOR VALUES IN ('mon');
                       CREATE TABLE parent (day text, part int, v int); CREATE TABLE child () INHERITS (parent)";
    database.execute(partitioned).await;
    let server = Pgflight::start_with(&database, &["--lock-timeout", "1s"]);
    let mut client = server.client().await;
    let rows = rows(&[(Some("mon"), Some(1), 10)]);
    for (written, other) in [
        ("t", "mon"),
        ("mon", "t"),
        ("parent", "child"),
        ("child", "parent"),
    ] {
        // As the overwrite of a part of the other table has it.
        let held = format!("BEGIN; LOCK TABLE {other} IN SHARE UPDATE EXCLUSIVE MODE");
        for part in [
            json!({"replaceWhere": "day = 'mon'"}),
            json!({"replaceBy": ["day"]}),
        ] {
            for id in [None, Some(format!("{written}{part}"))] {
                let spec = json!({"table": written, "overwrite": part});
                database.execute(&held).await;
                let refused = replace(&mut client, spec.clone(), &rows, id.as_deref()).await;
                let refused = refused.expect_err("the other table is locked");
                assert_eq!(
                    refused.code(),
                    Code::Unavailable,
                    "{written} {part} {id:?}: {refused}"
                );
                database.execute("ROLLBACK").await;
                let id = id.map(|id| format!("{id} again"));
                let done = replace(&mut client, spec, &rows, id.as_deref()).await;
                done.unwrap_or_else(|status| panic!("{written} {part}: {status}"));
            }
        }
    }
    assert_eq!(database.text("SELECT count(*) FROM t").await, "1");
}

#[tokio::test]
async fn the_code_of_a_type_does_not_run_for_statistics() {
    let database = Database::new().await;
    let types = "CREATE TABLE calls (who text);
        CREATE FUNCTION note() RETURNS void LANGUAGE plpgsql AS
            $$BEGIN INSERT INTO calls VALUES (current_user); END$$;
        CREATE FUNCTION diff(float8, float8) RETURNS float8 IMMUTABLE LANGUAGE plpgsql AS
            $$BEGIN PERFORM note(); RETURN $1 - $2; END$$;
        CREATE TYPE span AS RANGE (subtype = float8, subtype_diff = diff);
        CREATE DOMAIN short AS span; CREATE TABLE r (s span, v int); CREATE TABLE d (s short, v int)";
    database.execute(types).await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let bounds: ArrayRef = Arc::new(Float64Array::from(vec![1.0, 2.0, 3.0]));
    let upper: ArrayRef = Arc::new(Float64Array::from(vec![5.0, 6.0, 7.0]));
    let field = |name| Arc::new(Field::new(name, DataType::Float64, true));
    let spans = StructArray::from(vec![(field("lower"), bounds), (field("upper"), upper)]);
    let rows = batch(&[
        ("s", Arc::new(spans) as ArrayRef),
        ("v", ints(&[Some(1), Some(2), Some(3)])),
    ]);
    for table in ["r", "d"] {
        for id in [None, Some("w")] {
            let id = id.map(|id| format!("{id}{table}"));
            let spec = json!({"table": table, "overwrite": {"replaceBy": ["s", "v"]}});
            let done = replace(&mut client, spec, &rows, id.as_deref()).await;
            done.unwrap_or_else(|status| panic!("{table} {id:?}: {status}"));
        }
        let count = format!("SELECT count(*) FROM {table}");
        assert_eq!(database.text(&count).await, "3", "{table}");
    }
    assert_eq!(database.text("SELECT count(*) FROM calls").await, "0");
}
