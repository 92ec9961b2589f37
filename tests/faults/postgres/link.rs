//! The connection between the servers and PostgreSQL breaks, while both live.

use crate::rig::job::{BeforeCommit, End, Job};
use crate::rig::oracle::{self, Mode};
use crate::rig::proxy::Weather;
use crate::rig::world::World;

/// A job of this mode, in a table of its own.
async fn job(world: &World, mode: Mode, name: &str) -> Job {
    let table = format!("t_{name}_{mode:?}").to_lowercase();
    mode.prepare(&world.database, &table).await;
    Job {
        write_id: table.clone(),
        spec: mode.spec(&table),
        partitions: 2,
        rows: 300,
        seed: 3,
        before_commit: BeforeCommit::Nothing,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_outcome_is_found_when_the_answer_to_a_commit_is_lost() {
    let world = World::new().await;
    for mode in Mode::ALL {
        // Answers to the begin, to attempts and to the commit; in two phases, to both statements of each.
        for lost in ["COMMIT", "PREPARE TRANSACTION", "COMMIT PREPARED"] {
            if lost != "COMMIT" && mode != Mode::AppendInTwoPhases {
                continue;
            }
            let name = lost.replace(' ', "_");
            for count in [1, 2, 4] {
                let job = job(&world, mode, &format!("{name}_{count}")).await;
                world.link.lose_answers_to(lost, count);
                assert_eq!(job.run(&world).await, End::Committed, "{mode:?}, {lost}");
                assert!(
                    world.link.answers_to_lose() < count,
                    "{mode:?}, {lost}: none was lost"
                );
                world.link.lose_answers_to(lost, 0);
                let table = job.write_id.clone();
                oracle::check(&world.database, &job, mode, &table, End::Committed).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn split_or_corrupted_bytes_change_nothing() {
    let world = World::new().await;
    for mode in Mode::ALL {
        let sliced = job(&world, mode, "sliced").await;
        world.link.set(Weather::Sliced);
        assert_eq!(sliced.run(&world).await, End::Committed, "{mode:?}");
        oracle::check(
            &world.database,
            &sliced,
            mode,
            &sliced.write_id,
            End::Committed,
        )
        .await;

        let garbled = job(&world, mode, "garbled").await;
        let running = garbled.run(&world);
        let trouble = async {
            for _ in 0..5 {
                world.link.set(Weather::Garbled);
                tokio::time::sleep(std::time::Duration::from_millis(30)).await;
                world.link.set(Weather::Fair);
                tokio::time::sleep(std::time::Duration::from_millis(30)).await;
            }
        };
        let (end, ()) = tokio::join!(running, trouble);
        assert_eq!(end, End::Committed, "{mode:?}");
        oracle::check(
            &world.database,
            &garbled,
            mode,
            &garbled.write_id,
            End::Committed,
        )
        .await;
    }
    for replica in &world.replicas {
        assert!(!replica.has_panicked());
    }
}
