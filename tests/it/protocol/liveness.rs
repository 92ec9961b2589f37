//! Signs of life: writes of dead drivers end soon, and those of healthy drivers and streams do not.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, Int32Array, RecordBatch};
use arrow_flight::FlightData;
use futures_util::{Stream, StreamExt, stream};
use pgflight::auth::digest_of;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};
use tonic::Code;

use crate::support::{
    COPIES, Client, Cluster, Database, File, Pgflight, Put, attempt, batch, get, status, wait_until,
};

/// A driver is dead after three seconds.
const SHORT: [&str; 4] = ["--reaper-interval", "50ms", "--driver-ttl", "3s"];
const PREPARED: &str = "SELECT count(*) FROM pg_prepared_xacts WHERE database = current_database()";

fn rows() -> RecordBatch {
    batch(&[("n", Arc::new(Int32Array::from(vec![1])) as ArrayRef)])
}

fn append(publish: &str) -> Value {
    json!({"table": "t", "append": {"publish": publish}})
}

async fn setup(options: &[&str]) -> (Database, Pgflight, Client) {
    let database = Database::new().await;
    database.execute("CREATE TABLE t (n int)").await;
    let server = Pgflight::start_with(&database, options);
    let client = server.client().await;
    (database, server, client)
}

async fn begin(client: &mut Client, write_id: &str, driver: &str, publish: &str) -> Value {
    let fields = json!({"writeId": write_id, "spec": append(publish), "driver": driver});
    client.begin_with(fields, &rows()).await.unwrap()
}

/// A whole attempt that sends its end on a signal.
fn held(write_id: &str) -> (oneshot::Sender<()>, impl Stream<Item = FlightData> + use<>) {
    let (end, ended) = oneshot::channel::<()>();
    let mut messages = Put::whole(attempt(write_id, 0, "held"), &[rows()]).0;
    let last = messages.pop().unwrap();
    let last = stream::once(async move {
        ended.await.ok();
        last
    });
    (end, stream::iter(messages).chain(last))
}

async fn states(database: &Database) -> String {
    let states = "SELECT write_id || ' ' || state FROM pgflight.write ORDER BY write_id";
    database.text(states).await
}

/// Sends heartbeats as a client does, until it is dropped; those that fail are sent again.
struct Driver(tokio::task::JoinHandle<()>);

impl Driver {
    fn start(server: &Pgflight, name: &'static str) -> Self {
        let address = server.address.clone();
        Self(tokio::spawn(async move {
            loop {
                if let Ok(mut client) = Client::try_connect(&address).await {
                    while client.heartbeat(name).await.is_ok() {
                        sleep(Duration::from_millis(500)).await;
                    }
                }
                sleep(Duration::from_millis(100)).await;
            }
        }))
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[tokio::test]
async fn a_write_whose_driver_died_ends_while_its_stream_runs() {
    let (database, server, mut client) = setup(&SHORT).await;
    for (id, driver) in [("dead", "d"), ("none", ""), ("silent", "s"), ("well", "h")] {
        let begun = begin(&mut client, id, driver, "PUBLISH_STAGED").await;
        assert_eq!(begun["heartbeatSeconds"], 1);
    }
    let _healthy = Driver::start(&server, "h");
    // It lives until its stream runs, however long that takes.
    let dying = Driver::start(&server, "d");
    let (end, messages) = held("dead");
    let mut sender = server.client().await;
    let running = tokio::spawn(async move { sender.put_stream(messages).await });
    wait_until(async || database.text(COPIES).await == "1", "the COPY runs").await;
    wait_until(
        async || {
            client
                .heartbeat("d")
                .await
                .is_ok_and(|open| open == ["dead"])
        },
        "it is heard",
    )
    .await;
    drop(dying);
    let expected = "dead aborted,none open,silent open,well open";
    wait_until(
        async || states(&database).await == expected,
        "it is aborted",
    )
    .await;
    // The server may have ended the stream before.
    end.send(()).ok();
    let late = running.await.unwrap().expect_err("the write has ended");
    assert_eq!(late.code(), Code::FailedPrecondition, "{late}");
    let late = client.commit("dead", &[]).await.expect_err("it has ended");
    assert!(
        late.message().contains("its driver was not heard for 3 s"),
        "{late}"
    );
    sleep(Duration::from_secs(4)).await;
    assert_eq!(states(&database).await, expected);
}

#[tokio::test]
async fn writes_of_healthy_drivers_outlive_an_outage_of_all_servers() {
    let (database, first, mut client) = setup(&SHORT).await;
    let second = Pgflight::start_with(&database, &SHORT);
    begin(&mut client, "w", "d", "PUBLISH_STAGED").await;
    client.heartbeat("d").await.unwrap();
    drop((first, second));
    sleep(Duration::from_secs(4)).await;
    let server = Pgflight::start_with(&database, &SHORT);
    // A driver has the interval of its heartbeats to be heard again.
    sleep(Duration::from_millis(1200)).await;
    let mut client = server.client().await;
    assert_eq!(client.heartbeat("d").await.unwrap(), ["w"]);
    let driver = Driver::start(&server, "d");
    sleep(Duration::from_secs(4)).await;
    assert_eq!(states(&database).await, "w open");
    drop(driver);
    wait_until(
        async || states(&database).await == "w aborted",
        "it is aborted",
    )
    .await;
}

#[tokio::test]
async fn no_write_of_a_healthy_driver_ends_after_postgresql_was_away() {
    let cluster = Cluster::start();
    let database = Database::on(&cluster.url).await;
    database.execute("CREATE TABLE t (n int)").await;
    let server = Pgflight::start_with(&database, &SHORT);
    let mut client = server.client().await;
    begin(&mut client, "w", "d", "PUBLISH_STAGED").await;
    let _driver = Driver::start(&server, "d");
    wait_until(
        async || client.heartbeat("d").await.is_ok_and(|open| open == ["w"]),
        "it is heard",
    )
    .await;
    cluster.halt();
    sleep(Duration::from_secs(4)).await;
    cluster.crash();
    database.reconnect().await;
    sleep(Duration::from_secs(4)).await;
    assert_eq!(states(&database).await, "w open");
}

#[tokio::test]
async fn no_write_of_a_healthy_driver_ends_after_a_server_stood_still() {
    let (database, server, mut client) = setup(&SHORT).await;
    begin(&mut client, "w", "d", "PUBLISH_STAGED").await;
    let _driver = Driver::start(&server, "d");
    client.heartbeat("d").await.unwrap();
    for _ in 0..3 {
        server.signal("STOP");
        sleep(Duration::from_secs(4)).await;
        server.signal("CONT");
        sleep(Duration::from_secs(1)).await;
        assert_eq!(states(&database).await, "w open");
    }
}

#[tokio::test]
async fn a_heartbeat_answers_the_open_writes_of_its_driver() {
    let database = Database::new().await;
    database.execute("CREATE TABLE t (n int)").await;
    let mut text = String::new();
    for name in ["ana", "bob"] {
        let grants = "grants = [{ tables = ['*.*'], modes = ['append'] }]";
        text += &format!(
            "[principals.{name}]\ntokens = ['{}']\n{grants}\n",
            digest_of(name)
        );
    }
    let file = File::new(&text);
    let server = Pgflight::start_with(&database, &["--config", file.name()]);
    let anonymous = server.client().await;
    let (mut ana, mut bob) = (anonymous.bearing("ana"), anonymous.bearing("bob"));
    assert!(
        ana.heartbeat("d").await.unwrap().is_empty(),
        "there is no ledger"
    );
    for id in ["first", "second", "ended"] {
        begin(&mut ana, id, "d", "PUBLISH_STAGED").await;
    }
    begin(&mut ana, "other", "e", "PUBLISH_STAGED").await;
    begin(&mut bob, "his", "d", "PUBLISH_STAGED").await;
    ana.abort("ended").await.unwrap();
    assert_eq!(ana.heartbeat("d").await.unwrap(), ["first", "second"]);
    assert_eq!(bob.heartbeat("d").await.unwrap(), ["his"]);
    assert!(ana.heartbeat("f").await.unwrap().is_empty());
    let refused = ana.heartbeat("").await.expect_err("it names no driver");
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    let info = ana.act("info", "InfoRequest", json!({})).await.unwrap();
    assert_eq!(info["heartbeatSeconds"], 30, "a sixth of three minutes");
}

#[tokio::test]
async fn a_write_that_is_begun_again_lives_by_the_later_driver() {
    let (database, server, mut client) = setup(&SHORT).await;
    begin(&mut client, "w", "dead", "PUBLISH_STAGED").await;
    begin(&mut client, "x", "dead", "PUBLISH_STAGED").await;
    client.heartbeat("dead").await.unwrap();
    // A driver that was heard long ago, about another write.
    begin(&mut client, "y", "later", "PUBLISH_STAGED").await;
    client.heartbeat("later").await.unwrap();
    client.abort("y").await.unwrap();
    let long_ago = "UPDATE pgflight.heartbeat SET heard_at = heard_at - interval '1 day' WHERE driver = 'later'";
    database.execute(long_ago).await;
    assert_eq!(
        begin(&mut client, "w", "later", "PUBLISH_STAGED").await["existed"],
        true
    );
    assert_eq!(
        begin(&mut client, "x", "", "PUBLISH_STAGED").await["existed"],
        true
    );
    sleep(Duration::from_millis(500)).await;
    assert_eq!(states(&database).await, "w open,x open,y aborted");
    let _driver = Driver::start(&server, "later");
    sleep(Duration::from_secs(4)).await;
    assert_eq!(states(&database).await, "w open,x open,y aborted");
}

#[tokio::test]
async fn a_stream_that_waits_for_its_turn_keeps_its_write() {
    let options = [
        "--reaper-interval",
        "50ms",
        "--write-ttl",
        "1s",
        "--max-copies",
        "1",
    ];
    let (database, server, mut client) = setup(&options).await;
    begin(&mut client, "first", "", "PUBLISH_STAGED").await;
    begin(&mut client, "second", "", "PUBLISH_STAGED").await;
    let mut running = Vec::new();
    for id in ["first", "second"] {
        let (end, messages) = held(id);
        let mut sender = server.client().await;
        running.push((
            end,
            tokio::spawn(async move { sender.put_stream(messages).await }),
        ));
        wait_until(
            async || database.text(COPIES).await == "1",
            "the first one copies",
        )
        .await;
    }
    // Several times the limit.
    sleep(Duration::from_secs(4)).await;
    assert_eq!(states(&database).await, "first open,second open");
    for (id, (end, stream)) in ["first", "second"].into_iter().zip(running) {
        end.send(()).unwrap();
        let receipt = stream.await.unwrap().unwrap();
        client.commit(id, &[receipt]).await.unwrap();
    }
    assert_eq!(database.text("SELECT count(*) FROM t").await, "2");
    let signs = "SELECT count(*) FROM pgflight.streaming";
    wait_until(
        async || database.text(signs).await == "0",
        "no sign is left",
    )
    .await;
}

#[tokio::test]
async fn the_ttl_of_a_write_counts_from_its_last_stream() {
    let options = ["--reaper-interval", "50ms", "--write-ttl", "2s"];
    let (database, server, mut client) = setup(&options).await;
    begin(&mut client, "w", "", "PUBLISH_STAGED").await;
    let (end, ended) = oneshot::channel::<()>();
    let cut = Put::bare(attempt("w", 0, "cut"), &[rows()]).0;
    let cut = stream::iter(cut).chain(stream::pending()).take_until(ended);
    let mut sender = server.client().await;
    let running = tokio::spawn(async move { sender.put_stream(cut).await });
    sleep(Duration::from_secs(3)).await;
    end.send(()).unwrap();
    running.await.unwrap().expect_err("it has no end record");
    sleep(Duration::from_millis(1000)).await;
    assert_eq!(states(&database).await, "w open");
    wait_until(
        async || states(&database).await == "w aborted",
        "it expires",
    )
    .await;
}

#[tokio::test]
async fn a_busy_target_keeps_no_abandoned_write() {
    let options = [
        "--reaper-interval",
        "50ms",
        "--write-ttl",
        "1s",
        "--prepared-ttl",
        "1s",
    ];
    let (database, _server, mut client) = setup(&options).await;
    // Another session inserts into the table all the time.
    database.execute("BEGIN; INSERT INTO t VALUES (0)").await;
    let looking = Database::connect(&database.url).await;
    for (id, publish) in [
        ("direct", "PUBLISH_DIRECT"),
        ("prepared", "PUBLISH_TWO_PHASE"),
    ] {
        begin(&mut client, id, "", publish).await;
    }
    let put = Put::whole(attempt("prepared", 0, "a"), &[rows()]);
    client.put(put).await.unwrap();
    let ended = "SELECT (SELECT count(*) FROM pgflight.write WHERE state = 'aborted') = 2
        AND NOT EXISTS (SELECT FROM pg_prepared_xacts WHERE database = current_database())";
    wait_until(
        async || looking.query_one(ended, &[]).await.unwrap().get(0),
        "both are aborted",
    )
    .await;
    database.execute("ROLLBACK").await;
}

#[tokio::test]
async fn a_dead_driver_frees_the_table_of_its_prepared_transactions() {
    let options = [&SHORT[..], &["--metrics-listen", "127.0.0.1:0"]].concat();
    let (database, server, mut client) = setup(&options).await;
    begin(&mut client, "w", "d", "PUBLISH_TWO_PHASE").await;
    client.heartbeat("d").await.unwrap();
    let put = Put::whole(attempt("w", 0, "a"), &[rows()]);
    client.put(put).await.unwrap();

    let shown = status(&server.monitor).await;
    assert_eq!(shown["prepared_count"], 1);
    let prepared = &shown["prepared"][0];
    assert_eq!(
        (&prepared["write_id"], &prepared["state"]),
        (&json!("w"), &json!("open"))
    );
    assert!(
        prepared["gid"].as_str().unwrap().starts_with("pgflight:"),
        "{prepared}"
    );
    let page = get(&server.monitor, "/").await.body;
    assert!(page.contains("<h2>Prepared transactions</h2>"), "{page}");
    sleep(Duration::from_secs(2)).await;
    let metrics = get(&server.monitor, "/metrics").await.body;
    let label = "{target=\"default\"}";
    assert!(
        metrics.contains(&format!("pgflight_prepared_transactions{label} 1\n")),
        "{metrics}"
    );
    let age = metrics.lines().find_map(|line| {
        let line = line.strip_prefix("pgflight_prepared_oldest_seconds")?;
        line.strip_prefix(label)?.trim().parse::<f64>().ok()
    });
    assert!(age.is_some_and(|age| (1.0..60.0).contains(&age)), "{age:?}");

    let began = Instant::now();
    database.execute("ALTER TABLE t ADD COLUMN v int").await;
    assert!(
        began.elapsed() < Duration::from_secs(15),
        "the table is free soon"
    );
    assert_eq!(states(&database).await, "w aborted");
    assert_eq!(database.text(PREPARED).await, "0");
}

#[tokio::test]
async fn heartbeats_wait_for_no_commit() {
    let options = [&SHORT[..], &["--lock-timeout", "1m"]].concat();
    let (database, server, mut client) = setup(&options).await;
    let ids = ["w1", "w2", "w3", "w4", "w5", "w6", "w7", "w8", "w9"];
    for id in ids {
        begin(&mut client, id, "d", "PUBLISH_STAGED").await;
    }
    let _driver = Driver::start(&server, "d");
    database
        .execute("BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE")
        .await;
    let commits = ids.map(|id| {
        let address = server.address.clone();
        tokio::spawn(async move { Client::connect(&address).await.commit(id, &[]).await })
    });
    let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 't'::regclass";
    wait_until(
        async || database.text(waiting).await == "6",
        "all commits that may run at a time wait",
    )
    .await;
    for _ in 0..10 {
        let heard = timeout(Duration::from_secs(2), client.heartbeat("d"));
        assert_eq!(heard.await.unwrap().unwrap(), ids);
        sleep(Duration::from_millis(500)).await;
    }
    database.execute("COMMIT").await;
    for commit in commits {
        commit.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn heartbeats_that_no_open_write_needs_are_forgotten() {
    let options = [&SHORT[..], &["--retention", "1s"]].concat();
    let (database, _server, mut client) = setup(&options).await;
    begin(&mut client, "w", "d", "PUBLISH_STAGED").await;
    client.heartbeat("d").await.unwrap();
    client.heartbeat("unknown").await.unwrap();
    begin(&mut client, "ended", "gone", "PUBLISH_STAGED").await;
    client.heartbeat("gone").await.unwrap();
    client.abort("ended").await.unwrap();
    let drivers = "SELECT driver FROM pgflight.heartbeat ORDER BY driver";
    assert_eq!(database.text(drivers).await, "d,gone");
    wait_until(
        async || database.text(drivers).await == "d",
        "one is forgotten",
    )
    .await;
    let of_w = "SELECT state FROM pgflight.write WHERE write_id = 'w'";
    assert_eq!(database.text(of_w).await, "open");
    wait_until(async || database.text(drivers).await.is_empty(), "both are").await;
}

#[test]
fn a_driver_ttl_too_short_for_heartbeats_is_rejected() {
    let output = Pgflight::command()
        .args(["serve", "--driver-ttl", "2s", "--postgres", "host=nowhere"])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(64), "{text}");
    assert!(
        text.contains("--driver-ttl") && text.contains("at least 3s"),
        "{text}"
    );
}
