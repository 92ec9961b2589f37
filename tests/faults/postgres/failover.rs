//! The primary fails, and a standby that every commit waited for takes its place.

use crate::rig::job::{BeforeCommit, End, Job};
use crate::rig::oracle::{self, Mode};
use crate::rig::world::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_write_survives_a_failover_or_reports_lost_rows() {
    for mode in [
        Mode::Append,
        Mode::AppendInTwoPhases,
        Mode::Create,
        Mode::OverwriteBySwap,
    ] {
        let world = World::with_standby().await;
        let job = |name: &str, before_commit| Job {
            write_id: name.to_owned(),
            spec: mode.spec(name),
            partitions: 2,
            rows: 300,
            seed: 5,
            before_commit,
        };
        for name in ["before", "across", "after"] {
            mode.prepare(&world.database, name).await;
        }
        let before = job("before", BeforeCommit::Nothing);
        assert_eq!(before.run(&world).await, End::Committed, "{mode:?}");

        let across = job("across", BeforeCommit::FailOver);
        let end = across.run(&world).await;
        let expected = match mode {
            // The rows are logged, in a prepared transaction or a table beside the target, so the standby has them too.
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
        oracle::check(&world.database, &across, mode, "across", end).await;
        // A commit that was reported is not lost.
        oracle::check(&world.database, &before, mode, "before", End::Committed).await;

        let after = job("after", BeforeCommit::Nothing);
        assert_eq!(after.run(&world).await, End::Committed, "{mode:?}");
        oracle::check(&world.database, &after, mode, "after", End::Committed).await;
    }
}
