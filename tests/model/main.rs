mod attempt;
mod commit;
mod config;
mod properties;
mod protocol;
mod session;
mod state;

use config::*;
use protocol::Protocol;
use stateright::{Checker, Model};

#[test]
fn sizes() {
    let which = std::env::var("WHICH").unwrap_or_default();
    let base = Config::one_job();
    let config = match which.as_str() {
        "job" => base,
        "abort" => Config { abort: true, ..base },
        "abort4" => Config { abort: true, streams: vec![TRUNCATED, TRUNCATED_RETRY, FIRST, ZOMBIE], ..base },
        "crash4" => Config { expiry: true, postgres_crashes: 1, streams: vec![TRUNCATED, TRUNCATED_RETRY, FIRST, ZOMBIE], ..base },
        "abort3" => Config { abort: true, begins: 2, retries: 1, streams: vec![TRUNCATED_RETRY, FIRST, ZOMBIE], ..base },
        "crash3" => Config { expiry: true, abort: true, postgres_crashes: 1, streams: vec![TRUNCATED_RETRY, FIRST, ZOMBIE], ..base },
        "job4" => Config { streams: vec![TRUNCATED, TRUNCATED_RETRY, FIRST, ZOMBIE], ..base },
        _ => panic!(),
    };
    let start = std::time::SystemTime::now();
    let checker = Protocol { config }.checker().threads(2).timeout(std::time::Duration::from_secs(100)).spawn_bfs().join();
    println!("{which}: {} unique, {} generated, depth {}, {:?}", checker.unique_state_count(), checker.state_count(), checker.max_depth(), start.elapsed());
    for (name, path) in checker.discoveries() { println!("{name}: {}", path.into_actions().len()); }
    checker.assert_properties();
}
