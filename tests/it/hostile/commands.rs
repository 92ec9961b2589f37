//! Hostile commands: names, types, ids and options that try to reach beyond their scope.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Int32Array, RecordBatch};
use arrow_flight::{FlightData, FlightDescriptor};
use bytes::Bytes;
use prost::Message;
use serde_json::{Value, json};
use tonic::Code;

use crate::support::{CallError, Database, Pgflight, Put, attempt, batch, path, write};

fn rows() -> RecordBatch {
    batch(&[("n", Arc::new(Int32Array::from(vec![1])) as ArrayRef)])
}

#[tokio::test]
async fn a_name_is_a_name_and_never_sql() {
    let database = Database::new().await;
    database
        .execute("CREATE TABLE t (n int); CREATE TABLE y (n int)")
        .await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let long = "x".repeat(64);
    let append = |table: &str| write(json!({"table": table, "append": {}}));
    let cases: Vec<(&str, FlightDescriptor, Code)> = vec![
        (
            "a statement behind it, in a path",
            path(&["x; drop table y"]),
            Code::NotFound,
        ),
        (
            "a statement behind it",
            append("x; drop table y"),
            Code::NotFound,
        ),
        ("a quote", path(&["x\"; drop table y; --"]), Code::NotFound),
        (
            "a quote that is not closed",
            append("\"x; drop table y"),
            Code::InvalidArgument,
        ),
        (
            "a quote in the middle",
            append("x\"--"),
            Code::InvalidArgument,
        ),
        ("four parts", append("a.b.c.d"), Code::InvalidArgument),
        (
            "four parts, in a path",
            path(&["a", "b", "c", "d"]),
            Code::InvalidArgument,
        ),
        ("no parts", path(&[]), Code::InvalidArgument),
        ("empty", append(""), Code::InvalidArgument),
        ("empty, in a path", path(&[""]), Code::InvalidArgument),
        ("an empty part", append("public."), Code::InvalidArgument),
        ("too long", append(&long), Code::InvalidArgument),
        (
            "too long, in a path",
            path(&["public", &long]),
            Code::InvalidArgument,
        ),
        ("NUL", path(&["t\0"]), Code::InvalidArgument),
        ("a line break", path(&["t\n-- "]), Code::NotFound),
    ];
    for (what, descriptor, code) in cases {
        let status = client
            .put(Put::whole(descriptor, &[rows()]))
            .await
            .expect_err(what);
        assert_eq!(status.code(), code, "{what}: {status}");
    }
    let there = "SELECT count(*) FROM t UNION ALL SELECT count(*) FROM y";
    assert_eq!(database.text(there).await, "0,0");
    server.assert_unharmed("all of it").await;
}

#[tokio::test]
async fn unknown_oversized_and_sql_options_are_rejected() {
    let database = Database::new().await;
    database.execute("CREATE TABLE t (n int)").await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let create = |ty: &str| json!({"table": "made", "create": {}, "columnTypes": {"n": ty}});
    let append = |name: &str, value: Value| {
        let mut spec = json!({"table": "t", "append": {}});
        spec[name] = value;
        spec
    };
    let large = "x".repeat(1 << 20);
    let cases: Vec<(&str, Value)> = vec![
        (
            "a type with a statement behind it",
            create("int); DROP TABLE t; --"),
        ),
        ("a type with a default", create("int DEFAULT pg_sleep(60)")),
        (
            "a type with a constraint",
            create("int CHECK (n > pg_sleep(60))"),
        ),
        ("a type in a comment", create("int /* x")),
        ("a type of a million letters", create(&large)),
        (
            "an option that is not known",
            append("shoe_size", json!(44)),
        ),
        ("an option of another type", append("keys", json!("n"))),
        (
            "a value that is not known",
            append("publish", json!("PUBLISH_LOUDLY")),
        ),
        ("a large option that is not known", append(&large, json!(1))),
        ("a large table", append("table", json!(large))),
        (
            "a large key",
            json!({"table": "t", "upsert": {"keys": [large]}}),
        ),
        (
            "a key that is SQL",
            json!({"table": "t", "upsert": {"keys": ["n); DROP TABLE t; --"]}}),
        ),
        ("no mode", json!({"table": "t"})),
        ("no table", json!({"append": {}})),
    ];
    for (what, spec) in cases {
        let put = client
            .put(Put::whole(write(spec.clone()), &[rows()]))
            .await
            .expect_err(what);
        let begun = client.begin(what, spec, &rows()).await.expect_err(what);
        for status in [put, begun] {
            assert_eq!(status.code(), Code::InvalidArgument, "{what}: {status}");
            assert!(
                status.message().len() < 4096,
                "{what}: {} bytes",
                status.message().len()
            );
        }
    }
    assert_eq!(
        database
            .text("SELECT to_regclass('made') IS NULL AND to_regclass('t') IS NOT NULL")
            .await,
        "true"
    );
    server.assert_unharmed("all of it").await;
}

#[tokio::test]
async fn invalid_ids_are_rejected_and_forged_ids_are_unknown() {
    let database = Database::new().await;
    database.execute("CREATE TABLE t (n int)").await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let spec = || json!({"table": "t", "append": {"publish": "PUBLISH_STAGED"}});
    client.begin("w", spec(), &rows()).await.unwrap();
    let long = "w".repeat(129);
    for (what, id) in [
        ("empty", ""),
        ("too long", long.as_str()),
        ("with NUL", "w\0"),
        ("the server's own", "stream:1"),
    ] {
        let begun = client.begin(id, spec(), &rows()).await.expect_err(what);
        assert_eq!(begun.code(), Code::InvalidArgument, "{what}: {begun}");
    }
    let forged = client
        .put(Put::whole(attempt("w'; --", 0, "a"), &[rows()]))
        .await
        .expect_err("forged");
    assert_eq!(forged.code(), Code::NotFound, "{forged}");
    let mut number = async |partition: Value| {
        let fields = json!({"@type": "type.googleapis.com/pgflight.v1.AttemptCommand",
            "writeId": "w", "partitionId": partition, "attemptId": format!("a{partition}")});
        let command = FlightDescriptor::new_cmd(serde_json::to_vec(&fields).unwrap());
        client.put(Put::whole(command, &[rows()])).await
    };
    for none in [
        json!(-1),
        json!(1_u64 << 32),
        json!(1.5),
        json!("x"),
        json!(null),
    ] {
        match number(none.clone()).await {
            // The JSON form leaves default values out.
            Ok(receipt) => assert_eq!((&none, receipt.get("partitionId")), (&json!(null), None)),
            Err(status) => assert_eq!(status.code(), Code::InvalidArgument, "{none}: {status}"),
        }
    }
    let largest = number(json!(u32::MAX)).await.unwrap();
    // A receipt that differs from the ledger, or that is unknown, publishes nothing.
    let forge = |field: &str, value: Value| {
        let mut receipt = largest.clone();
        receipt[field] = value;
        receipt
    };
    for (receipt, code) in [
        (forge("rowCount", json!("2")), Code::FailedPrecondition),
        (forge("partitionId", json!(0)), Code::FailedPrecondition),
        (forge("attemptId", json!("b")), Code::FailedPrecondition),
        (forge("writeId", json!("v")), Code::InvalidArgument),
    ] {
        let status = client
            .commit("w", std::slice::from_ref(&receipt))
            .await
            .expect_err("forged");
        assert_eq!(status.code(), code, "{receipt}: {status}");
    }
    let twice = client
        .commit("w", &[largest.clone(), largest.clone()])
        .await
        .expect_err("twice");
    assert_eq!(twice.code(), Code::FailedPrecondition, "{twice}");
    client.commit("w", &[largest]).await.unwrap();
    assert_eq!(database.text("SELECT count(*) FROM t").await, "1");
    server.assert_unharmed("all of it").await;
}

#[tokio::test]
async fn actions_with_a_mebibyte_of_garbage_are_rejected() {
    let database = Database::new().await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let nested = format!("{}{}", "[".repeat(500_000), "]".repeat(500_000));
    let bodies = [
        ("noise", Bytes::from(vec![b'x'; 1 << 20])),
        ("zeros", Bytes::from(vec![0; 1 << 20])),
        ("braces", Bytes::from(vec![b'{'; 1 << 20])),
        (
            "nested JSON",
            Bytes::from(format!("{{\"@type\": {nested}}}")),
        ),
    ];
    for (what, body) in bodies {
        for action in ["info", "begin", "commit", "abort", "status", "plan"] {
            let status = client
                .act_bytes(action, body.clone())
                .await
                .expect_err(what);
            let reported = CallError::from(status);
            assert_eq!(
                reported.code,
                Code::InvalidArgument,
                "{action} {what}: {}",
                reported.message
            );
            assert!(reported.message.len() < 4096, "{action} {what}");
        }
    }
    server.assert_unharmed("all of it").await;
}

/// Returns a message in protobuf.
fn any(name: &str, value: Vec<u8>) -> Bytes {
    let type_url = format!("type.googleapis.com/pgflight.v1.{name}");
    prost_types::Any { type_url, value }.encode_to_vec().into()
}

/// Returns a message in JSON with an unknown field, which has `byte_count` bytes of values.
fn values(name: &str, value: &str, byte_count: usize) -> Bytes {
    let values = vec![value; byte_count / (value.len() + 1)].join(",");
    format!("{{\"@type\":\"type.googleapis.com/pgflight.v1.{name}\",\"x\":[{values}]}}").into()
}

#[tokio::test]
async fn a_command_takes_little_more_memory_than_its_bytes() {
    const MOST: usize = 60 << 20;
    let database = Database::new().await;
    database.execute("CREATE TABLE t (n int)").await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let before = server.memory("VmHWM");
    // A repeated field of empty messages or texts: two bytes each.
    let receipts = [&b"\x0a\x01w"[..], &b"\x12\x00".repeat(MOST / 4)].concat();
    let keys = b"\x42\x00".repeat(MOST / 4);
    let mut spec = vec![10];
    prost::encoding::encode_varint(keys.len() as u64, &mut spec);
    spec.extend(keys);
    let many = format!("[{}]", vec!["{}"; 1_000_000].join(","));
    let many = format!(
        "{{\"@type\":\"type.googleapis.com/pgflight.v1.CommitRequest\",\"writeId\":\"w\",\"receipts\":{many}}}"
    );
    for (what, action, body) in [
        ("numbers", "info", values("InfoRequest", "1", MOST)),
        ("lists", "commit", values("CommitRequest", "[]", MOST)),
        ("objects", "abort", values("AbortRequest", "{}", MOST)),
        ("a long reason", "abort", vec![b'{'; MOST].into()),
        ("receipts", "commit", any("CommitRequest", receipts)),
        ("receipts in JSON", "commit", many.into()),
        ("keys", "plan", any("PlanRequest", spec.clone())),
        ("keys to begin", "begin", any("BeginRequest", spec)),
    ] {
        let status = client.act_bytes(action, body).await.expect_err(what);
        assert_eq!(status.code(), Code::InvalidArgument, "{what}: {status}");
        assert!(status.message().len() < 4096, "{what}");
    }
    let empty = || FlightDescriptor::new_path(vec![String::new(); MOST / 4]);
    let command = FlightDescriptor::new_cmd(values("WriteCommand", "1", MOST));
    let [schema, row] = <[FlightData; 2]>::try_from(Put::bare(path(&["t"]), &[rows()]).0).unwrap();
    let named = |message: &FlightData, descriptor| FlightData {
        flight_descriptor: Some(descriptor),
        ..message.clone()
    };
    for (what, messages) in [
        ("a command", vec![named(&schema, command)]),
        ("a path", vec![named(&schema, empty())]),
        ("a path behind", vec![schema.clone(), named(&row, empty())]),
    ] {
        let status = client.put(Put(messages)).await.expect_err(what);
        assert_eq!(status.code(), Code::InvalidArgument, "{what}: {status}");
    }
    for status in [
        client.flight.get_schema(empty()).await.err(),
        client.flight.get_flight_info(empty()).await.err(),
    ] {
        assert_eq!(status.unwrap().code(), Code::InvalidArgument);
    }
    let peak = server.memory("VmHWM") - before;
    assert!(peak < 320 << 20, "{} MiB", peak >> 20);
    server.assert_unharmed("all of it").await;
}

#[tokio::test]
async fn a_spec_larger_than_any_table_is_rejected() {
    let database = Database::new().await;
    database.execute("CREATE TABLE t (n int)").await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let names: Vec<String> = (0..1601).map(|n| format!("c{n}")).collect();
    let of_all = |value: Value| {
        names
            .iter()
            .map(|name| (name.clone(), value.clone()))
            .collect()
    };
    let of_all = |value: Value| Value::Object(of_all(value));
    let long = "x".repeat(4097);
    let cases = [
        json!({"table": "t", "upsert": {"keys": names}}),
        json!({"table": "t", "create": {"newTable": {"primaryKey": names}}}),
        json!({"table": "t", "create": {}, "columnTypes": of_all(json!("int"))}),
        json!({"table": "t", "append": {}, "conversions": of_all(json!({}))}),
        json!({"table": "t", "append": {}, "conversions": {"n": {"zone": long}}}),
        json!({"table": "t", "append": {}, "conversions": {&long: {}}}),
        json!({"table": "t", "create": {}, "columnTypes": {"n": long}}),
        json!({"table": "t", "create": {"newTable": {"options": long}}}),
    ];
    for spec in cases {
        let status = client.begin("w", spec, &rows()).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status}");
        assert!(status.message().contains("more than the limit"), "{status}");
    }
}

#[tokio::test]
async fn a_plan_of_many_columns_takes_little_time() {
    const COUNT: usize = 1500;
    let names = |first: char| -> Vec<String> {
        (0..COUNT)
            .map(|n| format!("{first}{n:04}{}", "x".repeat(50)))
            .collect()
    };
    let (known, unknown) = (names('c'), names('d'));
    let cased: Vec<String> = known.iter().map(|name| name.to_uppercase()).collect();
    let database = Database::new().await;
    let columns: Vec<String> = known.iter().map(|name| format!("{name} int")).collect();
    database
        .execute(&format!("CREATE TABLE t ({})", columns.join(", ")))
        .await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let none = Arc::new(Int32Array::from(vec![1])) as ArrayRef;
    for (what, names, problem) in [
        ("known", &known, ""),
        ("unknown", &unknown, "drop it from the data"),
        ("in capitals", &cased, "as case matters"),
    ] {
        for evolution in ["SCHEMA_EVOLUTION_REFUSE", "SCHEMA_EVOLUTION_IGNORE"] {
            let columns: Vec<_> = names.iter().map(|n| (n.as_str(), none.clone())).collect();
            let spec = json!({"table": "t", "append": {"schemaEvolution": evolution}});
            let before = server.processor_time();
            let plan = client.plan(&columns, spec).await.unwrap();
            let took = server.processor_time() - before;
            let planned = plan["columns"].as_array().unwrap();
            assert_eq!(planned.len(), COUNT, "{what}");
            let is_left_out = what == "unknown" && evolution.ends_with("IGNORE");
            for column in [&planned[0], &planned[COUNT - 1]] {
                let found = column["problem"].as_str().unwrap_or_default();
                let expected = if is_left_out { "" } else { problem };
                assert!(found.contains(expected), "{what}: {column}");
                assert_eq!(found.is_empty(), expected.is_empty(), "{what}: {column}");
            }
            assert!(
                took < Duration::from_secs(1),
                "{what} {evolution}: {took:?}"
            );
        }
    }
}
