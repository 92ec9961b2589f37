//! Values, types and targets that the server rejects: the error has the kind and the place, and the table stays empty.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Date32Array, Date64Array, Decimal128Array, DictionaryArray, FixedSizeBinaryArray,
    Float64Array, Int32Array, Int64Array, IntervalMonthDayNanoArray, StringArray,
    Time32SecondArray, Time64MicrosecondArray, TimestampMicrosecondArray, TimestampNanosecondArray,
    TimestampSecondArray, UInt64Array,
};
use arrow::datatypes::Int32Type;
use arrow::datatypes::IntervalMonthDayNano;
use arrow_flight::encode::{DictionaryHandling, FlightDataEncoderBuilder};
use arrow_flight::{FlightData, FlightDescriptor};
use futures_util::{StreamExt, stream};
use serde_json::json;
use tonic::Code;

use crate::support::{CallError, Database, Pgflight, Put, batch, end_record, path, write};

fn longs(values: &[Option<i64>]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}

fn text(value: &str) -> ArrayRef {
    Arc::new(StringArray::from(vec![value]))
}

fn decimal(precision: u8, scale: i8, digits: i128) -> ArrayRef {
    let array = Decimal128Array::from(vec![digits]);
    Arc::new(array.with_precision_and_scale(precision, scale).unwrap())
}

#[tokio::test]
async fn a_value_or_type_that_cannot_go_names_its_place() {
    let database = Database::new().await;
    database
        .execute(
            "CREATE TYPE mood AS ENUM ('sad', 'ok');
             CREATE DOMAIN positive AS int CHECK (VALUE > 0);
             CREATE TABLE t (n int, nn int NOT NULL DEFAULT 1, s text, v varchar(3), u uuid, m mood, p positive,
                             j jsonb, ts timestamp, k int UNIQUE CHECK (k < 100), b bytea, d date,
                             tod time, iv interval, num numeric(5,2), si smallint,
                             g int GENERATED ALWAYS AS (n + 1) STORED)",
        )
        .await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let secret = "s3cret";
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    // Column, data, SQLSTATE, row, part of the message.
    let cases: Vec<(&str, ArrayRef, &str, &str, &str)> = vec![
        (
            "n",
            longs(&[Some(1), Some(1 << 31)]),
            "22003",
            "1",
            "integer",
        ),
        (
            "n",
            longs(&[None, Some(-(1 << 31) - 1)]),
            "22003",
            "1",
            "integer",
        ),
        ("nn", longs(&[Some(1), None]), "23502", "1", "NULL"),
        ("s", text("s3cret\0"), "22021", "0", "NUL"),
        ("v", text("s3cret"), "22001", "0", "character varying(3)"),
        ("u", text(secret), "22P02", "0", "UUID"),
        ("m", text(secret), "22P02", "0", "mood"),
        ("p", longs(&[Some(-5)]), "23514", "0", "positive"),
        ("j", text("{s3cret"), "22P02", "0", "json"),
        ("k", longs(&[Some(7), Some(7)]), "23505", "1", "t_k_key"),
        ("k", longs(&[Some(700)]), "23514", "0", "t_k_check"),
        (
            "ts",
            Arc::new(TimestampNanosecondArray::from(vec![1])),
            "22008",
            "0",
            "timestamp",
        ),
        ("si", longs(&[Some(1 << 15)]), "22003", "0", "smallint"),
        (
            "n",
            Arc::new(UInt64Array::from(vec![u64::MAX])),
            "22003",
            "0",
            "integer",
        ),
        ("num", text("Infinity"), "22003", "0", "numeric(5,2)"),
        ("num", text("1234.5"), "22003", "0", "numeric(5,2)"),
        (
            "num",
            decimal(3, 0, 1_234),
            "22003",
            "0",
            "more digits than its own type",
        ),
        ("num", decimal(9, 0, 1_234), "22003", "0", "numeric(5,2)"),
        // The least and greatest values of Arrow's types, which must not become PostgreSQL's infinities by chance.
        (
            "ts",
            Arc::new(TimestampMicrosecondArray::from(vec![i64::MIN])),
            "22008",
            "0",
            "timestamp",
        ),
        (
            "ts",
            Arc::new(TimestampSecondArray::from(vec![i64::MAX])),
            "22008",
            "0",
            "timestamp",
        ),
        (
            "d",
            Arc::new(Date32Array::from(vec![i32::MAX])),
            "22008",
            "0",
            "date",
        ),
        (
            "d",
            Arc::new(Date32Array::from(vec![i32::MIN])),
            "22008",
            "0",
            "date",
        ),
        (
            "d",
            Arc::new(Date64Array::from(vec![1])),
            "22008",
            "0",
            "date",
        ),
        (
            "tod",
            Arc::new(Time32SecondArray::from(vec![86_401])),
            "22008",
            "0",
            "time",
        ),
        (
            "tod",
            Arc::new(Time64MicrosecondArray::from(vec![-1])),
            "22008",
            "0",
            "time",
        ),
        (
            "iv",
            Arc::new(IntervalMonthDayNanoArray::from(vec![
                IntervalMonthDayNano::new(i32::MAX, i32::MIN, 1),
            ])),
            "22008",
            "0",
            "interval",
        ),
        ("j", text(&deep), "54001", "0", "stack depth"),
        ("j", text(r#""\u0000""#), "22P05", "0", "Unicode"),
        ("j", text("1e400000"), "22003", "0", "numeric"),
        // Types that do not match, and columns that do not exist.
        ("n", text(secret), "22P02", "0", "integer"),
        ("d", Arc::new(Float64Array::from(vec![1.0])), "", "", "date"),
        ("N", longs(&[Some(1)]), "", "", "\"n\""),
        ("nowhere", longs(&[Some(1)]), "", "", "nowhere"),
        ("g", longs(&[Some(1)]), "", "", "generated"),
    ];
    for (column, array, sqlstate, row, part) in cases {
        let what = format!("{column}: {part}");
        let put = Put::bare(path(&["t"]), &[batch(&[(column, array)])]);
        let error = CallError::from(client.put(put).await.expect_err(&what));
        assert_eq!(
            error.code,
            Code::InvalidArgument,
            "{what}: {}",
            error.message
        );
        assert!(error.message.contains(part), "{what}: {}", error.message);
        assert!(!error.message.contains(secret), "{what}: {}", error.message);
        assert_eq!(
            error.details.get("sqlstate").map_or("", String::as_str),
            sqlstate,
            "{what}: {}",
            error.message
        );
        assert_eq!(
            error.details.get("row").map_or("", String::as_str),
            row,
            "{what}: {}",
            error.message
        );
        assert_eq!(error.details["retryable"], "false", "{what}");
        assert!(
            error.message.contains("t"),
            "{what}: names the table: {}",
            error.message
        );
        let reason = if sqlstate.is_empty() {
            "SCHEMA_MISMATCH"
        } else {
            "DATA_REJECTED"
        };
        assert_eq!(error.reason, reason, "{what}");
        assert_eq!(database.text("SELECT count(*) FROM t").await, "0", "{what}");
    }
    server.assert_unharmed("all of it").await;
}

#[tokio::test]
async fn odd_names_and_values_land_or_are_rejected_by_name() {
    let database = Database::new().await;
    // Marks that change the direction of text, letters that look alike, a line break, quotes.
    let names = ["a\"b", "a\nb", "\u{1f980}", "\u{202e}txet", "\u{0430}"];
    let columns = names.map(|name| format!(", \"{}\" int", name.replace('"', "\"\"")));
    database
        .execute(&format!(
            "CREATE TABLE t (n int, f float8, num numeric, v varchar(3), j jsonb{})",
            columns.concat()
        ))
        .await;
    database
        .execute("CREATE TABLE strict (n int, must int NOT NULL)")
        .await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let one = || longs(&[Some(1)]);
    let float = |value| Arc::new(Float64Array::from(vec![value])) as ArrayRef;
    let doubled = r#"{"a": 1, "a": 2}"#;
    // Column, data, and the value in the table, or a part of the error.
    let mut cases: Vec<(&str, &str, ArrayRef, Result<&str, &str>)> = vec![
        ("t", "f", float(f64::NAN), Ok("NaN")),
        ("t", "f", float(f64::NEG_INFINITY), Ok("-Infinity")),
        ("t", "num", float(f64::NAN), Ok("NaN")),
        ("t", "n", float(f64::NAN), Err("integer")),
        ("t", "n", float(f64::INFINITY), Err("integer")),
        // Blanks beyond the length are cut, as in SQL; nothing else is.
        ("t", "v", text("abc  "), Ok("abc")),
        ("t", "v", text("abc d"), Err("character varying(3)")),
        // PostgreSQL keeps the last of two keys.
        ("t", "j", text(doubled), Ok(r#"{"a": 2}"#)),
        ("t", "a'b", one(), Err("a'b")),
        ("t", "\u{202d}txet", one(), Err("txet")),
        ("t", "a", one(), Err("column a]")),
        ("strict", "n", one(), Err("must")),
        ("strict", "more", one(), Err("more")),
    ];
    cases.extend(names.map(|name| ("t", name, one(), Ok("1"))));
    for (table, column, array, expected) in cases {
        database.execute("TRUNCATE t").await;
        let put = Put::bare(path(&[table]), &[batch(&[(column, array)])]);
        let found = match client.put(put).await {
            Ok(_) => Ok(()),
            Err(status) => {
                assert_eq!(status.code(), Code::InvalidArgument, "{column:?}: {status}");
                Err(status.message().to_owned())
            }
        };
        match (expected, found) {
            (Ok(value), Ok(())) => {
                let name = column.replace('"', "\"\"");
                let cell = format!("SELECT \"{name}\"::text FROM {table}");
                assert_eq!(database.text(&cell).await, value, "{column:?}");
            }
            (Err(part), Err(message)) => {
                assert!(message.contains(part), "{column:?}: {message}");
                let count = format!("SELECT count(*) FROM {table}");
                assert_eq!(database.text(&count).await, "0", "{column:?}");
            }
            (expected, found) => panic!("{table} {column:?}: {expected:?} {found:?}"),
        }
    }
    server.assert_unharmed("all of it").await;
}

#[tokio::test]
async fn the_row_number_counts_from_the_start_of_the_stream() {
    let database = Database::new().await;
    database.execute("CREATE TABLE t (n int)").await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let good = batch(&[("n", longs(&[Some(1); 1000]))]);
    let bad = batch(&[("n", longs(&[Some(1), Some(1), Some(i64::MAX)]))]);
    let put = Put::bare(path(&["t"]), &[good.clone(), good, bad]);
    let error = CallError::from(client.put(put).await.expect_err("too large"));
    assert_eq!(error.details["row"], "2002", "{}", error.message);
    assert_eq!(error.details["column"], "n");
    assert!(error.message.contains("row 2002"), "{}", error.message);
    assert_eq!(database.text("SELECT count(*) FROM t").await, "0");
}

#[tokio::test]
async fn a_target_that_is_not_for_data_is_rejected_by_kind() {
    let database = Database::new().await;
    database
        .execute(
            "CREATE TABLE t (n int); CREATE VIEW v AS SELECT 1 AS n; CREATE MATERIALIZED VIEW m AS SELECT 1 AS n;
             CREATE SEQUENCE s; CREATE INDEX i ON t (n)",
        )
        .await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let cases = [
        (vec!["v"], Code::Unimplemented, "a view"),
        (vec!["m"], Code::Unimplemented, "a materialized view"),
        (vec!["s"], Code::Unimplemented, "a sequence"),
        (vec!["i"], Code::Unimplemented, "an index"),
        (
            vec!["pg_catalog", "pg_class"],
            Code::PermissionDenied,
            "is not for data [table pg_catalog.pg_class]",
        ),
        (vec!["nowhere"], Code::NotFound, "does not exist"),
        (
            vec!["public", "T"],
            Code::NotFound,
            "there is a table public.t",
        ),
        (
            vec!["nowhere", "t"],
            Code::NotFound,
            "there is a table public.t",
        ),
        (vec!["a", "b", "c"], Code::NotFound, "no target"),
        (vec![], Code::InvalidArgument, "0 parts"),
        (vec![""], Code::InvalidArgument, "empty"),
    ];
    for (parts, code, part) in cases {
        let put = Put::bare(path(&parts), &[batch(&[("n", longs(&[Some(1)]))])]);
        let error = CallError::from(client.put(put).await.expect_err(part));
        assert_eq!(error.code, code, "{parts:?}: {}", error.message);
        assert!(error.message.contains(part), "{parts:?}: {}", error.message);
        if part.starts_with("a ") || part.starts_with("an ") {
            assert_eq!(error.details["table"], format!("public.{}", parts[0]));
        }
    }
    server.assert_unharmed("all of it").await;
}

#[tokio::test]
async fn malformed_streams_are_rejected_and_the_server_lives() {
    let database = Database::new().await;
    database.execute("CREATE TABLE t (n bigint)").await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let good = || Put::bare(path(&["t"]), &[batch(&[("n", longs(&[Some(1)]))])]);
    let change = |change: &dyn Fn(&mut Vec<FlightData>)| {
        let mut put = good();
        change(&mut put.0);
        put
    };
    let described = |bytes: &str| {
        let descriptor = FlightDescriptor::new_cmd(bytes.to_owned());
        Put::bare(descriptor, &[batch(&[("n", longs(&[Some(1)]))])])
    };
    let cases = [
        (Put(vec![]), "empty"),
        (change(&|m| m[0].flight_descriptor = None), "no descriptor"),
        (
            change(&|m| m[0].data_header = vec![1, 2, 3].into()),
            "not an Arrow IPC message",
        ),
        (
            change(&|m| m[1].data_header = vec![9; 40].into()),
            "not an Arrow IPC message",
        ),
        (
            change(&|m| m[1].data_body = Default::default()),
            "of a body of 0",
        ),
        (change(&|m| m.swap(0, 1)), "no descriptor"),
        (change(&|m| m.push(m[0].clone())), "second descriptor"),
        (
            change(&|m| {
                let schema = FlightData {
                    flight_descriptor: None,
                    ..m[0].clone()
                };
                m.push(schema);
            }),
            "second schema",
        ),
        (good().and(end_record(2, 1)), "says 2 rows"),
        (described("{"), "not valid JSON"),
        (described("{}"), "@type"),
        (described("\u{1}\u{2}"), "not a google.protobuf.Any"),
        (
            described(r#"{"@type": "type.googleapis.com/pgflight.v1.Receipt"}"#),
            "does not begin a stream",
        ),
        (
            described(r#"{"@type": "type.googleapis.com/pgflight.v1.WriteCommand", "sepc": {}}"#),
            "sepc",
        ),
        (
            described(r#"{"@type": "type.googleapis.com/pgflight.v1.WriteCommand"}"#),
            "no spec",
        ),
        (
            Put::bare(
                write(json!({"table": "t", "append": {"ifExists": "IF_EXISTS_FAIL"}})),
                &[batch(&[("n", longs(&[Some(1)]))])],
            ),
            "unknown field `ifExists`",
        ),
    ];
    for (put, part) in cases {
        let status = client.put(put).await.expect_err(part);
        assert_eq!(status.code(), Code::InvalidArgument, "{part}: {status}");
        assert!(status.message().contains(part), "{part}: {status}");
    }
    assert_eq!(database.text("SELECT count(*) FROM t").await, "0");
    server.assert_unharmed("all of it").await;
    client.put(good()).await.unwrap();
    assert_eq!(database.text("SELECT count(*) FROM t").await, "1");
}

#[tokio::test]
async fn dictionaries_land_as_their_values() {
    let database = Database::new().await;
    database.execute("CREATE TABLE t (s text, u uuid)").await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let keys = Int32Array::from(vec![Some(1), None, Some(0), Some(1)]);
    let values =
        DictionaryArray::<Int32Type>::try_new(keys, Arc::new(StringArray::from(vec!["a", "b"])))
            .unwrap();
    let uuids = FixedSizeBinaryArray::try_from_iter((0_u8..4).map(|n| [n; 16])).unwrap();
    let rows = batch(&[("s", Arc::new(values)), ("u", Arc::new(uuids))]);
    let messages = FlightDataEncoderBuilder::new()
        .with_dictionary_handling(DictionaryHandling::Resend)
        .with_flight_descriptor(Some(path(&["t"])))
        .build(stream::iter([Ok(rows)]));
    let messages = Put(messages.map(Result::unwrap).collect().await);
    assert_eq!(messages.0.len(), 3, "schema, dictionary, batch");
    client.put(messages).await.unwrap();
    assert_eq!(
        database.text("SELECT s FROM t ORDER BY u").await,
        "b,null,a,b"
    );
}
