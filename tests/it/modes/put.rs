//! Writes of one stream: tables, columns, and all rows or none.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Int32Array, Int64Array, RecordBatch, RecordBatchOptions, StringArray,
};
use arrow::datatypes::Schema;
use arrow_flight::FlightDescriptor;
use futures_util::{StreamExt, stream};
use pgflight::proto::v1;
use prost::{Message, Name};
use serde_json::{Value, json};
use tonic::Code;

use crate::support::{
    COPIES, Client, Database, Pgflight, Put, attempt, batch, client_process, end_record, path,
    wait_until, write,
};

async fn setup(sql: &str) -> (Database, Pgflight, Client) {
    let database = Database::new().await;
    database.execute(sql).await;
    let server = Pgflight::start(&database);
    let client = server.client().await;
    (database, server, client)
}

fn ints(values: &[i32]) -> ArrayRef {
    Arc::new(Int32Array::from(values.to_vec()))
}

fn texts(values: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

const TRIPS: &str = "CREATE TABLE trips (id int PRIMARY KEY, name text DEFAULT 'unknown', at date DEFAULT '2013-01-01')";

#[tokio::test]
async fn columns_match_by_name_and_defaults_fill_the_rest() {
    let (database, _server, mut client) = setup(TRIPS).await;
    let rows = batch(&[("name", texts(&["a", "b"])), ("id", ints(&[1, 2]))]);
    let receipt = client
        .put(Put::bare(path(&["public", "trips"]), &[rows]))
        .await
        .unwrap();
    assert_eq!(receipt["rowCount"], "2");
    assert_eq!(receipt["table"], "public.trips");
    assert_eq!(
        database
            .text("SELECT (id, name, at) FROM trips ORDER BY id")
            .await,
        "(1,a,2013-01-01),(2,b,2013-01-01)"
    );

    let rows = batch(&[("id", ints(&[3]))]);
    client
        .put(Put::bare(path(&["trips"]), &[rows]))
        .await
        .unwrap();
    assert_eq!(
        database.text("SELECT name FROM trips WHERE id = 3").await,
        "unknown"
    );
}

#[tokio::test]
async fn names_keep_their_case_and_may_hold_anything() {
    let (database, _server, mut client) = setup(r#"CREATE SCHEMA "My.Schema"; CREATE TABLE "My.Schema"."T; drop" ("select ""x""" int, "Été" int)"#).await;
    let rows = || batch(&[("Été", ints(&[2])), ("select \"x\"", ints(&[1]))]);
    client
        .put(Put::bare(path(&["My.Schema", "T; drop"]), &[rows()]))
        .await
        .unwrap();
    let spec = json!({"table": "\"My.Schema\".\"T; drop\"", "append": {}});
    client
        .put(Put::whole(write(spec), &[rows()]))
        .await
        .unwrap();
    let counted = database
        .text(r#"SELECT sum("select ""x""") || ':' || sum("Été") FROM "My.Schema"."T; drop""#)
        .await;
    assert_eq!(counted, "2:4");
}

#[tokio::test]
async fn every_mode_has_exactly_its_effect() {
    let (database, _server, mut client) =
        setup("CREATE TABLE old (id int); INSERT INTO old VALUES (7), (8)").await;
    database.execute("CREATE VIEW v AS SELECT * FROM old").await;
    let rows = batch(&[("id", ints(&[1, 2]))]);
    let cases: [(Value, &str, Result<&str, Code>); 12] = [
        (json!({"append": {}}), "old", Ok("1,2,7,8")),
        (json!({"append": {}}), "new", Err(Code::NotFound)),
        (json!({"append": {"createIfMissing": {}}}), "new", Ok("1,2")),
        (json!({"create": {}}), "old", Err(Code::AlreadyExists)),
        (json!({"create": {}}), "new", Ok("1,2")),
        (
            json!({"create": {"ifExists": "IF_EXISTS_APPEND"}}),
            "old",
            Ok("1,2,7,8"),
        ),
        (
            json!({"create": {"ifExists": "IF_EXISTS_IGNORE"}}),
            "old",
            Ok("7,8"),
        ),
        (json!({"overwrite": {}}), "old", Ok("1,2")),
        (json!({"overwrite": {}}), "new", Ok("1,2")),
        (
            json!({"overwrite": {"with": "OVERWRITE_WITH_DELETE"}}),
            "old",
            Ok("1,2"),
        ),
        (
            json!({"overwrite": {"with": "OVERWRITE_WITH_SWAP"}}),
            "new",
            Ok("1,2"),
        ),
        (json!({}), "old", Err(Code::InvalidArgument)),
    ];
    for (mut spec, table, expected) in cases {
        database
            .execute("TRUNCATE old; INSERT INTO old VALUES (7), (8); DROP TABLE IF EXISTS new")
            .await;
        spec["table"] = table.into();
        let outcome = client
            .put(Put::whole(write(spec.clone()), std::slice::from_ref(&rows)))
            .await;
        match expected {
            Ok(ids) => {
                let receipt = outcome.unwrap_or_else(|status| panic!("{spec}: {status}"));
                let skipped = spec["create"]["ifExists"] == "IF_EXISTS_IGNORE";
                assert_eq!(
                    receipt["rowCount"],
                    if skipped { Value::Null } else { "2".into() },
                    "{spec}"
                );
                assert_eq!(
                    receipt["skipped"],
                    if skipped { true.into() } else { Value::Null },
                    "{spec}"
                );
                let found = database
                    .text(&format!("SELECT id FROM {table} ORDER BY id"))
                    .await;
                assert_eq!(found, ids, "{spec}");
            }
            Err(code) => {
                assert_eq!(outcome.expect_err("refused").code(), code, "{spec}");
                assert_eq!(
                    database.text("SELECT id FROM old ORDER BY id").await,
                    "7,8",
                    "{spec}"
                );
            }
        }
    }
    assert_eq!(
        database.text("SELECT count(*) FROM v").await,
        "2",
        "views outlive an overwrite"
    );
}

#[tokio::test]
async fn create_takes_types_from_the_schema_and_the_request() {
    let (database, _server, mut client) = setup("").await;
    let rows = batch(&[("id", ints(&[1])), ("Code", texts(&["ab"]))]);
    let spec = json!({"table": "made", "create": {}, "columnTypes": {"Code": "varchar(3)"}});
    client.put(Put::whole(write(spec), &[rows])).await.unwrap();
    let columns = "SELECT attname || ' ' || format_type(atttypid, atttypmod) FROM pg_attribute
                   WHERE attrelid = 'made'::regclass AND attnum > 0 ORDER BY attnum";
    assert_eq!(
        database.text(columns).await,
        "id integer,Code character varying(3)"
    );
}

#[tokio::test]
async fn protobuf_and_json_say_the_same() {
    let (database, _server, mut client) = setup(TRIPS).await;
    let any = |message: &dyn Fn() -> (String, Vec<u8>)| {
        let (name, value) = message();
        prost_types::Any {
            type_url: format!("type.googleapis.com/{name}"),
            value,
        }
        .encode_to_vec()
    };
    let spec = v1::WriteSpec {
        table: "trips".into(),
        mode: Some(v1::write_spec::Mode::Append(v1::Append::default())),
        ..Default::default()
    };
    let command = any(&|| {
        (
            v1::WriteCommand::full_name(),
            v1::WriteCommand {
                spec: Some(spec.clone()),
                announce_ready: false,
            }
            .encode_to_vec(),
        )
    });
    let end = any(&|| {
        (
            v1::EndRecord::full_name(),
            v1::EndRecord {
                row_count: 1,
                batch_count: 1,
            }
            .encode_to_vec(),
        )
    });
    let rows = batch(&[("id", ints(&[1]))]);
    let mut messages = Put::bare(FlightDescriptor::new_cmd(command), &[rows]).0;
    messages.push(arrow_flight::FlightData {
        app_metadata: end.into(),
        ..Default::default()
    });
    let mut answers = client
        .flight
        .do_put(stream::iter(messages))
        .await
        .unwrap()
        .into_inner();
    let answer = answers.message().await.unwrap().expect("a receipt");
    let any = prost_types::Any::decode(answer.app_metadata).unwrap();
    assert_eq!(any.type_url, "type.googleapis.com/pgflight.v1.Receipt");
    let receipt = v1::Receipt::decode(any.value.as_slice()).unwrap();
    assert_eq!(
        (receipt.row_count, receipt.table.as_str()),
        (1, "public.trips")
    );
    assert_eq!(database.text("SELECT id FROM trips").await, "1");
}

#[tokio::test]
async fn a_missing_or_wrong_end_record_rolls_the_stream_back() {
    let (database, server, mut client) = setup(TRIPS).await;
    let spec = || write(json!({"table": "trips", "append": {}}));
    let rows = batch(&[("id", ints(&[1, 2, 3]))]);
    let bare = || Put::bare(spec(), std::slice::from_ref(&rows));
    let cases = [
        (bare(), "without its end record"),
        (bare().and(end_record(2, 1)), "says 2 rows in 1 batches"),
        (bare().and(end_record(4, 1)), "says 4 rows in 1 batches"),
        (bare().and(end_record(3, 2)), "says 3 rows in 2 batches"),
        (
            bare().and(end_record(3, 1)).and(end_record(3, 1)),
            "continues after its end record",
        ),
    ];
    for (put, expected) in cases {
        let status = client.put(put).await.expect_err(expected);
        assert_eq!(status.code(), Code::InvalidArgument, "{status}");
        assert!(status.message().contains(expected), "{status}");
    }
    let mut early = bare().0;
    early.insert(1, end_record(3, 1));
    let early = client.put(Put(early)).await.expect_err("before the rows");
    assert_eq!(early.code(), Code::InvalidArgument, "{early}");
    assert_eq!(database.text("SELECT count(*) FROM trips").await, "0");
    server.assert_unharmed("all of it").await;
    client.put(bare().and(end_record(3, 1))).await.unwrap();
    assert_eq!(database.text("SELECT count(*) FROM trips").await, "3");
}

#[tokio::test]
async fn a_client_that_dies_in_mid_stream_leaves_nothing() {
    let (database, server, _client) = setup(TRIPS).await;
    let rows: Vec<RecordBatch> = (0..20).map(|n| batch(&[("id", ints(&[n]))])).collect();
    let messages = Put::bare(path(&["trips"]), &rows).0;
    let process = client_process();
    let address = server.address.clone();
    process.spawn(async move {
        let endless = stream::iter(messages).chain(stream::pending());
        Client::connect(&address).await.put_stream(endless).await
    });
    wait_until(async || database.text(COPIES).await == "1", "the COPY runs").await;
    process.shutdown_background();
    wait_until(
        async || database.text(COPIES).await == "0",
        "the COPY has ended",
    )
    .await;
    assert_eq!(database.text("SELECT count(*) FROM trips").await, "0");
}

#[tokio::test]
async fn no_rows_and_no_columns_are_fine() {
    let (database, _server, mut client) = setup(TRIPS).await;
    let none = batch(&[("id", ints(&[]))]);
    let spec = || write(json!({"table": "trips", "overwrite": {}}));
    client
        .put(Put::bare(path(&["trips"]), &[batch(&[("id", ints(&[1]))])]))
        .await
        .unwrap();
    let receipt = client.put(Put::whole(spec(), &[none])).await.unwrap();
    assert_eq!(
        receipt["rowCount"],
        Value::Null,
        "zero is left out of canonical JSON"
    );
    assert_eq!(
        database.text("SELECT count(*) FROM trips").await,
        "0",
        "an empty overwrite empties the table"
    );

    // No columns and so no rows, as an empty DataFrame may be.
    database
        .execute("CREATE TABLE plain (v int); INSERT INTO plain VALUES (1)")
        .await;
    let spec = || write(json!({"table": "plain", "overwrite": {}}));
    let nothing = || RecordBatch::new_empty(Schema::empty().into());
    client.put(Put::whole(spec(), &[nothing()])).await.unwrap();
    let options = RecordBatchOptions::new().with_row_count(Some(3));
    let bare = RecordBatch::try_new_with_options(Schema::empty().into(), vec![], &options).unwrap();
    let status = client
        .put(Put::whole(spec(), &[bare]))
        .await
        .expect_err("rows of nothing");
    assert!(status.message().contains("no columns"), "{status}");
    assert_eq!(database.text("SELECT count(*) FROM plain").await, "0");

    // A partition without rows or even batches is recorded like any other.
    let none = batch(&[("id", ints(&[]))]);
    let spec = json!({"table": "trips", "append": {}});
    client.begin("w", spec, &none).await.unwrap();
    let mut no_batch = Put::whole(attempt("w", 1, "b"), std::slice::from_ref(&none));
    no_batch.0.remove(1);
    let receipts = [
        client
            .put(Put::whole(attempt("w", 0, "a"), &[none]))
            .await
            .unwrap(),
        client.put(no_batch).await.unwrap(),
    ];
    let recorded =
        "SELECT string_agg(attempt_id || row_count, ' ' ORDER BY 1) FROM pgflight.attempt";
    assert_eq!(database.text(recorded).await, "a0 b0");
    client.commit("w", &receipts).await.unwrap();
}

#[tokio::test]
async fn messages_are_limited_by_max_message_size() {
    let (database, server, mut client) = setup("CREATE TABLE wide (v text)").await;
    let long = "x".repeat(1024);
    let rows = batch(&[("v", texts(&vec![long.as_str(); 20 * 1024]))]);
    client
        .put(Put::bare(path(&["wide"]), std::slice::from_ref(&rows)))
        .await
        .unwrap();
    assert_eq!(
        database
            .text("SELECT count(*) || ':' || sum(length(v)) FROM wide")
            .await,
        "20480:20971520"
    );

    let rows = batch(&[("v", texts(&vec![long.as_str(); 66 * 1024]))]);
    let status = client
        .put(Put::bare(path(&["wide"]), &[rows]))
        .await
        .expect_err("over the limit");
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    assert!(status.message().contains("larger than"), "{status}");
    assert_eq!(database.text("SELECT count(*) FROM wide").await, "20480");
    server.assert_unharmed("a message over the limit").await;
}

#[tokio::test]
async fn a_thousand_columns_are_written_in_order() {
    let names: Vec<String> = (0..1000).map(|n| format!("c{n}")).collect();
    let columns: Vec<String> = names.iter().map(|name| format!("{name} bigint")).collect();
    let (database, _server, mut client) =
        setup(&format!("CREATE TABLE many ({})", columns.join(", "))).await;
    let arrays: Vec<(&str, ArrayRef)> = names
        .iter()
        .zip(0_i64..)
        .map(|(name, n)| {
            (
                name.as_str(),
                Arc::new(Int64Array::from(vec![n, -n])) as ArrayRef,
            )
        })
        .collect::<Vec<_>>()
        .into_iter()
        .rev()
        .collect();
    client
        .put(Put::bare(path(&["many"]), &[batch(&arrays)]))
        .await
        .unwrap();
    assert_eq!(
        database
            .text("SELECT c0 || ':' || c999 FROM many ORDER BY c999")
            .await,
        "0:-999,0:999"
    );
}

#[tokio::test]
async fn a_trigger_may_skip_rows() {
    let (database, _server, mut client) = setup(
        "CREATE TABLE odd (id int);
         CREATE FUNCTION odd_only() RETURNS trigger LANGUAGE plpgsql AS
            'BEGIN IF NEW.id % 2 = 0 THEN RETURN NULL; END IF; RETURN NEW; END';
         CREATE TRIGGER t BEFORE INSERT ON odd FOR EACH ROW EXECUTE FUNCTION odd_only()",
    )
    .await;
    let receipt = client
        .put(Put::bare(
            path(&["odd"]),
            &[batch(&[("id", ints(&[1, 2, 3]))])],
        ))
        .await
        .unwrap();
    assert_eq!(receipt["rowCount"], "3", "what the stream carried");
    assert_eq!(database.text("SELECT id FROM odd ORDER BY id").await, "1,3");
}

#[tokio::test]
async fn concurrent_writes_that_create_a_table_all_succeed() {
    let (database, server, _client) = setup("").await;
    let spec = json!({"table": "fresh", "append": {"createIfMissing": {}}});
    let writes = (0..6).map(|n| {
        let (spec, address) = (spec.clone(), server.address.clone());
        async move {
            let put = Put::whole(write(spec), &[batch(&[("id", ints(&[n]))])]);
            Client::connect(&address).await.put(put).await
        }
    });
    for outcome in futures_util::future::join_all(writes).await {
        outcome.unwrap();
    }
    assert_eq!(
        database.text("SELECT id FROM fresh ORDER BY id").await,
        "0,1,2,3,4,5"
    );
}

#[tokio::test]
async fn a_name_with_a_line_break_does_not_break_a_message() {
    let (_database, _server, mut client) = setup("").await;
    let put = Put::bare(path(&["x\ny"]), &[batch(&[("id", ints(&[1]))])]);
    let status = client.put(put).await.expect_err("no such table");
    assert!(
        status.message().contains("x\\ny") && !status.message().contains('\n'),
        "{status}"
    );
}
