//! Two servers behind pgbouncer in transaction mode: concurrent writes of all kinds, with all kinds of ends.
//!
//! `PGFLIGHT_SOAK=1h` makes the run longer.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use fastrand::Rng;
use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use tokio::time::sleep;
use tonic::{Code, Status};

use crate::rig::job::{BeforeCommit, End, Job, rows};
use crate::rig::oracle::{self, BEFORE, Mode};
use crate::rig::world::World;
use crate::support::{CallError, Client, Database, Put, write};

/// Duration of the run without `PGFLIGHT_SOAK`.
const SHORT: Duration = Duration::from_secs(8);
const CLIENTS: usize = 6;
/// The size of the pool of [`World::with_pooler`].
const SERVER_CONNECTIONS: usize = 12;
/// How long a client sends a stream again, as the Python client does.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(200);
const FAN_OUT: [&str; 4] = ["--fan-out", "3", "--fan-out-after", "64KiB"];

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn mixed_writes_through_a_pooler_are_there_once_and_whole() {
    let Some(world) = World::with_pooler().await else {
        return;
    };
    for replica in &world.replicas {
        replica.kill();
        replica.start_with(&FAN_OUT);
    }
    let soak = std::env::var("PGFLIGHT_SOAK")
        .map_or(SHORT, |text| humantime::parse_duration(&text).unwrap());
    let end = Instant::now() + soak;
    let clients = (0..CLIENTS).map(|number| client(&world, number, end));
    let mut done = BTreeMap::<_, u32>::new();
    for counted in join_all(clients).await {
        for (what, count) in counted {
            *done.entry(what).or_default() += count;
        }
    }
    eprintln!("{soak:?} through a pooler, 0 lost, 0 doubled: {done:?}");
    oracle::check_leftovers(&world.database, "a pooler").await;
    check_server_connections(&world).await;
    for replica in &world.replicas {
        assert!(!replica.has_panicked());
        for line in replica.log() {
            let is_bad = ["(42P05)", "(26000)", "INTERNAL"]
                .iter()
                .any(|word| line.contains(word));
            assert!(!is_bad, "{line}");
        }
    }
}

/// Writes one thing after another until the time is over, and counts them.
async fn client(world: &World, number: usize, end: Instant) -> BTreeMap<&'static str, u32> {
    let mut rng = Rng::with_seed(u64::try_from(number).unwrap());
    let mut done = BTreeMap::new();
    for round in 0.. {
        if Instant::now() > end {
            break;
        }
        let table = format!("t_{number}_{round}");
        let what = match rng.u8(..10) {
            0..4 => job(world, &mut rng, &table).await,
            4..7 => one_stream(world, &mut rng, &table).await,
            7 => fanned_out(world, &mut rng, &table).await,
            8 => refused(world, &mut rng, &table).await,
            _ => left(world, &mut rng, &table).await,
        };
        *done.entry(what).or_default() += 1;
        let drop = format!("DROP TABLE IF EXISTS {table}");
        world.database.execute(&drop).await;
    }
    done
}

/// Begin, attempts, commit or abort.
async fn job(world: &World, rng: &mut Rng, table: &str) -> &'static str {
    let mode = Mode::ALL[rng.usize(..Mode::ALL.len())];
    mode.prepare(&world.database, table).await;
    let gives_up = rng.u8(..6) == 0;
    let job = Job {
        write_id: table.to_owned(),
        spec: mode.spec(table),
        partitions: rng.u32(1..5),
        rows: rng.u32(1..2000),
        seed: rng.u64(..),
        before_commit: if gives_up {
            BeforeCommit::GivesUp
        } else {
            BeforeCommit::Nothing
        },
    };
    let end = job.run(world).await;
    let expected = if gives_up {
        End::Aborted
    } else {
        End::Committed
    };
    assert_eq!(end, expected, "{table}");
    oracle::check_write(&world.database, &job, mode, table, end).await;
    "jobs"
}

/// A write of one stream, in any mode.
async fn one_stream(world: &World, rng: &mut Rng, table: &str) -> &'static str {
    let count = rng.u32(1..3000);
    let written = format!("SELECT 0, s, '0:' || s FROM generate_series(0, {count} - 1) s");
    let is_hit = format!("(part = 0 AND seq < {count})");
    let before = format!("(SELECT * FROM ({BEFORE}) b(part, seq, payload))");
    let others = format!("SELECT * FROM {before} o WHERE NOT {is_hit}");
    let keys = json!(["part", "seq"]);
    let (mode, expected) = match rng.u8(..9) {
        0 => (
            json!({"append": {}}),
            format!("{BEFORE} UNION ALL {written}"),
        ),
        1 => (json!({"overwrite": {}}), written),
        2 => (
            json!({"overwrite": {"with": "OVERWRITE_WITH_DELETE"}}),
            written,
        ),
        3 => (
            json!({"overwrite": {"with": "OVERWRITE_WITH_SWAP"}}),
            written,
        ),
        4 => (json!({"create": {}}), written),
        5 => (
            json!({"upsert": {"keys": keys}}),
            format!("{others} UNION ALL {written}"),
        ),
        6 => (
            json!({"insertIfAbsent": {"keys": keys}}),
            format!(
                "SELECT * FROM {before} o UNION ALL
                 SELECT * FROM ({written}) w(p, s, v) WHERE NOT (w.s < 10)"
            ),
        ),
        7 => (
            json!({"updateOnly": {"keys": keys}}),
            format!("{others} UNION ALL SELECT * FROM ({written}) w(p, s, v) WHERE w.s < 10"),
        ),
        _ => (json!({"deleteByKey": {"keys": keys}}), others),
    };
    if mode["create"].is_null() {
        let is_keyed = mode.to_string().contains("keys");
        let key = if is_keyed { Mode::Upsert } else { Mode::Append };
        key.prepare(&world.database, table).await;
    }
    put(world, rng, table, mode, &[rows(0, count)])
        .await
        .unwrap_or_else(|error| panic!("{table}: {error}"));
    oracle::check_rows(&world.database, table, &expected, table).await;
    "one-stream writes"
}

/// A stream that takes further connections.
async fn fanned_out(world: &World, rng: &mut Rng, table: &str) -> &'static str {
    let count = rng.u32(20_000..60_000);
    let all = rows(0, count);
    let batches: Vec<RecordBatch> = (0..all.num_rows())
        .step_by(2000)
        .map(|from| all.slice(from, 2000.min(all.num_rows() - from)))
        .collect();
    let error = put(world, rng, table, json!({"create": {}}), &batches).await;
    error.unwrap_or_else(|error| panic!("{table}: {error}"));
    let written = format!("SELECT 0, s, '0:' || s FROM generate_series(0, {count} - 1) s");
    oracle::check_rows(&world.database, table, &written, table).await;
    "fanned out"
}

/// Rows that PostgreSQL rejects in the middle of the COPY.
async fn refused(world: &World, rng: &mut Rng, table: &str) -> &'static str {
    Mode::Upsert.prepare(&world.database, table).await;
    let some = rows(7, rng.u32(1..5000));
    let twice = [some.clone(), some.clone(), some];
    let error = put(world, rng, table, json!({"append": {}}), &twice).await;
    let error = error.expect_err("rows come twice");
    assert!(error.contains("DATA_REJECTED 23505"), "{table}: {error}");
    oracle::check_rows(&world.database, table, BEFORE, table).await;
    "refused"
}

/// A client that disconnects at any moment.
async fn left(world: &World, rng: &mut Rng, table: &str) -> &'static str {
    Mode::Append.prepare(&world.database, table).await;
    let spec = json!({"table": table, "append": {}});
    let messages = Put::bare(write(spec), &[rows(0, 3000), rows(1, 3000)]).0;
    let endless = stream::iter(messages).chain(stream::pending());
    let address = address(world, rng).to_owned();
    // A separate runtime stands for a process: when it is dropped, its connection is gone at once.
    let process = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    process.spawn(async move { Client::connect(&address).await.put_stream(endless).await });
    tokio::time::sleep(Duration::from_micros(rng.u64(..30_000))).await;
    process.shutdown_background();
    oracle::check_rows(&world.database, table, BEFORE, table).await;
    "left"
}

/// Sends a stream. The text of an error begins with its reason and SQLSTATE.
async fn put(
    world: &World,
    rng: &mut Rng,
    table: &str,
    mut spec: Value,
    batches: &[RecordBatch],
) -> Result<Value, String> {
    spec["table"] = Value::String(table.to_owned());
    let end = Instant::now() + PATIENCE;
    let answer = loop {
        let mut client = Client::connect(address(world, rng)).await;
        let answer = client.put(Put::whole(write(spec.clone()), batches)).await;
        // Such a stream writes nothing. The pool is smaller than both servers may need, so a stream may find it empty.
        let is_unavailable = |status: &Status| status.code() == Code::Unavailable;
        if !answer.as_ref().is_err_and(is_unavailable) || Instant::now() > end {
            break answer;
        }
        sleep(PAUSE).await;
    };
    answer.map_err(|status| {
        assert_ne!(status.code(), Code::Internal, "{table}: {status}");
        let CallError {
            reason,
            message,
            details,
            ..
        } = CallError::from(status);
        let sqlstate = details.get("sqlstate").map_or("", String::as_str);
        format!("{reason} {sqlstate}: {message}")
    })
}

fn address<'a>(world: &'a World, rng: &mut Rng) -> &'a str {
    &world.replicas[rng.usize(..2)].proxy.address
}

/// Checks that no connection of the pool has a statement or a setting of one of its clients.
async fn check_server_connections(world: &World) {
    let pooler = world.pooler.as_ref().unwrap();
    let (_, name) = world.database.url.rsplit_once('/').unwrap();
    let url = format!("postgres://postgres@{}/{name}", pooler.address);
    let mut clients = Vec::new();
    // Each keeps its connection until all have one.
    for _ in 0..SERVER_CONNECTIONS {
        let client = Database::connect(&url).await;
        client.batch_execute("BEGIN").await.unwrap();
        clients.push(client);
    }
    for client in &clients {
        // Settings that pgbouncer itself keeps equal for its clients.
        let left = "SELECT 'statement ' || name FROM pg_prepared_statements
            UNION ALL SELECT 'setting ' || name FROM pg_settings WHERE source = 'session' AND name NOT IN
                ('client_encoding', 'application_name', 'DateStyle', 'TimeZone', 'standard_conforming_strings')
            UNION ALL SELECT 'role' WHERE current_user <> session_user";
        let left = client.simple_query(left).await.unwrap();
        let mut names = Vec::new();
        for message in &left {
            if let tokio_postgres::SimpleQueryMessage::Row(row) = message {
                names.extend(row.get(0));
            }
        }
        assert_eq!(names, [""; 0]);
    }
}
