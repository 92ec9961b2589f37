//! Prepared INSERTs, whose rows are bound as batches.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow_flight::error::FlightError;
use arrow_flight::sql::client::PreparedStatement;
use arrow_flight::sql::{
    ActionCreatePreparedStatementRequest, ActionCreatePreparedStatementResult, Any,
    CommandPreparedStatementQuery, CommandPreparedStatementUpdate, DoPutUpdateResult,
    ProstMessageExt,
};
use arrow_flight::{Action, FlightDescriptor, encode::FlightDataEncoderBuilder};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use pgflight::auth::digest_of;
use prost::Message;
use tonic::Code;
use tonic::transport::Channel;

use super::{CREATE, SqlClient, call_error, connect, ids, ingest, into, setup};
use crate::support::{CallError, Database, File, Pgflight, batch};

/// Prepares a statement.
async fn prepare(
    client: &mut SqlClient,
    text: &str,
    transaction: Option<Bytes>,
) -> Result<PreparedStatement<Channel>, CallError> {
    let prepared = client.prepare(text.to_owned(), transaction).await;
    prepared.map_err(call_error)
}

/// Binds rows and executes the statement, as arrow-rs does: it binds them by one call, and executes by another.
async fn execute(
    prepared: &mut PreparedStatement<Channel>,
    rows: RecordBatch,
) -> Result<i64, CallError> {
    prepared.set_parameters(rows).unwrap();
    prepared.execute_update().await.map_err(call_error)
}

/// Rows whose columns have these names.
fn rows(names: [&str; 2], numbers: &[i64], texts: &[Option<&str>]) -> RecordBatch {
    batch(&[
        (
            names[0],
            Arc::new(Int64Array::from(numbers.to_vec())) as ArrayRef,
        ),
        (names[1], Arc::new(StringArray::from(texts.to_vec()))),
    ])
}

const TABLE: &str = "CREATE TABLE t (id int4, note text, twice int4 GENERATED ALWAYS AS (id * 2) STORED, \"N\" int8 DEFAULT 7)";

#[tokio::test]
async fn columns_are_taken_by_position_and_named_by_the_statement() {
    let (database, _server, mut client) = setup(TABLE).await;
    let cases = [
        (
            "INSERT INTO t (id, note) VALUES (?, ?)",
            "id integer, note text",
            "1,a,2,7;2,,4,7",
        ),
        (
            "insert into public.T (\"N\", note) values (?, ?);",
            "N bigint, note text",
            ",a,,1;,,,2",
        ),
    ];
    for (text, parameters, expected) in cases {
        // The names of the data do not count.
        for names in [["note", "id"], ["0", "1"], ["?", "?"]] {
            database.execute("TRUNCATE t").await;
            let mut prepared = prepare(&mut client, text, None).await.unwrap();
            let schema = prepared.parameter_schema().unwrap();
            let found: Vec<String> = schema
                .fields()
                .iter()
                .map(|field| format!("{} {}", field.name(), field.metadata()["POSTGRESQL:type"]))
                .collect();
            assert_eq!(found.join(", "), parameters, "{text}");
            assert!(prepared.dataset_schema().unwrap().fields().is_empty());
            let written = execute(&mut prepared, rows(names, &[1, 2], &[Some("a"), None])).await;
            assert_eq!(written.unwrap(), 2, "{text}");
            let found = database
                .text("SELECT string_agg(concat_ws(',', coalesce(id::text, ''), coalesce(note, ''), coalesce(twice::text, ''), \"N\"), ';' ORDER BY id, \"N\") FROM t")
                .await;
            assert_eq!(found, expected, "{text}: {names:?}");
            prepared.close().await.unwrap();
        }
    }
}

#[tokio::test]
async fn without_a_list_all_columns_are_meant_that_the_table_had_then() {
    let (database, _server, mut client) =
        setup("CREATE TABLE t (a int4, gone int4, b text); ALTER TABLE t DROP gone").await;
    let mut prepared = prepare(&mut client, "INSERT INTO t VALUES (?, ?)", None)
        .await
        .unwrap();
    database
        .execute("ALTER TABLE t DROP a; ALTER TABLE t ADD c int4; ALTER TABLE t ADD a int4")
        .await;
    let written = execute(&mut prepared, rows(["x", "y"], &[1], &[Some("b")])).await;
    assert_eq!(written.unwrap(), 1);
    let found = database
        .text("SELECT a || b || coalesce(c, 0) FROM t")
        .await;
    assert_eq!(found, "1b0");
}

#[tokio::test]
async fn a_statement_can_be_executed_again_and_anywhere() {
    let (database, _server, mut client) = setup("CREATE TABLE t (id int4)").await;
    let mut prepared = prepare(&mut client, "INSERT INTO t VALUES (?)", None)
        .await
        .unwrap();
    for number in [1, 2] {
        assert_eq!(
            execute(&mut prepared, ids(&[number])).await.unwrap(),
            1,
            "{number}"
        );
    }
    // The result of the INSERT is empty, and to ask for it inserts nothing more.
    let info = prepared.execute().await.unwrap();
    assert_eq!((info.total_records, info.endpoint.len()), (1, 0));
    let again = Pgflight::start(&database);
    let mut there = connect(&again).await;
    let handle = handle_of(&mut client, "INSERT INTO t (id) VALUES (?)").await;
    let many: Vec<RecordBatch> = (0..5).map(|n| ids(&[10 * n, 10 * n + 1])).collect();
    assert_eq!(put(&mut there, &handle, &many).await.unwrap(), 10);
    assert_eq!(put(&mut there, &handle, &[]).await.unwrap(), 0);
    let found = database
        .text("SELECT count(*) || ',' || sum(id) FROM t")
        .await;
    assert_eq!(found, format!("13,{}", 1 + 2 + 2 + 205));
}

/// Returns the handle of a statement, which arrow-rs keeps to itself.
async fn handle_of(client: &mut SqlClient, text: &str) -> Bytes {
    let request = ActionCreatePreparedStatementRequest {
        query: text.to_owned(),
        transaction_id: None,
    };
    let action = Action {
        r#type: "CreatePreparedStatement".to_owned(),
        body: request.as_any().encode_to_vec().into(),
    };
    let answer = client.inner_mut().do_action(action).await.unwrap();
    let answer = answer.into_inner().message().await.unwrap().unwrap();
    let answer: Option<ActionCreatePreparedStatementResult> =
        Any::decode(&*answer.body).unwrap().unpack().unwrap();
    answer.unwrap().prepared_statement_handle
}

/// Sends rows with the command that executes a statement, as ADBC's driver and JDBC do.
async fn put(
    client: &mut SqlClient,
    handle: &Bytes,
    batches: &[RecordBatch],
) -> Result<i64, CallError> {
    let command = CommandPreparedStatementUpdate {
        prepared_statement_handle: handle.clone(),
    };
    let descriptor = FlightDescriptor::new_cmd(command.as_any().encode_to_vec());
    let batches: Vec<_> = batches.iter().cloned().map(Ok).collect();
    let messages = FlightDataEncoderBuilder::new()
        .with_flight_descriptor(Some(descriptor))
        .with_schema(ids(&[]).schema())
        .build(stream::iter(batches));
    let messages: Vec<_> = messages.try_collect().await.unwrap();
    let answer = client.do_put(stream::iter(messages)).await;
    let mut answer = answer.map_err(call_error)?;
    let result = answer.next().await.unwrap();
    let result = result.map_err(|status| call_error(FlightError::from(status)))?;
    let result = DoPutUpdateResult::decode(&*result.app_metadata).unwrap();
    assert!(answer.next().await.is_none());
    Ok(result.record_count)
}

#[tokio::test]
async fn what_cannot_be_prepared_is_refused_with_what_to_use() {
    let (database, _server, mut client) =
        setup(&format!("{TABLE}; CREATE VIEW v AS SELECT 1 AS a")).await;
    let cases = [
        (
            "INSERT INTO t (id) VALUES (1)",
            Code::Unimplemented,
            "prepare INSERT",
        ),
        (
            "INSERT INTO t (id) VALUES (?) ON CONFLICT DO NOTHING",
            Code::Unimplemented,
            "prepare INSERT",
        ),
        ("DELETE FROM t", Code::Unimplemented, "without preparing"),
        ("SELECT 1", Code::Unimplemented, "without preparing"),
        ("SELECT * FROM t", Code::Unimplemented, "PostgreSQL driver"),
        (
            "UPDATE t SET id = ?",
            Code::Unimplemented,
            "x-pgflight-mode",
        ),
        (
            "INSERT INTO t VALUES (?, ?)",
            Code::InvalidArgument,
            "3 columns and 2 ?",
        ),
        (
            "INSERT INTO t (id, id) VALUES (?, ?)",
            Code::InvalidArgument,
            "twice",
        ),
        (
            "INSERT INTO t (ID, n) VALUES (?, ?)",
            Code::InvalidArgument,
            "column n",
        ),
        (
            "INSERT INTO t (twice) VALUES (?)",
            Code::InvalidArgument,
            "generates",
        ),
        (
            "INSERT INTO missing VALUES (?)",
            Code::NotFound,
            "does not exist",
        ),
        (
            "INSERT INTO nowhere.public.t VALUES (?)",
            Code::NotFound,
            "no target",
        ),
        (
            "INSERT INTO pg_catalog.pg_class VALUES (?)",
            Code::PermissionDenied,
            "",
        ),
    ];
    for (text, code, part) in cases {
        let error = prepare(&mut client, text, None).await.expect_err(text);
        assert_eq!(error.code, code, "{text}: {error:?}");
        assert!(error.message.contains(part), "{text}: {error:?}");
    }
    assert_eq!(database.text("SELECT count(*) FROM t").await, "0");
}

#[tokio::test]
async fn rows_that_do_not_fit_the_statement_change_nothing() {
    let (database, _server, mut client) =
        setup("CREATE TABLE t (id int4 PRIMARY KEY, note text); INSERT INTO t VALUES (7, 'kept')")
            .await;
    let text = "INSERT INTO t (id, note) VALUES (?, ?)";
    let mut prepared = prepare(&mut client, text, None).await.unwrap();
    let error = call_error(prepared.execute_update().await.unwrap_err());
    assert!(error.message.contains("no rows are bound"), "{error:?}");
    let error = call_error(prepared.execute().await.unwrap_err());
    assert!(error.message.contains("no rows are bound"), "{error:?}");
    let cases = [
        (ids(&[1]), "2 parameters"),
        (rows(["a", "b"], &[1, 7], &[None, None]), "23505"),
        (rows(["a", "b"], &[1, 1 << 40], &[None, None]), "column id"),
    ];
    for (rows, part) in cases {
        let error = execute(&mut prepared, rows).await.unwrap_err();
        assert!(error.message.contains(part), "{part}: {error:?}");
        assert_eq!(database.text("SELECT count(*) FROM t").await, "1");
    }
    let texts = batch(&[
        ("id", Arc::new(StringArray::from(vec!["x"])) as ArrayRef),
        ("note", Arc::new(Int32Array::from(vec![1]))),
    ]);
    let error = execute(&mut prepared, texts).await.unwrap_err();
    assert!(error.message.contains("column note"), "{error:?}");
    for command in [
        CommandPreparedStatementQuery {
            prepared_statement_handle: Bytes::from_static(b"s3cret"),
        }
        .as_any(),
        CommandPreparedStatementQuery {
            prepared_statement_handle: Bytes::new(),
        }
        .as_any(),
    ] {
        let descriptor = FlightDescriptor::new_cmd(command.encode_to_vec());
        let error = client.inner_mut().get_flight_info(descriptor).await;
        let error = CallError::from(error.unwrap_err());
        assert_eq!(error.code, Code::InvalidArgument, "{error:?}");
        assert!(!error.message.contains("s3cret"), "{error:?}");
    }
    let error = put(&mut client, &Bytes::from_static(b"s3cret"), &[ids(&[1])]).await;
    assert_eq!(error.unwrap_err().code, Code::InvalidArgument);
    database.execute("DROP TABLE t").await;
    let error = execute(&mut prepared, rows(["a", "b"], &[1], &[None])).await;
    assert_eq!(error.unwrap_err().code, Code::NotFound);
}

#[tokio::test]
async fn a_transaction_has_the_rows_of_its_statements() {
    let (database, _server, mut client) = setup("CREATE TABLE t (id int4)").await;
    for (commit, expected) in [(false, "0"), (true, "3")] {
        let transaction = client.begin_transaction().await.unwrap();
        let id = Some(transaction.clone());
        // The table is one that only the transaction sees.
        let mut command = into("new", CREATE);
        command.transaction_id = id.clone();
        ingest(&mut client, command, &[ids(&[1])]).await.unwrap();
        let mut into_new = prepare(&mut client, "INSERT INTO new VALUES (?)", id.clone())
            .await
            .unwrap();
        let mut into_t = prepare(&mut client, "INSERT INTO t VALUES (?)", id)
            .await
            .unwrap();
        assert_eq!(execute(&mut into_new, ids(&[2, 3])).await.unwrap(), 2);
        assert_eq!(execute(&mut into_t, ids(&[4])).await.unwrap(), 1);
        assert_eq!(execute(&mut into_t, ids(&[5, 6])).await.unwrap(), 2);
        assert_eq!(database.text("SELECT count(*) FROM t").await, "0");
        let end = match commit {
            true => arrow_flight::sql::EndTransaction::Commit,
            false => arrow_flight::sql::EndTransaction::Rollback,
        };
        client.end_transaction(transaction, end).await.unwrap();
        assert_eq!(database.text("SELECT count(*) FROM t").await, expected);
        let new = database
            .text("SELECT coalesce(to_regclass('new')::text, 'none')")
            .await;
        assert_eq!(new, if commit { "new" } else { "none" });
        // The transaction of the statement is over.
        let error = execute(&mut into_t, ids(&[9])).await.unwrap_err();
        assert!(error.message.contains("already"), "{error:?}");
    }
    assert_eq!(database.text("SELECT sum(id) FROM new").await, "6");
}

#[tokio::test]
async fn an_error_of_a_statement_ends_its_transaction() {
    let (database, _server, mut client) = setup("CREATE TABLE t (id int4 PRIMARY KEY)").await;
    let transaction = client.begin_transaction().await.unwrap();
    let id = Some(transaction.clone());
    let mut prepared = prepare(&mut client, "INSERT INTO t VALUES (?)", id.clone())
        .await
        .unwrap();
    execute(&mut prepared, ids(&[1])).await.unwrap();
    // What is no INSERT fails without a look at the transaction: DB-API prepares each statement.
    let refused = prepare(&mut client, "DELETE FROM t", id).await;
    assert_eq!(refused.unwrap_err().code, Code::Unimplemented);
    execute(&mut prepared, ids(&[2])).await.unwrap();
    let error = execute(&mut prepared, ids(&[2])).await.unwrap_err();
    assert!(error.message.contains("23505"), "{error:?}");
    let error = execute(&mut prepared, ids(&[3])).await.unwrap_err();
    assert!(error.message.contains("25P02"), "{error:?}");
    let commit = arrow_flight::sql::EndTransaction::Commit;
    let error = client.end_transaction(transaction, commit).await;
    assert!(call_error(error.unwrap_err()).message.contains("25P02"));
    assert_eq!(database.text("SELECT count(*) FROM t").await, "0");
}

#[tokio::test]
async fn grants_limits_and_headers_are_those_of_an_ingest() {
    let database = Database::new().await;
    let sql = "CREATE TABLE t (id int4 PRIMARY KEY, note text); CREATE TABLE other (id int4)";
    database.execute(sql).await;
    let principal = |name: &str, modes: &str| {
        format!(
            "[principals.{name}]\ntokens = ['{}']\ngrants = [{{ tables = ['public.t'], modes = [{modes}] }}]\n",
            digest_of(name)
        )
    };
    let file = File::new(
        &[
            principal("appender", "'append'"),
            principal("upserter", "'upsert'"),
        ]
        .concat(),
    );
    let server = Pgflight::start_with(&database, &["--config", file.name()]);
    let text = "INSERT INTO t (id, note) VALUES (?, ?)";
    let row = |note| rows(["a", "b"], &[1], &[Some(note)]);
    let mut appender = connect(&server).await;
    appender.set_token("appender".to_owned());
    for hidden in ["other", "missing"] {
        let hidden = format!("INSERT INTO {hidden} VALUES (?)");
        let denied = prepare(&mut appender, &hidden, None).await.unwrap_err();
        assert_eq!(denied.code, Code::PermissionDenied, "{hidden}");
    }
    let mut prepared = prepare(&mut appender, text, None).await.unwrap();
    assert_eq!(execute(&mut prepared, row("one")).await.unwrap(), 1);
    server
        .wait_for_line(&["event=\"write\"", "mode=\"append\"", "outcome=\"done\""])
        .await;
    let mut upserter = connect(&server).await;
    upserter.set_token("upserter".to_owned());
    let mut denied = prepare(&mut upserter, text, None).await.unwrap();
    let denied = execute(&mut denied, row("two")).await.unwrap_err();
    assert_eq!(denied.code, Code::PermissionDenied, "{denied:?}");
    upserter.set_header("x-pgflight-mode", "upsert");
    upserter.set_header("x-pgflight-keys", "id");
    upserter.set_header("x-pgflight-write-id", "load 1");
    upserter.set_header("x-pgflight-rows", "1");
    let mut prepared = prepare(&mut upserter, text, None).await.unwrap();
    for note in ["two", "changed"] {
        assert_eq!(execute(&mut prepared, row("two")).await.unwrap(), 1);
        assert_eq!(database.text("SELECT note FROM t").await, note);
        database.execute("UPDATE t SET note = 'changed'").await;
    }
    let other = execute(&mut prepared, rows(["a", "b"], &[1, 2], &[None, None])).await;
    let other = other.unwrap_err();
    assert!(other.message.contains("announced 1 rows"), "{other:?}");
    upserter.set_header("x-pgflight-rows", "2");
    let mut prepared = prepare(&mut upserter, text, None).await.unwrap();
    let other = execute(&mut prepared, rows(["a", "b"], &[1, 2], &[None, None])).await;
    assert_eq!(other.unwrap_err().code, Code::AlreadyExists);
    assert_eq!(database.text("SELECT count(*) FROM t").await, "1");
}
