//! The condition of an overwrite means what PostgreSQL means by the same text.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use serde_json::json;

use crate::modes::keyed::ints;
use crate::support::{CallError, Database, Pgflight, Put, batch, write};

const TABLE: &str = "DROP TABLE IF EXISTS t;
    CREATE TABLE t (id int, \"Tag\" text, code char(4), name varchar(3), fare numeric(8,2), ratio real, wide float8,
                    big bigint, small smallint, ok boolean, day date, at timestamp, instant timestamptz, clock time,
                    mood mood, span positive, key uuid, bits bytea, host inet);
    INSERT INTO t VALUES
      (1, 'a', 'a', 'abc', 1.10, 0.1, 0.1, 5000000000, -1, true, '2026-01-31', '2026-01-31 00:00',
       '2026-01-31 00:00Z', '10:00', 'sad', 1, '00000000-0000-0000-0000-000000000001', '\\x00', '10.0.0.1'),
      (2, 'it''s \\', 'ab', 'b', 2.20, 'NaN', 'Infinity', 2, 2, false, 'infinity', '2026-02-01 12:00',
       '2026-02-01 12:00Z', '23:59:59.5', 'happy', 2, '00000000-0000-0000-0000-000000000002', '\\xff', '10.0.0.2'),
      (3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)";

#[tokio::test]
async fn a_condition_holds_for_the_rows_for_which_sql_says_so() {
    let database = Database::new().await;
    database
        .execute("CREATE TYPE mood AS ENUM ('sad', 'happy'); CREATE DOMAIN positive AS int CHECK (VALUE > 0)")
        .await;
    // None of these may change what a condition means.
    database
        .execute(&format!(
            "ALTER DATABASE {name} SET TimeZone = 'Asia/Tokyo'; ALTER DATABASE {name} SET DateStyle = 'SQL, DMY';
             ALTER DATABASE {name} SET standard_conforming_strings = off;
             ALTER DATABASE {name} SET transform_null_equals = on",
            name = database.url.rsplit_once('/').unwrap().1.split('?').next().unwrap(),
        ))
        .await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    // The data has all columns and no rows.
    let micros = TimeUnit::Microsecond;
    let types = [
        ("id", DataType::Int32),
        ("Tag", DataType::Utf8),
        ("code", DataType::Utf8),
        ("name", DataType::Utf8),
        ("fare", DataType::Decimal128(8, 2)),
        ("ratio", DataType::Float32),
        ("wide", DataType::Float64),
        ("big", DataType::Int64),
        ("small", DataType::Int16),
        ("ok", DataType::Boolean),
        ("day", DataType::Date32),
        ("at", DataType::Timestamp(micros, None)),
        ("instant", DataType::Timestamp(micros, Some("UTC".into()))),
        ("clock", DataType::Time64(micros)),
        ("mood", DataType::Utf8),
        ("span", DataType::Int32),
        ("key", DataType::Utf8),
        ("bits", DataType::Binary),
        ("host", DataType::Utf8),
    ];
    let fields = types.map(|(name, data_type)| Field::new(name, data_type, true));
    let none = RecordBatch::new_empty(Arc::new(Schema::new(fields.to_vec())));
    for condition in [
        "id = 1 OR id = 3",
        "NOT (id = 1)",
        "id <> 1",
        "id BETWEEN 2 AND 3",
        "id NOT BETWEEN 2 AND 3",
        "id IN (1, 3)",
        "id NOT IN (1, 2)",
        "id > -1 AND NOT (id = 2 OR \"Tag\" IS NULL)",
        "\"Tag\" IS NULL",
        "\"Tag\" IS NOT NULL",
        "\"Tag\" >= 'a'",
        "NOT \"Tag\" = 'a'",
        "code = 'a'",
        "code = 'a   '",
        "name = 'abcd'",
        "name = text 'abc' OR name < 'b'",
        "fare = 1.1",
        "fare >= 1.104",
        "fare IN (2.2, 1.099)",
        "ratio > 1",
        "wide = 'Infinity' OR wide <= 0.1",
        "big = 5000000000",
        "small < 0",
        "ok = true",
        "ok <> FALSE",
        "day = DATE '2026-01-31'",
        "day > '2026-01-31'",
        "day = 'infinity'",
        "at < '2026-02-01 12:00:00.5'",
        "at = '2026-01-31'",
        "instant = '2026-01-31 09:00:00+09'",
        "instant BETWEEN '2026-02-01T12:00:00Z' AND TIMESTAMPTZ '2026-02-01 12:00Z'",
        "clock > '12:00'",
        "mood = 'sad'",
        "mood > 'sad'",
        "span = 2",
        "span < 0",
        "key = '00000000-0000-0000-0000-000000000002'",
        "bits = '\\xff'",
        "host = '10.0.0.1'::inet",
    ] {
        database.execute(TABLE).await;
        let sql = condition
            .replace("'\\xff'", "E'\\\\xff'")
            .replace("ratio > 1", "ratio > 1::real");
        let sql = format!(
            "SELECT string_agg(id::text, '+' ORDER BY id) FROM t WHERE NOT ({sql}) IS NOT FALSE OR ({sql}) IS NULL"
        );
        let expected = database.text(&sql).await;
        let spec = json!({"table": "t", "overwrite": {"replaceWhere": condition}});
        let put = Put::whole(write(spec), std::slice::from_ref(&none));
        let written = client.put(put).await;
        written.unwrap_or_else(|status| panic!("{condition}: {status}"));
        let left = "SELECT string_agg(id::text, '+' ORDER BY id) FROM t";
        assert_eq!(database.text(left).await, expected, "{condition}");
    }
    for (condition, part) in [
        ("id = 1.5", "not valid for the type of its column"),
        ("id = 99999999999", "not valid for the type of its column"),
        ("big > 1e3", "not valid for the type of its column"),
        ("mood = 'glad'", "not valid for the type of its column"),
        ("\"Tag\" = 1", "another type than its column"),
        ("ok = 1", "another type than its column"),
        ("day = 20260131", "another type than its column"),
        (
            "day = TIMESTAMP '2026-01-31'",
            "another type than its column",
        ),
        ("day = '2026-01-31 12:00'", "no date in ISO 8601"),
        ("day = '31/01/2026'", "no date in ISO 8601"),
        ("day = 'today'", "no date in ISO 8601"),
        ("at = '2026-01-31 12:00Z'", "no timestamp without a zone"),
        ("instant = '2026-01-31 12:00'", "no timestamp with a zone"),
        ("instant > 'now'", "no timestamp with a zone"),
        ("clock = 'now'", "no time in ISO 8601"),
    ] {
        let spec = json!({"table": "t", "overwrite": {"replaceWhere": condition}});
        let put = Put::whole(write(spec), std::slice::from_ref(&none));
        let error = CallError::from(client.put(put).await.expect_err(condition));
        assert!(
            error.message.contains(part),
            "{condition}: {}",
            error.message
        );
        assert_eq!(error.reason, "SCHEMA_MISMATCH", "{condition}");
    }
}

#[tokio::test]
async fn a_column_whose_values_depend_on_settings_is_rejected() {
    let database = Database::new().await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    for sql_type in [
        "interval",
        "money",
        "json",
        "jsonb",
        "text[]",
        "tstzrange",
        "point",
        "oid",
    ] {
        database
            .execute(&format!(
                "DROP TABLE IF EXISTS t; CREATE TABLE t (id int, c {sql_type})"
            ))
            .await;
        let spec = json!({"table": "t", "overwrite": {"replaceWhere": "c = '1'"}});
        let data = batch(&[
            ("id", ints(&[])),
            (
                "c",
                Arc::new(StringArray::from(Vec::<&str>::new())) as ArrayRef,
            ),
        ]);
        let put = Put::whole(write(spec), std::slice::from_ref(&data));
        let error = CallError::from(client.put(put).await.expect_err(sql_type));
        assert_eq!(
            error.reason, "SCHEMA_MISMATCH",
            "{sql_type}: {}",
            error.message
        );
        // A type to which Arrow's text does not go is rejected before.
        let is_by_type = error
            .message
            .contains("cannot compare the column, by its type");
        let is_before = error.message.contains("column c");
        assert!(is_by_type || is_before, "{sql_type}: {}", error.message);
    }
}
