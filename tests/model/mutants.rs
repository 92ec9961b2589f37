//! The protocol with one rule left out: the search must find what that rule prevents.

use std::collections::BTreeSet;

use stateright::{Checker, HasDiscoveries, Model};

use crate::config::{Config, FIRST, Fence, Publish, Rules, TRUNCATED, TRUNCATED_RETRY, ZOMBIE};
use crate::properties::{END, I1, I2, I3, I4, I5, I6, I8, I9, RECEIPTS};
use crate::protocol::Protocol;
use crate::{
    ended_by_hand, in_two_phases, two_drivers, with_adopted_table, with_failover, with_rollbacks,
    with_stranger,
};

/// Searches until each of these invariants is seen broken.
fn breaks(invariants: &[&'static str], config: Config) {
    let wanted: BTreeSet<&'static str> = invariants.iter().copied().collect();
    let checker = Protocol { config }
        .checker()
        .finish_when(HasDiscoveries::AllOf(wanted))
        .spawn_bfs()
        .join();
    for invariant in invariants {
        let Some(path) = checker.discovery(invariant) else {
            panic!("not found to be broken: {invariant}");
        };
        println!(
            "{invariant}: broken after {} states by {:?}",
            checker.unique_state_count(),
            path.into_actions()
        );
    }
}

const PROTOCOL: Rules = Rules::PROTOCOL;

fn one_job(rules: Rules) -> Config {
    Config {
        streams: vec![TRUNCATED, TRUNCATED_RETRY, FIRST, ZOMBIE],
        rules,
        ..Config::one_job()
    }
}

fn with_abort(rules: Rules) -> Config {
    Config {
        abort: true,
        ..one_job(rules)
    }
}

#[test]
fn without_the_fence_an_attempt_is_recorded_after_the_commit() {
    let fence = Fence::Missing;
    breaks(&[I8], one_job(Rules { fence, ..PROTOCOL }));
}

#[test]
fn a_fence_for_key_share_does_not_wait_for_an_abort() {
    let fence = Fence::KeyShare;
    breaks(&[I8], with_abort(Rules { fence, ..PROTOCOL }));
}

#[test]
fn without_the_count_a_commit_misses_rows_lost_in_a_crash() {
    let config = Config {
        postgres_crashes: 1,
        ..one_job(Rules {
            counts_are_checked: false,
            ..PROTOCOL
        })
    };
    breaks(&[I1], config);
}

#[test]
fn without_the_end_record_a_cancelled_stream_is_published() {
    let rules = Rules {
        needs_end_record: false,
        ..PROTOCOL
    };
    breaks(&[I1], one_job(rules));
}

#[test]
fn if_the_first_record_wins_a_truncated_attempt_is_published() {
    let rules = Rules {
        drivers_list_decides: false,
        ..PROTOCOL
    };
    breaks(&[I1], one_job(rules));
}

#[test]
fn without_uniqueness_a_stream_sent_twice_is_published_twice() {
    let rules = Rules {
        attempts_are_unique: false,
        ..PROTOCOL
    };
    breaks(&[I1, I6], one_job(rules));
}

#[test]
fn without_a_tombstone_a_late_begin_reopens_an_aborted_write() {
    let rules = Rules {
        tombstone: false,
        ..PROTOCOL
    };
    breaks(&[I4, I5], with_abort(rules));
}

#[test]
fn an_abort_without_the_lock_undoes_a_commit_in_the_ledger() {
    let rules = Rules {
        abort_locks: false,
        ..PROTOCOL
    };
    breaks(&[I3, I8], with_abort(rules));
}

#[test]
fn without_reading_the_ledger_a_driver_gets_a_wrong_answer() {
    let config = Config {
        rules: Rules {
            lost_staging_reads_ledger: false,
            ..PROTOCOL
        },
        ..two_drivers()
    };
    breaks(&[I4, I5], config);
}

#[test]
fn without_the_ledger_cleaning_and_a_failover_commit_nothing() {
    let config = Config {
        rules: Rules {
            cleaning_asks_ledger: false,
            ..PROTOCOL
        },
        ..with_failover()
    };
    breaks(&[I1], config);
}

fn two_phases_with(rules: Rules) -> Config {
    Config {
        rules,
        ..in_two_phases()
    }
}

#[test]
fn where_the_decision_comes_last_an_aborted_write_has_rows() {
    let rules = Rules {
        decision_comes_first: false,
        ..PROTOCOL
    };
    breaks(&[I2], two_phases_with(rules));
}

#[test]
fn without_the_rollback_unwanted_transactions_stay_prepared() {
    let rules = Rules {
        unwanted_are_rolled_back: false,
        ..PROTOCOL
    };
    breaks(&[END], two_phases_with(rules));
}

#[test]
fn rolling_back_accepted_attempts_loses_rows() {
    let rules = Rules {
        accepted_are_kept: false,
        ..PROTOCOL
    };
    breaks(&[I9], two_phases_with(rules));
}

#[test]
fn without_deleting_rows_a_truncated_attempt_is_published() {
    let config = Config {
        rules: Rules {
            unaccepted_rows_go: false,
            ..PROTOCOL
        },
        ..with_adopted_table()
    };
    breaks(&[I1], config);
}

#[test]
fn where_the_tag_is_not_read_a_receipt_is_given_for_no_rows() {
    let config = Config {
        rules: Rules {
            tag_is_read: false,
            ..PROTOCOL
        },
        ..with_rollbacks()
    };
    breaks(&[RECEIPTS], config);
}

#[test]
fn where_gone_transactions_are_not_looked_up_rows_are_missing() {
    let config = Config {
        rules: Rules {
            gone_are_looked_up: false,
            ..PROTOCOL
        },
        ..ended_by_hand()
    };
    breaks(&[I1], config);
}

#[test]
fn not_counting_commits_by_hand_reports_a_whole_write_lost() {
    let config = Config {
        rules: Rules {
            commits_of_others_count: false,
            ..PROTOCOL
        },
        ..ended_by_hand()
    };
    breaks(&[I9], config);
}

#[test]
fn where_a_stranger_is_not_rejected_a_write_is_committed_empty() {
    let config = Config {
        rules: Rules {
            strangers_are_refused: false,
            ..PROTOCOL
        },
        ..with_stranger(Publish::Adopt)
    };
    breaks(&[I1], config);
}
