//! `CommandStatementIngest`: modes, names, rights and refusals.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use arrow_flight::sql::{
    CommandStatementIngest, CommandStatementSubstraitPlan, DoPutUpdateResult, ProstMessageExt,
    TableExistsOption as Exists, TableNotExistOption as Missing,
};
use arrow_flight::utils::batches_to_flight_data;
use arrow_flight::{FlightData, FlightDescriptor};
use futures_util::stream;
use pgflight::auth::digest_of;
use prost::Message;
use tonic::Code;

use super::{APPEND, CREATE, CREATE_APPEND, REPLACE, connect, ids, ingest, into, setup};
use crate::support::{CallError, Client, Database, File, Pgflight, batch};

#[tokio::test]
async fn each_mode_treats_missing_and_existing_tables() {
    let (database, _server, mut client) = setup("CREATE SCHEMA s").await;
    // The ids that the table has after an ingest of 2 and 3, without the table and with 1 in it.
    let cases = [
        (CREATE, Ok("2,3"), Err(Code::AlreadyExists)),
        (APPEND, Err(Code::NotFound), Ok("1,2,3")),
        (REPLACE, Ok("2,3"), Ok("2,3")),
        (CREATE_APPEND, Ok("2,3"), Ok("1,2,3")),
    ];
    for (mode, without, with) in cases {
        let tables = [
            ("DROP TABLE IF EXISTS s.\"T\"", without),
            (
                "DROP TABLE IF EXISTS s.\"T\"; CREATE TABLE s.\"T\" AS SELECT 1 AS id",
                with,
            ),
        ];
        for (before, expected) in tables {
            database.execute(before).await;
            let sent = ingest(&mut client, into("s.T", mode), &[ids(&[2]), ids(&[3])]).await;
            let what = format!("{mode:?} after {before}");
            match expected {
                Ok(rows) => {
                    assert_eq!(sent.unwrap(), 2, "{what}");
                    let stored = "SELECT string_agg(id::text, ',' ORDER BY id) FROM s.\"T\"";
                    assert_eq!(database.text(stored).await, rows, "{what}");
                }
                Err(code) => assert_eq!(sent.unwrap_err().code, code, "{what}"),
            }
        }
    }
}

#[tokio::test]
async fn a_schema_without_batches_makes_the_table() {
    let (database, _server, mut client) = setup("").await;
    let none = stream::iter(batches_to_flight_data(&schema(), vec![]).unwrap());
    let answers = client.do_put(described(none, &into("t", CREATE))).await;
    let answer = answers.unwrap().message().await.unwrap().unwrap();
    let result = DoPutUpdateResult::decode(answer.app_metadata).unwrap();
    assert_eq!(result.record_count, 0);
    let columns =
        "SELECT string_agg(column_name || ' ' || data_type, ',' ORDER BY ordinal_position)
                   FROM information_schema.columns WHERE table_name = 't'";
    assert_eq!(database.text(columns).await, "id integer,name text");
}

fn schema() -> Schema {
    Schema::new(vec![
        Field::new("id", DataType::Int32, true),
        Field::new("name", DataType::Utf8, true),
    ])
}

/// Puts the command into the first message.
fn described(
    messages: impl futures_util::Stream<Item = FlightData> + Send + 'static,
    command: &impl ProstMessageExt,
) -> impl futures_util::Stream<Item = FlightData> + Send + 'static {
    use futures_util::StreamExt;
    let descriptor = FlightDescriptor::new_cmd(command.as_any().encode_to_vec());
    messages
        .enumerate()
        .map(move |(number, message)| FlightData {
            flight_descriptor: (number == 0).then(|| descriptor.clone()),
            ..message
        })
}

#[tokio::test]
async fn a_catalog_is_a_target() {
    let (first, second) = (Database::new().await, Database::new().await);
    let file = File::new(&format!(
        "[server]\ndefault_target = 'first'\n[targets.first]\npostgres = '{}'\n[targets.second]\npostgres = '{}'\n",
        first.url, second.url
    ));
    let server = Pgflight::start_with_file(&file.0, &[]);
    let mut client = connect(&server).await;
    let at = |catalog: Option<&str>| CommandStatementIngest {
        catalog: catalog.map(str::to_owned),
        ..into("t", CREATE_APPEND)
    };
    for (catalog, id) in [(None, 1), (Some("first"), 2), (Some("second"), 3)] {
        ingest(&mut client, at(catalog), &[ids(&[id])])
            .await
            .unwrap();
    }
    let stored = "SELECT string_agg(id::text, ',' ORDER BY id) FROM t";
    assert_eq!(first.text(stored).await, "1,2");
    assert_eq!(second.text(stored).await, "3");
    let unknown = ingest(&mut client, at(Some("third")), &[ids(&[4])]).await;
    let unknown = unknown.unwrap_err();
    assert_eq!(unknown.code, Code::NotFound);
    assert_eq!(unknown.details["hint"], "name one of first, second");
}

#[tokio::test]
async fn what_an_ingest_cannot_do_is_refused_by_name() {
    let (database, _server, mut client) = setup("CREATE TABLE t (id int)").await;
    let ingest_of = |change: &dyn Fn(&mut CommandStatementIngest)| {
        let mut command = into("t", APPEND);
        change(&mut command);
        command
    };
    let mode = |missing: Missing, exists: Exists| into("t", (missing, exists));
    let (refused, invalid) = (Code::Unimplemented, Code::InvalidArgument);
    let cases = [
        (
            ingest_of(&|c| c.temporary = true),
            refused,
            "temporary tables",
        ),
        (
            ingest_of(&|c| c.options = HashMap::from([("speed".to_owned(), "9".to_owned())])),
            refused,
            "option \"speed\"",
        ),
        (
            ingest_of(&|c| c.table_definition_options = None),
            invalid,
            "if_not_exist",
        ),
        (
            mode(Missing::Unspecified, Exists::Append),
            invalid,
            "if_not_exist",
        ),
        (
            mode(Missing::Create, Exists::Unspecified),
            invalid,
            "if_exists",
        ),
        (mode(Missing::Fail, Exists::Fail), invalid, "fails whether"),
        (
            mode(Missing::Fail, Exists::Replace),
            refused,
            "fail without one",
        ),
        (ingest_of(&|c| c.table.clear()), invalid, "is empty"),
    ];
    for (command, code, named) in cases {
        let error = ingest(&mut client, command, &[ids(&[1])])
            .await
            .unwrap_err();
        assert_eq!(error.code, code, "{error:?}");
        assert!(error.message.contains(named), "{named}: {error:?}");
        if code == refused {
            assert!(!error.details["hint"].is_empty(), "{error:?}");
        }
    }
    let other = CommandStatementSubstraitPlan::default();
    let rows = stream::iter(batches_to_flight_data(&schema(), vec![]).unwrap());
    let mut answers = client.do_put(described(rows, &other)).await.unwrap();
    let error = CallError::from(answers.message().await.unwrap_err());
    assert_eq!(error.code, Code::Unimplemented);
    let named = "CommandStatementSubstraitPlan";
    assert!(error.message.contains(named), "{error:?}");
    assert_eq!(database.text("SELECT count(*) FROM t").await, "0");
}

#[tokio::test]
async fn a_rejected_row_is_named_and_leaves_nothing() {
    let (database, _server, mut client) =
        setup("CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE n (id date)").await;
    let twice = ingest(&mut client, into("t", APPEND), &[ids(&[1]), ids(&[1])]).await;
    let twice = twice.unwrap_err();
    assert_eq!(twice.code, Code::InvalidArgument);
    assert_eq!(twice.details["sqlstate"], "23505");
    assert_eq!(twice.details["table"], "public.t");
    let wrong = ingest(&mut client, into("n", APPEND), &[ids(&[1])]).await;
    let wrong = wrong.unwrap_err();
    assert_eq!(wrong.details["column"], "id", "{wrong:?}");
    let counts = "SELECT (SELECT count(*) FROM t) + (SELECT count(*) FROM n)";
    assert_eq!(database.text(counts).await, "0");
}

#[tokio::test]
async fn grants_decide_an_ingest_as_any_write() {
    let database = Database::new().await;
    database
        .execute("CREATE TABLE t (id int); CREATE TABLE hidden (id int)")
        .await;
    let file = File::new(&format!(
        "[principals.clerk]\ntokens = ['{}']\ngrants = [{{ tables = ['public.t'], modes = ['append'] }}]\n",
        digest_of("clerk")
    ));
    let server = Pgflight::start_with(&database, &["--config", file.name()]);
    let mut client = connect(&server).await;
    let anonymous = ingest(&mut client, into("t", APPEND), &[ids(&[1])]).await;
    assert_eq!(anonymous.unwrap_err().code, Code::Unauthenticated);
    client.set_token("clerk".to_owned());
    ingest(&mut client, into("t", APPEND), &[ids(&[1])])
        .await
        .unwrap();
    for (table, mode) in [("t", REPLACE), ("hidden", APPEND), ("missing", APPEND)] {
        let denied = ingest(&mut client, into(table, mode), &[ids(&[2])]).await;
        let denied = denied.unwrap_err();
        assert_eq!(denied.code, Code::PermissionDenied, "{table}: {denied:?}");
    }
    assert_eq!(database.text("SELECT sum(id) FROM t").await, "1");
    for outcome in ["outcome=\"done\"", "outcome=\"PERMISSION_DENIED\""] {
        server
            .wait_for_line(&["event=\"write\"", outcome, "clerk"])
            .await;
    }
}

#[tokio::test]
async fn dictionaries_and_text_go_as_in_the_native_door() {
    let (database, server, mut client) = setup("").await;
    let names: ArrayRef = Arc::new(StringArray::from(vec!["a", "b", "a"]));
    let words = arrow::compute::cast(
        &names,
        &DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)),
    );
    let rows: RecordBatch = batch(&[("name", names), ("word", words.unwrap())]);
    assert_eq!(
        ingest(&mut client, into("t", CREATE), &[rows])
            .await
            .unwrap(),
        3
    );
    let stored = "SELECT string_agg(name || word, ',') FROM t";
    assert_eq!(database.text(stored).await, "aa,bb,aa");
    let client: Client = server.client().await;
    drop(client);
    server.assert_unharmed("an ingest").await;
}
