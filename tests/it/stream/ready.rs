//! `Ready`: a client learns that PostgreSQL takes rows before it sends any.

use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch};
use arrow_flight::{FlightData, FlightDescriptor, PutResult};
use futures_util::stream::{self, StreamExt};
use pgflight::proto::v1;
use prost::{Message, Name};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tonic::{Status, Streaming};

use crate::support::{
    COPIES, CallError, Client, Database, Pgflight, Put, batch, client_process, json as message,
    wait_until,
};

const READY: &str = "type.googleapis.com/pgflight.v1.Ready";

fn rows(count: i64) -> RecordBatch {
    batch(&[("id", Arc::new(Int64Array::from_iter_values(0..count)))])
}

fn write(spec: Value) -> FlightDescriptor {
    let fields = json!({"spec": spec, "announceReady": true});
    FlightDescriptor::new_cmd(message("WriteCommand", fields))
}

fn append() -> FlightDescriptor {
    write(json!({"table": "t", "append": {}}))
}

fn attempt(write_id: &str, attempt_id: &str) -> FlightDescriptor {
    let fields = json!({"writeId": write_id, "attemptId": attempt_id, "announceReady": true});
    FlightDescriptor::new_cmd(message("AttemptCommand", fields))
}

async fn setup(sql: &str, options: &[&str]) -> (Database, Pgflight, Client) {
    let database = Database::new().await;
    database.execute(sql).await;
    let server = Pgflight::start_with(&database, options);
    let client = server.client().await;
    (database, server, client)
}

/// A stream that has sent its schema and sends its rows on a signal.
struct Held {
    answers: Streaming<PutResult>,
    go_on: oneshot::Sender<()>,
}

impl Held {
    async fn open(client: &mut Client, descriptor: FlightDescriptor) -> Self {
        let Put(mut messages) = Put::whole(descriptor, &[rows(3)]);
        let rest: Vec<FlightData> = messages.drain(1..).collect();
        let (go_on, reported) = oneshot::channel();
        let rest = stream::once(reported).flat_map(move |reported| {
            // The stream ends when the test has dropped its sender.
            stream::iter(if reported.is_ok() {
                rest.clone()
            } else {
                Vec::new()
            })
        });
        let answers = client
            .flight
            .do_put(stream::iter(messages).chain(rest))
            .await;
        let answers = answers.unwrap().into_inner();
        Self { answers, go_on }
    }

    async fn answer(&mut self) -> Result<Option<Value>, Status> {
        let answer = self.answers.message().await?;
        Ok(answer.map(|answer| serde_json::from_slice(&answer.app_metadata).unwrap()))
    }

    async fn expect_ready(&mut self) {
        assert_eq!(
            self.answer().await.unwrap().unwrap(),
            json!({"@type": READY})
        );
    }

    /// Sends the rows and returns the receipt, which is the last answer.
    async fn finish(mut self) -> Value {
        self.go_on.send(()).unwrap();
        let receipt = self.answers.message().await.unwrap().unwrap();
        assert!(self.answers.message().await.unwrap().is_none());
        serde_json::from_slice(&receipt.app_metadata).unwrap()
    }
}

#[tokio::test]
async fn a_write_is_ready_before_its_first_row() {
    let (database, _server, mut client) = setup("CREATE TABLE t (id int8)", &[]).await;
    for spec in [
        json!({"table": "t", "append": {}}),
        json!({"table": "t", "overwrite": {"with": "OVERWRITE_WITH_SWAP"}}),
        json!({"table": "made", "create": {}}),
        json!({"table": "made", "create": {"ifExists": "IF_EXISTS_APPEND"}}),
        json!({"table": "keyed", "upsert": {"keys": ["id"], "createIfMissing": {}}}),
    ] {
        let mut held = Held::open(&mut client, write(spec.clone())).await;
        held.expect_ready().await;
        assert_eq!(database.text(COPIES).await, "1", "{spec}");
        assert_eq!(held.finish().await["rowCount"], "3", "{spec}");
    }
    let counts = "SELECT (SELECT count(*) FROM t), (SELECT count(*) FROM made), (SELECT count(*) FROM keyed)";
    assert_eq!(
        database
            .text(&format!("SELECT row(a.*) FROM ({counts}) a"))
            .await,
        "(3,6,3)"
    );
}

#[tokio::test]
async fn an_attempt_is_ready_before_its_first_row() {
    let (database, _server, mut client) = setup("CREATE TABLE t (id int8)", &[]).await;
    for publish in ["PUBLISH_STAGED", "PUBLISH_TWO_PHASE", "PUBLISH_DIRECT"] {
        let spec = json!({"table": "t", "append": {"publish": publish}});
        client.begin(publish, spec, &rows(3)).await.unwrap();
        let mut held = Held::open(&mut client, attempt(publish, "a")).await;
        held.expect_ready().await;
        let receipt = held.finish().await;
        client.commit(publish, &[receipt]).await.unwrap();
    }
    assert_eq!(database.text("SELECT count(*) FROM t").await, "9");
}

#[tokio::test]
async fn a_ready_has_the_form_of_its_command() {
    let (_database, _server, mut client) = setup("CREATE TABLE t (id int8)", &[]).await;
    let command = v1::WriteCommand {
        spec: Some(v1::WriteSpec {
            table: "t".to_owned(),
            mode: Some(v1::write_spec::Mode::Append(v1::Append::default())),
            ..Default::default()
        }),
        announce_ready: true,
    };
    let command = prost_types::Any {
        type_url: format!("type.googleapis.com/{}", v1::WriteCommand::full_name()),
        value: command.encode_to_vec(),
    };
    let descriptor = FlightDescriptor::new_cmd(command.encode_to_vec());
    let mut held = Held::open(&mut client, descriptor).await;
    let ready = held.answers.message().await.unwrap().unwrap();
    let ready = prost_types::Any::decode(ready.app_metadata).unwrap();
    assert_eq!((ready.type_url.as_str(), ready.value.len()), (READY, 0));
}

#[tokio::test]
async fn a_stream_that_does_not_ask_has_one_answer() {
    let (_database, _server, mut client) = setup("CREATE TABLE t (id int8)", &[]).await;
    let fields = json!({"spec": {"table": "t", "append": {}}});
    let descriptor = FlightDescriptor::new_cmd(message("WriteCommand", fields));
    let held = Held::open(&mut client, descriptor).await;
    assert_eq!(held.finish().await["rowCount"], "3");
}

#[tokio::test]
async fn a_recorded_attempt_gets_a_receipt_and_no_ready() {
    let (_database, _server, mut client) = setup("CREATE TABLE t (id int8)", &[]).await;
    let spec = json!({"table": "t", "append": {}});
    client.begin("w", spec, &rows(3)).await.unwrap();
    let mut first = Held::open(&mut client, attempt("w", "a")).await;
    first.expect_ready().await;
    let receipt = first.finish().await;
    // The client sends no rows and still gets an answer.
    let mut again = Held::open(&mut client, attempt("w", "a")).await;
    assert_eq!(again.answer().await.unwrap().unwrap(), receipt);
    assert_eq!(again.answer().await.unwrap(), None);
    client.commit("w", &[receipt]).await.unwrap();
}

#[tokio::test]
async fn a_skipped_table_gets_a_receipt_and_no_ready() {
    let (_database, _server, mut client) = setup("CREATE TABLE t (id int8)", &[]).await;
    let spec = json!({"table": "t", "create": {"ifExists": "IF_EXISTS_IGNORE"}});
    let mut held = Held::open(&mut client, write(spec)).await;
    assert_eq!(held.answer().await.unwrap().unwrap()["skipped"], true);
    assert_eq!(held.answer().await.unwrap(), None);
}

#[tokio::test]
async fn a_rejected_stream_gets_its_error_and_no_ready() {
    let (_database, _server, mut client) = setup("CREATE TABLE t (other int8)", &[]).await;
    let mut held = Held::open(&mut client, append()).await;
    let reported = CallError::from(held.answer().await.expect_err("there is no column id"));
    assert_eq!(reported.reason, "SCHEMA_MISMATCH");
}

#[tokio::test]
async fn a_stream_that_waits_for_its_turn_is_not_ready() {
    let sql = "CREATE TABLE t (id int8)";
    let (database, _server, mut client) = setup(sql, &["--max-copies", "1"]).await;
    let mut first = Held::open(&mut client, append()).await;
    first.expect_ready().await;
    let mut second = Held::open(&mut client, append()).await;
    let early = tokio::time::timeout(std::time::Duration::from_millis(300), second.answer()).await;
    assert!(early.is_err(), "{early:?}");
    first.finish().await;
    second.expect_ready().await;
    second.finish().await;
    assert_eq!(database.text("SELECT count(*) FROM t").await, "6");
}

#[tokio::test]
async fn a_client_that_leaves_after_ready_ends_the_copy() {
    let (database, server, _client) = setup("CREATE TABLE t (id int8)", &[]).await;
    let process = client_process();
    let address = server.address.clone();
    let opened = process.spawn(async move {
        let mut held = Held::open(&mut Client::connect(&address).await, append()).await;
        held.expect_ready().await;
        held
    });
    let held = opened.await.unwrap();
    assert_eq!(database.text(COPIES).await, "1");
    process.shutdown_background();
    let ended = async || database.text(COPIES).await == "0";
    wait_until(ended, "the COPY has ended").await;
    drop(held);
    assert_eq!(database.text("SELECT count(*) FROM t").await, "0");
}

/// A trigger that blocks the COMMIT for longer than the stream timeout.
const SLOW_COMMIT: &str = "CREATE TABLE t (id int8); CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS \
    'BEGIN PERFORM pg_sleep(5); RETURN NULL; END'; CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON t \
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.id = 0) EXECUTE FUNCTION slow()";

#[tokio::test]
async fn a_write_ended_during_commit_has_an_unknown_outcome() {
    let options = ["--stream-timeout", "2s"];
    let (_database, _server, mut client) = setup(SLOW_COMMIT, &options).await;
    let mut held = Held::open(&mut client, append()).await;
    held.expect_ready().await;
    held.go_on.send(()).unwrap();
    let reported = CallError::from(held.answers.message().await.expect_err("it takes too long"));
    assert_eq!(reported.reason, "INTERNAL", "{}", reported.message);
    assert_eq!(reported.details["retryable"], "false");
    assert!(
        reported.message.contains("not known"),
        "{}",
        reported.message
    );
}

#[tokio::test]
async fn a_write_ended_before_commit_is_rolled_back() {
    let options = ["--stream-timeout", "2s"];
    let (database, _server, mut client) = setup("CREATE TABLE t (id int8)", &options).await;
    let mut held = Held::open(&mut client, append()).await;
    held.expect_ready().await;
    let reported = CallError::from(held.answer().await.expect_err("it takes too long"));
    assert_eq!(reported.reason, "TIMEOUT", "{}", reported.message);
    assert!(
        reported.message.contains("was rolled back"),
        "{}",
        reported.message
    );
    assert_eq!(database.text("SELECT count(*) FROM t").await, "0");
}
