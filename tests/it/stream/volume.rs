//! Limits of rows and bytes of a stream and of a write. Rows beyond a limit never reach PostgreSQL.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, DictionaryArray, Int32Array, LargeStringArray, RecordBatch, StringArray,
};
use arrow::datatypes::Int32Type;
use arrow_flight::FlightDescriptor;
use arrow_flight::encode::{DictionaryHandling, FlightDataEncoderBuilder};
use futures_util::StreamExt;
use futures_util::future::join_all;
use pgflight::auth::digest_of;
use serde_json::{Value, json};
use tonic::Status;

use super::fan_out::{SOON, batches};
use crate::support::{
    CallError, Client, Database, File, Pgflight, Put, attempt, batch, end_record, wait_until, write,
};

fn rows(count: i32) -> RecordBatch {
    batch(&[(
        "n",
        Arc::new((0..count).map(Some).collect::<Int32Array>()) as ArrayRef,
    )])
}

fn append() -> Value {
    json!({"table": "t", "append": {}})
}

async fn put(client: &mut Client, to: FlightDescriptor, count: i32) -> Result<Value, Status> {
    client.put(Put::whole(to, &[rows(count)])).await
}

/// Checks that a call failed at the limit of this option, and is not retryable.
fn assert_over(status: Status, option: &str) {
    let reported = CallError::from(status);
    assert_eq!(reported.reason, "DATA_REJECTED", "{}", reported.message);
    assert_eq!(
        reported.details["retryable"], "false",
        "{}",
        reported.message
    );
    assert!(reported.message.contains(option), "{}", reported.message);
}

#[tokio::test]
async fn a_stream_over_its_limits_is_rolled_back() {
    let database = Database::new().await;
    database
        .execute("CREATE TABLE t (n int); CREATE TABLE k (n int PRIMARY KEY)")
        .await;
    let options = [
        "--max-rows-per-stream",
        "1000",
        "--max-bytes-per-stream",
        "20KiB",
    ];
    let server = Pgflight::start_with(&database, &options);
    let mut client = server.client().await;
    let upsert = json!({"table": "k", "upsert": {"keys": ["n"]}});
    let create = json!({"table": "made", "create": {}});
    let swap = json!({"table": "t", "overwrite": {"with": "OVERWRITE_WITH_SWAP"}});
    for spec in [append(), upsert, create, swap] {
        let over = put(&mut client, write(spec.clone()), 1001).await;
        assert_over(over.unwrap_err(), "max_rows_per_stream");
        // In batches that are each below the limit.
        let parts: Vec<_> = (0..11).map(|_| rows(100)).collect();
        let over = client.put(Put::whole(write(spec), &parts)).await;
        assert_over(over.unwrap_err(), "max_rows_per_stream");
    }
    let wide = batch(&[(
        "s",
        Arc::new(StringArray::from(vec!["x".repeat(21 << 10)])) as ArrayRef,
    )]);
    let spec = json!({"table": "wide", "create": {}});
    let over = client.put(Put::whole(write(spec), &[wide])).await;
    assert_over(over.unwrap_err(), "max_bytes_per_stream");
    let tables = "SELECT count(*) FROM pg_class WHERE relname IN ('made', 'wide')";
    let counts = format!("SELECT (SELECT count(*) FROM t) + (SELECT count(*) FROM k) + ({tables})");
    assert_eq!(database.text(&counts).await, "0");
    put(&mut client, write(append()), 1000).await.unwrap();
    assert_eq!(database.text("SELECT count(*) FROM t").await, "1000");
    server.assert_unharmed("all of it").await;
}

#[tokio::test]
async fn a_write_over_its_limit_takes_no_more_attempts() {
    let database = Database::new().await;
    database.execute("CREATE TABLE t (n int)").await;
    let options = ["--max-rows-per-write", "250"];
    let server = Pgflight::start_with(&database, &options);
    let other = Pgflight::start_with(&database, &options);
    let mut client = server.client().await;
    for publish in ["PUBLISH_STAGED", "PUBLISH_TWO_PHASE", "PUBLISH_DIRECT"] {
        database.execute("TRUNCATE t").await;
        let mut spec = append();
        spec["append"]["publish"] = json!(publish);
        client.begin(publish, spec, &rows(1)).await.unwrap();
        let first = put(&mut client, attempt(publish, 0, "a"), 100)
            .await
            .unwrap();
        // Concurrently over two servers: the limit leaves room for one more.
        let mut clients = Vec::new();
        for partition in 1..=6 {
            let server = if partition % 2 == 0 { &server } else { &other };
            clients.push((partition, server.client().await));
        }
        let attempts = clients.iter_mut().map(async |(partition, client)| {
            let id = format!("a{partition}");
            put(client, attempt(publish, *partition, &id), 100).await
        });
        let mut receipts = vec![first];
        for attempted in join_all(attempts).await {
            match attempted {
                Ok(receipt) => receipts.push(receipt),
                Err(status) => assert_over(status, "max_rows_per_write"),
            }
        }
        assert_eq!(receipts.len(), 2, "{publish}");
        // A recorded attempt gets its answer again, and a smaller attempt still fits.
        put(&mut client, attempt(publish, 0, "a"), 100)
            .await
            .unwrap();
        receipts.push(
            put(&mut client, attempt(publish, 9, "b"), 50)
                .await
                .unwrap(),
        );
        let over = put(&mut client, attempt(publish, 10, "c"), 1).await;
        assert_over(over.unwrap_err(), "max_rows_per_write");
        client.commit(publish, &receipts).await.unwrap();
        assert_eq!(
            database.text("SELECT count(*) FROM t").await,
            "250",
            "{publish}"
        );
        let prepared = "SELECT count(*) FROM pg_prepared_xacts WHERE database = current_database()";
        let none = async || database.text(prepared).await == "0";
        wait_until(none, "no prepared transaction is left").await;
    }
    // A stream is a write of its own.
    let over = put(&mut client, write(append()), 251).await;
    assert_over(over.unwrap_err(), "max_rows_per_write");
}

#[tokio::test]
async fn bytes_of_a_write_equal_those_of_its_receipts() {
    let database = Database::new().await;
    database.execute("CREATE TABLE t (n int)").await;
    // A row has two bytes, four of length and four of the number; 19 bytes come before the first and 2 after the last.
    let bytes = (2 * (19 + 100 * 10 + 2)).to_string();
    let server = Pgflight::start_with(&database, &["--max-bytes-per-write", &bytes]);
    let mut client = server.client().await;
    client.begin("w", append(), &rows(1)).await.unwrap();
    for id in ["a", "b"] {
        let receipt = put(&mut client, attempt("w", 0, id), 100).await.unwrap();
        assert_eq!(receipt["byteCount"], "1021", "{receipt}");
    }
    let over = put(&mut client, attempt("w", 1, "c"), 1).await;
    assert_over(over.unwrap_err(), "max_bytes_per_write");
}

#[tokio::test]
async fn limits_of_principal_and_target_both_apply() {
    let database = Database::new().await;
    database.execute("CREATE TABLE t (n int)").await;
    let grants = "grants = [{ tables = ['*.*'], modes = ['append'] }]";
    let text = |target: u32| {
        let of = |name: &str, lines: &str| {
            let digest = digest_of(name);
            format!("[principals.{name}]\ntokens = ['{digest}']\n{grants}\n{lines}\n")
        };
        let url = &database.url;
        of(
            "small",
            "max_rows_per_stream = 10\nmax_bytes_per_write = '1KiB'",
        ) + &of("large", "max_rows_per_stream = 1000")
            + &format!("[targets.main]\npostgres = '{url}'\nmax_rows_per_stream = {target}\n")
            + "[limits]\nmax_rows_per_stream = 5\n"
    };
    let file = File::new(&text(100));
    let server = Pgflight::start_at("", &["--config", file.name()]);
    let anonymous = server.client().await;
    let (mut small, mut large) = (anonymous.bearing("small"), anonymous.bearing("large"));
    put(&mut small, write(append()), 10).await.unwrap();
    let over = put(&mut small, write(append()), 11).await.unwrap_err();
    assert!(
        over.message().contains("principal small allows 10"),
        "{over}"
    );
    small.begin("w", append(), &rows(1)).await.unwrap();
    for partition in 0..12 {
        let sent = put(
            &mut small,
            attempt("w", partition, &partition.to_string()),
            10,
        )
        .await;
        // 121 bytes each.
        match sent {
            Ok(_) => assert!(partition < 8),
            Err(status) => {
                assert!(partition >= 8, "{status}");
                assert_over(status, "max_bytes_per_write");
            }
        }
    }
    put(&mut large, write(append()), 100).await.unwrap();
    let over = put(&mut large, write(append()), 101).await.unwrap_err();
    assert!(over.message().contains("the target allows 100"), "{over}");
    std::fs::write(file.name(), text(200)).unwrap();
    server.signal("HUP");
    server.wait_for_line(&["targets.main.max_rows"]).await;
    put(&mut large, write(append()), 200).await.unwrap();
}

#[tokio::test]
async fn a_stream_that_fans_out_is_counted_as_one() {
    let database = Database::new().await;
    let options = [&SOON[..], &["--max-rows-per-stream", "19999"]].concat();
    let server = Pgflight::start_with(&database, &options);
    let mut client = server.client().await;
    let spec = json!({"table": "made", "create": {}});
    let over = client.put(Put::whole(write(spec), &batches(None))).await;
    assert_over(over.unwrap_err(), "max_rows_per_stream");
    let made = "SELECT count(*) FROM pg_class WHERE relname = 'made'";
    assert_eq!(database.text(made).await, "0");
}

/// A dictionary of these values, whose keys all refer to the last.
async fn dictionary(to: FlightDescriptor, values: ArrayRef, keys: usize) -> Put {
    let last = i32::try_from(values.len()).unwrap() - 1;
    let keys_of = Int32Array::from(vec![last; keys]);
    let array = DictionaryArray::<Int32Type>::new(keys_of, values);
    let messages = FlightDataEncoderBuilder::new()
        .with_dictionary_handling(DictionaryHandling::Resend)
        .with_max_flight_data_size(usize::MAX)
        .with_flight_descriptor(Some(to))
        .build(futures_util::stream::iter([Ok(batch(&[(
            "s",
            Arc::new(array) as ArrayRef,
        )]))]));
    let messages = messages.map(Result::unwrap).collect().await;
    Put(messages).and(end_record(keys, 1))
}

#[tokio::test]
async fn oversized_dictionary_expansion_is_rejected_before_sending() {
    let database = Database::new().await;
    database.execute("CREATE TABLE t (s text)").await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let long = "x".repeat(1 << 20);
    let texts: [ArrayRef; 3] = [
        Arc::new(StringArray::from(vec![long.as_str()])),
        Arc::new(LargeStringArray::from(vec!["", long.as_str()])),
        Arc::new(arrow::array::StringViewArray::from(vec![long.as_str()])),
    ];
    let place = "SELECT pg_current_wal_insert_lsn() - '0/0'";
    for values in texts {
        let before: f64 = database.text(place).await.parse().unwrap();
        let bomb = dictionary(write(append()), values, 1_000_000).await;
        assert_over(client.put(bomb).await.unwrap_err(), "max_expansion");
        let after: f64 = database.text(place).await.parse().unwrap();
        // Other tests write to the same cluster.
        assert!(after - before < 5e8, "{} bytes of WAL", after - before);
    }
    assert_eq!(
        database.text("SELECT pg_table_size('t') < 65536").await,
        "true"
    );
    // Data that repeats as real data does is written.
    let word: ArrayRef = Arc::new(StringArray::from(vec!["x".repeat(100)]));
    let honest = dictionary(write(append()), word, 100_000).await;
    client.put(honest).await.unwrap();
    assert_eq!(database.text("SELECT count(*) FROM t").await, "100000");
    server.assert_unharmed("all of it").await;
}
