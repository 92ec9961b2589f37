//! Seeded random runs: a job in a random mode, and faults of all kinds while it runs.

use std::cell::Cell;
use std::time::Duration;

use fastrand::Rng;

use crate::rig::job::{BeforeCommit, End, Job};
use crate::rig::oracle::{self, Mode};
use crate::rig::proxy::{COMMIT, Trap, Weather};
use crate::rig::world::World;

/// `PGFLIGHT_FAULT_RUNS` sets the number of runs, and `PGFLIGHT_FAULT_SEED` repeats one.
const RUNS: u64 = 15;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whatever_fails_a_write_is_there_once_and_whole_or_not_at_all() {
    let number =
        |name: &str, otherwise| std::env::var(name).map_or(otherwise, |text| text.parse().unwrap());
    let runs = number("PGFLIGHT_FAULT_RUNS", RUNS);
    let first = number("PGFLIGHT_FAULT_SEED", u64::from(std::process::id()) * 1000);
    eprintln!("{runs} runs; again with PGFLIGHT_FAULT_SEED={first} PGFLIGHT_FAULT_RUNS={runs}");
    let direct = World::with_cluster().await;
    // A third of the runs go through a pooler, where there is one.
    let pooled = World::with_pooler().await;
    let (mut faults, mut gave_up, mut lost) = (0, 0, 0);
    for seed in first..first + runs {
        let world = match &pooled {
            Some(pooled) if seed % 3 == 0 => pooled,
            _ => &direct,
        };
        let mut rng = Rng::with_seed(seed);
        let mode = Mode::ALL[rng.usize(..Mode::ALL.len())];
        let table = format!("t_{seed}");
        mode.prepare(&world.database, &table).await;
        let job = Job {
            write_id: table.clone(),
            spec: mode.spec(&table),
            partitions: rng.u32(1..5),
            rows: rng.u32(1..4000),
            seed: rng.u64(..),
            before_commit: match rng.u8(..6) {
                0 => BeforeCommit::GivesUp,
                _ => BeforeCommit::Nothing,
            },
        };
        let mut trouble = rng.fork();
        let over = Cell::new(false);
        // A fault that has begun runs to its end.
        let faulty = async {
            while !over.get() {
                tokio::time::sleep(Duration::from_millis(trouble.u64(1..50))).await;
                strike(world, &mut trouble).await;
                faults += 1;
            }
        };
        let whole = async {
            let end = job.run(world).await;
            over.set(true);
            end
        };
        let (end, ()) = tokio::join!(whole, faulty);
        for replica in &world.replicas {
            replica.proxy.set(Weather::Fair);
            replica.signal("CONT");
        }
        world.link.set(Weather::Fair);
        world.link.set_trap(Trap::LoseAnswer, COMMIT, 0);
        gave_up += u32::from(end == End::Aborted);
        lost += u32::from(end == End::StagingLost);
        oracle::check(&world.database, &job, mode, &table, end).await;
    }
    eprintln!(
        "{runs} runs, {faults} faults, {} of them crashes of PostgreSQL; {gave_up} jobs gave up, {lost} were error \
         that staged rows are lost: nothing lost unsaid, doubled or left behind",
        direct.crashes() + pooled.as_ref().map_or(0, World::crashes)
    );
}

/// Runs one fault, to its end if it has one.
async fn strike(world: &World, rng: &mut Rng) {
    let replica = &world.replicas[rng.usize(..2)];
    let moment = Duration::from_millis(rng.u64(10..150));
    match rng.u8(..24) {
        0..2 => {
            replica.kill();
            tokio::time::sleep(moment).await;
            replica.start(None);
        }
        2..4 => replica.proxy.cut(),
        4..6 => {
            replica.proxy.set(Weather::Stalled);
            tokio::time::sleep(moment).await;
            replica.proxy.set(Weather::Fair);
        }
        6..8 => {
            replica.proxy.set(Weather::RepliesLost);
            tokio::time::sleep(moment).await;
            // Bytes under way are lost, so the connection cannot be used any more.
            replica.proxy.cut();
            replica.proxy.set(Weather::Fair);
        }
        8..10 => {
            replica.signal("STOP");
            tokio::time::sleep(moment).await;
            replica.signal("CONT");
        }
        10 => world.crash().await,
        11..14 => session(world, "pg_terminate_backend").await,
        14 => world.link.cut(),
        15 => {
            world.link.set(Weather::Stalled);
            tokio::time::sleep(moment).await;
            world.link.set(Weather::Fair);
        }
        16 => {
            world.link.set(Weather::RepliesLost);
            tokio::time::sleep(moment).await;
            world.link.cut();
            world.link.set(Weather::Fair);
        }
        17 => {
            world.link.set(Weather::Garbled);
            tokio::time::sleep(moment).await;
            world.link.set(Weather::Fair);
        }
        // COMMITs of the ledger's transactions, of those with rows, and of both phases.
        18..20 => world.link.lose_answers_to("COMMIT", rng.u32(1..4)),
        20 => world.link.set_trap(Trap::RollBack, COMMIT, rng.u32(1..4)),
        // Rarely, since it takes long.
        21 if rng.u8(..8) == 0 => {
            world.link.set(Weather::Away);
            tokio::time::sleep(Duration::from_millis(rng.u64(1000..10_000))).await;
            world.link.set(Weather::Fair);
        }
        _ => session(world, "pg_cancel_backend").await,
    }
}

/// Ends or interrupts one session of a server.
async fn session(world: &World, how: &str) {
    let sessions = "SELECT pid FROM pg_stat_activity WHERE datname = current_database()
                    AND application_name = 'pgflight' AND state <> 'idle' ORDER BY random() LIMIT 1";
    world
        .database
        .execute(&format!("SELECT {how}(pid) FROM ({sessions}) s"))
        .await;
}
