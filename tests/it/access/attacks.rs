//! Attacks by roles and principals with few privileges.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray};
use pgflight::auth::digest_of;
use serde_json::{Value, json};
use tonic::{Code, Status};

use super::role::World;
use crate::support::{CallError, Client, Database, File, Pgflight, Put, attempt, batch, write};

pub(crate) fn ids(ids: &[i64]) -> RecordBatch {
    batch(&[("id", Arc::new(Int64Array::from(ids.to_vec())) as ArrayRef)])
}

pub(crate) fn texts(texts: &[&str]) -> RecordBatch {
    batch(&[("x", Arc::new(StringArray::from(texts.to_vec())) as ArrayRef)])
}

pub(crate) fn append(table: &str) -> Value {
    json!({"table": table, "append": {}})
}

pub(crate) async fn put(
    client: &mut Client,
    spec: Value,
    rows: &RecordBatch,
) -> Result<Value, Status> {
    let put = Put::whole(write(spec), std::slice::from_ref(rows));
    client.put(put).await
}

pub(crate) async fn setup(sql: &str, options: &[&str]) -> (Database, Pgflight, Client) {
    let database = Database::new().await;
    database.execute(sql).await;
    let server = Pgflight::start_with(&database, options);
    let client = server.client().await;
    (database, server, client)
}

/// Objects that keep rows in a table from which they are deleted.
const KEEPERS: [&str; 2] = [
    "CREATE TRIGGER keep BEFORE DELETE ON {} FOR EACH ROW EXECUTE FUNCTION keep()",
    "CREATE RULE keep AS ON DELETE TO {} DO INSTEAD NOTHING",
];

#[tokio::test]
async fn rows_that_a_new_table_keeps_fail_the_commit() {
    for (spec, table) in [
        (json!({"table": "t", "create": {}}), ""),
        (
            json!({"table": "t", "overwrite": {"with": "OVERWRITE_WITH_SWAP"}}),
            "CREATE TABLE t (id int8); INSERT INTO t VALUES (7);",
        ),
    ] {
        for keeper in KEEPERS {
            let function = "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'";
            let (database, _server, mut client) = setup(&format!("{table} {function}"), &[]).await;
            client.begin("w", spec.clone(), &ids(&[])).await.unwrap();
            let mut receipts = Vec::new();
            for id in ["a", "b"] {
                let sent = client.put(Put::whole(attempt("w", 0, id), &[ids(&[1])]));
                receipts.push(sent.await.unwrap());
            }
            let name = "SELECT relname FROM pg_class WHERE relname LIKE '\\_pgflight\\_%' AND relkind = 'r'";
            let shadow = database.text(name).await;
            database.execute(&keeper.replace("{}", &shadow)).await;
            let refused = client.commit("w", &receipts[..1]).await;
            let refused = refused.expect_err(keeper);
            assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
            assert!(refused.message().contains("not accepted"), "{refused}");
            let there = match table {
                "" => "SELECT to_regclass('t') IS NULL",
                _ => "SELECT string_agg(id::text, ' ') = '7' FROM t",
            };
            assert_eq!(database.text(there).await, "true", "{keeper}");
        }
    }
}

/// Tables with a constraint that resolves a value as a name.
const NAMERS: [&str; 5] = [
    "CREATE TABLE t (id int8 PRIMARY KEY, x text CHECK (x::regrole IS NOT NULL))",
    "CREATE TABLE t (id int8 PRIMARY KEY, x text CHECK (x::regclass IS NOT NULL))",
    "CREATE TABLE t (id int8 PRIMARY KEY, x text CHECK (has_schema_privilege(x, 'USAGE')))",
    "CREATE TABLE t (id int8 PRIMARY KEY, x text CHECK (current_setting(x) <> ''))",
    "CREATE TABLE t (id int8 PRIMARY KEY, x text CHECK (pg_has_role(x, 'USAGE')))",
];

#[tokio::test]
async fn an_error_omits_names_that_come_from_a_value() {
    for namer in NAMERS {
        let (_database, _server, mut client) = setup(namer, &[]).await;
        let id: ArrayRef = Arc::new(Int64Array::from(vec![1]));
        let x: ArrayRef = Arc::new(StringArray::from(vec!["s3cret"]));
        let rows = batch(&[("id", id), ("x", x)]);
        let upsert = json!({"table": "t", "upsert": {"keys": ["id"]}});
        for spec in [append("t"), upsert.clone()] {
            let error = CallError::from(put(&mut client, spec, &rows).await.expect_err(namer));
            assert!(
                !error.message.contains("s3cret"),
                "{namer}: {}",
                error.message
            );
        }
        let staged = json!({"table": "t", "append": {"publish": "PUBLISH_STAGED"}});
        for (number, spec) in [staged, upsert].into_iter().enumerate() {
            let id = format!("w{number}");
            client.begin(&id, spec, &rows).await.unwrap();
            let sent = client.put(Put::whole(
                attempt(&id, 0, "a"),
                std::slice::from_ref(&rows),
            ));
            let error = match sent.await {
                Ok(receipt) => client.commit(&id, &[receipt]).await.expect_err(namer),
                Err(status) => status,
            };
            assert!(!error.message().contains("s3cret"), "{namer}: {error}");
        }
    }
}

#[tokio::test]
async fn notices_of_a_trigger_are_not_logged() {
    let sql = "
        CREATE TABLE t (x text);
        CREATE FUNCTION notice() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            RAISE WARNING 'the value is %', NEW.x; RETURN NEW;
        END $$;
        CREATE TRIGGER notice BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION notice()";
    let (_database, server, mut client) = setup(sql, &["--log", "debug"]).await;
    put(&mut client, append("t"), &texts(&["s3cret"]))
        .await
        .unwrap();
    server.wait_for_line(&["event=\"write\""]).await;
    let log = server.log().join("\n");
    assert!(!log.contains("s3cret"), "{log}");
}

#[tokio::test]
async fn a_view_on_the_ledger_is_rejected() {
    let sql = "CREATE SCHEMA sf";
    let (database, _server, mut client) = setup(sql, &[]).await;
    client
        .begin("w", json!({"table": "sf.t", "create": {}}), &ids(&[]))
        .await
        .unwrap();
    database
        .execute(
            "CREATE VIEW sf.inner AS SELECT write_id FROM pgflight.write;
             CREATE VIEW sf.outer AS SELECT write_id FROM sf.inner",
        )
        .await;
    let rows = batch(&[(
        "write_id",
        Arc::new(StringArray::from(vec!["w"])) as ArrayRef,
    )]);
    for view in ["sf.inner", "sf.outer"] {
        let spec = json!({"table": view, "deleteByKey": {"keys": ["write_id"]}});
        let refused = put(&mut client, spec, &rows).await.expect_err(view);
        assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    }
    let count = database.text("SELECT count(*) FROM pgflight.write").await;
    assert_eq!(count, "1");
}

#[tokio::test]
async fn a_view_with_a_huge_query_is_rejected_before_postgresql_parses_it() {
    let sql = "CREATE TABLE t (id int8);
               DO $$BEGIN
                   EXECUTE pg_catalog.format('CREATE VIEW huge AS SELECT id FROM t WHERE %L IS NOT NULL',
                       (SELECT string_agg(md5(n::text), '') FROM generate_series(1, 100000) n));
               END$$;
               CREATE VIEW of_huge AS SELECT id FROM huge";
    let (_database, _server, mut client) = setup(sql, &[]).await;
    for view in ["huge", "of_huge"] {
        let refused = put(&mut client, append(view), &ids(&[1])).await;
        let refused = refused.expect_err(view);
        assert_eq!(refused.code(), Code::Unimplemented, "{refused}");
        assert!(refused.message().contains("more than 1 MiB"), "{refused}");
    }
}

#[tokio::test]
async fn an_advisory_lock_of_another_role_blocks_no_begin() {
    let database = Database::new().await;
    database.execute("CREATE TABLE t (id int8)").await;
    let file = File::new(&format!(
        "[principals.etl]\ntokens = ['{}']\nmax_open_writes = 5\ngrants = [{{ tables = ['*.*'], modes = ['append'] }}]",
        digest_of("etl")
    ));
    let options = ["--config", file.name(), "--lock-timeout", "1s"];
    let server = Pgflight::start_with(&database, &options);
    let mut client = server.client().await.bearing("etl");
    client.begin("first", append("t"), &ids(&[])).await.unwrap();
    database
        .execute(
            "SELECT pg_advisory_lock(hashtextextended('pgflight.migration', 0)),
                    pg_advisory_lock(hashtextextended('pgflight.principal:etl', 0))",
        )
        .await;
    client
        .begin("second", append("t"), &ids(&[]))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_grant_of_create_does_not_allow_append() {
    let database = Database::new().await;
    database.execute("CREATE TABLE t (id int8)").await;
    let file = File::new(&format!(
        "[principals.maker]\ntokens = ['{}']\ngrants = [{{ tables = ['*.*'], modes = ['create'] }}]",
        digest_of("maker")
    ));
    let server = Pgflight::start_with(&database, &["--config", file.name()]);
    let mut client = server.client().await.bearing("maker");
    let spec = |table: &str| json!({"table": table, "create": {"ifExists": "IF_EXISTS_APPEND"}});
    let refused = put(&mut client, spec("t"), &ids(&[1])).await;
    assert_eq!(
        refused.expect_err("t is there").code(),
        Code::PermissionDenied
    );
    put(&mut client, spec("made"), &ids(&[1])).await.unwrap();
    assert_eq!(database.text("SELECT count(*) FROM t").await, "0");
}

#[tokio::test]
async fn a_schema_renamed_during_a_write_rejects_it() {
    let sql = "
        CREATE SCHEMA a; CREATE SCHEMA b; CREATE TABLE a.t (id int8 PRIMARY KEY); CREATE TABLE b.t (id int8 PRIMARY KEY);
        CREATE FUNCTION turn() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            ALTER SCHEMA a RENAME TO c; ALTER SCHEMA b RENAME TO a; RETURN NULL;
        END $$;
        CREATE TRIGGER turn AFTER INSERT ON a.t FOR EACH STATEMENT EXECUTE FUNCTION turn()";
    let (database, _server, mut client) = setup(sql, &[]).await;
    let upsert = json!({"table": "a.t", "upsert": {"keys": ["id"]}});
    let staged = json!({"table": "a.t", "append": {"publish": "PUBLISH_STAGED"}});
    for spec in [append("a.t"), upsert.clone()] {
        let refused = put(&mut client, spec, &ids(&[1]))
            .await
            .expect_err("renamed");
        assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
    }
    for (number, spec) in [staged, upsert].into_iter().enumerate() {
        let id = format!("w{number}");
        client.begin(&id, spec, &ids(&[])).await.unwrap();
        let sent = client.put(Put::whole(attempt(&id, 0, "a"), &[ids(&[1])]));
        let receipt = sent.await.unwrap();
        let refused = client.commit(&id, &[receipt]).await.expect_err("renamed");
        assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
    }
    let counts = "SELECT (SELECT count(*) FROM a.t) + (SELECT count(*) FROM b.t)";
    assert_eq!(database.text(counts).await, "0");
    // In two phases, and for a table that the stream creates, another session renames the schemas.
    database.execute("DROP TRIGGER turn ON a.t").await;
    let turn = "ALTER SCHEMA a RENAME TO c; ALTER SCHEMA b RENAME TO a; ALTER SCHEMA c RENAME TO b";
    database
        .execute("CREATE TABLE a.p (id int8); CREATE TABLE b.p (id int8)")
        .await;
    let phases = json!({"table": "a.p", "append": {"publish": "PUBLISH_TWO_PHASE"}});
    client.begin("phases", phases, &ids(&[])).await.unwrap();
    let sent = client.put(Put::whole(attempt("phases", 0, "a"), &[ids(&[1])]));
    let receipt = sent.await.unwrap();
    database.execute(turn).await;
    let refused = client
        .commit("phases", &[receipt])
        .await
        .expect_err("renamed");
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
    client.abort("phases").await.unwrap();
    let counts = "SELECT (SELECT count(*) FROM a.p) + (SELECT count(*) FROM b.p)";
    assert_eq!(database.text(counts).await, "0");
}

#[tokio::test]
async fn a_cursor_with_hold_runs_in_the_role_of_the_writer() {
    let world = World::new("held", &[]).await;
    let (database, writer) = (&world.database, &world.writer);
    database
        .execute(&format!(
            "SET ROLE {writer};
             CREATE TABLE sales.seen (who text);
             CREATE FUNCTION sales.look() RETURNS int LANGUAGE plpgsql AS $$ BEGIN
                 INSERT INTO sales.seen VALUES (current_user); RETURN 1;
             END $$;
             CREATE FUNCTION sales.hold() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 EXECUTE 'DECLARE held CURSOR WITH HOLD FOR SELECT sales.look()'; RETURN NULL;
             END $$;
             CREATE TRIGGER hold AFTER INSERT ON sales.plain FOR EACH STATEMENT EXECUTE FUNCTION sales.hold();
             RESET ROLE"
        ))
        .await;
    let rows = batch(&[("n", Arc::new(Int32Array::from(vec![1])) as ArrayRef)]);
    let mut client = world.client().await;
    put(&mut client, append("sales.plain"), &rows)
        .await
        .unwrap();
    let staged = json!({"table": "sales.plain", "append": {"publish": "PUBLISH_STAGED"}});
    client.begin("w", staged, &rows).await.unwrap();
    let sent = client.put(Put::whole(attempt("w", 0, "a"), &[rows]));
    let receipt = sent.await.unwrap();
    client.commit("w", &[receipt]).await.unwrap();
    let who = "SELECT string_agg(who, ' ') FROM sales.seen";
    assert_eq!(database.text(who).await, format!("{writer} {writer}"));
    world.forget().await;
}

#[tokio::test]
async fn an_index_with_another_collation_does_not_count() {
    let sql = "CREATE TABLE t (x text); CREATE UNIQUE INDEX ON t (x COLLATE \"C\")";
    let (_database, _server, mut client) = setup(sql, &[]).await;
    let spec = json!({"table": "t", "upsert": {"keys": ["x"]}});
    let refused = put(&mut client, spec, &texts(&["a"])).await;
    let refused = refused.expect_err("the index compares otherwise");
    assert!(refused.message().contains("no unique index"), "{refused}");
}

#[tokio::test]
async fn a_view_on_a_staging_table_is_dropped_with_it() {
    let (database, _server, mut client) = setup("CREATE TABLE t (id int8)", &[]).await;
    let staged = json!({"table": "t", "append": {"publish": "PUBLISH_STAGED"}});
    client.begin("w", staged, &ids(&[])).await.unwrap();
    let sent = client.put(Put::whole(attempt("w", 0, "a"), &[ids(&[1])]));
    let receipt = sent.await.unwrap();
    let name = "SELECT staging_schema || '.' || staging_name FROM pgflight.write";
    let staging = database.text(name).await;
    database
        .execute(&format!("CREATE VIEW v AS TABLE {staging}"))
        .await;
    client.commit("w", &[receipt]).await.unwrap();
    assert_eq!(database.text("SELECT to_regclass('v')").await, "null");
    assert_eq!(
        database
            .text(&format!("SELECT to_regclass('{staging}')"))
            .await,
        "null"
    );
}
