//! PostgreSQL crashes when everything is staged and nothing is committed.

use crate::rig::job::{BeforeCommit, End, Job};
use crate::rig::oracle::{self, Mode};
use crate::rig::world::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn rows_lost_in_a_crash_of_postgresql_are_reported() {
    let world = World::with_cluster().await;
    for mode in Mode::ALL {
        let table = format!("t_{mode:?}").to_lowercase();
        mode.prepare(&world.database, &table).await;
        let job = Job {
            write_id: table.clone(),
            spec: mode.spec(&table),
            partitions: 2,
            rows: 300,
            seed: 1,
            before_commit: BeforeCommit::Crash,
        };
        let end = job.run(&world).await;
        let expected = match mode {
            // The rows are in the target or in a table beside it, which is logged.
            Mode::AppendInTwoPhases | Mode::Create | Mode::OverwriteBySwap => End::Committed,
            Mode::Append
            | Mode::AppendWithStatements
            | Mode::Overwrite
            | Mode::OverwriteByDelete
            | Mode::ReplaceBy
            | Mode::ReplaceWhere
            | Mode::Upsert
            | Mode::ApplyChanges => End::StagingLost,
        };
        assert_eq!(end, expected, "{mode:?}");
        oracle::check(&world.database, &job, mode, &table, end).await;
    }
}
