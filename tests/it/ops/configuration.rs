//! The configuration file: several databases behind one server, and problems reported before the start.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, RecordBatch};
use arrow_flight::{Criteria, FlightDescriptor};
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use tonic::Code;

use crate::support::{
    COPIES, CallError, Client, Database, File, Pgflight, Put, metric, path, wait_until, write,
};

fn rows(values: &[i32]) -> RecordBatch {
    let values = Arc::new(Int32Array::from(values.to_vec())) as ArrayRef;
    RecordBatch::try_from_iter([("n", values)]).unwrap()
}

async fn found(database: &Database) -> String {
    database.text("SELECT n FROM t ORDER BY n").await
}

/// Two databases with a table `t` each, the first the default of the file.
async fn two() -> (Database, Database, File) {
    let (first, second) = (Database::new().await, Database::new().await);
    for database in [&first, &second] {
        database.execute("CREATE TABLE t (n int NOT NULL)").await;
    }
    let file = File::new(&format!(
        "[server]\ndefault_target = 'first'\n[targets.first]\npostgres = '{}'\n[targets.second]\n\
         postgres = '{}'\nmax_copies = 2\n",
        first.url, second.url
    ));
    (first, second, file)
}

async fn refused(client: &mut Client, descriptor: FlightDescriptor) -> CallError {
    let put = Put::whole(descriptor, &[rows(&[1])]);
    CallError::from(client.put(put).await.expect_err("refused"))
}

#[tokio::test]
async fn rows_go_to_the_named_target_or_to_the_default() {
    let (first, second, file) = two().await;
    let server = Pgflight::start_with_file(&file.0, &[]);
    let mut client = server.client().await;
    let spec = |target: &str| json!({"target": target, "table": "t", "append": {}});
    for (number, descriptor) in [
        path(&["t"]),
        path(&["public", "t"]),
        path(&["second", "public", "t"]),
        write(spec("")),
        write(spec("second")),
        path(&["first", "public", "t"]),
        path(&["second", "", "t"]),
    ]
    .into_iter()
    .enumerate()
    {
        let rows = rows(&[i32::try_from(number).unwrap()]);
        client.put(Put::whole(descriptor, &[rows])).await.unwrap();
    }
    assert_eq!(
        (found(&first).await, found(&second).await),
        ("0,1,3,5".into(), "2,4,6".into())
    );

    // Each call of a write of many partitions names the target.
    let schema = rows(&[]);
    client.begin("w", spec("second"), &schema).await.unwrap();
    let attempt = json!({"@type": "type.googleapis.com/pgflight.v1.AttemptCommand",
        "writeId": "w", "attemptId": "a", "target": "second"});
    let attempt = FlightDescriptor::new_cmd(attempt.to_string());
    let receipt = client
        .put(Put::whole(attempt, &[rows(&[7])]))
        .await
        .unwrap();
    let fields = |target: &str| json!({"writeId": "w", "target": target});
    let elsewhere = client.act("status", "StatusRequest", fields("")).await;
    assert_eq!(
        elsewhere.expect_err("another ledger").code(),
        Code::NotFound
    );
    let mut commit = fields("second");
    commit["receipts"] = json!([receipt]);
    client.act("commit", "CommitRequest", commit).await.unwrap();
    let status: Value = client
        .act("status", "StatusRequest", fields("second"))
        .await
        .unwrap();
    assert_eq!(status["state"], "WRITE_STATE_COMMITTED");
    let status = client
        .act("abort", "AbortRequest", fields("second"))
        .await
        .unwrap();
    assert_eq!(status["state"], "WRITE_STATE_COMMITTED");
    assert_eq!(found(&second).await, "2,4,6,7");
}

#[tokio::test]
async fn an_unknown_target_is_rejected_with_the_known_names() {
    let (_first, _second, file) = two().await;
    let server = Pgflight::start_with_file(&file.0, &[]);
    let mut client = server.client().await;
    let spec = json!({"target": "third", "table": "t", "append": {}});
    for descriptor in [path(&["third", "public", "t"]), write(spec)] {
        let reported = refused(&mut client, descriptor).await;
        assert_eq!(reported.code, Code::NotFound);
        assert!(
            reported
                .message
                .contains("\"third\". Hint: name one of first, second"),
            "{}",
            reported.message
        );
    }
    let text = std::fs::read_to_string(&file.0).unwrap();
    let without_default = File::new(&text.replace("default_target = 'first'", ""));
    let server = Pgflight::start_with_file(&without_default.0, &[]);
    let reported = refused(&mut server.client().await, path(&["t"])).await;
    assert_eq!(reported.code, Code::InvalidArgument);
    assert!(
        reported.message.contains("name one of first, second"),
        "{}",
        reported.message
    );
}

#[tokio::test]
async fn tables_are_listed_by_target() {
    let (_first, _second, file) = two().await;
    let server = Pgflight::start_with_file(&file.0, &[]);
    let mut client = server.client().await;
    for (asked, expected) in [
        ("", vec!["first.public.t", "second.public.t"]),
        ("second", vec!["second.public.t"]),
    ] {
        let expression = asked.to_owned().into();
        let flights = client.flight.list_flights(Criteria { expression }).await;
        let flights: Vec<_> = flights
            .unwrap()
            .into_inner()
            .map(Result::unwrap)
            .collect()
            .await;
        let paths = flights
            .iter()
            .map(|flight| flight.flight_descriptor.clone().unwrap().path);
        let names: Vec<String> = paths.map(|path| path.join(".")).collect();
        assert_eq!(names, expected);
    }
}

#[tokio::test]
async fn the_server_starts_if_one_target_can_be_reached() {
    let database = Database::new().await;
    database.execute("CREATE TABLE t (n int)").await;
    let gone = "[targets.gone]\npostgres = 'postgres://u:s3cret@127.0.0.1:1/x'\n";
    let file = File::new(&format!(
        "{gone}[targets.here]\npostgres = '{}'\n",
        database.url
    ));
    let server = Pgflight::start_with_file(&file.0, &[]);
    let mut client = server.client().await;
    let put = Put::whole(path(&["here", "public", "t"]), &[rows(&[1])]);
    client.put(put).await.unwrap();
    let reported = refused(&mut client, path(&["gone", "public", "t"])).await;
    assert_eq!(reported.code, Code::Unavailable);
    assert!(
        reported.message.contains("127.0.0.1:1"),
        "{}",
        reported.message
    );

    let file = File::new(gone);
    let mut command = Pgflight::command();
    command
        .args(["serve", "--listen", "127.0.0.1:0", "--config"])
        .arg(&file.0);
    let output = command.output().unwrap();
    let reported = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{reported}");
    assert!(
        reported.contains("127.0.0.1:1") && !reported.contains("s3cret"),
        "{reported}"
    );
}

#[tokio::test]
async fn the_other_commands_take_a_target_of_the_file() {
    let (_first, second, file) = two().await;
    let run = |arguments: &[&str]| {
        let mut command = Pgflight::command();
        let output = command
            .args(arguments)
            .arg("--config")
            .arg(&file.0)
            .output()
            .unwrap();
        let reported = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(reported).unwrap())
    };
    assert_eq!(run(&["migrate", "--target", "second"]).0, Some(0));
    let there = "SELECT count(*) FROM pg_namespace WHERE nspname = 'pgflight'";
    assert_eq!(second.text(there).await, "1");
    let (code, reported) = run(&["writes", "--target", "third"]);
    assert_eq!(code, Some(1));
    assert!(
        reported.contains("\"third\"\nhint: choose one of first, second"),
        "{reported}"
    );
    assert_eq!(
        run(&["abort", "w", "--force", "--target", "second"]).0,
        Some(0)
    );
    assert!(
        run(&["writes", "--target", "second"])
            .1
            .contains("aborted by hand")
    );
    assert!(!run(&["writes"]).1.contains("aborted by hand"));
}

#[test]
fn config_check_needs_no_server_and_accepts_the_example() {
    let check = |text: &str, code: i32, part: &str| {
        let file = File::new(text);
        let mut command = Pgflight::command();
        let output = command
            .args(["config", "check"])
            .arg(&file.0)
            .output()
            .unwrap();
        let reported = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert_eq!(output.status.code(), Some(code), "{reported}");
        assert!(reported.contains(part), "{reported}");
    };
    let output = Pgflight::command()
        .args(["config", "example"])
        .output()
        .unwrap();
    check(
        &String::from_utf8(output.stdout).unwrap(),
        0,
        "targets: trips",
    );
    check(
        "[server]\nlisten = 'x'\n[limits]\nmax_copies = 0",
        64,
        "has 2 problems",
    );
    let several = "[targets.a]\npostgres = 'host=h'\n[targets.b]\npostgres = 'host=h'";
    check(several, 0, "targets: a, b");
    let mut command = Pgflight::command();
    command
        .env("PGFLIGHT_POSTGRES", "host=h")
        .args(["config", "check"]);
    let output = command
        .arg(File::new(several).0.as_path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(64));
}

#[tokio::test]
async fn a_variable_wins_over_the_file_and_a_flag_over_both() {
    let database = Database::new().await;
    let file = File::new(&format!(
        "[limits]\nmax_copies = 5\n[targets.only]\npostgres = '{}'\n",
        database.url
    ));
    let listen = ("PGFLIGHT_METRICS_LISTEN", "127.0.0.1:0");
    let named = ("PGFLIGHT_CONFIG", file.name());
    let typed = ("PGFLIGHT_MAX_COPIES", "6");
    let check = async |variables: &[(&str, &str)], options: &[&str], expected: f64| {
        let server = Pgflight::start_in("", variables, options);
        let limit = "pgflight_connections_limit{target=\"only\",pool=\"data\"}";
        assert_eq!(metric(&server.monitor, limit).await, expected);
    };
    check(&[listen, named], &[], 5.0).await;
    check(&[listen, named, typed], &[], 6.0).await;
    check(&[listen, named, typed], &["--max-copies", "7"], 7.0).await;
}

#[tokio::test]
async fn sighup_applies_changes_and_names_those_that_need_a_restart() {
    let database = Database::new().await;
    database.execute("CREATE TABLE t (n int)").await;
    let text = format!("[targets.only]\npostgres = '{}'\n[limits]\n", database.url);
    let file = File::new(&text);
    let server = Pgflight::start_with_file(&file.0, &["--idle-timeout", "1h"]);
    let hang_up = async |expected: &str| {
        let seen = server.log().len();
        server.signal("HUP");
        let is_told = || {
            server.log()[seen..]
                .iter()
                .any(|line| line.contains(expected))
        };
        wait_until(async || is_told(), expected).await;
    };
    let reload = async |text: &str, expected: &str| {
        std::fs::write(&file.0, text).unwrap();
        hang_up(expected).await;
    };
    let mut client = server.client().await;
    let messages = || {
        let put = Put::bare(path(&["t"]), &[rows(&[1])]);
        stream::iter(put.0).chain(stream::pending())
    };
    reload(&text, "nothing has changed").await;
    let changed = format!(
        "{text}stream_timeout = '300ms'\nidle_timeout = '1s'\nmemory_limit = '2GiB'\n[targets.more]\n\
         postgres = 'host=127.0.0.1 port=1'\n"
    );
    // The flag still wins over the file's idle_timeout.
    reload(&changed, "applied: limits.stream_timeout").await;
    reload(
        &changed,
        "need a restart: limits.memory_limit, server.default_target, targets.more",
    )
    .await;
    let put = client.put_stream(messages());
    let limit = std::time::Duration::from_secs(20);
    let put = tokio::time::timeout(limit, put).await;
    let reported = put
        .expect("the stream is ended")
        .expect_err("took too long");
    assert_eq!(reported.code(), Code::DeadlineExceeded, "{reported}");

    // An invalid file changes nothing.
    std::fs::write(&file.0, b"[limits]\n# caf\xe9\n").unwrap();
    hang_up(", line 2: not UTF-8. Hint: save the file as UTF-8").await;
    std::fs::remove_file(&file.0).unwrap();
    hang_up("the current one stays in use: cannot read ").await;
    reload(
        &format!("{text}stream_timeout = 5"),
        "line 4: limits.stream_timeout: invalid type: integer `5`",
    )
    .await;
    reload(&text, "applied: limits.stream_timeout").await;
    let running = tokio::spawn(async move { client.put_stream(messages()).await });
    wait_until(async || database.text(COPIES).await == "1", "the COPY runs").await;
    // The reaper uses its new interval, and a lock wait ends after the target's new timeout.
    let changed = format!("{text}lock_timeout = '20ms'\n[writes]\nreaper_interval = '10ms'\n");
    reload(
        &changed,
        "writes.reaper_interval, targets.only.lock_timeout",
    )
    .await;
    let overwrite = json!({"table": "t", "overwrite": {}});
    let reported = refused(&mut server.client().await, write(overwrite)).await;
    assert_eq!(
        reported.details["sqlstate"], "55P03",
        "{}",
        reported.message
    );
    running.abort();
}
