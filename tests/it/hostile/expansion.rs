//! Messages that expand: decompressed, repeated or converted, they stay within the memory limit.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanArray, DictionaryArray, Int8Array, Int32Array, Int64Array, ListArray,
    NullArray, RecordBatch, StringArray, StructArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType as D, Field, Int8Type, Int32Type, Schema};
use arrow::ipc::CompressionType;
use arrow::ipc::writer::IpcWriteOptions;
use arrow_flight::FlightData;
use arrow_flight::encode::{DictionaryHandling, FlightDataEncoderBuilder};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http_body_util::{BodyExt, Full};
use tonic::codegen::{Service, http};
use tonic::{Code, Status};

use super::raw::{LIMIT, LZ4, SMALL, TABLE, ZSTD, check};
use crate::support::{CallError, Database, Pgflight, Put, batch, path};

/// The messages of a batch with its dictionaries, compressed or not.
async fn messages(rows: RecordBatch, codec: Option<CompressionType>) -> Vec<FlightData> {
    let options = IpcWriteOptions::default()
        .try_with_compression(codec)
        .unwrap();
    FlightDataEncoderBuilder::new()
        .with_dictionary_handling(DictionaryHandling::Resend)
        .with_max_flight_data_size(usize::MAX)
        .with_options(options)
        .with_flight_descriptor(Some(path(&["t"])))
        .build(stream::iter([Ok(rows)]))
        .map(Result::unwrap)
        .collect()
        .await
}

#[tokio::test]
async fn decompression_bombs_are_rejected_before_they_expand() {
    const MANY: usize = 60_000_000;
    let zeros = || Arc::new(Int64Array::from(vec![0; 32 << 20])) as ArrayRef;
    // One value of a mebibyte that any number of keys refer to.
    let long = || Arc::new(StringArray::from(vec!["x".repeat(1 << 20)])) as ArrayRef;
    let named = |count: usize| {
        let keys = Int8Array::from(vec![0; count]);
        Arc::new(DictionaryArray::<Int8Type>::try_new(keys, long()).unwrap()) as ArrayRef
    };
    let in_list = |items: ArrayRef| {
        let offsets = OffsetBuffer::from_lengths([items.len()]);
        let item = Arc::new(Field::new("item", items.data_type().clone(), true));
        Arc::new(ListArray::new(item, offsets, items, None)) as ArrayRef
    };
    let in_struct = |name: String, items: ArrayRef| {
        let field = Arc::new(Field::new(name, items.data_type().clone(), true));
        Arc::new(StructArray::from(vec![(field, items)])) as ArrayRef
    };
    let flags = || Arc::new(BooleanArray::from(vec![false; MANY])) as ArrayRef;
    let controls = || Arc::new(StringArray::from(vec!["\u{1}".repeat(40 << 20)])) as ArrayRef;
    let cases: [(&str, &str, ArrayRef, Option<CompressionType>, &str); 10] = [
        (
            "control characters, which JSON escapes",
            "j",
            in_list(controls()),
            None,
            "larger",
        ),
        ("zeros by LZ4", "n", zeros(), Some(LZ4), "when decompressed"),
        (
            "zeros by ZSTD",
            "n",
            zeros(),
            Some(ZSTD),
            "when decompressed",
        ),
        ("an array of flags", "b", in_list(flags()), None, "larger"),
        ("flags as JSON", "j", in_list(flags()), None, "larger"),
        (
            "a long name in every row",
            "j",
            in_struct("x".repeat(100_000), Arc::new(NullArray::new(1_000_000))),
            None,
            "larger",
        ),
        (
            "a long value in every field",
            "j",
            in_struct("x".into(), named(100_000)),
            None,
            "larger",
        ),
        (
            "an array of one long value, beyond 1 GiB",
            "ss",
            in_list(named(1100)),
            None,
            "larger",
        ),
        (
            "compressed keys of a long value",
            "ss",
            in_list(named(1000)),
            Some(ZSTD),
            "larger",
        ),
        ("keys of a byte", "s", named(MANY), None, "larger"),
    ];
    let mut sent = Vec::new();
    for (what, column, array, codec, part) in cases {
        sent.push((what, messages(batch(&[(column, array)]), codec).await, part));
    }
    check(sent).await;
}

#[tokio::test]
async fn moderate_expansion_is_accepted() {
    let database = Database::new().await;
    database.execute(TABLE).await;
    let server = Pgflight::start_below(&database, LIMIT, &SMALL);
    let mut client = server.client().await;
    let keys = Int8Array::from(vec![0; 100]);
    let values = Arc::new(StringArray::from(vec!["x".repeat(1 << 17)]));
    let items = Arc::new(DictionaryArray::<Int8Type>::try_new(keys, values).unwrap());
    let item = Arc::new(Field::new("item", items.data_type().clone(), true));
    let lists = ListArray::new(item, OffsetBuffer::from_lengths([40, 60]), items, None);
    for codec in [None, Some(ZSTD)] {
        let rows = batch(&[("ss", Arc::new(lists.clone()) as ArrayRef)]);
        client.put(Put(messages(rows, codec).await)).await.unwrap();
    }
    let sums = "SELECT sum(cardinality(ss)) || ':' || sum(length(array_to_string(ss, ''))) FROM t";
    assert_eq!(database.text(sums).await, format!("200:{}", 200 << 17));
}

#[tokio::test]
async fn a_million_batches_of_one_row_leak_no_memory() {
    const BATCHES: usize = 1_000_000;
    let database = Database::new().await;
    database.execute("CREATE UNLOGGED TABLE t (n int)").await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let rows = batch(&[("n", Arc::new(Int32Array::from(vec![7])) as ArrayRef)]);
    let first = Put::bare(path(&["t"]), std::slice::from_ref(&rows));
    client.put(first.clone()).await.unwrap();
    let before = server.memory("VmRSS");
    let [schema, row] = <[FlightData; 2]>::try_from(first.0).unwrap();
    let many = stream::iter([schema]).chain(stream::iter(std::iter::repeat_n(row, BATCHES)));
    let receipt = client.put_stream(many).await.unwrap();
    assert_eq!(receipt["rowCount"], BATCHES.to_string());
    let peak = server.memory("VmHWM");
    assert!(
        peak < before + (64 << 20),
        "{} MiB before, {} MiB at most",
        before >> 20,
        peak >> 20
    );
}

#[tokio::test]
async fn compressed_grpc_messages_are_rejected() {
    let database = Database::new().await;
    database.execute("CREATE TABLE t (n int)").await;
    let server = Pgflight::start(&database);
    let client = server.client().await;
    let bomb = [&[1, 0, 0, 0, 8][..], &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0]].concat();
    for (encoding, code) in [
        (None, Code::InvalidArgument),
        (Some("gzip"), Code::Unimplemented),
        (Some("zstd"), Code::Unimplemented),
        (Some("rot13"), Code::Unimplemented),
    ] {
        for method in ["DoPut", "DoAction"] {
            let mut request = http::Request::post(format!(
                "http://{}/arrow.flight.protocol.FlightService/{method}",
                server.address
            ))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
            if let Some(encoding) = encoding {
                request = request.header("grpc-encoding", encoding);
            }
            let body = tonic::body::Body::new(Full::new(Bytes::from(bomb.clone())));
            let mut channel = client.channel.clone();
            std::future::poll_fn(|cx| channel.poll_ready(cx))
                .await
                .unwrap();
            let mut answer = channel.call(request.body(body).unwrap()).await.unwrap();
            let status = match Status::from_header_map(answer.headers()) {
                Some(status) => status,
                None => {
                    let whole = std::mem::take(answer.body_mut()).collect().await.unwrap();
                    Status::from_header_map(whole.trailers().unwrap()).unwrap()
                }
            };
            assert_eq!(status.code(), code, "{method} {encoding:?}: {status}");
        }
    }
    let good = batch(&[("n", Arc::new(Int32Array::from(vec![1])) as ArrayRef)]);
    let mut client = server.client().await;
    client.put(Put::bare(path(&["t"]), &[good])).await.unwrap();
    assert_eq!(database.text("SELECT count(*) FROM t").await, "1");
}

#[tokio::test]
async fn compressed_batches_keep_their_values() {
    let database = Database::new().await;
    database.execute(TABLE).await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..10_000));
    let texts: ArrayRef = Arc::new(StringArray::from_iter(
        (0..10_000).map(|n| (n % 7 > 0).then(|| n.to_string())),
    ));
    for codec in [LZ4, ZSTD] {
        let rows = batch(&[("n", Arc::clone(&numbers)), ("s", Arc::clone(&texts))]);
        let messages = messages(rows, Some(codec)).await;
        let body = messages[1].data_body.len();
        assert!(body < 120_000, "{body} bytes: compressed");
        client.put(Put(messages)).await.unwrap();
        let sums =
            "SELECT count(*) || ':' || sum(n) || ':' || sum(s::int) || ':' || count(s) FROM t";
        assert_eq!(database.text(sums).await, "10000:49995000:42852858:8571");
        database.execute("TRUNCATE t").await;
    }
}

/// Memory that streams of a few MiB may add to that of a started server.
const LITTLE: u64 = 160 << 20;

/// Sends a write of one batch to a table with one column.
async fn converted(
    server: &Pgflight,
    asked: serde_json::Value,
    array: ArrayRef,
) -> Result<serde_json::Value, Status> {
    let spec = serde_json::json!({"table": "t", "append": {}, "conversions": {"c": asked}});
    let rows = batch(&[("c", array)]);
    let count = rows.num_rows();
    let mut sent = messages(rows, None).await;
    sent[0].flight_descriptor = Some(crate::support::write(spec));
    let whole = Put(sent).and(crate::support::end_record(count, 1));
    server.client().await.put(whole).await
}

#[tokio::test]
async fn a_long_replacement_for_nul_is_rejected() {
    let database = Database::new().await;
    database.execute("CREATE TABLE t (c text)").await;
    let server = Pgflight::start_below(&database, LIMIT, &SMALL);
    let before = server.memory("VmHWM");
    let long = "A".repeat(60_000);
    let zeros = || Arc::new(StringArray::from(vec!["\0".repeat(30_000)])) as ArrayRef;
    let asked = serde_json::json!({"nul": "NUL_REPLACE", "nulReplacement": long});
    let by_option = converted(&server, asked, zeros()).await.unwrap_err();
    let field = Field::new("c", D::Utf8, true).with_metadata(HashMap::from([
        ("pgflight.nul".to_owned(), "replace".to_owned()),
        ("pgflight.nul_replacement".to_owned(), long),
    ]));
    let rows = RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![zeros()]).unwrap();
    let mut client = server.client().await;
    let by_metadata = client.put(Put::bare(path(&["t"]), &[rows])).await;
    let by_metadata = by_metadata.unwrap_err();
    for (status, part) in [(by_option, "60000 bytes"), (by_metadata, "60000 bytes")] {
        assert!(status.message().contains(part), "{status}");
        assert_eq!(CallError::from(status).details["retryable"], "false");
    }
    assert!(server.memory("VmHWM") < before + LITTLE);
    assert_eq!(database.text("SELECT count(*) FROM t").await, "0");
}

#[tokio::test]
async fn converted_values_of_many_rows_are_never_held_at_once() {
    const MIB: usize = 1 << 20;
    let database = Database::new().await;
    let options = [&SMALL[..], &["--max-bytes-per-stream", "20MiB"]].concat();
    let server = Pgflight::start_below(&database, LIMIT, &options);
    let before = server.memory("VmHWM");
    let named = |values: ArrayRef| {
        let keys = Int32Array::from(vec![0; 600]);
        Arc::new(DictionaryArray::<Int32Type>::try_new(keys, values).unwrap()) as ArrayRef
    };
    let text = || Arc::new(StringArray::from(vec!["a".repeat(MIB)])) as ArrayRef;
    let blob = || Arc::new(arrow::array::BinaryArray::from_vec(vec![&[0xff; MIB][..]])) as ArrayRef;
    let form = |form: &str| serde_json::json!({"form": form});
    let cut = || serde_json::json!({"tooLong": "TOO_LONG_TRUNCATE"});
    let remove = || serde_json::json!({"nul": "NUL_REMOVE"});
    let bytes = || Arc::new(Int8Array::from(vec![1; 8 << 20])) as ArrayRef;
    let days = || serde_json::json!({"unit": "UNIT_DAYS"});
    let cases = [
        ("truncate", "varchar(3)", cut(), named(text()), true),
        ("remove", "text", remove(), named(text()), false),
        ("hex", "text", form("FORM_HEX"), named(blob()), false),
        ("base64", "text", form("FORM_BASE64"), named(blob()), false),
        (
            "lossy",
            "text",
            form("FORM_UTF8_LOSSY"),
            named(blob()),
            false,
        ),
        ("bytes", "bytea", form("FORM_UTF8"), named(text()), false),
        // Numbers of one byte become fields of eight bytes.
        ("days", "date", days(), bytes(), false),
    ];
    for (what, sql_type, asked, array, lands) in cases {
        let table = format!("DROP TABLE IF EXISTS t; CREATE TABLE t (c {sql_type})");
        database.execute(&table).await;
        match (converted(&server, asked, array).await, lands) {
            (Ok(_), true) => {}
            (Err(status), false) => {
                assert_eq!(CallError::from(status).reason, "DATA_REJECTED", "{what}")
            }
            (landed, _) => panic!("{what}: {landed:?}"),
        }
        let peak = server.memory("VmHWM") - before;
        assert!(peak < LITTLE, "{what}: {} MiB", peak >> 20);
    }
    assert_eq!(database.text("SELECT count(*) FROM t").await, "0");
    server.assert_unharmed("all of it").await;
}

#[tokio::test]
async fn a_long_value_is_converted_if_memory_allows() {
    let database = Database::new().await;
    database.execute("CREATE TABLE t (c text)").await;
    let server = Pgflight::start_below(&database, LIMIT, &SMALL);
    let of = |mib: usize| Arc::new(StringArray::from(vec!["\0".repeat(mib << 20)])) as ArrayRef;
    let asked = || serde_json::json!({"nul": "NUL_REPLACE", "nulReplacement": "\\u0000__"});
    converted(&server, asked(), of(4)).await.unwrap();
    let lengths = "SELECT string_agg(length(c)::text, ' ') FROM t";
    assert_eq!(database.text(lengths).await, ((8 * 4) << 20).to_string());
    let refused = converted(&server, asked(), of(30)).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    assert!(refused.message().contains("memory"), "{refused}");
    server.assert_unharmed("all of it").await;
}
