//! The server as a process: its command line, its start, its calls besides writes, and its end.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Int32Array};
use arrow::datatypes::{DataType, Schema};
use arrow_flight::{Criteria, FlightData, FlightDescriptor, SchemaResult, Ticket};
use futures_util::{StreamExt, stream};
use serde_json::json;
use tonic::{Code, Request};

use crate::support::{
    COPIES, COPYING, CallError, Cluster, Database, Pgflight, Put, batch, path, wait_until,
};

#[test]
fn help_shows_an_environment_variable_for_every_option() {
    let output = Pgflight::command()
        .args(["serve", "--help"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
    let help = String::from_utf8(output.stdout).unwrap();
    let options: Vec<&str> = help
        .lines()
        .filter(|line| line.trim_start().starts_with("--"))
        .collect();
    assert!(options.len() >= 8, "{help}");
    assert_eq!(
        help.matches("[env: PGFLIGHT_").count(),
        options.len(),
        "{help}"
    );
}

#[test]
fn bad_usage_exits_with_64_and_names_the_problem() {
    let cases: [(&[&str], &str); 12] = [
        (&[], "Usage"),
        (&["serve", "--listne", "x"], "--listne"),
        (&["serve", "--listen", "nonsense"], "nonsense"),
        (
            &["serve", "--postgres", "postgres://ana:s3cret@[::1"],
            "PostgreSQL connection text",
        ),
        (
            &[
                "serve",
                "--postgres",
                "jdbc:postgresql://ana:s3cret@h/db?ssl=true",
            ],
            "JDBC URL",
        ),
        (&["serve", "--log", "=,="], "--log"),
        (&["serve", "--listen", "0.0.0.0:0"], "--insecure"),
        (&["serve", "--listen", "[::]:0"], "--tls-cert"),
        (
            &[
                "serve",
                "--listen",
                "0.0.0.0:0",
                "--insecure",
                "--postgres",
                "jdbc:postgresql://h/db",
            ],
            "JDBC URL",
        ),
        (&["serve", "--tls-cert", "a.crt"], "--tls-key"),
        (
            &["serve", "--postgres", "host=h sslmode=verify-ca"],
            "sslrootcert",
        ),
        (&["serve", "--drain-timeout", "soon"], "soon"),
    ];
    for (arguments, part) in cases {
        let output = Pgflight::command().args(arguments).output().unwrap();
        let reported = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(64), "{arguments:?}: {reported}");
        assert!(reported.contains(part), "{arguments:?}: {reported}");
        assert!(!reported.contains("s3cret"), "{reported}");
    }
}

#[test]
fn an_unreachable_postgresql_fails_the_start() {
    let database_that_is_none = "postgres://ana:s3cret@127.0.0.1:1/trips";
    let output = Pgflight::command()
        .args([
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--postgres",
            database_that_is_none,
        ])
        .output()
        .unwrap();
    let reported = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{reported}");
    assert!(reported.contains("127.0.0.1:1"), "{reported}");
    assert!(!reported.contains("s3cret"), "{reported}");
}

#[tokio::test]
async fn a_taken_address_fails_the_start() {
    let database = Database::new().await;
    let server = Pgflight::start(&database);
    let output = Pgflight::command()
        .args([
            "serve",
            "--listen",
            &server.address,
            "--postgres",
            &database.url,
        ])
        .output()
        .unwrap();
    let reported = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{reported}");
    assert!(reported.contains(&server.address), "{reported}");
}

#[tokio::test]
async fn health_and_reflection_are_served() {
    let database = Database::new().await;
    let server = Pgflight::start(&database);
    let channel = server.client().await.channel;
    let mut health = tonic_health::pb::health_client::HealthClient::new(channel.clone());
    for service in ["", "arrow.flight.protocol.FlightService"] {
        let request = tonic_health::pb::HealthCheckRequest {
            service: service.to_owned(),
        };
        let answer = health.check(request).await.unwrap().into_inner();
        assert_eq!(answer.status, 1, "{service:?} is serving");
    }
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    let mut reflection = ServerReflectionClient::new(channel);
    let request = tonic_reflection::pb::v1::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut answers = reflection
        .server_reflection_info(stream::iter([request]))
        .await
        .unwrap()
        .into_inner();
    let services = format!("{:?}", answers.message().await.unwrap());
    assert!(
        services.contains("arrow.flight.protocol.FlightService"),
        "{services}"
    );
}

#[tokio::test]
async fn calls_that_are_not_served_are_named_in_the_error() {
    let database = Database::new().await;
    let server = Pgflight::start(&database);
    let flight = &mut server.client().await.flight;
    let check = |call: &str, status: tonic::Status| {
        assert_eq!(status.code(), Code::Unimplemented, "{status}");
        assert!(status.message().contains(call), "{status}");
    };
    check(
        "DoGet",
        flight.do_get(Ticket::default()).await.expect_err("DoGet"),
    );
    check(
        "PollFlightInfo",
        flight
            .poll_flight_info(FlightDescriptor::default())
            .await
            .expect_err("Poll"),
    );
    let nothing = || stream::empty::<FlightData>();
    check(
        "DoExchange",
        flight.do_exchange(nothing()).await.expect_err("DoExchange"),
    );
    check(
        "Handshake",
        flight
            .handshake(Request::new(stream::empty()))
            .await
            .expect_err("Handshake"),
    );
    let action = arrow_flight::Action {
        r#type: "dance".into(),
        body: Default::default(),
    };
    check(
        "dance",
        flight.do_action(action).await.expect_err("unknown action"),
    );
    server.assert_unharmed("all of it").await;
}

#[tokio::test]
async fn tables_are_listed_and_their_schema_takes_data_back() {
    let database = Database::new().await;
    database
        .execute(
            "CREATE TABLE a (n int NOT NULL, s text, d numeric(10,2), ts timestamptz, tags text[]);
             CREATE TABLE b (n int); CREATE TABLE bare (); CREATE VIEW v AS SELECT 1;
             CREATE TABLE parts (n int) PARTITION BY RANGE (n); CREATE TABLE part PARTITION OF parts DEFAULT",
        )
        .await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let flights: Vec<_> = client
        .flight
        .list_flights(Criteria::default())
        .await
        .unwrap()
        .into_inner()
        .map(Result::unwrap)
        .collect()
        .await;
    let names: Vec<String> = flights
        .iter()
        .map(|flight| flight.flight_descriptor.clone().unwrap().path.join("."))
        .collect();
    assert_eq!(
        names,
        ["public.a", "public.b", "public.bare", "public.parts"]
    );

    let SchemaResult { schema } = client
        .flight
        .get_schema(path(&["a"]))
        .await
        .unwrap()
        .into_inner();
    let schema = Schema::try_from(SchemaResult { schema }).unwrap();
    assert_eq!(schema.field(0).data_type(), &DataType::Int32);
    assert!(!schema.field(0).is_nullable());
    assert_eq!(schema.field(2).data_type(), &DataType::Decimal128(10, 2));
    let info = client
        .flight
        .get_flight_info(path(&["public", "a"]))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(Schema::try_from(info).unwrap(), schema);
    let empty = arrow::array::RecordBatch::new_empty(Arc::new(schema));
    client.put(Put::bare(path(&["a"]), &[empty])).await.unwrap();

    let missing = client
        .flight
        .get_schema(path(&["nowhere"]))
        .await
        .expect_err("no such table");
    assert_eq!(missing.code(), Code::NotFound);
}

#[tokio::test]
async fn sigterm_rejects_new_writes_and_finishes_running_ones() {
    let database = Database::new().await;
    database.execute("CREATE TABLE t (n int)").await;
    let mut server = Pgflight::start(&database);
    let mut client = server.client().await;
    let rows = || batch(&[("n", Arc::new(Int32Array::from(vec![1])) as ArrayRef)]);

    // A stream that goes on until the test ends it.
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let messages = stream::iter(Put::bare(path(&["t"]), &[rows()]).0);
    let messages = messages.chain(stream::once(ended).filter_map(|_| async { None }));
    let mut running = server.client().await;
    let running = tokio::spawn(async move { running.put_stream(messages).await });
    wait_until(async || database.text(COPIES).await == "1", "the COPY runs").await;

    server.signal("TERM");
    let refused = loop {
        // Until the signal has arrived, the server accepts new writes.
        if let Err(status) = client.put(Put::bare(path(&["t"]), &[rows()])).await {
            break CallError::from(status);
        }
    };
    assert_eq!(
        (refused.code, refused.details["retryable"].as_str()),
        (Code::Unavailable, "true")
    );
    let before = database
        .text("SELECT count(*) FROM t")
        .await
        .parse::<u32>()
        .unwrap();
    end.send(()).unwrap();
    assert_eq!(
        running.await.unwrap().unwrap()["rowCount"],
        "1",
        "the running stream ended well"
    );
    assert_eq!(server.wait(Duration::from_secs(10)).code(), Some(0));
    assert_eq!(
        database.text("SELECT count(*) FROM t").await,
        (before + 1).to_string()
    );
}

#[tokio::test]
async fn a_stream_beyond_the_drain_timeout_is_rolled_back() {
    let database = Database::new().await;
    database.execute("CREATE TABLE t (n int)").await;
    let mut server = Pgflight::start_with(&database, &["--drain-timeout", "200ms"]);
    let rows = batch(&[("n", Arc::new(Int32Array::from(vec![1])) as ArrayRef)]);
    let messages = stream::iter(Put::bare(path(&["t"]), &[rows]).0).chain(stream::pending());
    let mut client = server.client().await;
    let running = tokio::spawn(async move { client.put_stream(messages).await });
    wait_until(async || database.text(COPIES).await == "1", "the COPY runs").await;
    server.signal("TERM");
    let status = running.await.unwrap().expect_err("ended by the server");
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    assert_eq!(server.wait(Duration::from_secs(10)).code(), Some(0));
    assert_eq!(database.text("SELECT count(*) FROM t").await, "0");
}

#[tokio::test]
async fn writes_work_again_after_an_outage_of_postgresql() {
    let cluster = Cluster::start();
    let database = Database::on(&cluster.url).await;
    database.execute("CREATE TABLE t (n int)").await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let rows = || batch(&[("n", Arc::new(Int32Array::from(vec![1])) as ArrayRef)]);
    client
        .put(Put::bare(path(&["t"]), &[rows()]))
        .await
        .unwrap();

    // All sessions end, as in a restart or failover, so the pool's connections are broken.
    database
        .execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pgflight' AND datname = current_database()")
        .await;
    client
        .put(Put::bare(path(&["t"]), &[rows()]))
        .await
        .unwrap();
    assert_eq!(database.text("SELECT count(*) FROM t").await, "2");

    cluster.stop();
    let reported = CallError::from(
        client
            .put(Put::bare(path(&["t"]), &[rows()]))
            .await
            .expect_err("PostgreSQL is gone"),
    );
    assert_eq!(reported.code, Code::Unavailable, "{}", reported.message);
    assert_eq!(reported.details["retryable"], "true");
    let reported = CallError::from(client.status("w").await.expect_err("PostgreSQL is gone"));
    assert!(
        reported
            .message
            .contains("could not connect to PostgreSQL at 127.0.0.1:"),
        "{}",
        reported.message
    );
}

#[tokio::test]
async fn a_killed_backend_makes_the_stream_retryable() {
    let database = Database::new().await;
    database.execute("CREATE TABLE t (n int)").await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let rows = batch(&[("n", Arc::new(Int32Array::from(vec![1; 1000])) as ArrayRef)]);
    let mut messages = Put::bare(path(&["t"]), &vec![rows; 200]).0;
    let rest = messages.split_off(100);
    let (kill, killed) = tokio::sync::oneshot::channel::<()>();
    let rest = stream::once(killed).flat_map(move |_| stream::iter(rest.clone()));
    let messages = stream::iter(messages).chain(rest);
    let running = tokio::spawn(async move { client.put_stream(messages).await });
    wait_until(async || database.text(COPIES).await == "1", "the COPY runs").await;
    database
        .execute(&format!("SELECT pg_terminate_backend(pid) FROM {COPYING}"))
        .await;
    // The server may already have ended the stream.
    let _ = kill.send(());
    let reported = CallError::from(running.await.unwrap().expect_err("the backend is gone"));
    assert_eq!(
        (reported.code, reported.details["retryable"].as_str()),
        (Code::Unavailable, "true"),
        "{}",
        reported.message
    );
    assert_eq!(
        reported.details["sqlstate"], "57P01",
        "{}",
        reported.message
    );
    assert_eq!(database.text("SELECT count(*) FROM t").await, "0");
}

#[tokio::test]
async fn info_tells_version_and_limits() {
    let database = Database::new().await;
    let server = Pgflight::start_with(&database, &["--max-message-size", "1MiB"]);
    let mut client = server.client().await;
    let info = client.act("info", "InfoRequest", json!({})).await.unwrap();
    assert_eq!(
        (info["version"].as_str(), info["maxMessageBytes"].as_str()),
        (Some(env!("CARGO_PKG_VERSION")), Some("1048576"))
    );
}
