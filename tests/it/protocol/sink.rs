//! Batches of streaming queries: the server writes each once, and never mistakes it for a batch of another query.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray};
use pgflight::auth::digest_of;
use serde_json::{Value, json};
use tonic::{Code, Status};

use crate::support::{Client, Database, File, Pgflight, Put, attempt, batch, wait_until};

fn rows(values: &[i32]) -> RecordBatch {
    batch(&[("n", Arc::new(Int32Array::from(values.to_vec())) as ArrayRef)])
}

fn spec(publish: &str) -> Value {
    json!({"table": "t", "append": {"publish": publish}})
}

fn staged() -> Value {
    spec("PUBLISH_STAGED")
}

/// A batch of sink `s`.
fn of(query: &str, batch: u32) -> Value {
    json!({"sinkId": "s", "queryId": query, "batchId": batch.to_string()})
}

fn resuming(query: &str, batch: u32) -> Value {
    json!({"sinkId": "s", "queryId": query, "batchId": batch.to_string(), "resume": true})
}

async fn setup(options: &[&str]) -> (Database, Pgflight, Client) {
    let database = Database::new().await;
    database.execute("CREATE TABLE t (n int)").await;
    let server = Pgflight::start_with(&database, options);
    let client = server.client().await;
    (database, server, client)
}

async fn begin(client: &mut Client, sink: Value) -> Result<Value, Status> {
    let fields = json!({"sink": sink, "spec": staged()});
    client.begin_with(fields, &rows(&[])).await
}

/// The id that the server gave the write.
fn id(begun: &Value) -> String {
    begun["writeId"].as_str().unwrap().to_owned()
}

async fn send(client: &mut Client, write_id: &str, values: &[i32]) -> Value {
    let put = Put::whole(attempt(write_id, 0, "a"), &[rows(values)]);
    client.put(put).await.unwrap()
}

/// Writes a batch as a client does, and returns its id. Sends nothing if the batch was committed before.
async fn write(client: &mut Client, sink: Value, values: &[i32]) -> Result<String, Status> {
    let begun = begin(client, sink).await?;
    let id = id(&begun);
    if begun["state"] == "WRITE_STATE_OPEN" {
        let receipt = send(client, &id, values).await;
        client.commit(&id, &[receipt]).await?;
    } else {
        assert_eq!(begun["state"], "WRITE_STATE_COMMITTED");
        assert_eq!(begun["existed"], true, "{begun}");
    }
    Ok(id)
}

async fn refused(client: &mut Client, sink: Value, parts: &[&str]) {
    let shown = sink.to_string();
    let refused = begin(client, sink).await.expect_err(&shown);
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
    for part in parts {
        assert!(refused.message().contains(part), "{part}: {refused}");
    }
}

async fn found(database: &Database) -> String {
    database.text("SELECT n FROM t ORDER BY n").await
}

const REMEDY: [&str; 3] = ["keep the checkpoint", "another sink id", "resume"];

#[tokio::test]
async fn a_new_checkpoint_is_rejected_until_it_is_adopted() {
    let (database, _server, mut client) = setup(&[]).await;
    for (number, name) in [(0, "s:0"), (1, "s:1")] {
        let values = [i32::try_from(number).unwrap()];
        let id = write(&mut client, of("q1", number), &values).await.unwrap();
        assert_eq!(id, name);
    }
    assert_eq!(write(&mut client, of("q1", 1), &[9]).await.unwrap(), "s:1");
    for number in [0, 1, 2] {
        refused(&mut client, of("q2", number), &REMEDY).await;
    }
    refused(
        &mut client,
        of("q2", 0),
        &["q1", "batch 1 was committed last"],
    )
    .await;
    assert_eq!(found(&database).await, "0,1");

    let adopted = write(&mut client, resuming("q2", 0), &[10]).await.unwrap();
    assert_eq!(adopted, "s:0~1");
    let again = write(&mut client, resuming("q2", 0), &[10]).await.unwrap();
    assert_eq!(again, "s:0~1", "it is adopted once");
    assert_eq!(
        write(&mut client, of("q2", 1), &[11]).await.unwrap(),
        "s:1~1"
    );
    for sink in [of("q1", 2), resuming("q1", 2), resuming("q1", 1)] {
        refused(&mut client, sink, &["q2", "was replaced by"]).await;
    }
    assert_eq!(
        write(&mut client, resuming("q3", 0), &[20]).await.unwrap(),
        "s:0~2"
    );
    assert_eq!(found(&database).await, "0,1,10,11,20");
}

#[tokio::test]
async fn a_batch_whose_write_is_forgotten_stays_committed() {
    let options = ["--reaper-interval", "50ms", "--retention", "100ms"];
    let (database, _server, mut client) = setup(&options).await;
    write(&mut client, of("q", 0), &[1]).await.unwrap();
    let ledger = "SELECT count(*) FROM pgflight.write";
    wait_until(
        async || database.text(ledger).await == "0",
        "it is forgotten",
    )
    .await;
    let begun = begin(&mut client, of("q", 0)).await.unwrap();
    assert_eq!(begun["state"], "WRITE_STATE_COMMITTED");
    assert_eq!(begun["existed"], true);
    let reason = begun["reason"].as_str().unwrap();
    assert!(
        reason.contains("longer ago than the server's --retention"),
        "{reason}"
    );
    refused(&mut client, of("other", 0), &REMEDY).await;
    write(&mut client, of("q", 1), &[2]).await.unwrap();
    assert_eq!(found(&database).await, "1,2");
}

#[tokio::test]
async fn an_aborted_batch_gets_the_next_id_and_does_not_count() {
    let (database, _server, mut client) = setup(&[]).await;
    for expected in ["s:0", "s:0#2"] {
        let begun = begin(&mut client, of("q", 0)).await.unwrap();
        assert_eq!(id(&begun), expected);
        send(&mut client, expected, &[7]).await;
        client.abort(expected).await.unwrap();
        let last = "SELECT last_batch FROM pgflight.sink";
        assert_eq!(database.text(last).await, "null");
    }
    assert_eq!(write(&mut client, of("q", 0), &[7]).await.unwrap(), "s:0#3");
    let again = begin(&mut client, of("q", 0)).await.unwrap();
    assert_eq!(
        (id(&again).as_str(), &again["existed"]),
        ("s:0#3", &json!(true))
    );
    assert_eq!(found(&database).await, "7");
}

#[tokio::test]
async fn batches_that_older_clients_named_are_recognised() {
    let (database, _server, mut client) = setup(&[]).await;
    // A job that failed once, as an older client names it.
    for name in ["s:0", "s:1"] {
        client.begin(name, staged(), &rows(&[])).await.unwrap();
        if name == "s:1" {
            client.abort(name).await.unwrap();
        } else {
            let receipt = send(&mut client, name, &[1]).await;
            client.commit(name, &[receipt]).await.unwrap();
        }
    }
    client.begin("s:1#2", staged(), &rows(&[])).await.unwrap();
    let receipt = send(&mut client, "s:1#2", &[2]).await;
    client.commit("s:1#2", &[receipt]).await.unwrap();

    refused(
        &mut client,
        of("q", 0),
        &["batch 1 was committed last", REMEDY[2]],
    )
    .await;
    assert_eq!(write(&mut client, of("q", 1), &[9]).await.unwrap(), "s:1#2");
    assert_eq!(write(&mut client, of("q", 2), &[3]).await.unwrap(), "s:2");
    assert_eq!(found(&database).await, "1,2,3");
}

#[tokio::test]
async fn ids_of_users_do_not_meet_those_of_batches() {
    let (database, _server, mut client) = setup(&[]).await;
    write(&mut client, of("q1", 0), &[1]).await.unwrap();
    client.begin("s:0~1", staged(), &rows(&[])).await.unwrap();
    let receipt = send(&mut client, "s:0~1", &[2]).await;
    client.commit("s:0~1", &[receipt]).await.unwrap();
    let id = write(&mut client, resuming("q2", 0), &[3]).await.unwrap();
    assert_eq!(id, "s:0~1#2");
    // A sink with a name like that of a later query of another.
    let sink = json!({"sinkId": "s:0~1", "queryId": "q", "batchId": "0"});
    assert_eq!(write(&mut client, sink, &[4]).await.unwrap(), "s:0~1:0");
    assert_eq!(found(&database).await, "1,2,3,4");
}

#[tokio::test]
async fn a_query_that_lost_its_sink_commits_nothing_more() {
    for publish in ["PUBLISH_STAGED", "PUBLISH_TWO_PHASE"] {
        let (database, _server, mut client) = setup(&[]).await;
        let fields = json!({"sink": of("q1", 0), "spec": spec(publish)});
        let begun = client.begin_with(fields, &rows(&[])).await.unwrap();
        let receipt = send(&mut client, &id(&begun), &[1]).await;
        write(&mut client, resuming("q2", 0), &[2]).await.unwrap();
        for _ in 0..2 {
            let late = client.commit("s:0", std::slice::from_ref(&receipt)).await;
            let late = late.expect_err("another query has the sink");
            assert_eq!(late.code(), Code::FailedPrecondition, "{late}");
            assert!(
                late.message()
                    .contains("another query replaced the write's query"),
                "{late}"
            );
        }
        assert_eq!(found(&database).await, "2", "{publish}");
        let prepared = "SELECT count(*) FROM pg_prepared_xacts WHERE database = current_database()";
        assert_eq!(database.text(prepared).await, "0");
    }
}

#[tokio::test]
async fn an_adoption_waits_for_a_commit_and_neither_is_lost() {
    let (database, server, mut client) = setup(&[]).await;
    let overwrite = json!({"table": "t", "overwrite": {}});
    let fields = json!({"sink": of("q1", 0), "spec": overwrite});
    let begun = client.begin_with(fields, &rows(&[])).await.unwrap();
    let receipt = send(&mut client, &id(&begun), &[1]).await;
    database
        .execute("BEGIN; LOCK TABLE t IN ACCESS SHARE MODE")
        .await;
    let mut sender = server.client().await;
    let committing = tokio::spawn(async move { sender.commit("s:0", &[receipt]).await });
    let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND database =
                   (SELECT oid FROM pg_database WHERE datname = current_database())";
    wait_until(
        async || database.text(waiting).await == "1",
        "the commit waits",
    )
    .await;
    let mut adopter = server.client().await;
    let adopting = tokio::spawn(async move { begin(&mut adopter, resuming("q2", 0)).await });
    let queued = "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype IN ('tuple', 'transactionid')";
    wait_until(
        async || database.text(queued).await == "1",
        "the begin waits",
    )
    .await;
    database.execute("COMMIT").await;
    committing.await.unwrap().unwrap();
    assert_eq!(id(&adopting.await.unwrap().unwrap()), "s:0~1");
    assert_eq!(found(&database).await, "1");
}

#[tokio::test]
async fn drivers_of_one_query_write_a_batch_once() {
    let (database, server, _) = setup(&[]).await;
    let drivers = (0..8).map(async |number: i32| {
        let mut client = server.client().await;
        let begun = begin(&mut client, of("q", 0)).await.unwrap();
        let id = id(&begun);
        let put = Put::whole(attempt(&id, 0, &format!("a{number}")), &[rows(&[number])]);
        match client.put(put).await {
            Ok(receipt) => client.commit(&id, &[receipt]).await.unwrap(),
            // Another driver has committed.
            Err(refused) => {
                assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
                client.status(&id).await.unwrap()
            }
        }
    });
    let ended = futures_util::future::join_all(drivers).await;
    for status in &ended {
        assert_eq!(status["writeId"], "s:0");
        assert_eq!(status["state"], "WRITE_STATE_COMMITTED");
    }
    assert_eq!(database.text("SELECT count(*) FROM t").await, "1");
    assert_eq!(
        database.text("SELECT count(*) FROM pgflight.write").await,
        "1"
    );
}

#[tokio::test]
async fn every_way_to_commit_advances_the_sink() {
    let (database, _server, mut client) = setup(&[]).await;
    let specs = [
        staged(),
        spec("PUBLISH_TWO_PHASE"),
        spec("PUBLISH_DIRECT"),
        json!({"table": "t", "overwrite": {"with": "OVERWRITE_WITH_SWAP"}}),
        json!({"table": "t", "create": {"ifExists": "IF_EXISTS_IGNORE"}}),
        json!({"table": "made", "create": {}}),
    ];
    for (number, spec) in (0..).zip(specs) {
        let fields = json!({"sink": of("q", number), "spec": spec});
        let begun = client.begin_with(fields, &rows(&[])).await.unwrap();
        if begun["state"] == "WRITE_STATE_OPEN" {
            let receipt = send(&mut client, &id(&begun), &[1]).await;
            client.commit(&id(&begun), &[receipt]).await.unwrap();
        }
        let last = "SELECT last_batch FROM pgflight.sink";
        assert_eq!(database.text(last).await, number.to_string(), "{spec}");
    }
}

#[tokio::test]
async fn without_a_query_id_numbers_alone_identify_batches() {
    let (database, _server, mut client) = setup(&[]).await;
    for number in [0, 1, 1, 2] {
        write(
            &mut client,
            of("", number),
            &[i32::try_from(number).unwrap()],
        )
        .await
        .unwrap();
    }
    refused(
        &mut client,
        of("", 0),
        &["another checkpoint", REMEDY[0], REMEDY[1]],
    )
    .await;
    write(&mut client, of("q", 2), &[9]).await.unwrap();
    write(&mut client, of("q", 3), &[3]).await.unwrap();
    refused(
        &mut client,
        of("", 4),
        &["belongs to query q", "names no query"],
    )
    .await;
    assert_eq!(found(&database).await, "0,1,2,3");
}

#[tokio::test]
async fn sinks_of_two_principals_do_not_meet() {
    let database = Database::new().await;
    database.execute("CREATE TABLE t (n int)").await;
    let mut text = String::new();
    for name in ["ana", "bob"] {
        let grants = "grants = [{ tables = ['*.*'], modes = ['append'] }]";
        text += &format!(
            "[principals.{name}]\ntokens = ['{}']\n{grants}\n",
            digest_of(name)
        );
    }
    let file = File::new(&text);
    let server = Pgflight::start_with(&database, &["--config", file.name()]);
    let anonymous = server.client().await;
    let (mut ana, mut bob) = (anonymous.bearing("ana"), anonymous.bearing("bob"));
    assert_eq!(write(&mut ana, of("q1", 0), &[1]).await.unwrap(), "s:0");
    assert_eq!(write(&mut bob, of("q2", 0), &[2]).await.unwrap(), "s:0");
    refused(&mut ana, of("q2", 1), &["q1"]).await;
    assert_eq!(found(&database).await, "1,2");
    let ids = "SELECT write_id FROM pgflight.write ORDER BY 1";
    assert_eq!(database.text(ids).await, "ana/s:0,bob/s:0");
}

#[tokio::test]
async fn invalid_sinks_are_rejected() {
    let (_database, _server, mut client) = setup(&[]).await;
    let long = "s".repeat(101);
    let cases = [
        (
            json!({"sink": of("q", 0), "writeId": "w"}),
            "both write_id and sink",
        ),
        (
            json!({"sink": {"queryId": "q"}}),
            "sink_id must have 1 to 100 bytes",
        ),
        (
            json!({"sink": {"sinkId": long, "queryId": "q"}}),
            "sink_id must have 1 to 100 bytes",
        ),
        (json!({"sink": resuming("", 0)}), "no query_id"),
        (
            json!({"sink": {"sinkId": "s", "queryId": "q".repeat(129)}}),
            "query_id must have",
        ),
        (
            json!({"sink": {"sinkId": "s", "batchId": u64::MAX.to_string()}}),
            "batch_id is larger than a bigint",
        ),
        (
            json!({"writeId": "w", "driver": "d".repeat(129)}),
            "driver must have",
        ),
    ];
    for (mut fields, part) in cases {
        fields["spec"] = staged();
        let refused = client.begin_with(fields, &rows(&[])).await.expect_err(part);
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
        assert!(refused.message().contains(part), "{refused}");
    }
}

#[tokio::test]
async fn a_repeated_write_id_says_that_it_is_committed_and_when() {
    let (database, _server, mut client) = setup(&[]).await;
    let begun = client.begin("w", staged(), &rows(&[])).await.unwrap();
    assert_eq!(
        (&begun["existed"], &begun["finishedAt"]),
        (&Value::Null, &Value::Null)
    );
    let begun = client.begin("w", staged(), &rows(&[])).await.unwrap();
    assert_eq!(begun["existed"], true, "a begin whose answer was lost");
    let receipt = send(&mut client, "w", &[1]).await;
    let committed = client.commit("w", &[receipt]).await.unwrap();
    let again = client.begin("w", staged(), &rows(&[])).await.unwrap();
    assert_eq!(again["state"], "WRITE_STATE_COMMITTED");
    assert_eq!(again["existed"], true);
    assert_eq!(again["finishedAt"], committed["finishedAt"]);
    let at = again["finishedAt"].as_str().unwrap();
    assert!(at.contains('T') && at.ends_with('Z'), "{at}");
    let same = format!("SELECT finished_at = '{at}' FROM pgflight.write");
    assert_eq!(database.text(&same).await, "true");

    database.execute("CREATE TABLE u (n int)").await;
    let strings = batch(&[("n", Arc::new(StringArray::from(vec!["1"])) as ArrayRef)]);
    let other_table = json!({"table": "u", "append": {"publish": "PUBLISH_STAGED"}});
    let other_mode = json!({"table": "t", "overwrite": {}});
    let others = [
        (staged(), strings),
        (other_table, rows(&[])),
        (other_mode, rows(&[])),
    ];
    for (spec, rows) in others {
        let refused = client
            .begin("w", spec, &rows)
            .await
            .expect_err("another write");
        assert_eq!(refused.code(), Code::AlreadyExists, "{refused}");
    }
    assert_eq!(found(&database).await, "1");
}

#[tokio::test]
async fn sinks_beyond_their_limit_are_rejected() {
    let (database, _server, mut client) = setup(&[]).await;
    write(&mut client, of("q", 0), &[1]).await.unwrap();
    let sinks = "INSERT INTO pgflight.sink (principal, sink_id, query_id)
                 SELECT '', 's' || n, 'q' FROM generate_series(1, 9999) n";
    database.execute(sinks).await;
    let other = json!({"sinkId": "other", "queryId": "q", "batchId": "0"});
    let status = begin(&mut client, other.clone()).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition, "{status}");
    assert!(status.message().contains("10000 sinks"), "{status}");
    write(&mut client, of("q", 1), &[2]).await.unwrap();
    database
        .execute("DELETE FROM pgflight.sink WHERE sink_id = 's1'")
        .await;
    begin(&mut client, other).await.unwrap();
}
