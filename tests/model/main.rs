//! The write protocol as a model, searched exhaustively: every order of the steps of concurrent
//! streams, commits, aborts and expiry, with replies lost, servers and PostgreSQL crashing in between.
//!
//! Run with `--nocapture` to see how many states there are. What the model leaves out: other writes and
//! other users of the target, modes that differ only in the statement of C5, and retention.

#![expect(
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_types,
    reason = "a test fails by panicking, tells how much it searched, and for how long"
)]
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a step that is not named has nothing to do next; a search that gets stuck tells"
)]

mod attempt;
mod commit;
mod config;
mod liveness;
mod mutants;
mod properties;
mod protocol;
mod session;
mod state;
mod two_phase;

use std::time::Instant;

use stateright::{Checker, Model};

use crate::config::{Config, FIRST, Publish, SPECULATIVE, TRUNCATED, TRUNCATED_RETRY, ZOMBIE};
use crate::protocol::Protocol;

/// Searches all states; every invariant must hold in each and every outcome must be met.
fn search(what: &str, config: Config) {
    let started = Instant::now();
    let checker = Protocol { config }.checker().threads(2).spawn_bfs().join();
    println!(
        "{what}: {} states, {} steps, depth {}, {:.1} s",
        checker.unique_state_count(),
        checker.state_count(),
        checker.max_depth(),
        started.elapsed().as_secs_f32()
    );
    checker.assert_properties();
}

#[test]
fn one_job_with_all_its_streams_is_committed_once_and_whole() {
    search("one job", Config::one_job());
}

#[test]
fn an_abort_at_any_time_ends_the_write_or_learns_of_the_commit() {
    let config = Config {
        streams: vec![TRUNCATED, TRUNCATED_RETRY, FIRST, ZOMBIE],
        abort: true,
        ..Config::one_job()
    };
    search("abort", config);
}

#[test]
fn a_crash_and_an_expiry_at_any_time_keep_every_promise() {
    let config = Config {
        streams: vec![TRUNCATED_RETRY, FIRST, ZOMBIE],
        abort: true,
        expiry: true,
        postgres_crashes: 1,
        ..Config::one_job()
    };
    search("crash of PostgreSQL, expiry and abort", config);
}

#[test]
fn after_a_failover_loses_a_commit_the_write_can_still_end() {
    search("failover", with_failover());
}

fn with_failover() -> Config {
    Config {
        streams: vec![TRUNCATED_RETRY, FIRST, ZOMBIE],
        failovers: 1,
        ..Config::one_job()
    }
}

#[test]
fn a_table_that_is_adopted_has_exactly_the_accepted_rows() {
    search("adopted table", with_adopted_table());
}

fn with_adopted_table() -> Config {
    Config {
        streams: vec![TRUNCATED, TRUNCATED_RETRY, FIRST, ZOMBIE],
        publish: Publish::Adopt,
        ..Config::one_job()
    }
}

#[test]
fn prepared_attempts_are_committed_once_or_rolled_back() {
    search("two phases", in_two_phases());
}

/// With an abort at any time, a crash of PostgreSQL, and servers that die between the phases.
fn in_two_phases() -> Config {
    Config {
        streams: vec![TRUNCATED, TRUNCATED_RETRY, FIRST],
        publish: Publish::TwoPhase,
        abort: true,
        postgres_crashes: 1,
        ..Config::one_job()
    }
}

#[test]
fn a_stream_sent_twice_is_prepared_twice_and_committed_once() {
    let config = Config {
        streams: vec![TRUNCATED_RETRY, FIRST, ZOMBIE],
        expiry: true,
        ..in_two_phases()
    };
    search("two phases, a zombie", config);
}

#[test]
fn a_commit_that_is_answered_with_rollback_is_made_again() {
    search("COMMIT answered with ROLLBACK", with_rollbacks());
}

fn with_rollbacks() -> Config {
    Config {
        streams: vec![TRUNCATED_RETRY, FIRST, ZOMBIE],
        abort: true,
        rollbacks: 2,
        retries: 1,
        server_crashes: Some(1),
        ..Config::one_job()
    }
}

#[test]
fn prepared_transactions_ended_by_hand_are_reported() {
    search("ended by hand", ended_by_hand());
}

fn ended_by_hand() -> Config {
    Config {
        streams: vec![TRUNCATED, TRUNCATED_RETRY, FIRST],
        by_hand: 2,
        postgres_crashes: 0,
        ..in_two_phases()
    }
}

#[test]
fn a_stranger_ends_no_write() {
    for publish in [Publish::Adopt, Publish::TwoPhase] {
        search("stranger", with_stranger(publish));
    }
}

/// Another client asks for a commit, with no receipts.
fn with_stranger(publish: Publish) -> Config {
    Config {
        streams: vec![TRUNCATED_RETRY, FIRST, ZOMBIE],
        commits: vec![0, config::STRANGER],
        publish,
        ..Config::one_job()
    }
}

#[test]
fn calls_that_are_doubled_or_made_again_get_the_same_answers() {
    let config = Config {
        streams: vec![TRUNCATED_RETRY, FIRST],
        begins: 2,
        abort: true,
        retries: 1,
        ..Config::one_job()
    };
    search("doubled begin, calls made again", config);
}

#[test]
fn two_drivers_agree_on_how_the_write_ended() {
    search("two drivers", two_drivers());
}

/// A job that was run again with the same write id while the first driver still lives: each commits
/// the attempts that it accepted itself.
fn two_drivers() -> Config {
    Config {
        streams: vec![
            TRUNCATED_RETRY,
            FIRST,
            config::RERUN.of_second_driver(),
            SPECULATIVE.of_second_driver(),
        ],
        commits: vec![0, 1],
        postgres_crashes: 1,
        ..Config::one_job()
    }
}

#[test]
fn a_driver_that_retries_often_enough_gets_its_commit() {
    let config = Config {
        streams: vec![TRUNCATED, TRUNCATED_RETRY, FIRST, ZOMBIE],
        server_crashes: Some(2),
        retries: 1,
        ..Config::one_job()
    };
    search("patient driver", config);
}

#[test]
fn no_call_waits_for_ever_when_nothing_fails() {
    let config = Config {
        streams: vec![TRUNCATED_RETRY, FIRST, ZOMBIE],
        begins: 2,
        abort: true,
        expiry: true,
        server_crashes: Some(0),
        ..Config::one_job()
    };
    search("no failure", config);
}

#[test]
#[ignore = "millions of states: scripts/test model runs it"]
fn all_streams_and_an_abort_keep_every_promise() {
    let config = Config {
        abort: true,
        ..Config::one_job()
    };
    search("all streams and an abort", config);
}

#[test]
#[ignore = "millions of states: scripts/test model runs it"]
fn all_ends_and_all_failures_keep_every_promise() {
    let config = Config {
        streams: vec![TRUNCATED, TRUNCATED_RETRY, FIRST, ZOMBIE],
        abort: true,
        expiry: true,
        postgres_crashes: 1,
        ..Config::one_job()
    };
    search("all ends and all failures", config);
}
