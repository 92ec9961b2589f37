//! CREATE TABLE and SELECT count(*) of clients.

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use arrow_flight::sql::EndTransaction;
use bytes::Bytes;
use futures_util::TryStreamExt;
use pgflight::auth::digest_of;
use tonic::Code;

use super::{APPEND, SqlClient, call_error, connect, ids, ingest, into, setup};
use crate::support::{CallError, Database, File, Pgflight};

async fn execute(
    client: &mut SqlClient,
    statement: &str,
    transaction: Option<Bytes>,
) -> Result<(), CallError> {
    let executed = client.execute(statement.to_owned(), transaction).await;
    let info = executed.map_err(call_error)?;
    assert!(info.endpoint.is_empty(), "{statement}");
    Ok(())
}

async fn count(
    client: &mut SqlClient,
    table: &str,
    transaction: Option<Bytes>,
) -> Result<i64, CallError> {
    let statement = format!("SELECT count(*) FROM {table}");
    let info = client.execute(statement, transaction).await;
    let info = info.map_err(call_error)?;
    let schema = info.clone().try_decode_schema().unwrap();
    let ticket = info.endpoint[0].ticket.clone().unwrap();
    let answer = client.do_get(ticket).await.map_err(call_error)?;
    let batches: Vec<RecordBatch> = answer.try_collect().await.unwrap();
    assert_eq!(*batches[0].schema(), schema);
    let counts = batches[0].column_by_name("count").unwrap();
    Ok(counts.as_primitive::<Int64Type>().value(0))
}

#[tokio::test]
async fn a_created_table_has_the_types_that_postgresql_would_give_it() {
    let (database, _server, mut client) = setup("CREATE SCHEMA made; CREATE SCHEMA own").await;
    let shape = |schema: &str| {
        format!(
            "SELECT string_agg(attname || ' ' || format_type(atttypid, atttypmod) || ' ' || attnotnull, ', ' ORDER BY attnum)
                 || (SELECT coalesce(string_agg(pg_get_constraintdef(oid), ''), '') FROM pg_constraint
                     WHERE conrelid = '{schema}.t'::regclass AND contype = 'p')
             FROM pg_attribute WHERE attrelid = '{schema}.t'::regclass AND attnum > 0"
        )
    };
    for columns in [
        "id BIGINT, \"Name\" TEXT, x FLOAT(53), at TIMESTAMP WITHOUT TIME ZONE",
        "i INTEGER PRIMARY KEY, d DECIMAL(18,3) NOT NULL, z TIMESTAMP WITH TIME ZONE, v VARCHAR",
        "a char, b character(3), c character varying(7), d smallint null, e real, f float(24)",
        "a date, b time, c time(3), d timestamp(0), e interval, f uuid, g json, h jsonb, i bytea",
        "a boolean, b double precision, c numeric, d numeric(5), primary key (b, a)",
    ] {
        for schema in ["made", "own"] {
            database
                .execute(&format!("DROP TABLE IF EXISTS {schema}.t"))
                .await;
        }
        let statement = format!("CREATE TABLE own.t ({columns})");
        database.execute(&statement).await;
        let statement = format!("CREATE TABLE made.t ({columns});");
        execute(&mut client, &statement, None).await.unwrap();
        assert_eq!(
            database.text(&shape("made")).await,
            database.text(&shape("own")).await,
            "{columns}"
        );
    }
    let statement = "CREATE TABLE made.t (a int)";
    let error = execute(&mut client, statement, None).await.unwrap_err();
    assert_eq!(error.code, Code::AlreadyExists, "{error:?}");
    let statement = "CREATE TABLE IF NOT EXISTS made.t (a int)";
    execute(&mut client, statement, None).await.unwrap();
    assert_eq!(database.text("SELECT count(*) FROM made.t").await, "0");
}

#[tokio::test]
async fn a_table_that_cannot_be_created_is_not_there() {
    let (database, _server, mut client) = setup("").await;
    for (statement, code) in [
        ("CREATE TABLE t (a int, a text)", Code::InvalidArgument),
        (
            "CREATE TABLE t (a int, PRIMARY KEY (b))",
            Code::InvalidArgument,
        ),
        ("CREATE TABLE t (a varchar(0))", Code::InvalidArgument),
        ("CREATE TABLE t (a int DEFAULT 1)", Code::Unimplemented),
        ("CREATE TABLE t (a money)", Code::Unimplemented),
        ("CREATE TABLE t AS SELECT 1 AS a", Code::Unimplemented),
        ("CREATE TABLE pgflight.t (a int)", Code::PermissionDenied),
        ("CREATE TABLE missing.t (a int)", Code::NotFound),
        ("CREATE TABLE nowhere.public.t (a int)", Code::NotFound),
    ] {
        let error = execute(&mut client, statement, None).await;
        let error = error.expect_err(statement);
        assert_eq!(error.code, code, "{statement}: {error:?}");
        let tables = "SELECT count(*) FROM pg_class WHERE relname = 't'";
        assert_eq!(database.text(tables).await, "0", "{statement}");
    }
}

#[tokio::test]
async fn a_transaction_sees_its_own_table_and_rows() {
    let (database, _server, mut client) = setup("").await;
    for (end, expected) in [
        (EndTransaction::Rollback, "none"),
        (EndTransaction::Commit, "t"),
    ] {
        let transaction = client.begin_transaction().await.unwrap();
        let id = Some(transaction.clone());
        execute(&mut client, "CREATE TABLE t (id integer)", id.clone())
            .await
            .unwrap();
        let mut command = into("t", APPEND);
        command.transaction_id = id.clone();
        ingest(&mut client, command, &[ids(&[1, 2])]).await.unwrap();
        assert_eq!(count(&mut client, "t", id).await.unwrap(), 2);
        let error = count(&mut client, "t", None).await.unwrap_err();
        assert_eq!(error.code, Code::NotFound, "{error:?}");
        client.end_transaction(transaction, end).await.unwrap();
        let found = "SELECT coalesce(to_regclass('t')::text, 'none')";
        assert_eq!(database.text(found).await, expected);
    }
    assert_eq!(count(&mut client, "public.t", None).await.unwrap(), 2);
}

#[tokio::test]
async fn grants_and_privileges_decide_who_counts_and_creates() {
    let database = Database::new().await;
    let role = format!("counter_{}", std::process::id());
    database
        .execute(&format!(
            "CREATE ROLE {role}; CREATE TABLE t AS SELECT generate_series(1, 3) AS id; CREATE TABLE other (id int);
             GRANT USAGE ON SCHEMA public TO {role}; GRANT INSERT ON t TO {role}"
        ))
        .await;
    let principal = |name: &str, modes: &str, more: &str| {
        format!(
            "[principals.{name}]\ntokens = ['{}']\n{more}grants = [{{ tables = ['public.t', 'public.new'], modes = [{modes}] }}]\n",
            digest_of(name)
        )
    };
    let file = File::new(
        &[
            principal("appender", "'append'", ""),
            principal("creator", "'create'", ""),
            principal("blind", "'append'", &format!("role = '{role}'\n")),
        ]
        .concat(),
    );
    let server = Pgflight::start_with(&database, &["--config", file.name()]);
    let mut client = connect(&server).await;
    let create = "CREATE TABLE new (id int4)";
    for (name, counts, creates) in [
        ("appender", true, false),
        ("blind", false, false),
        ("creator", true, true),
    ] {
        client.set_token(name.to_owned());
        let denied = count(&mut client, "other", None).await.unwrap_err();
        assert_eq!(denied.code, Code::PermissionDenied, "{name}");
        match count(&mut client, "t", None).await {
            Ok(found) => assert_eq!((found, counts), (3, true), "{name}"),
            Err(error) => {
                assert_eq!(
                    (error.code, counts),
                    (Code::PermissionDenied, false),
                    "{name}"
                );
            }
        }
        match execute(&mut client, create, None).await {
            Ok(()) => assert!(creates, "{name}"),
            Err(error) => {
                assert_eq!(
                    (error.code, creates),
                    (Code::PermissionDenied, false),
                    "{name}"
                );
            }
        }
    }
    let audit = ["event=\"statement\"", "mode=\"create\"", "outcome=\"done\""];
    server.wait_for_line(&audit).await;
    let audit = ["event=\"statement\"", "mode=\"count\"", "outcome=\"done\""];
    server.wait_for_line(&audit).await;
    database
        .execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}"))
        .await;
}
