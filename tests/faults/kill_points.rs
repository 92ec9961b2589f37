//! kill −9 at every named point of begin, attempt and commit, in every mode.

use std::time::Duration;

use pgflight::failpoint::Failpoint;

use crate::rig::job::{BeforeCommit, End, Job};
use crate::rig::oracle::{self, Mode};
use crate::rig::world::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_server_killed_at_any_point_loses_and_doubles_nothing() {
    let world = World::new().await;
    let (mut passed, mut reached) = (0, 0);
    for (number, point) in (0_u64..).zip(Failpoint::ALL) {
        for mode in Mode::ALL.into_iter().filter(|mode| mode.passes(point)) {
            passed += 1;
            let table = format!("t_{number}_{mode:?}").to_lowercase();
            mode.prepare(&world.database, &table).await;
            let job = Job {
                write_id: table.clone(),
                spec: mode.spec(&table),
                partitions: 2,
                rows: 300,
                seed: number,
                before_commit: BeforeCommit::Nothing,
            };
            for replica in &world.replicas {
                replica.kill();
                replica.start(Some(&format!("{point:?}")));
            }
            let killer = async {
                // Both servers stop at the point, one after the other, and start again without it.
                for _ in 0..2 {
                    let failed = loop {
                        if let Some(replica) =
                            world.replicas.iter().find(|replica| replica.has_failed())
                        {
                            break replica;
                        }
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    };
                    failed.kill();
                    failed.start(None);
                    reached += 1;
                }
                std::future::pending::<()>().await;
            };
            let end = tokio::select! {
                end = job.run(&world) => end,
                () = killer => End::Aborted,
            };
            assert_eq!(end, End::Committed);
            // One of the servers may not have reached its point, or only just now.
            for replica in &world.replicas {
                replica.kill();
                replica.start(None);
            }
            oracle::check(&world.database, &job, mode, &table, end).await;
        }
    }
    assert!(
        reached >= passed,
        "only {reached} kills: a point is not on the way"
    );
    eprintln!(
        "{reached} servers were killed at {} points in {} modes",
        Failpoint::ALL.len(),
        Mode::ALL.len()
    );
}
