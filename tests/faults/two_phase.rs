//! Prepared transactions of a server that dies between the two phases: other servers end them.

use std::time::Duration;

use pgflight::failpoint::Failpoint;
use tokio::time::timeout;

use crate::rig::job::{BeforeCommit, End, Job};
use crate::rig::oracle::{self, Mode};
use crate::rig::world::World;
use crate::support::wait_until;

/// Runs a job whose driver dies with the server that reaches the point, and checks how the write ends without a caller.
async fn check(point: Failpoint, expected: End) {
    let world = World::new().await;
    let table = format!("t_{point:?}").to_lowercase();
    Mode::AppendInTwoPhases
        .prepare(&world.database, &table)
        .await;
    for replica in &world.replicas {
        replica.kill();
        replica.start(Some(&format!("{point:?}")));
    }
    let job = Job {
        write_id: table.clone(),
        spec: Mode::AppendInTwoPhases.spec(&table),
        partitions: 2,
        rows: 300,
        seed: 7,
        before_commit: BeforeCommit::Nothing,
    };
    let until_failed = async {
        while !world.replicas.iter().any(|replica| replica.has_failed()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        end = job.run(&world) => panic!("{end:?} before {point:?}"),
        failed = timeout(Duration::from_secs(30), until_failed) => failed.unwrap(),
    }
    for replica in &world.replicas {
        replica.kill();
    }
    let of_the_write = format!("SELECT state FROM pgflight.write WHERE write_id = '{table}'");
    let state = world.database.text(&of_the_write).await;
    let ended = if expected == End::Aborted {
        assert_eq!(state, "open");
        world.replicas[0].start_with(&["--prepared-ttl", "1s", "--write-ttl", "1s"]);
        "aborted"
    } else {
        // The reaper of the other server may have been quick.
        assert!(
            ["committing", "committed"].contains(&state.as_str()),
            "{state}"
        );
        world.replicas[0].start(None);
        "committed"
    };
    wait_until(
        async || world.database.text(&of_the_write).await == ended,
        "the reaper ends the write",
    )
    .await;
    oracle::check(
        &world.database,
        &job,
        Mode::AppendInTwoPhases,
        &table,
        expected,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_commit_that_was_decided_is_finished_by_the_reaper() {
    check(Failpoint::CommitAfterCommit, End::Committed).await;
    check(Failpoint::CommitBeforeFinish, End::Committed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_reaper_rolls_back_prepared_attempts_without_a_record() {
    check(Failpoint::AttemptAfterPrepare, End::Aborted).await;
}
