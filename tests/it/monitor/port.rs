//! The monitoring port: metrics, probes, and the side that streams wait for.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, BinaryArray, Int32Array, RecordBatch};
use arrow_flight::FlightData;
use futures_util::{StreamExt, stream};
use pgflight::error::ErrorKind;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::Status;

use self::Sends::{ARowNowAndThen, Batches};
use crate::support::{
    COPIES, COPYING, Cluster, Database, Pgflight, Put, attempt, batch, get, metric, path, request,
    status, wait_until, write,
};

const MONITOR: [&str; 2] = ["--metrics-listen", "127.0.0.1:0"];

fn numbers(values: &[i32]) -> RecordBatch {
    batch(&[("n", Arc::new(Int32Array::from(values.to_vec())) as ArrayRef)])
}

/// A hundred rows of 10 KiB each.
fn wide() -> RecordBatch {
    let bytes: ArrayRef = Arc::new(BinaryArray::from(vec![&[b'x'; 10_240][..]; 100]));
    batch(&[("b", bytes)])
}

async fn serve(sql: &str, options: &[&str]) -> (Database, Pgflight) {
    let database = Database::new().await;
    database.execute(sql).await;
    let options: Vec<&str> = MONITOR.iter().chain(options).copied().collect();
    let server = Pgflight::start_with(&database, &options);
    (database, server)
}

/// Name, type, labels and help text of each metric.
type Listed = BTreeSet<(String, String, String, String)>;

/// The metrics that `docs/metrics.md` lists.
fn listed_in_docs() -> Listed {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md");
    let page = std::fs::read_to_string(page).unwrap();
    let is_row = |line: &&str| line.starts_with("| `pgflight_") || line.starts_with("| `process_");
    let rows = page.lines().filter(is_row);
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [name, kind, labels, question] = cells[..] else {
            panic!("four cells: {row}");
        };
        let plain = |text: &str| text.replace('`', "");
        (
            plain(name),
            kind.to_owned(),
            plain(labels),
            question.to_owned(),
        )
    })
    .collect()
}

/// The metrics that a server shows, without the label `le` of histograms.
fn listed_in(text: &str) -> Listed {
    let mut questions = BTreeMap::new();
    let mut kinds = BTreeMap::new();
    let mut labels: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in text.lines() {
        if let Some((name, question)) = line.strip_prefix("# HELP ").and_then(|l| l.split_once(' '))
        {
            questions.insert(name.to_owned(), question.trim_end_matches('.').to_owned());
        } else if let Some((name, kind)) =
            line.strip_prefix("# TYPE ").and_then(|l| l.split_once(' '))
        {
            kinds.insert(name.to_owned(), kind.to_owned());
        } else if let Some((name, rest)) = line.split_once('{') {
            let family = kinds
                .keys()
                .filter(|family| name.starts_with(*family))
                .max();
            let set = labels.entry(family.unwrap().clone()).or_default();
            let names = rest.split('}').next().unwrap().split(',');
            set.extend(
                names
                    .map(|label| label.split('=').next().unwrap().to_owned())
                    .filter(|label| label != "le"),
            );
        }
    }
    let all = kinds.into_iter().map(|(family, kind)| {
        let ending = if kind == "counter" { "_total" } else { "" };
        let labels: Vec<String> = labels
            .remove(&family)
            .unwrap_or_default()
            .into_iter()
            .collect();
        let question = questions[&family].clone();
        (
            format!("{family}{ending}"),
            kind,
            labels.join(", "),
            question,
        )
    });
    all.collect()
}

#[tokio::test]
async fn the_docs_list_all_metrics_with_their_help_text() {
    let (_database, server) = serve("CREATE TABLE t (n int)", &[]).await;
    let answer = get(&server.monitor, "/metrics").await;
    assert!(
        answer
            .head
            .contains("content-type: application/openmetrics-text; version=1.0.0")
    );
    assert!(answer.body.ends_with("# EOF\n"));
    let (shown, listed) = (listed_in(&answer.body), listed_in_docs());
    let missing: Vec<_> = shown.difference(&listed).collect();
    let gone: Vec<_> = listed.difference(&shown).collect();
    assert!(
        missing.is_empty() && gone.is_empty(),
        "docs/metrics.md lacks {missing:#?} and should not list {gone:#?}"
    );
    for name in ["\"t\"", "\"u\"", "public"] {
        assert!(!answer.body.contains(name), "{name} is in {}", answer.body);
    }
}

/// The files that Grafana and Prometheus load.
fn deployed(extension: &str, folder: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut text = String::new();
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == extension) {
            text.push_str(&std::fs::read_to_string(path).unwrap());
        }
    }
    assert!(!text.is_empty(), "{}", folder.display());
    text
}

#[test]
fn dashboards_use_existing_metrics_and_alerts_have_entries() {
    let listed = listed_in_docs();
    let mut known: BTreeSet<String> = BTreeSet::new();
    for (name, kind, ..) in &listed {
        let endings = match kind.as_str() {
            "histogram" => ["_bucket", "_sum", "_count"].as_slice(),
            _ => &[""],
        };
        known.extend(endings.iter().map(|ending| format!("{name}{ending}")));
    }
    let (dashboard, alerts) = (
        deployed("json", "deploy/grafana"),
        deployed("yml", "deploy/prometheus"),
    );
    serde_json::from_str::<Value>(&dashboard).expect("the dashboard is JSON");
    let mut named = BTreeSet::new();
    for text in [&dashboard, &alerts] {
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        for (at, _) in text.match_indices("pgflight_") {
            let name: String = text[at..].chars().take_while(|c| is_name(*c)).collect();
            assert!(known.contains(&name), "there is no metric {name}");
            named.insert(name);
        }
    }
    assert!(named.len() > 15, "{named:?}");
    let runbook =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operations.md"))
            .unwrap();
    // The pattern may be the prefix of several names.
    for (at, _) in runbook.match_indices("pgflight_") {
        let is_name = |c: &char| c.is_ascii_lowercase() || *c == '_';
        let name: String = runbook[at..].chars().take_while(is_name).collect();
        let is_known = known.iter().any(|known| known.starts_with(&name));
        assert!(is_known, "docs/operations.md: there is no metric {name}");
    }
    let alerts: Vec<&str> = alerts
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "))
        .collect();
    assert!(alerts.len() >= 6, "{alerts:?}");
    for alert in alerts {
        assert!(
            runbook
                .lines()
                .any(|line| line.starts_with('#') && line.trim_start_matches(['#', ' ']) == alert),
            "docs/operations.md has no heading {alert}"
        );
    }
}

#[tokio::test]
async fn errors_are_counted_from_zero_so_that_an_alert_sees_the_first() {
    let (_database, server) = serve("", &[]).await;
    let fresh = get(&server.monitor, "/metrics").await.body;
    for kind in ErrorKind::ALL {
        let count = format!("pgflight_errors_total{{kind=\"{}\"}} 0", kind.reason());
        assert!(fresh.contains(&count), "{count}: {fresh}");
    }
}

#[tokio::test]
#[cfg(target_os = "linux")]
async fn figures_of_the_process_are_those_of_linux() {
    let (_database, server) = serve("CREATE TABLE t (n int)", &[]).await;
    let figure = async |name: &str| metric(&server.monitor, &format!("process_{name}")).await;
    let measured = u32::try_from(server.memory("VmRSS") >> 10).unwrap();
    let resident = figure("resident_memory_bytes").await / 1024.0 / f64::from(measured);
    assert!((0.8..1.25).contains(&resident), "{resident}");
    let spent = figure("cpu_seconds_total").await;
    let measured = server.processor_time().as_secs_f64();
    assert!(spent >= 0.0 && spent <= measured + 0.1, "{spent}");
    let files = figure("open_fds").await;
    assert!(files > 5.0 && files < figure("max_fds").await, "{files}");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let age = now.unwrap().as_secs_f64() - figure("start_time_seconds").await;
    assert!((-2.0..60.0).contains(&age), "{age}");
}

#[tokio::test]
async fn rows_are_counted_stage_by_stage_and_errors_by_their_kind() {
    let (_database, server) = serve("CREATE TABLE t (n int CHECK (n < 100))", &[]).await;
    let mut client = server.client().await;
    let spec = json!({"table": "t", "append": {}});
    let rows = [numbers(&[1, 2, 3]), numbers(&[4])];
    client
        .put(Put::whole(write(spec.clone()), &rows))
        .await
        .unwrap();
    let count = async |name: &str| metric(&server.monitor, name).await;
    for stage in ["decode", "encode", "send", "commit"] {
        let name = format!("pgflight_stage_rows_total{{stage=\"{stage}\"}}");
        assert_eq!(count(&name).await, 4.0, "{stage}");
    }
    assert_eq!(count("pgflight_published_rows_total").await, 4.0);
    assert_eq!(
        count("pgflight_streams_total{outcome=\"succeeded\"}").await,
        1.0
    );
    assert_eq!(count("pgflight_streams_active").await, 0.0);
    for stage in ["meter", "encode", "send", "commit"] {
        let name = format!("pgflight_stage_bytes_total{{stage=\"{stage}\"}}");
        assert!(count(&name).await > 0.0, "{stage}");
    }
    let stages = [
        "turn", "open", "plan", "meter", "gate", "decode", "encode", "send", "commit",
    ];
    for stage in stages {
        let name = format!("pgflight_stage_seconds_total{{stage=\"{stage}\"}}");
        assert!(count(&name).await > 0.0, "{stage}");
    }

    let rows = [numbers(&[100])];
    client
        .put(Put::whole(write(spec), &rows))
        .await
        .unwrap_err();
    assert_eq!(
        count("pgflight_errors_total{kind=\"DATA_REJECTED\"}").await,
        1.0
    );
    assert_eq!(
        count("pgflight_streams_total{outcome=\"failed\"}").await,
        1.0
    );
    assert_eq!(count("pgflight_published_rows_total").await, 4.0);
    assert_eq!(count("pgflight_decode_panics_total").await, 0.0);
    let status = status(&server.monitor).await;
    let error = &status["errors"][0];
    assert_eq!(error["kind"], "DATA_REJECTED");
    assert_eq!(error["sqlstate"], "23514");
    assert_eq!(error["table"], "public.t");
    assert_eq!(status["ended_streams"][0]["outcome"], "failed");
    assert_eq!(status["ended_streams"][1]["row_count"], 4);
}

#[tokio::test]
async fn writes_are_counted_by_state_and_shown_with_staged_rows() {
    let (_database, server) = serve("CREATE TABLE t (n int)", &[]).await;
    let mut client = server.client().await;
    let spec = json!({"table": "t", "append": {}});
    for id in ["open", "done", "gone"] {
        client.begin(id, spec.clone(), &numbers(&[])).await.unwrap();
        let put = Put::whole(attempt(id, 0, "a"), &[numbers(&[1, 2])]);
        let receipt = client.put(put).await.unwrap();
        match id {
            "done" => drop(client.commit(id, &[receipt]).await.unwrap()),
            "gone" => drop(client.abort(id).await.unwrap()),
            _ => {}
        }
    }
    let state = |writes: &Value, id: &str| {
        let writes = writes.as_array().unwrap().clone();
        let write = writes
            .into_iter()
            .find(|write| write["write_id"] == id)
            .unwrap();
        (write["state"].clone(), write["row_count"].clone())
    };
    // The server reads the ledger at most every two seconds.
    wait_until(
        async || {
            let writes = status(&server.monitor).await["writes"].clone();
            writes.as_array().unwrap().len() == 3
                && state(&writes, "open") == (json!("open"), json!(2))
                && state(&writes, "done") == (json!("committed"), json!(2))
                && state(&writes, "gone") == (json!("aborted"), json!(0))
        },
        "all writes are shown",
    )
    .await;
    for (name, expected) in [
        ("open", 1.0),
        ("committed", 1.0),
        ("aborted", 1.0),
        ("committing", 0.0),
    ] {
        let name = format!("pgflight_writes{{target=\"default\",state=\"{name}\"}}");
        assert_eq!(metric(&server.monitor, &name).await, expected, "{name}");
    }
}

/// The messages that a test's client sends.
#[derive(Clone, Copy)]
enum Sends {
    /// This number of batches of 1 MiB at full speed, then nothing.
    Batches(usize),
    /// A row of 10 KiB now and then.
    ARowNowAndThen,
}

/// A stream into t that goes on until the test ends it.
fn endless(
    server: &Pgflight,
    sends: Sends,
) -> (JoinHandle<Result<Value, Status>>, oneshot::Sender<()>) {
    let (rows, held, pace) = match sends {
        Batches(count) => (wide(), count, None),
        ARowNowAndThen => (wide().slice(0, 1), 1, Some(Duration::from_millis(20))),
    };
    let mut messages = Put::bare(path(&["t"]), &[rows]).0;
    let last = messages.pop().unwrap();
    messages.extend(std::iter::repeat_n(last.clone(), held));
    let rest = stream::repeat(last).then(move |message| async move {
        match pace {
            Some(pace) => tokio::time::sleep(pace).await,
            None => std::future::pending().await,
        }
        message
    });
    let (end, ended) = oneshot::channel::<()>();
    let messages = stream::iter(messages).chain(rest.take_until(ended));
    let address = server.address.clone();
    let running = tokio::spawn(async move {
        let mut client = crate::support::Client::connect(&address).await;
        client.put_stream(messages).await
    });
    (running, end)
}

/// The side that streams have waited for longest.
fn slowest(metrics: &str) -> String {
    let seconds = metrics.lines().filter_map(|line| {
        let line = line.strip_prefix("pgflight_stream_seconds_total{side=\"")?;
        let (side, seconds) = line.split_once("\"} ")?;
        Some((side, seconds.parse::<f64>().unwrap()))
    });
    let slowest = seconds.max_by(|(_, a), (_, b)| a.total_cmp(b)).unwrap();
    slowest.0.to_owned()
}

/// Runs streams into a table until page and metrics name the side.
async fn check(sql: &str, options: &[&str], streams: &[Sends], side: &str, activity: &str) {
    let (database, server) = serve(sql, options).await;
    let running: Vec<_> = streams
        .iter()
        .map(|sends| endless(&server, *sends))
        .collect();
    wait_until(
        async || {
            let status = status(&server.monitor).await;
            let streams = status["streams"].as_array().unwrap().clone();
            let page = get(&server.monitor, "/").await.body;
            status["bottleneck"]["side"] == side
                && streams.iter().any(|stream| stream["activity"] == activity)
                && page.contains(&format!("data-side=\"{side}\""))
                && page.contains(activity)
                && slowest(&get(&server.monitor, "/metrics").await.body) == side
        },
        &format!("page and metrics name {side}, and a stream that {activity}"),
    )
    .await;

    // Ends the sessions that block them.
    database
        .execute("SELECT pg_advisory_unlock_all(); COMMIT")
        .await;
    let (running, ends): (Vec<_>, Vec<_>) = running.into_iter().unzip();
    for end in ends {
        let _ = end.send(());
    }
    let mut landed = 0;
    for (running, sends) in running.into_iter().zip(streams) {
        let reported = running.await.unwrap().unwrap();
        let count: usize = reported["rowCount"].as_str().unwrap().parse().unwrap();
        match sends {
            Batches(batches) => assert_eq!(count, batches * 100),
            ARowNowAndThen => assert!(count > 0),
        }
        landed += count;
    }
    let count = database.text("SELECT count(*) FROM t").await;
    assert_eq!(count, landed.to_string());
}

/// A table whose trigger runs this for every row.
fn stalled_by(wait: &str, level: &str) -> String {
    format!(
        "CREATE TABLE t (b bytea);
        CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS
            'BEGIN PERFORM {wait}; RETURN NEW; END';
        CREATE TRIGGER t BEFORE INSERT ON t FOR EACH {level} EXECUTE FUNCTION wait();
        SELECT pg_advisory_lock(7)"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn postgresql_is_slow_while_another_session_holds_a_lock() {
    let sql = stalled_by("pg_advisory_xact_lock_shared(7)", "STATEMENT");
    let activity = "waits for PostgreSQL to take rows";
    check(
        &sql,
        &["--lock-timeout", "5m"],
        &[Batches(8)],
        "postgresql",
        activity,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgresql_is_slow_while_the_table_is_locked() {
    // The transaction that created the table ends first.
    let sql = "CREATE TABLE t (b bytea); COMMIT; BEGIN; LOCK TABLE t IN SHARE MODE";
    let options = ["--lock-timeout", "5m"];
    let activity = "waits for PostgreSQL to open the table";
    check(sql, &options, &[Batches(2)], "postgresql", activity).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgresql_is_slow_while_a_triggers_table_is_locked() {
    let sql = "CREATE TABLE t (b bytea); CREATE TABLE audit (size bigint);
        CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
            'BEGIN INSERT INTO audit VALUES (length(NEW.b)); RETURN NEW; END';
        CREATE TRIGGER t BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION note();
        COMMIT; BEGIN; LOCK TABLE audit";
    let options = ["--lock-timeout", "5m"];
    let activity = "waits for PostgreSQL to take rows";
    check(sql, &options, &[Batches(8)], "postgresql", activity).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgresql_is_slow_while_a_trigger_is_slow() {
    let sql = stalled_by("pg_sleep(0.003)", "ROW");
    let activity = "waits for PostgreSQL to take rows";
    check(&sql, &[], &[Batches(16)], "postgresql", activity).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_is_slow_while_it_sends_nothing() {
    check(
        "CREATE TABLE t (b bytea)",
        &[],
        &[Batches(1)],
        "client",
        "waits for its client",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_is_slow_while_it_sends_a_row_now_and_then() {
    let sql = "CREATE TABLE t (b bytea)";
    let streams = [ARowNowAndThen; 2];
    check(sql, &[], &streams, "client", "waits for its client").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_turn_is_named_while_others_copy() {
    let sql = stalled_by("pg_advisory_xact_lock_shared(7)", "STATEMENT");
    let options = ["--lock-timeout", "5m", "--max-copies", "1"];
    check(
        &sql,
        &options,
        &[Batches(4); 3],
        "turn",
        "waits for its turn",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_page_shows_the_side_that_copies_wait_for() {
    let (database, server) = serve("CREATE TABLE t (b bytea)", &["--max-copies", "1"]).await;
    let running: Vec<_> = (0..4).map(|_| endless(&server, Batches(1))).collect();
    wait_until(
        async || {
            let page = get(&server.monitor, "/").await.body;
            page.contains("data-side=\"turn\"")
                && page.contains("copying streams mostly wait for their clients")
        },
        "the page tells of the turn and of the client",
    )
    .await;
    let (running, ends): (Vec<_>, Vec<_>) = running.into_iter().unzip();
    for end in ends {
        let _ = end.send(());
    }
    for running in running {
        running.await.unwrap().unwrap();
    }
    assert_eq!(database.text("SELECT count(*) FROM t").await, "400");
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_is_named_while_others_hold_it() {
    let sql = stalled_by("pg_advisory_xact_lock_shared(7)", "STATEMENT");
    let options = [
        "--lock-timeout",
        "5m",
        "--memory-limit",
        "144MiB",
        "--max-message-size",
        "2MiB",
        "--max-copies",
        "8",
    ];
    check(
        &sql,
        &options,
        &[Batches(12); 8],
        "memory",
        "waits for memory",
    )
    .await;
}

#[tokio::test]
async fn probes_distinguish_not_ready_from_dead() {
    let cluster = Cluster::start();
    let database = Database::on(&cluster.url).await;
    database.execute("CREATE TABLE t (b bytea)").await;
    let mut server = Pgflight::start_with(&database, &MONITOR);
    let probe = async |path: &str| get(&server.monitor, path).await.code;
    assert_eq!(
        (probe("/healthz").await, probe("/readyz").await),
        (200, 200)
    );
    cluster.stop();
    wait_until(
        async || probe("/readyz").await == 503,
        "PostgreSQL is missed",
    )
    .await;
    assert_eq!(probe("/healthz").await, 200);
    assert_eq!(
        metric(
            &server.monitor,
            "pgflight_postgresql_up{target=\"default\"}"
        )
        .await,
        0.0
    );
    let page = get(&server.monitor, "/").await.body;
    assert!(page.contains("PostgreSQL does not answer"), "{page}");
    server.signal("TERM");
    server.wait(Duration::from_secs(20));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draining_server_is_not_ready_and_shows_its_streams() {
    let (database, mut server) = serve("CREATE TABLE t (b bytea)", &[]).await;
    let (running, end) = endless(&server, Batches(1));
    wait_until(async || database.text(COPIES).await == "1", "the COPY runs").await;
    server.signal("TERM");
    wait_until(
        async || get(&server.monitor, "/readyz").await.code == 503,
        "it is not ready",
    )
    .await;
    let status = status(&server.monitor).await;
    assert_eq!(status["is_draining"], true);
    assert_eq!(status["stream_count"], 1);
    assert_eq!(metric(&server.monitor, "pgflight_draining").await, 1.0);
    let _ = end.send(());
    running.await.unwrap().unwrap();
    assert!(server.wait(Duration::from_secs(20)).success());
    server.wait_for_line(&["rows=100", "published=100"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_and_log_lines_name_write_and_attempt() {
    let (database, server) = serve("CREATE TABLE t (n int)", &["--log-format", "json"]).await;
    let mut client = server.client().await;
    let id = "a write's \\ name, longer than what PostgreSQL keeps: œuvre";
    let spec = json!({"table": "t", "append": {}});
    client.begin(id, spec, &numbers(&[])).await.unwrap();
    let mut messages = Put::whole(attempt(id, 7, "seventh"), &[numbers(&[1])]).0;
    let wrong = messages.pop().unwrap();
    let (end, ended) = oneshot::channel::<()>();
    let rest = stream::once(ended).map(move |_| FlightData {
        app_metadata: wrong.app_metadata.slice(..wrong.app_metadata.len() - 1),
        ..wrong.clone()
    });
    let messages = stream::iter(messages).chain(rest);
    let mut request = tonic::Request::new(messages);
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let parent = format!("00-{trace}-00f067aa0ba902b7-01");
    let metadata = request.metadata_mut();
    metadata.insert("traceparent", parent.parse().unwrap());
    let running = tokio::spawn(async move {
        let mut answers = client.flight.do_put(request).await?.into_inner();
        answers.message().await
    });
    wait_until(async || database.text(COPIES).await == "1", "the COPY runs").await;
    let names = format!("SELECT application_name FROM {COPYING}");
    let name = database.text(&names).await;
    assert_eq!(
        name,
        "pgflight a write?s ? name, longer than what PostgreSQL keeps: 7"
    );
    let _ = end.send(());
    running
        .await
        .unwrap()
        .expect_err("the end record is cut short");
    let line = server.wait_for_line(&["INVALID_COMMAND"]).await;
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["span"]["write_id"], id, "{line}");
    assert_eq!(line["span"]["partition"], 7, "{line}");
    assert_eq!(line["span"]["attempt"], "seventh", "{line}");
    assert_eq!(line["span"]["trace_id"], trace, "{line}");
}

#[tokio::test]
async fn the_monitor_answers_only_get_and_known_paths() {
    let (_database, server) = serve("SELECT", &[]).await;
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        let answer = request(&server.monitor, method, "/").await;
        assert_eq!(answer.code, 405, "{method}");
        assert!(answer.head.contains("allow: get, head"), "{}", answer.head);
    }
    assert_eq!(request(&server.monitor, "HEAD", "/").await.body, "");
    for path in ["/nothing", "/..", "/../../etc/passwd", "/page.html", "//"] {
        assert_eq!(get(&server.monitor, path).await.code, 404, "{path}");
    }
}
