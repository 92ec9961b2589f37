//! Keyed modes: rows that change the rows with the same keys, through both front doors.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray};
use serde_json::{Value, json};
use tonic::Status;

use crate::support::{CallError, Client, Database, Pgflight, Put, attempt, batch, write};

const BEFORE: &str = "DROP TABLE IF EXISTS t; CREATE TABLE t (id int, part int, name text, note text DEFAULT 'new', v int);
                      CREATE UNIQUE INDEX ON t (part, id);
                      INSERT INTO t VALUES (1, 0, 'one', 'old', 1), (2, 0, 'two', 'old', 1)";

pub(crate) fn ints(values: &[Option<i32>]) -> ArrayRef {
    Arc::new(Int32Array::from(values.to_vec()))
}

/// Rows of id, name and v; part is 0.
pub(crate) fn rows(rows: &[(Option<i32>, &str, i32)]) -> RecordBatch {
    let ids: Vec<Option<i32>> = rows.iter().map(|row| row.0).collect();
    let names: Vec<&str> = rows.iter().map(|row| row.1).collect();
    let versions: Vec<Option<i32>> = rows.iter().map(|row| Some(row.2)).collect();
    batch(&[
        ("id", ints(&ids)),
        ("part", ints(&vec![Some(0); rows.len()])),
        ("name", Arc::new(StringArray::from(names))),
        ("v", ints(&versions)),
    ])
}

/// The same write as one stream, and as two attempts that are committed.
async fn both_ways(
    client: &mut Client,
    database: &Database,
    spec: &Value,
    rows: &RecordBatch,
) -> [Result<String, Status>; 2] {
    let table = "SELECT (id, name, note, v) FROM t ORDER BY id, v";
    database.execute(BEFORE).await;
    let single = client
        .put(Put::whole(write(spec.clone()), std::slice::from_ref(rows)))
        .await;
    let single = match single {
        Ok(_) => Ok(database.text(table).await),
        Err(status) => Err(status),
    };
    database.execute(BEFORE).await;
    let many = many(client, spec, rows).await;
    let many = match many {
        Ok(()) => Ok(database.text(table).await),
        Err(status) => Err(status),
    };
    [single, many]
}

pub(crate) async fn many(
    client: &mut Client,
    spec: &Value,
    rows: &RecordBatch,
) -> Result<(), Status> {
    static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let id = format!(
        "w{}",
        NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
    );
    client.begin(&id, spec.clone(), rows).await?;
    let middle = rows.num_rows() / 2;
    let halves = [
        rows.slice(0, middle),
        rows.slice(middle, rows.num_rows() - middle),
    ];
    let mut receipts = Vec::new();
    for (partition, half) in (0..).zip(halves) {
        let name = format!("a{partition}");
        receipts.push(
            client
                .put(Put::whole(attempt(&id, partition, &name), &[half]))
                .await?,
        );
    }
    client.commit(&id, &receipts).await.map(drop)
}

fn spec(mode: &str, more: Value) -> Value {
    let mut spec = json!({"table": "t", mode: {"keys": ["id", "part"]}});
    for (name, value) in more.as_object().unwrap() {
        match name.as_str() {
            "table" => spec[name] = value.clone(),
            _ => spec[mode][name] = value.clone(),
        }
    }
    spec
}

#[tokio::test]
async fn keyed_modes_change_the_rows_with_the_same_keys() {
    let database = Database::new().await;
    database.execute(BEFORE).await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let new = rows(&[(Some(2), "zwei", 5), (Some(3), "drei", 5)]);
    let doubled = rows(&[
        (Some(3), "a", 7),
        (Some(3), "b", 9),
        (Some(2), "c", 1),
        (Some(3), "d", 8),
    ]);
    let newest = json!({"orderBy": "v"});
    let cases = [
        (
            "upsert",
            json!({}),
            &new,
            "(1,one,old,1),(2,zwei,old,5),(3,drei,new,5)",
        ),
        (
            "insertIfAbsent",
            json!({}),
            &new,
            "(1,one,old,1),(2,two,old,1),(3,drei,new,5)",
        ),
        (
            "updateOnly",
            json!({}),
            &new,
            "(1,one,old,1),(2,zwei,old,5)",
        ),
        ("deleteByKey", json!({}), &new, "(1,one,old,1)"),
        (
            "upsert",
            newest.clone(),
            &doubled,
            "(1,one,old,1),(2,c,old,1),(3,b,new,9)",
        ),
        (
            "insertIfAbsent",
            newest.clone(),
            &doubled,
            "(1,one,old,1),(2,two,old,1),(3,b,new,9)",
        ),
        (
            "updateOnly",
            newest.clone(),
            &doubled,
            "(1,one,old,1),(2,c,old,1)",
        ),
        ("deleteByKey", newest, &doubled, "(1,one,old,1)"),
    ];
    for (mode, more, rows, expected) in cases {
        for outcome in both_ways(&mut client, &database, &spec(mode, more), rows).await {
            assert_eq!(
                outcome.unwrap_or_else(|status| panic!("{mode}: {status}")),
                expected,
                "{mode}"
            );
        }
    }
    assert_eq!(
        database
            .text("SELECT relname FROM pg_class WHERE relname LIKE '%staging%'")
            .await,
        ""
    );
}

#[tokio::test]
async fn null_and_repeated_keys_are_rejected_and_change_nothing() {
    let database = Database::new().await;
    database.execute(BEFORE).await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let good = rows(&[(Some(3), "drei", 5), (Some(4), "vier", 5)]);
    let doubled = rows(&[(Some(3), "a", 7), (Some(3), "b", 9)]);
    let null = rows(&[(Some(3), "a", 7), (None, "b", 9)]);
    let cases = [
        (
            "upsert",
            json!({}),
            &doubled,
            "1 key(s) come more than once",
            "DATA_REJECTED",
        ),
        (
            "deleteByKey",
            json!({}),
            &doubled,
            "1 key(s) come more than once",
            "DATA_REJECTED",
        ),
        (
            "upsert",
            json!({}),
            &null,
            "1 row(s) have NULL in a key",
            "DATA_REJECTED",
        ),
        (
            "updateOnly",
            json!({"orderBy": "v"}),
            &null,
            "1 row(s) have NULL in a key",
            "DATA_REJECTED",
        ),
        (
            "upsert",
            json!({"keys": ["id"]}),
            &good,
            "CREATE UNIQUE INDEX ON public.t (id)",
            "SCHEMA_MISMATCH",
        ),
        (
            "upsert",
            json!({"keys": ["id", "nope"]}),
            &good,
            "the data has no such key column [table public.t, column nope",
            "SCHEMA_MISMATCH",
        ),
        (
            "upsert",
            json!({"orderBy": "note"}),
            &good,
            "the data has no such order_by column [table public.t, column note",
            "SCHEMA_MISMATCH",
        ),
        (
            "upsert",
            json!({"keys": ["id", "id"]}),
            &good,
            "names a column twice",
            "INVALID_COMMAND",
        ),
        (
            "append",
            json!({}),
            &good,
            "unknown field `keys`",
            "INVALID_COMMAND",
        ),
        (
            "upsert",
            json!({"table": "nowhere"}),
            &good,
            "does not exist",
            "NOT_FOUND",
        ),
    ];
    for (mode, more, rows, part, reason) in cases {
        for outcome in both_ways(&mut client, &database, &spec(mode, more), rows).await {
            let error = CallError::from(outcome.expect_err(part));
            assert!(error.message.contains(part), "{mode}: {}", error.message);
            assert_eq!(error.reason, reason, "{mode}: {}", error.message);
            let left = database
                .text("SELECT string_agg(name, '+' ORDER BY id) FROM t")
                .await;
            assert_eq!(left, "one+two", "{part}");
        }
    }
    server.assert_unharmed("all of it").await;
}

#[tokio::test]
async fn a_partial_or_deferred_index_does_not_settle_an_upsert() {
    let database = Database::new().await;
    database
        .execute("CREATE TABLE t (id int, part int, name text, v int)")
        .await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let data = rows(&[(Some(1), "a", 1)]);
    for index in [
        "CREATE UNIQUE INDEX i ON t (id, part) WHERE id > 5",
        "CREATE UNIQUE INDEX i ON t (id, part, name)",
        "CREATE UNIQUE INDEX i ON t (id, (part + 1))",
        "CREATE INDEX i ON t (id, part)",
        "ALTER TABLE t ADD CONSTRAINT i UNIQUE (id, part) DEFERRABLE",
    ] {
        database.execute(index).await;
        let put = Put::whole(
            write(spec("upsert", json!({}))),
            std::slice::from_ref(&data),
        );
        let error = CallError::from(client.put(put).await.expect_err(index));
        assert!(
            error
                .message
                .contains("no unique index on exactly (id, part)"),
            "{index}: {}",
            error.message
        );
        database
            .execute("ALTER TABLE t DROP CONSTRAINT IF EXISTS i; DROP INDEX IF EXISTS i")
            .await;
    }
    database
        .execute("CREATE UNIQUE INDEX i ON t (id, part) INCLUDE (name)")
        .await;
    client
        .put(Put::whole(write(spec("upsert", json!({}))), &[data]))
        .await
        .unwrap();
    assert_eq!(database.text("SELECT name FROM t").await, "a");
}

#[tokio::test]
async fn updates_and_deletes_need_only_the_named_columns() {
    let database = Database::new().await;
    database.execute("CREATE TABLE t (id int PRIMARY KEY, name text NOT NULL, v int NOT NULL); INSERT INTO t VALUES (1, 'a', 1), (2, 'b', 1)").await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let only = |mode: &str| write(json!({"table": "t", mode: {"keys": ["id"]}}));
    let update = batch(&[("id", ints(&[Some(2)])), ("v", ints(&[Some(9)]))]);
    client
        .put(Put::whole(only("updateOnly"), &[update]))
        .await
        .unwrap();
    let delete = batch(&[("id", ints(&[Some(1)]))]);
    client
        .put(Put::whole(
            only("deleteByKey"),
            std::slice::from_ref(&delete),
        ))
        .await
        .unwrap();
    assert_eq!(database.text("SELECT t FROM t").await, "(2,b,9)");
    let error = CallError::from(
        client
            .put(Put::whole(only("updateOnly"), &[delete]))
            .await
            .expect_err("keys alone"),
    );
    assert!(
        error.message.contains("all columns of the data are keys"),
        "{}",
        error.message
    );
    let unknown = batch(&[("id", ints(&[Some(1)])), ("V", ints(&[Some(1)]))]);
    let error = CallError::from(
        client
            .put(Put::whole(only("updateOnly"), &[unknown]))
            .await
            .expect_err("unknown"),
    );
    assert!(
        error.message.contains("column V") && error.message.contains("\"v\""),
        "{}",
        error.message
    );
}

#[tokio::test]
async fn keys_and_order_compare_by_the_columns_collations() {
    let database = Database::new().await;
    if !database.was_built_with("ICU").await {
        return;
    }
    database
        .execute(
            "CREATE COLLATION ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
             CREATE TABLE t (k text COLLATE ci PRIMARY KEY, o text COLLATE \"en-x-icu\")",
        )
        .await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let texts = |values: [&str; 2]| Arc::new(StringArray::from(values.to_vec())) as ArrayRef;
    let twice = batch(&[("k", texts(["A", "a"])), ("o", texts(["a", "B"]))]);
    let upsert = json!({"table": "t", "upsert": {"keys": ["k"]}});
    let put = Put::whole(write(upsert.clone()), std::slice::from_ref(&twice));
    let refused = client.put(put).await.expect_err("the same key twice");
    assert!(refused.message().contains("more than once"), "{refused}");
    let mut ordered = upsert;
    ordered["upsert"]["orderBy"] = "o".into();
    client
        .put(Put::whole(write(ordered), &[twice]))
        .await
        .unwrap();
    assert_eq!(database.text("SELECT o FROM t").await, "B");
}

#[tokio::test]
async fn columns_without_equality_are_rejected_before_the_rows() {
    let database = Database::new().await;
    database
        .execute(
            "CREATE TABLE d (id int PRIMARY KEY, doc json, place point);
             INSERT INTO d VALUES (1, '{}', '(1,2)'); CREATE VIEW v AS SELECT * FROM d",
        )
        .await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let texts = Arc::new(StringArray::from(vec!["{}"])) as ArrayRef;
    let rows = batch(&[("id", ints(&[Some(1)])), ("doc", texts)]);
    let by = |keys: &str| json!({"keys": [keys]});
    let cases = [
        (
            "d",
            "deleteByKey",
            by("doc"),
            "cannot be compared, by its type [table public.d, column doc",
            "SCHEMA_MISMATCH",
        ),
        (
            "d",
            "updateOnly",
            by("doc"),
            "cannot be compared",
            "SCHEMA_MISMATCH",
        ),
        (
            "d",
            "upsert",
            json!({"keys": ["id"], "orderBy": "doc"}),
            "from json to jsonb",
            "SCHEMA_MISMATCH",
        ),
        (
            "v",
            "upsert",
            by("id"),
            "a view has no unique index [table public.v",
            "UNSUPPORTED",
        ),
        (
            "v",
            "insertIfAbsent",
            by("id"),
            "the table behind the view",
            "UNSUPPORTED",
        ),
    ];
    for (table, mode, mut more, part, reason) in cases {
        more["table"] = table.into();
        for outcome in both_ways(&mut client, &database, &spec(mode, more.clone()), &rows).await {
            let error = CallError::from(outcome.expect_err(part));
            assert!(error.message.contains(part), "{mode}: {}", error.message);
            assert_eq!(error.reason, reason, "{mode}: {}", error.message);
            assert_eq!(error.details["table"], format!("public.{table}"), "{mode}");
        }
    }
    // The hint works.
    let delete = spec("deleteByKey", json!({"table": "v", "keys": ["id"]}));
    let ids = batch(&[("id", ints(&[Some(1)]))]);
    client.put(Put::whole(write(delete), &[ids])).await.unwrap();
    assert_eq!(database.text("SELECT count(*) FROM d").await, "0");
}

#[tokio::test]
async fn a_privilege_that_the_commit_needs_is_checked_at_begin() {
    let database = Database::new().await;
    let (_, name) = database.url.rsplit_once('/').unwrap();
    let role = name.replace("pgflight_test", "pgflight_keyed");
    database
        .execute(&format!(
            "CREATE ROLE {role} LOGIN; CREATE TABLE t (id int PRIMARY KEY, v int); GRANT INSERT ON t TO {role};
             CREATE SCHEMA pgflight AUTHORIZATION {role}"
        ))
        .await;
    let server = Pgflight::start_at(&database.url_as(&role), &[]);
    let mut client = server.client().await;
    let rows = batch(&[("id", ints(&[])), ("v", ints(&[]))]);
    for (spec, missing) in [
        (json!({"overwrite": {}}), "GRANT TRUNCATE ON"),
        (
            json!({"overwrite": {"with": "OVERWRITE_WITH_DELETE"}}),
            "GRANT DELETE ON",
        ),
        (
            json!({"upsert": {"keys": ["id"]}}),
            "GRANT SELECT, UPDATE ON",
        ),
        (
            json!({"deleteByKey": {"keys": ["id"]}}),
            "GRANT SELECT, DELETE ON",
        ),
    ] {
        let mut spec = spec;
        spec["table"] = "t".into();
        let refused = client.begin("w", spec, &rows).await.expect_err(missing);
        assert_eq!(refused.code(), tonic::Code::PermissionDenied, "{refused}");
        assert!(refused.message().contains(missing), "{refused}");
    }
    drop(server);
    database
        .execute(&format!("DROP OWNED BY {role} CASCADE; DROP ROLE {role}"))
        .await;
}
