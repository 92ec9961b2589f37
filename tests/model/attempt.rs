//! An attempt, A0 to A6: `src/write/session/attempt.rs`, with the statements of `src/pg/ledger/` and the end of the
//! stream as `src/write/pipeline/` handles it.

use crate::config::{Config, End, Fence, Publish};
use crate::state::{AttemptStep, Call, RowLock, State, Write};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum AttemptAction {
    A0ReadLedger,
    /// A1 touches nothing shared, so it is one step with A2.
    A1A2Copy,
    A3EndRecord,
    A3CutWithoutEndRecord,
    /// PREPARE TRANSACTION, in two phases.
    A3Prepare,
    A4Fence,
    A5Insert,
    A6Commit,
    /// PostgreSQL has rolled back, and only its tag shows it.
    A6AnsweredRollback,
    ReadLedgerAgain,
    Reply,
    LoseReply,
    AskAgain,
    ServerDies,
}

/// Returns the steps that stream `number` can take now. A step that waits for a lock is not one of them.
pub(crate) fn actions(
    config: &Config,
    state: &State,
    number: usize,
    mut add: impl FnMut(AttemptAction),
) {
    use AttemptAction as Do;
    let step = state.attempts[number].step;
    match step {
        // No task runs before begin has answered.
        AttemptStep::Idle if state.write != Write::Absent => add(Do::A0ReadLedger),
        AttemptStep::Admitted => add(Do::A1A2Copy),
        AttemptStep::Copying => {
            add(Do::A3EndRecord);
            if config.streams[number].end == End::WholeOrCut {
                add(Do::A3CutWithoutEndRecord);
            }
        }
        AttemptStep::Finished if config.publish == Publish::TwoPhase => add(Do::A3Prepare),
        AttemptStep::Finished | AttemptStep::Prepared
            if fence_is_granted(config, state, number) =>
        {
            add(Do::A4Fence)
        }
        AttemptStep::Fenced if !key_is_being_inserted(config, state, number) => add(Do::A5Insert),
        AttemptStep::Inserted => {
            add(Do::A6Commit);
            if state.rollbacks > 0 {
                add(Do::A6AnsweredRollback);
            }
        }
        AttemptStep::ShutOut | AttemptStep::RolledBack => add(Do::ReadLedgerAgain),
        AttemptStep::Recorded => {
            add(Do::Reply);
            add(Do::LoseReply);
        }
        AttemptStep::Lost => add(Do::AskAgain),
        _ => {}
    }
    let served = match config.publish {
        Publish::TwoPhase => state.attempts[number].is_served(),
        Publish::Copy | Publish::Adopt => state.attempts[number].has_copied(),
    };
    if served && state.server_can_die() {
        add(Do::ServerDies);
    }
}

/// `record_attempt`, its first statement: waits for a commit or abort in progress.
fn fence_is_granted(config: &Config, state: &State, number: usize) -> bool {
    let lock = match config.rules.fence {
        Fence::Share => RowLock::Share,
        Fence::KeyShare => RowLock::KeyShare,
        Fence::Missing => return true,
    };
    state.can_lock_row(config, Call::Attempt(number), lock)
}

/// A unique index makes an insert wait for the same key of a transaction in progress.
fn key_is_being_inserted(config: &Config, state: &State, number: usize) -> bool {
    let id = config.streams[number].attempt;
    config.rules.attempts_are_unique
        && config.streams.iter().enumerate().any(|(other, stream)| {
            stream.attempt == id && state.attempts[other].step == AttemptStep::Inserted
        })
}

pub(crate) fn apply(config: &Config, state: &mut State, number: usize, action: AttemptAction) {
    use AttemptAction as Do;
    let step = match action {
        // `write_attempt`: `find_status`, `recorded`, `check_open`.
        Do::A0ReadLedger | Do::AskAgain => match state.record_of(config, number) {
            Some(record) => receive(config, state, number, record),
            None if state.write == Write::Open => AttemptStep::Admitted,
            None => AttemptStep::Refused,
        },
        // `stage`: `open_relation`, `CopySink::open`, the rows.
        Do::A1A2Copy if state.staging => AttemptStep::Copying,
        Do::A1A2Copy => AttemptStep::RolledBack,
        // `pipeline::load`: `check_end`, then `CopySink::finish`.
        Do::A3EndRecord => AttemptStep::Finished,
        Do::A3CutWithoutEndRecord => {
            state.attempts[number].cut = true;
            if config.rules.needs_end_record {
                AttemptStep::RolledBack
            } else {
                AttemptStep::Finished
            }
        }
        // `prepare_attempt`: the transaction is PostgreSQL's from now on.
        Do::A3Prepare => {
            state.prepared.add(number);
            AttemptStep::Prepared
        }
        // `record_attempt`: SELECT … AND state = 'open' FOR SHARE.
        Do::A4Fence if state.write == Write::Open || config.rules.fence == Fence::Missing => {
            AttemptStep::Fenced
        }
        Do::A4Fence => AttemptStep::ShutOut,
        // `record_attempt`: INSERT, rejected with 23505 if a twin was first.
        Do::A5Insert => match state.record_of(config, number) {
            Some(_) if config.rules.attempts_are_unique => AttemptStep::RolledBack,
            _ => AttemptStep::Inserted,
        },
        // `stage`: COMMIT, of rows and ledger row together.
        Do::A6Commit => {
            record(config, state, number);
            AttemptStep::Recorded
        }
        // `Transaction::end_with`.
        Do::A6AnsweredRollback => {
            state.rollbacks -= 1;
            if config.rules.tag_is_read {
                AttemptStep::RolledBack
            } else {
                AttemptStep::Recorded
            }
        }
        // `write_attempt`: on any error the ledger is read once more.
        Do::ReadLedgerAgain => {
            // `forget_prepared`; a stream that was rolled back otherwise leaves it to the write's end.
            if state.attempts[number].step == AttemptStep::ShutOut {
                state.prepared.remove(number);
            }
            match state.record_of(config, number) {
                Some(record) => receive(config, state, number, record),
                None if state.attempts[number].step == AttemptStep::ShutOut => AttemptStep::Refused,
                None => AttemptStep::Failed,
            }
        }
        Do::Reply => receive(config, state, number, number),
        Do::LoseReply => AttemptStep::Lost,
        Do::ServerDies => {
            state.server_died();
            AttemptStep::Failed
        }
    };
    state.attempts[number].step = step;
}

fn record(config: &Config, state: &mut State, number: usize) {
    state.recorded_late |= state.has_ended();
    state.ledger.add(number);
    if config.publish != Publish::TwoPhase {
        state.staged.add(number);
    }
    if !config.rules.drivers_list_decides {
        state.first_recorded[config.streams[number].partition].get_or_insert(number);
    }
}

/// The client has a receipt. Spark's driver accepts the first of each partition, but none of a task
/// that Spark fails afterwards, and none of a client that was cancelled.
fn receive(config: &Config, state: &mut State, number: usize, record: usize) -> AttemptStep {
    let stream = config.streams[number];
    if stream.end != End::Truncated && !state.attempts[number].cut {
        state.accepted[stream.driver][stream.partition].get_or_insert(record);
    }
    AttemptStep::Receipt(record)
}
