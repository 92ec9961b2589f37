//! Writes of many partitions: exactly the accepted attempts, once, or nothing at all.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int32Array, Int64Array, RecordBatch};
use pgflight::proto::v1;
use prost::Message;
use serde_json::{Value, json};
use tonic::Code;

use crate::support::{Client, Database, Pgflight, Put, attempt, batch, wait_until};

async fn setup() -> (Database, Pgflight, Client) {
    let database = Database::new().await;
    database.execute("CREATE TABLE t (n int NOT NULL)").await;
    let server = Pgflight::start(&database);
    let client = server.client().await;
    (database, server, client)
}

fn rows(values: &[i32]) -> RecordBatch {
    batch(&[("n", Arc::new(Int32Array::from(values.to_vec())) as ArrayRef)])
}

fn append() -> Value {
    json!({"table": "t", "append": {"publish": "PUBLISH_STAGED"}})
}

async fn send(
    client: &mut Client,
    id: (&str, u32, &str),
    values: &[i32],
) -> Result<Value, tonic::Status> {
    client
        .put(Put::whole(attempt(id.0, id.1, id.2), &[rows(values)]))
        .await
}

async fn found(database: &Database) -> String {
    database.text("SELECT n FROM t ORDER BY n").await
}

async fn left_behind(database: &Database) -> String {
    database
        .text("SELECT relname FROM pg_class WHERE relname LIKE 'staging%'")
        .await
}

#[tokio::test]
async fn a_commit_whose_client_disconnected_can_be_called_again() {
    let (database, server, mut client) = setup().await;
    database
        .execute(
            "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
                 'BEGIN PERFORM pg_sleep(600); RETURN NEW; END';
             CREATE TRIGGER slow BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION slow()",
        )
        .await;
    client.begin("w", append(), &rows(&[])).await.unwrap();
    let receipt = send(&mut client, ("w", 0, "a"), &[1]).await.unwrap();
    let asleep = "SELECT count(*) FROM pg_stat_activity
                  WHERE datname = current_database() AND wait_event = 'PgSleep'";
    let commit = {
        let mut leaving = server.client().await;
        let receipts = [receipt.clone()];
        tokio::spawn(async move { leaving.commit("w", &receipts).await })
    };
    wait_until(async || database.text(asleep).await == "1", "it publishes").await;
    commit.abort();
    wait_until(async || database.text(asleep).await == "0", "it is ended").await;
    database.execute("DROP TRIGGER slow ON t").await;
    client.commit("w", &[receipt]).await.unwrap();
    assert_eq!(found(&database).await, "1");
}

#[tokio::test]
async fn only_the_attempts_that_the_commit_names_are_published() {
    let (database, _server, mut client) = setup().await;
    client.begin("w", append(), &rows(&[])).await.unwrap();
    let first = send(&mut client, ("w", 0, "p0-a0"), &[1, 2]).await.unwrap();
    let truncated = send(&mut client, ("w", 1, "p1-a0"), &[3]).await.unwrap();
    let whole = send(&mut client, ("w", 1, "p1-a1"), &[3, 4]).await.unwrap();
    let status = client.status("w").await.unwrap();
    assert_eq!(
        (&status["state"], &status["rowCount"]),
        (&"WRITE_STATE_OPEN".into(), &"5".into())
    );
    assert_eq!(
        found(&database).await,
        "",
        "nothing is visible before the commit"
    );

    let both = client
        .commit("w", &[first.clone(), truncated, whole.clone()])
        .await
        .expect_err("two of a partition");
    assert_eq!(both.code(), Code::FailedPrecondition);
    assert!(
        both.message()
            .contains("partition 1 is given more than one receipt"),
        "{both}"
    );
    let mut forged = whole.clone();
    forged["rowCount"] = "9".into();
    let wrong = client
        .commit("w", &[first.clone(), forged])
        .await
        .expect_err("other rows than recorded");
    assert!(wrong.message().contains("stays open"), "{wrong}");

    let committed = client
        .commit("w", &[first.clone(), whole.clone()])
        .await
        .unwrap();
    assert_eq!(
        (&committed["state"], &committed["rowCount"]),
        (&"WRITE_STATE_COMMITTED".into(), &"4".into())
    );
    assert_eq!(found(&database).await, "1,2,3,4");
    let again = client.commit("w", &[first, whole]).await.unwrap();
    assert_eq!(
        again, committed,
        "a commit whose answer was lost can be asked again"
    );
    assert_eq!(found(&database).await, "1,2,3,4");
    assert_eq!(left_behind(&database).await, "");
}

#[tokio::test]
async fn every_call_can_come_twice() {
    let (database, _server, mut client) = setup().await;
    let mut begun = client.begin("w", append(), &rows(&[])).await.unwrap();
    begun["existed"] = true.into();
    assert_eq!(
        client.begin("w", append(), &rows(&[])).await.unwrap(),
        begun
    );
    let receipt = send(&mut client, ("w", 0, "a"), &[1]).await.unwrap();
    assert_eq!(
        send(&mut client, ("w", 0, "a"), &[1]).await.unwrap(),
        receipt,
        "the same attempt, the same receipt"
    );
    let other = send(&mut client, ("w", 1, "a"), &[1])
        .await
        .expect_err("an attempt id for another partition");
    assert_eq!(other.code(), Code::AlreadyExists);
    client
        .commit("w", std::slice::from_ref(&receipt))
        .await
        .unwrap();
    let begun = client.begin("w", append(), &rows(&[])).await.unwrap();
    assert_eq!(
        begun["state"], "WRITE_STATE_COMMITTED",
        "a job that is run again learns that it is done"
    );
    assert_eq!(
        send(&mut client, ("w", 0, "a"), &[1]).await.unwrap(),
        receipt
    );
    assert_eq!(found(&database).await, "1");
    let other = json!({"table": "t", "overwrite": {}});
    let refused = client
        .begin("w", other, &rows(&[]))
        .await
        .expect_err("the id with another spec");
    assert_eq!(refused.code(), Code::AlreadyExists);
    let others = batch(&[("n", Arc::new(Int64Array::from(vec![1])) as ArrayRef)]);
    let refused = client
        .begin("w", append(), &others)
        .await
        .expect_err("the id with other columns");
    assert!(
        refused.message().contains("data with other columns"),
        "{refused}"
    );
}

#[tokio::test]
async fn a_column_that_was_altered_in_between_is_not_cast_into() {
    let (database, _server, mut client) = setup().await;
    database.execute("ALTER TABLE t ALTER n TYPE float8").await;
    let halves = batch(&[("n", Arc::new(Float64Array::from(vec![1.5])) as ArrayRef)]);
    client.begin("w", append(), &halves).await.unwrap();
    let receipt = client
        .put(Put::whole(attempt("w", 0, "a"), &[halves]))
        .await
        .unwrap();
    database.execute("ALTER TABLE t ALTER n TYPE int").await;
    let status = client.commit("w", &[receipt]).await.expect_err("rounding");
    assert_eq!(status.code(), Code::FailedPrecondition, "{status}");
    assert!(
        status.message().contains(
            "was changed or dropped since the write was begun [table public.t, column n,"
        ),
        "{status}"
    );
    assert_eq!(found(&database).await, "");
}

#[tokio::test]
async fn errors_of_attempts_name_the_target_and_the_partition() {
    let (_database, _server, mut client) = setup().await;
    client.begin("w", append(), &rows(&[])).await.unwrap();
    let other = batch(&[("m", Arc::new(Int32Array::from(vec![1])) as ArrayRef)]);
    let put = Put::whole(attempt("w", 7, "a"), &[other]);
    let status = client.put(put).await.expect_err("another column");
    assert!(
        status.message().contains("public.t") && status.message().contains("partition 7"),
        "{status}"
    );
    assert!(!status.message().contains("staging"), "{status}");
}

#[tokio::test]
async fn an_abort_ends_a_write_for_good_unless_it_is_committed() {
    let (database, _server, mut client) = setup().await;
    client.begin("w", append(), &rows(&[])).await.unwrap();
    let receipt = send(&mut client, ("w", 0, "a"), &[1]).await.unwrap();
    assert_eq!(
        client.abort("w").await.unwrap()["state"],
        "WRITE_STATE_ABORTED"
    );
    assert_eq!(left_behind(&database).await, "");
    for (what, refused) in [
        ("a commit", client.commit("w", &[receipt]).await),
        (
            "a late attempt",
            send(&mut client, ("w", 1, "b"), &[2]).await,
        ),
        ("a begin", client.begin("w", append(), &rows(&[])).await),
    ] {
        let status = refused.expect_err(what);
        assert_eq!(status.code(), Code::FailedPrecondition, "{what}: {status}");
        assert!(
            status.message().contains("aborted") && status.message().contains("tested"),
            "{what}: {status}"
        );
    }

    client.abort("early").await.unwrap();
    let late = client
        .begin("early", append(), &rows(&[]))
        .await
        .expect_err("an abort leaves a tombstone");
    assert_eq!(late.code(), Code::FailedPrecondition);

    client.begin("done", append(), &rows(&[])).await.unwrap();
    let receipt = send(&mut client, ("done", 0, "a"), &[7]).await.unwrap();
    client.commit("done", &[receipt]).await.unwrap();
    assert_eq!(
        client.abort("done").await.unwrap()["state"],
        "WRITE_STATE_COMMITTED",
        "too late, and it says so"
    );
    assert_eq!(found(&database).await, "7");
}

#[tokio::test]
async fn an_unknown_write_is_not_found() {
    let (_database, _server, mut client) = setup().await;
    for (what, refused) in [
        ("status", client.status("w").await),
        ("attempt", send(&mut client, ("w", 0, "a"), &[1]).await),
    ] {
        assert_eq!(refused.expect_err(what).code(), Code::NotFound, "{what}");
    }
}

#[tokio::test]
async fn begin_rejects_what_the_rows_would_fail_on() {
    let (database, _server, mut client) = setup().await;
    let wrong = batch(&[("m", Arc::new(Int32Array::from(vec![1])) as ArrayRef)]);
    let cases = [
        (
            append(),
            &wrong,
            Code::InvalidArgument,
            "no column of that name in the table [table public.t, column m",
        ),
        (
            json!({"table": "nowhere", "append": {}}),
            &rows(&[]),
            Code::NotFound,
            "does not exist",
        ),
        (
            json!({"table": "t", "create": {}}),
            &rows(&[]),
            Code::AlreadyExists,
            "the table already exists [table public.t",
        ),
        (
            json!({"table": "new", "create": {}, "columnTypes": {"n": "nonsense"}}),
            &rows(&[]),
            Code::InvalidArgument,
            "nonsense",
        ),
    ];
    for (number, (spec, schema, code, part)) in cases.into_iter().enumerate() {
        let status = client
            .begin(&format!("w{number}"), spec, schema)
            .await
            .expect_err(part);
        assert_eq!(status.code(), code, "{part}: {status}");
        assert!(status.message().contains(part), "{part}: {status}");
    }
    assert_eq!(left_behind(&database).await, "");
}

#[tokio::test]
async fn all_modes_publish_in_one_transaction() {
    let (database, _server, mut client) = setup().await;
    let cases = [
        (append(), "t", "1,2,7"),
        (json!({"table": "t", "overwrite": {}}), "t", "1,2"),
        (
            json!({"table": "t", "overwrite": {"with": "OVERWRITE_WITH_DELETE"}}),
            "t",
            "1,2",
        ),
        (json!({"table": "new", "create": {}}), "new", "1,2"),
        (json!({"table": "new", "overwrite": {}}), "new", "1,2"),
        (
            json!({"table": "new", "append": {"createIfMissing": {}}}),
            "new",
            "1,2",
        ),
    ];
    for (number, (spec, table, expected)) in cases.into_iter().enumerate() {
        database
            .execute("TRUNCATE t; INSERT INTO t VALUES (7); DROP TABLE IF EXISTS new")
            .await;
        let id = format!("w{number}");
        client.begin(&id, spec.clone(), &rows(&[])).await.unwrap();
        let one = send(&mut client, (&id, 0, "a"), &[1]).await.unwrap();
        let two = send(&mut client, (&id, 1, "b"), &[2]).await.unwrap();
        let none = send(&mut client, (&id, 2, "c"), &[]).await.unwrap();
        client
            .commit(&id, &[one, two, none])
            .await
            .unwrap_or_else(|status| panic!("{spec}: {status}"));
        assert_eq!(
            database
                .text(&format!("SELECT n FROM {table} ORDER BY n"))
                .await,
            expected,
            "{spec}"
        );
    }
    let spec = json!({"table": "t", "create": {"ifExists": "IF_EXISTS_IGNORE"}});
    let begun = client.begin("ignored", spec, &rows(&[])).await.unwrap();
    assert_eq!(
        begun["state"], "WRITE_STATE_COMMITTED",
        "nothing is left to do"
    );
    assert_eq!(left_behind(&database).await, "");
}

#[tokio::test]
async fn two_servers_on_one_database_serve_one_write_between_them() {
    let (database, _server, mut one) = setup().await;
    let second = Pgflight::start(&database);
    let mut two = second.client().await;
    let (schema_a, schema_b) = (rows(&[]), rows(&[]));
    let (a, b) = tokio::join!(
        one.begin("w", append(), &schema_a),
        two.begin("w", append(), &schema_b)
    );
    let (mut a, mut b) = (a.unwrap(), b.unwrap());
    assert_ne!(a["existed"], b["existed"], "one of them made it");
    a["existed"] = true.into();
    b["existed"] = true.into();
    assert_eq!(a, b, "both begins give the one write");
    let (first, second) = tokio::join!(
        send(&mut one, ("w", 0, "a"), &[1]),
        send(&mut two, ("w", 1, "b"), &[2])
    );
    let receipts = [first.unwrap(), second.unwrap()];
    let (a, b) = tokio::join!(one.commit("w", &receipts), two.commit("w", &receipts));
    assert_eq!(a.unwrap(), b.unwrap(), "both commits give the one result");
    assert_eq!(found(&database).await, "1,2");
}

#[tokio::test]
async fn rows_that_were_staged_and_are_gone_abort_the_write() {
    let (database, _server, mut client) = setup().await;
    client.begin("w", append(), &rows(&[])).await.unwrap();
    let receipt = send(&mut client, ("w", 0, "a"), &[1, 2]).await.unwrap();
    // A crash of PostgreSQL empties an unlogged table like this TRUNCATE.
    let staging = database
        .text("SELECT 'pgflight.' || staging_name FROM pgflight.write")
        .await;
    database.execute(&format!("TRUNCATE {staging}")).await;
    let lost = client
        .commit("w", std::slice::from_ref(&receipt))
        .await
        .expect_err("rows are missing");
    assert!(lost.message().contains("staging_lost: 0 of 2"), "{lost}");
    assert_eq!(
        client.status("w").await.unwrap()["state"],
        "WRITE_STATE_ABORTED"
    );
    assert_eq!(found(&database).await, "");
}

#[tokio::test]
async fn a_commit_into_a_replaced_target_is_rejected() {
    let (database, _server, mut client) = setup().await;
    client.begin("w", append(), &rows(&[])).await.unwrap();
    let receipt = send(&mut client, ("w", 0, "a"), &[1]).await.unwrap();
    database
        .execute("DROP TABLE t; CREATE TABLE t (n int)")
        .await;
    let status = client
        .commit("w", &[receipt])
        .await
        .expect_err("another table");
    assert_eq!(status.code(), Code::FailedPrecondition, "{status}");
    assert!(
        status.message().contains("dropped and made again"),
        "{status}"
    );
    assert_eq!(
        client.status("w").await.unwrap()["state"],
        "WRITE_STATE_OPEN"
    );
    assert_eq!(found(&database).await, "");
}

#[tokio::test]
async fn a_rejected_row_of_an_attempt_is_named_by_number() {
    let (_database, _server, mut client) = setup().await;
    client.begin("w", append(), &rows(&[])).await.unwrap();
    let nulls = batch(&[(
        "n",
        Arc::new(Int32Array::from(vec![Some(1), None])) as ArrayRef,
    )]);
    let status = client
        .put(Put::whole(attempt("w", 0, "a"), &[nulls]))
        .await
        .expect_err("NULL into NOT NULL");
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains("column n, row 1"), "{status}");
    assert!(
        status.message().contains("public.t"),
        "names the target, not the staging table: {status}"
    );
}

#[tokio::test]
async fn a_reason_is_cut_and_ids_never_begun_are_limited() {
    let (database, _server, mut client) = setup().await;
    let reason = format!("{}é\0", "x".repeat(1023));
    let aborting = json!({"writeId": "w", "reason": reason});
    client.act("abort", "AbortRequest", aborting).await.unwrap();
    assert_eq!(client.status("w").await.unwrap()["reason"], reason[..1023]);
    let tombstones = "
        INSERT INTO pgflight.write (write_id, spec, target_schema, target_name, publish, state, finished_at)
        SELECT 'w' || n, '', '', '', 'nothing', 'aborted', now() FROM generate_series(1, 9998) n";
    database.execute(tombstones).await;
    client.abort("one more").await.unwrap();
    let status = client.abort("too many").await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    assert!(status.message().contains("10000 aborted ids"), "{status}");
    assert!(client.status("too many").await.is_err());
    // Aborted ids and open writes can still be aborted.
    client.abort("one more").await.unwrap();
    client.begin("open", append(), &rows(&[])).await.unwrap();
    let aborted = client.abort("open").await.unwrap();
    assert_eq!(aborted["state"], "WRITE_STATE_ABORTED");
}

#[tokio::test]
async fn a_commit_takes_a_hundred_thousand_receipts() {
    const COUNT: u32 = 100_000;
    let (database, server, mut client) = setup().await;
    let before = server.memory("VmHWM");
    let id = |n: u32| format!("0f8fad5b-d9cb-469f-a165-{n:012}");
    let type_url = |name: &str| format!("type.googleapis.com/pgflight.v1.{name}");
    for form in ["json", "protobuf"] {
        client.begin(form, append(), &rows(&[])).await.unwrap();
        let recorded = format!(
            "INSERT INTO pgflight.attempt (write_id, attempt_id, partition_id, row_count, byte_count, xact_id)
             SELECT '{form}', '0f8fad5b-d9cb-469f-a165-' || lpad(n::text, 12, '0'), n, 0, 21, '3'
             FROM generate_series(0, {COUNT} - 1) n"
        );
        database.execute(&recorded).await;
        let receipts = (0..COUNT).map(|n| v1::Receipt {
            write_id: form.to_owned(),
            partition_id: n,
            attempt_id: id(n),
            byte_count: 21,
            table: "public.t".to_owned(),
            ..Default::default()
        });
        let request = v1::CommitRequest {
            write_id: form.to_owned(),
            receipts: receipts.collect(),
            ..Default::default()
        };
        let body = match form {
            "json" => {
                let mut fields = serde_json::to_value(&request).unwrap();
                fields["@type"] = type_url("CommitRequest").into();
                for receipt in fields["receipts"].as_array_mut().unwrap() {
                    receipt["@type"] = type_url("Receipt").into();
                }
                serde_json::to_vec(&fields).unwrap()
            }
            _ => {
                let value = request.encode_to_vec();
                let type_url = type_url("CommitRequest");
                prost_types::Any { type_url, value }.encode_to_vec()
            }
        };
        let size = body.len();
        client.act_bytes("commit", body.into()).await.unwrap();
        let status = client.status(form).await.unwrap();
        assert_eq!(status["state"], "WRITE_STATE_COMMITTED", "{form}");
        assert_eq!(status["attemptCount"], COUNT, "{form}");
        let peak = server.memory("VmHWM") - before;
        eprintln!("{form}: {size} bytes, {} MiB at most", peak >> 20);
        assert!(peak < 320 << 20, "{form}: {} MiB", peak >> 20);
    }
}
