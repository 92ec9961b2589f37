//! The few statements that are served, and their grants.

use std::time::Duration;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int32Type;
use arrow_flight::sql::{CommandStatementQuery, ProstMessageExt};
use arrow_flight::{FlightDescriptor, FlightInfo};
use futures_util::TryStreamExt;
use pgflight::auth::digest_of;
use prost::Message;
use serde_json::json;
use tonic::Code;

use super::{SqlClient, call_error, connect, ids, setup};
use crate::support::{CallError, Database, File, Pgflight, wait_until};

async fn execute(client: &mut SqlClient, statement: &str) -> Result<FlightInfo, CallError> {
    let executed = client.execute(statement.to_owned(), None).await;
    executed.map_err(call_error)
}

const TABLES: &str = "CREATE SCHEMA \"S\"; CREATE TABLE t AS SELECT 1 AS id; CREATE TABLE \"S\".\"T\" AS SELECT 1 AS id;
    CREATE TABLE kept AS SELECT 1 AS id; CREATE VIEW v AS SELECT * FROM kept";

#[tokio::test]
async fn statements_change_their_table_and_no_other() {
    let (database, _server, mut client) = setup("").await;
    let drop_all = "DROP SCHEMA IF EXISTS \"S\" CASCADE; DROP TABLE IF EXISTS t, kept CASCADE";
    // The rows of t and of "S"."T" afterwards.
    let cases = [
        ("DROP TABLE t", "none,1"),
        ("DROP TABLE IF EXISTS \"S\".\"T\";", "1,none"),
        ("drop table if exists missing", "1,1"),
        ("DELETE FROM T", "0,1"),
        ("TRUNCATE \"S\".\"T\"", "1,0"),
        ("TRUNCATE TABLE \"default\".public.t", "0,1"),
    ];
    for (statement, expected) in cases {
        for by_put in [false, true] {
            database.execute(&format!("{drop_all}; {TABLES}")).await;
            if by_put {
                let count = client.execute_update(statement.to_owned(), None).await;
                assert_eq!(count.unwrap(), -1, "{statement}");
            } else {
                let info = execute(&mut client, statement).await.unwrap();
                assert!(info.endpoint.is_empty(), "{statement}");
            }
            let mut left = Vec::new();
            for table in ["public.t", "\"S\".\"T\""] {
                let exists = format!("SELECT to_regclass('{table}') IS NOT NULL");
                left.push(match database.text(&exists).await.as_str() {
                    "true" => {
                        database
                            .text(&format!("SELECT count(*) FROM {table}"))
                            .await
                    }
                    _ => "none".to_owned(),
                });
            }
            assert_eq!(left.join(","), expected, "{statement}");
        }
    }
    assert_eq!(database.text("SELECT count(*) FROM kept").await, "1");
}

#[tokio::test]
async fn statements_that_cannot_run_change_nothing() {
    let (database, _server, mut client) = setup(TABLES).await;
    let cases = [
        ("DROP TABLE missing", Code::NotFound, "does not exist"),
        ("DELETE FROM missing", Code::NotFound, "does not exist"),
        (
            "DROP TABLE kept",
            Code::FailedPrecondition,
            "SQLSTATE 2BP01",
        ),
        ("DROP TABLE v", Code::Unimplemented, "view"),
        ("TRUNCATE v", Code::Unimplemented, "view"),
        ("DELETE FROM v", Code::Unimplemented, "view"),
        ("DROP TABLE pgflight.write", Code::PermissionDenied, ""),
        ("TRUNCATE pg_catalog.pg_class", Code::PermissionDenied, ""),
        ("DELETE FROM t WHERE id = 1", Code::Unimplemented, "DELETE"),
        (
            "INSERT INTO t VALUES (1)",
            Code::Unimplemented,
            "adbc_ingest",
        ),
        ("DROP TABLE nowhere.public.t", Code::NotFound, "no target"),
    ];
    // The ledger must exist to be refused.
    let begun = "CREATE SCHEMA pgflight; CREATE TABLE pgflight.write (id int)";
    database.execute(begun).await;
    for (statement, code, text) in cases {
        let error = execute(&mut client, statement).await.expect_err(statement);
        assert!(error.message.contains(text), "{statement}: {error:?}");
        if statement != "DROP TABLE kept" {
            assert_eq!(error.code, code, "{statement}: {error:?}");
        }
    }
    let locker = Database::connect(&database.url).await;
    locker.batch_execute("BEGIN; LOCK TABLE t").await.unwrap();
    let locked = execute(&mut client, "DELETE FROM t").await.unwrap_err();
    assert_eq!(locked.code, Code::Unavailable, "{locked:?}");
    locker.batch_execute("ROLLBACK").await.unwrap();
    let in_transaction = client
        .execute("DELETE FROM t".to_owned(), Some(vec![1].into()))
        .await;
    let error = call_error(in_transaction.unwrap_err());
    assert_eq!(error.code, Code::NotFound, "{error:?}");
    // GetSchema runs nothing.
    let query = CommandStatementQuery {
        query: "DELETE FROM t".to_owned(),
        transaction_id: None,
    };
    let descriptor = FlightDescriptor::new_cmd(query.as_any().encode_to_vec());
    client.inner_mut().get_schema(descriptor).await.unwrap();
    let counts = "SELECT (SELECT count(*) FROM t) + (SELECT count(*) FROM kept)";
    assert_eq!(database.text(counts).await, "2");
}

#[tokio::test]
async fn select_one_returns_one() {
    let (_database, _server, mut client) = setup("").await;
    let info = execute(&mut client, "SELECT 1").await.unwrap();
    let schema = info.clone().try_decode_schema().unwrap();
    let ticket = info.endpoint[0].ticket.clone().unwrap();
    let answer = client.do_get(ticket).await.unwrap();
    let batches: Vec<RecordBatch> = answer.try_collect().await.unwrap();
    assert_eq!(*batches[0].schema(), schema);
    assert_eq!(
        batches[0].column(0).as_primitive::<Int32Type>().values()[..],
        [1]
    );
}

#[tokio::test]
async fn grants_decide_statements() {
    let database = Database::new().await;
    database.execute(TABLES).await;
    let principal = |name: &str, modes: &str| {
        format!(
            "[principals.{name}]\ntokens = ['{}']\ngrants = [{{ tables = ['public.t'], modes = [{modes}] }}]\n",
            digest_of(name)
        )
    };
    let file = File::new(
        &[
            principal("appender", "'append', 'create'"),
            principal("replacer", "'overwrite'"),
            principal("owner", "'overwrite', 'create'"),
        ]
        .concat(),
    );
    let server = Pgflight::start_with(&database, &["--config", file.name()]);
    let mut client = connect(&server).await;
    let statements = ["DELETE FROM t", "TRUNCATE t", "DROP TABLE t"];
    for (name, allowed) in [("appender", 0), ("replacer", 2), ("owner", 3)] {
        client.set_token(name.to_owned());
        for hidden in ["kept", "\"S\".\"T\"", "missing"] {
            for statement in ["DROP TABLE IF EXISTS", "DELETE FROM"] {
                let denied = execute(&mut client, &format!("{statement} {hidden}")).await;
                assert_eq!(
                    denied.unwrap_err().code,
                    Code::PermissionDenied,
                    "{name}: {hidden}"
                );
            }
        }
        for (number, statement) in statements.into_iter().enumerate() {
            let outcome = execute(&mut client, statement).await;
            match number < allowed {
                true => assert!(outcome.is_ok(), "{name}: {statement}"),
                false => {
                    let code = outcome.unwrap_err().code;
                    assert_eq!(code, Code::PermissionDenied, "{name}: {statement}");
                }
            }
        }
    }
    assert_eq!(
        database
            .text("SELECT to_regclass('public.t') IS NULL")
            .await,
        "true"
    );
    let audit = [
        "event=\"statement\"",
        "mode=\"drop\"",
        "outcome=\"PERMISSION_DENIED\"",
    ];
    server.wait_for_line(&audit).await;
}

#[tokio::test]
async fn a_begin_does_not_wait_behind_statements_whose_triggers_are_slow() {
    let sql = "CREATE TABLE free (id int4); CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
                   $$BEGIN PERFORM pg_sleep(600); RETURN NULL; END$$;
               CREATE TABLE s0 (id int4); CREATE TABLE s1 (id int4); CREATE TABLE s2 (id int4); CREATE TABLE s3 (id int4);
               CREATE TRIGGER slow BEFORE DELETE ON s0 EXECUTE FUNCTION slow();
               CREATE TRIGGER slow BEFORE DELETE ON s1 EXECUTE FUNCTION slow();
               CREATE TRIGGER slow BEFORE DELETE ON s2 EXECUTE FUNCTION slow();
               CREATE TRIGGER slow BEFORE DELETE ON s3 EXECUTE FUNCTION slow()";
    let (database, server, _client) = setup(sql).await;
    let mut deletes = Vec::new();
    for number in 0..4 {
        let mut client = connect(&server).await;
        deletes.push(tokio::spawn(async move {
            execute(&mut client, &format!("DELETE FROM s{number}"))
                .await
                .map(drop)
        }));
    }
    let sleeping = "SELECT count(*) >= 2 FROM pg_stat_activity
                    WHERE datname = current_database() AND wait_event = 'PgSleep'";
    wait_until(
        async || database.text(sleeping).await == "true",
        "triggers sleep",
    )
    .await;
    let mut other = server.client().await;
    let spec = json!({"table": "free", "append": {}});
    let rows = ids(&[]);
    let begun = other.begin("w", spec, &rows);
    let begun = tokio::time::timeout(Duration::from_secs(20), begun).await;
    begun.expect("a begin waits behind statements").unwrap();
    deletes.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn a_statement_hits_the_table_that_was_locked_or_nothing() {
    let (database, _server, mut client) = setup("").await;
    // Code of the table, or of a superuser, exchanges the schemas after the server has locked the table.
    let exchange =
        "EXECUTE 'ALTER SCHEMA s RENAME TO aside'; EXECUTE 'ALTER SCHEMA other RENAME TO s';";
    let cases = [
        ("DELETE FROM s.t", "BEFORE DELETE ON s.t"),
        ("TRUNCATE s.t", "BEFORE TRUNCATE ON s.t"),
        ("DROP TABLE s.t", ""),
    ];
    for (statement, trigger) in cases {
        let code = |result: &str, ends: &str| {
            format!(
                "CREATE FUNCTION public.exchange() RETURNS {result} LANGUAGE plpgsql AS
                     $$BEGIN {exchange} {ends} END$$"
            )
        };
        let code = match trigger {
            "" => format!(
                "{}; CREATE EVENT TRIGGER exchange ON ddl_command_start WHEN TAG IN ('DROP TABLE')
                 EXECUTE FUNCTION public.exchange()",
                code("event_trigger", "")
            ),
            trigger => format!(
                "{}; CREATE TRIGGER exchange {trigger} EXECUTE FUNCTION public.exchange()",
                code("trigger", "RETURN NULL;")
            ),
        };
        database
            .execute(&format!(
                "DROP EVENT TRIGGER IF EXISTS exchange; DROP FUNCTION IF EXISTS public.exchange CASCADE;
                 DROP SCHEMA IF EXISTS s CASCADE; DROP SCHEMA IF EXISTS other CASCADE;
                 CREATE SCHEMA s; CREATE SCHEMA other;
                 CREATE TABLE s.t AS SELECT 1 AS id; CREATE TABLE other.t AS SELECT 2 AS id; {code}"
            ))
            .await;
        let error = execute(&mut client, statement).await.unwrap_err();
        assert_eq!(error.reason, "CONFLICT", "{statement}: {error:?}");
        let left = "SELECT (SELECT sum(id) FROM s.t) || ',' || (SELECT sum(id) FROM other.t)";
        assert_eq!(database.text(left).await, "1,2", "{statement}");
    }
}

#[tokio::test]
async fn a_statement_that_removes_rows_does_not_go_with_a_write_id() {
    let (database, server, _client) = setup("CREATE TABLE t AS SELECT 1 AS id").await;
    let mut client = connect(&server).await;
    client.set_header("x-pgflight-write-id", "nightly");
    client.set_header("x-pgflight-rows", "1");
    for statement in ["DROP TABLE t", "DELETE FROM t", "TRUNCATE t"] {
        let error = execute(&mut client, statement).await.unwrap_err();
        assert_eq!(error.reason, "INVALID_COMMAND", "{statement}: {error:?}");
        let update = client.execute_update(statement.to_owned(), None).await;
        let error = call_error(update.unwrap_err());
        assert!(
            error.message.contains("x-pgflight-write-id"),
            "{statement}: {error:?}"
        );
    }
    execute(&mut client, "SELECT 1").await.unwrap();
    assert_eq!(database.text("SELECT sum(id) FROM t").await, "1");
}

#[tokio::test]
async fn statements_of_a_principal_delay_no_commit_of_another() {
    let database = Database::new().await;
    database
        .execute("CREATE TABLE t (id int4); CREATE TABLE free (id int4)")
        .await;
    let principal = |name: &str, table: &str, mode: &str| {
        let digest = digest_of(name);
        format!(
            "[principals.{name}]\ntokens = ['{digest}']\ngrants = [{{ tables = ['public.{table}'], modes = ['{mode}'] }}]\n"
        )
    };
    let file = File::new(
        &[
            principal("busy", "t", "overwrite"),
            principal("other", "free", "append"),
        ]
        .concat(),
    );
    let server = Pgflight::start_with(&database, &["--config", file.name()]);
    let locker = Database::connect(&database.url).await;
    locker.batch_execute("BEGIN; LOCK TABLE t").await.unwrap();
    let mut statements = Vec::new();
    for _ in 0..20 {
        let mut client = connect(&server).await;
        client.set_token("busy".to_owned());
        statements.push(tokio::spawn(async move {
            execute(&mut client, "DELETE FROM t").await.map(drop)
        }));
    }
    let waits = "SELECT count(*) > 0 FROM pg_stat_activity
                 WHERE datname = current_database() AND wait_event_type = 'Lock'";
    wait_until(
        async || database.text(waits).await == "true",
        "a statement waits",
    )
    .await;
    let mut client = server.client().await.bearing("other");
    let spec = json!({"table": "free", "append": {"publish": "PUBLISH_STAGED"}});
    client.begin("w", spec, &ids(&[])).await.unwrap();
    client.commit("w", &[]).await.unwrap();
    let pending = statements
        .iter()
        .filter(|statement| !statement.is_finished())
        .count();
    assert!(pending > 10, "{pending} of 20 statements are left");
    statements.iter().for_each(tokio::task::JoinHandle::abort);
}
