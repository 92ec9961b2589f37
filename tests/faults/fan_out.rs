//! One stream over several connections: kill −9 at every point that it passes, and the end of any of its sessions.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Int32Array};
use pgflight::failpoint::Failpoint;
use serde_json::{Value, json};
use tonic::{Code, Status};

use crate::support::{COPIES, COPYING, Client, Database, Pgflight, Put, batch, wait_until, write};

const OPTIONS: [&str; 6] = [
    "--fan-out",
    "3",
    "--fan-out-after",
    "100KiB",
    "--reaper-interval",
    "100ms",
];
const ROWS: i32 = 60_000;

fn modes() -> [(&'static str, Value); 2] {
    [
        ("create", json!({"create": {}})),
        (
            "swap",
            json!({"overwrite": {"with": "OVERWRITE_WITH_SWAP"}}),
        ),
    ]
}

async fn prepare(database: &Database, mode: &str, table: &str) {
    if mode == "swap" {
        database
            .execute(&format!(
                "CREATE TABLE {table} (id int PRIMARY KEY); INSERT INTO {table} VALUES (-1)"
            ))
            .await;
    }
}

async fn send(address: String, spec: Value) -> Result<Value, Status> {
    let ids = (0..ROWS).collect::<Vec<_>>();
    let batches: Vec<_> = ids
        .chunks(2000)
        .map(|ids| batch(&[("id", Arc::new(Int32Array::from(ids.to_vec())) as ArrayRef)]))
        .collect();
    let mut client = Client::try_connect(&address).await?;
    client.put(Put::whole(write(spec), &batches)).await
}

/// Checks that the table has all rows once, or is as it was before.
async fn check(database: &Database, mode: &str, table: &str, landed: bool, place: &str) {
    let left = "SELECT (SELECT count(*) FROM pg_class WHERE relname LIKE '\\_pgflight\\_%')
                + (SELECT count(*) FROM pgflight.write WHERE state = 'open')";
    let ledger = "SELECT to_regclass('pgflight.write') IS NULL";
    wait_until(
        async || database.text(ledger).await == "true" || database.text(left).await == "0",
        "nothing is left behind",
    )
    .await;
    let there = database
        .text(&format!("SELECT to_regclass('{table}') IS NOT NULL"))
        .await;
    assert_eq!(there, (landed || mode == "swap").to_string(), "{place}");
    if there == "true" {
        let found = database
            .text(&format!(
                "SELECT count(*) || ' ' || count(DISTINCT id) || ' ' || min(id) FROM {table}"
            ))
            .await;
        let expected = if landed {
            format!("{ROWS} {ROWS} 0")
        } else {
            "1 1 -1".to_owned()
        };
        assert_eq!(found, expected, "{place}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn killing_a_server_during_fan_out_leaves_all_or_nothing() {
    let database = Database::new().await;
    for (number, point) in (0..).zip(Failpoint::ALL) {
        if matches!(
            point,
            Failpoint::AttemptAfterPrepare | Failpoint::CommitBeforeFinish
        ) {
            continue;
        }
        for (mode, mut spec) in modes() {
            let table = format!("t_{number}_{mode}");
            let place = format!("{point:?} in {mode}");
            prepare(&database, mode, &table).await;
            spec["table"] = table.as_str().into();
            let server =
                Pgflight::start_to_fail(&database.url, &OPTIONS, Some(&format!("{point:?}")));
            let sending = tokio::spawn(send(server.address.clone(), spec.clone()));
            wait_until(async || server.has_failed(), &place).await;
            drop(server);
            sending.await.unwrap().expect_err(&place);
            // The next reaper cleans up; by default it waits for ten minutes.
            let options = [&OPTIONS[..], &["--write-ttl", "500ms"]].concat();
            let server = Pgflight::start_with(&database, &options);
            let landed = point == Failpoint::CommitAfterCommit;
            check(&database, mode, &table, landed, &place).await;
            if !landed {
                // By a reaper that does not expire a slow stream.
                drop(server);
                let server = Pgflight::start_with(&database, &OPTIONS);
                send(server.address.clone(), spec).await.unwrap();
                check(&database, mode, &table, true, &place).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_end_of_any_session_ends_the_stream_and_leaves_nothing() {
    let database = Database::new().await;
    for (mode, mut spec) in modes() {
        for victim in 0..3 {
            let table = format!("t_{victim}_{mode}");
            let place = format!("session {victim} in {mode}");
            prepare(&database, mode, &table).await;
            spec["table"] = table.as_str().into();
            let server = Pgflight::start_with(&database, &OPTIONS);
            let messages = {
                let ids = (0..ROWS).collect::<Vec<_>>();
                let rows = batch(&[("id", Arc::new(Int32Array::from(ids)) as ArrayRef)]);
                Put::bare(write(spec.clone()), &[rows.slice(0, 20_000), rows]).0
            };
            let endless = futures_util::StreamExt::chain(
                futures_util::stream::iter(messages),
                futures_util::stream::pending(),
            );
            let mut client = server.client().await;
            let sending = tokio::spawn(async move { client.put_stream(endless).await });
            wait_until(async || database.text(COPIES).await == "3", &place).await;
            database
                .execute(&format!(
                    "SELECT pg_terminate_backend(pid) FROM {COPYING} ORDER BY pid OFFSET {victim} LIMIT 1"
                ))
                .await;
            let answered = tokio::time::timeout(Duration::from_secs(20), sending).await;
            let status = answered.expect(&place).unwrap().expect_err(&place);
            assert_eq!(status.code(), Code::Unavailable, "{place}: {status}");
            check(&database, mode, &table, false, &place).await;
            drop(server);
        }
    }
}
