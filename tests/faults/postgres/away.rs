//! PostgreSQL is away for a while, in each phase of a write: a client that retries gets its write.

use std::time::Duration;

use futures_util::{StreamExt, stream};

use crate::rig::job::{BeforeCommit, End, Job};
use crate::rig::oracle::{self, Mode};
use crate::rig::proxy::{COMMIT, Trap};
use crate::rig::world::World;

/// Duration of a restart of PostgreSQL.
const AWAY: Duration = Duration::from_secs(10);

/// Runs a job of this mode. PostgreSQL goes away as soon as it has carried out a request with these bytes.
async fn check(mode: Mode, phase: &str, request: &str) {
    let world = World::new().await;
    let table = format!("t_{phase}_{mode:?}").to_lowercase();
    mode.prepare(&world.database, &table).await;
    let job = Job {
        write_id: table.clone(),
        spec: mode.spec(&table),
        partitions: 2,
        rows: 300,
        seed: 5,
        before_commit: BeforeCommit::Nothing,
    };
    world.link.set_trap(Trap::GoAway(AWAY), request, 1);
    let end = job.run(&world).await;
    assert_eq!(end, End::Committed, "{mode:?}, {phase}");
    assert_eq!(
        world.link.answers_to_lose(),
        0,
        "{mode:?}, {phase}: it was away"
    );
    oracle::check(&world.database, &job, mode, &table, end).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_job_fails_where_postgresql_is_away_for_ten_seconds() {
    // Only that phase sends these bytes. A COMMIT may also be the reaper's.
    let phases = [
        ("begin", "INSERT INTO pgflight.write"),
        ("rows", "FROM STDIN (FORMAT binary)"),
        ("record", "INSERT INTO pgflight.attempt"),
        ("lock", "write_id OPERATOR(pg_catalog.=) $1 FOR UPDATE"),
        ("decision", "WITH accepted AS"),
        ("commit", COMMIT),
    ];
    let modes = [Mode::Append, Mode::AppendInTwoPhases, Mode::OverwriteBySwap];
    let both = modes
        .into_iter()
        .flat_map(|mode| phases.map(|(phase, request)| (mode, phase, request)));
    let second_phase = [
        (Mode::AppendInTwoPhases, "prepare", "PREPARE TRANSACTION"),
        (Mode::AppendInTwoPhases, "second", "COMMIT PREPARED"),
    ];
    stream::iter(both.chain(second_phase))
        .map(|(mode, phase, request)| check(mode, phase, request))
        .buffer_unordered(7)
        .collect::<()>()
        .await;
}
