//! Keyed modes whose table is missing: it is made with the rows and its keys, or not at all.

use std::sync::Arc;

use arrow::array::{RecordBatch, StringArray};
use serde_json::{Value, json};
use tonic::Status;

use super::keyed::{ints, many, rows};
use crate::support::{CallError, Client, Database, Pgflight, Put, attempt, batch, write};

/// The name of every table but the ledger's.
const TABLES: &str = "SELECT coalesce(string_agg(relname, ' ' ORDER BY relname), '') FROM pg_class \
    WHERE relkind = 'r' AND relnamespace::regnamespace::text NOT IN ('pg_catalog', 'information_schema') \
      AND (relname LIKE 'staging%' OR relnamespace <> coalesce(to_regnamespace('pgflight'), 0))";

fn spec(mode: &str, more: &Value) -> Value {
    let mut spec = json!({"table": "t", mode: {"keys": ["part", "id"], "createIfMissing": {}}});
    for (name, value) in more.as_object().unwrap() {
        match name.as_str() {
            "columnTypes" => spec[name] = value.clone(),
            _ => spec[mode][name] = value.clone(),
        }
    }
    spec
}

/// Sends the rows as one stream, or as two attempts and a commit.
async fn send(
    client: &mut Client,
    single: bool,
    spec: &Value,
    rows: &RecordBatch,
) -> Result<(), Status> {
    let rows = std::slice::from_ref(rows);
    match single {
        true => client
            .put(Put::whole(write(spec.clone()), rows))
            .await
            .map(drop),
        false => many(client, spec, &rows[0]).await,
    }
}

#[tokio::test]
async fn a_keyed_mode_creates_a_missing_table_with_its_keys() {
    let database = Database::new().await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let key = "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 't'::regclass AND contype = 'p'";
    let all = "SELECT (id, name, v) FROM t ORDER BY id";
    for (mode, after) in [
        ("upsert", "(1,uno,2),(2,two,1),(3,three,2)"),
        ("insertIfAbsent", "(1,one,1),(2,two,1),(3,three,2)"),
    ] {
        for single in [true, false] {
            let types = json!({"columnTypes": {"name": "varchar(20)"}});
            let spec = spec(mode, &types);
            let first = rows(&[(Some(1), "one", 1), (Some(2), "two", 1)]);
            send(&mut client, single, &spec, &first).await.unwrap();
            assert_eq!(database.text(key).await, "PRIMARY KEY (part, id)");
            assert_eq!(database.text(all).await, "(1,one,1),(2,two,1)");
            let next = rows(&[(Some(1), "uno", 2), (Some(3), "three", 2)]);
            send(&mut client, single, &spec, &next).await.unwrap();
            assert_eq!(database.text(all).await, after, "{mode}");
            let typed = "SELECT format_type(atttypid, atttypmod) FROM pg_attribute
                         WHERE attrelid = 't'::regclass AND attname = 'name'";
            assert_eq!(database.text(typed).await, "character varying(20)");
            assert_eq!(database.text(TABLES).await, "t", "nothing else stays");
            database.execute("DROP TABLE t").await;
        }
    }
    let columns = [("id", ints(&[Some(1)])), ("part", ints(&[Some(0)]))];
    let plan = client.plan(&columns, spec("upsert", &json!({}))).await;
    let statements = plan.unwrap()["statements"].clone();
    assert_eq!(
        statements[1],
        "ALTER TABLE public.t ADD PRIMARY KEY (part, id)"
    );
    assert_eq!(
        database.text(TABLES).await,
        "",
        "a plan leaves nothing behind"
    );
}

#[tokio::test]
async fn rejected_writes_create_no_table() {
    let database = Database::new().await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let good = || rows(&[(Some(1), "one", 1), (Some(2), "two", 1)]);
    let doubled = || rows(&[(Some(1), "one", 1), (Some(1), "uno", 2)]);
    let cases = [
        ("upsert", json!({}), doubled(), "more than once"),
        (
            "upsert",
            json!({}),
            rows(&[(Some(1), "one", 1), (None, "two", 1)]),
            "id",
        ),
        ("upsert", json!({"keys": ["gone"]}), good(), "column gone"),
        (
            "upsert",
            json!({"orderBy": "gone"}),
            doubled(),
            "column gone",
        ),
        (
            "upsert",
            json!({"orderBy": "name", "columnTypes": {"name": "json"}}),
            doubled(),
            "cannot be compared",
        ),
        (
            "upsert",
            json!({"keys": ["name"], "columnTypes": {"name": "json"}}),
            good(),
            "json has no default operator class",
        ),
        (
            "insertIfAbsent",
            json!({"columnTypes": {"name": "tsvector"}}),
            good(),
            "make the table first",
        ),
        (
            "upsert",
            json!({"createIfMissing": {"primaryKey": ["id"]}}),
            good(),
            "unknown field `primaryKey`",
        ),
        (
            "updateOnly",
            json!({}),
            good(),
            "unknown field `createIfMissing`",
        ),
    ];
    for (mode, more, rows, part) in cases {
        let spec = spec(mode, &more);
        for single in [true, false] {
            let refused = send(&mut client, single, &spec, &rows).await;
            let refused = refused.expect_err(part);
            assert!(refused.message().contains(part), "{mode}: {refused}");
        }
        let left = "SELECT to_regclass('t')";
        assert_eq!(database.text(left).await, "null", "{part}");
    }
    // The greatest value of the column decides, so the same rows are written.
    let ordered = spec("upsert", &json!({"orderBy": "v"}));
    send(&mut client, false, &ordered, &doubled())
        .await
        .unwrap();
    assert_eq!(database.text("SELECT name FROM t").await, "uno");
}

#[tokio::test]
async fn a_table_created_meanwhile_by_another_session_is_kept() {
    let database = Database::new().await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let rows = rows(&[(Some(1), "one", 1)]);
    let spec = spec("upsert", &json!({}));
    client.begin("w", spec.clone(), &rows).await.unwrap();
    let put = Put::whole(attempt("w", 0, "a"), std::slice::from_ref(&rows));
    let receipt = client.put(put).await.unwrap();
    database.execute("CREATE TABLE t (mine int)").await;
    let error = CallError::from(client.commit("w", &[receipt]).await.unwrap_err());
    assert_eq!(error.reason, "ALREADY_EXISTS", "{}", error.message);
    client.abort("w").await.unwrap();
    assert_eq!(database.text(TABLES).await, "t");
    database.execute("DROP TABLE t").await;
    client.begin("x", spec, &rows).await.unwrap();
    client.abort("x").await.unwrap();
    assert_eq!(
        database.text(TABLES).await,
        "",
        "an aborted write makes none"
    );
}

#[tokio::test]
async fn a_role_that_cannot_create_tables_is_rejected_before_the_rows() {
    let database = Database::new().await;
    let (_, name) = database.url.rsplit_once('/').unwrap();
    let role = name.replace("pgflight_test", "pgflight_making");
    database
        .execute(&format!(
            "CREATE ROLE {role} LOGIN; REVOKE CREATE ON SCHEMA public FROM PUBLIC;
             CREATE SCHEMA pgflight AUTHORIZATION {role}"
        ))
        .await;
    let server = Pgflight::start_at(&database.url_as(&role), &[]);
    let mut client = server.client().await;
    let text = Arc::new(StringArray::from(vec!["x"]));
    let rows = batch(&[("part", text.clone()), ("id", text)]);
    let spec = spec("upsert", &json!({}));
    let refused = client.begin("w", spec, &rows).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::PermissionDenied, "{refused}");
    drop(server);
    database
        .execute(&format!("DROP OWNED BY {role} CASCADE; DROP ROLE {role}"))
        .await;
}
