//! A commit, C1 to C7: `src/write/session/commit.rs`, with the statements of `src/pg/ledger/` and
//! `src/pg/publish/`.

use crate::config::{Config, PARTITIONS, Publish, STRANGER};
use crate::session;
use crate::state::{
    Answer, Attempt, AttemptStep, Call, CommitStep, RowLock, State, Streams, Write,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum CommitAction {
    /// C1 touches nothing shared, so it is one step with C2.
    C1C2Lock,
    C3CheckReceipts,
    /// Only where the table is adopted, which is why streams into it must end.
    C4EndCopies,
    /// No other session uses the target here, so C4 is one step with C5.
    C4C5Publish,
    /// PostgreSQL ends a deadlock: the call has the row and waits for the table, a stream has the
    /// table and waits for the row.
    LosesDeadlock,
    C6Update,
    C7Commit,
    /// PostgreSQL has rolled back, and only its tag shows it.
    C7AnsweredRollback,
    AbortLostStaging,
    CommitThatAbort,
    Reply,
    LoseReply,
    CallAgain,
    ServerDies,
}

/// Returns the steps that commit call `number` can take now. A step that waits for a lock is not one of them.
pub(crate) fn actions(
    config: &Config,
    state: &State,
    number: usize,
    mut add: impl FnMut(CommitAction),
) {
    use CommitAction as Do;
    let call = Call::Commit(number);
    let commit = state.commits[number];
    match commit.step {
        CommitStep::Idle
            if receipts(config, state, number).is_some()
                && (config.commits[number] != STRANGER || state.write != Write::Absent)
                && state.can_lock_row(config, call, RowLock::Update) =>
        {
            add(Do::C1C2Lock);
        }
        CommitStep::Locked => add(Do::C3CheckReceipts),
        CommitStep::Checked if config.publish == Publish::Adopt => add(Do::C4EndCopies),
        CommitStep::Checked => add(Do::C4C5Publish),
        // A stream that began after C4 prevents the adoption of the table.
        CommitStep::CopiesEnded if !state.staging_is_in_use() => add(Do::C4C5Publish),
        CommitStep::CopiesEnded => {
            let waits = |attempt: &Attempt| attempt.step == AttemptStep::Finished;
            if state.attempts.iter().any(waits) {
                add(Do::LosesDeadlock);
            }
        }
        CommitStep::Published(_) => add(Do::C6Update),
        CommitStep::Updated(_) => {
            add(Do::C7Commit);
            if state.rollbacks > 0 {
                add(Do::C7AnsweredRollback);
            }
        }
        CommitStep::StagingLost if session::can_upsert(config, state, call) => {
            add(Do::AbortLostStaging);
        }
        CommitStep::AbortingLost(_) => add(Do::CommitThatAbort),
        // `finish_commit` comes first, in steps of its own: see `crate::two_phase`.
        CommitStep::Replying(_) if state.write != Write::Committing => {
            add(Do::Reply);
            add(Do::LoseReply);
        }
        CommitStep::Lost(_) | CommitStep::Failed if commit.retries > 0 => add(Do::CallAgain),
        _ => {}
    }
    let finishing =
        matches!(commit.step, CommitStep::Replying(_)) && state.write == Write::Committing;
    let in_call = finishing
        || matches!(
            commit.step,
            CommitStep::Locked
                | CommitStep::Checked
                | CommitStep::CopiesEnded
                | CommitStep::Published(_)
                | CommitStep::Updated(_)
                | CommitStep::StagingLost
                | CommitStep::AbortingLost(_)
        );
    if in_call && state.server_can_die() {
        add(Do::ServerDies);
    }
}

/// The accepted receipts of the call's driver, once there is one of every partition. A stranger has none.
fn receipts(config: &Config, state: &State, number: usize) -> Option<[Option<usize>; PARTITIONS]> {
    let accepted = match config.commits[number] {
        STRANGER => return Some([None; PARTITIONS]),
        driver => state.accepted[driver],
    };
    accepted.iter().all(Option::is_some).then_some(accepted)
}

pub(crate) fn apply(config: &Config, state: &mut State, number: usize, action: CommitAction) {
    use CommitAction as Do;
    let commit = state.commits[number];
    let step = match (action, commit.step) {
        // `try_commit`: `lock_write_for_publish`, SELECT … FOR UPDATE.
        (Do::C1C2Lock, _) => match state.write {
            Write::Open => CommitStep::Locked,
            Write::Committing | Write::Committed | Write::PreparedLost => {
                CommitStep::Replying(Answer::Committed)
            }
            Write::Aborted | Write::Absent => CommitStep::Replying(Answer::Aborted),
        },
        // `check_not_a_stream`, `Accepted::check`.
        (Do::C3CheckReceipts, _)
            if config.commits[number] == STRANGER && config.rules.strangers_are_refused =>
        {
            CommitStep::Replying(Answer::Refused)
        }
        // `Chosen::from`, with the attempts that a new statement reads.
        (Do::C3CheckReceipts, _) => {
            if receipts_agree(config, state, number) {
                CommitStep::Checked
            } else {
                CommitStep::Replying(Answer::Differs)
            }
        }
        // `keep_accepted`: `end_copies_into`, which ends the sessions that copy now.
        (Do::C4EndCopies, _) => {
            for attempt in state.attempts.iter_mut().filter(|one| one.has_copied()) {
                attempt.step = AttemptStep::RolledBack;
            }
            CommitStep::CopiesEnded
        }
        (Do::LosesDeadlock, _) => CommitStep::Failed,
        // `adopt_shadow`: DELETE of what was not accepted, ALTER TABLE … RENAME.
        (Do::C4C5Publish, CommitStep::CopiesEnded) => {
            CommitStep::Published(if config.rules.unaccepted_rows_go {
                chosen(config, state, number).and(state.staged)
            } else {
                state.staged
            })
        }
        // `publish`: INSERT … SELECT of the accepted rows, then the count.
        (Do::C4C5Publish, _) if !state.staging => {
            // Only the mutant that drops the staging table of an open write reaches this: without a staging table, a
            // write looks like one whose attempts went straight into the target.
            CommitStep::Published(Streams::default())
        }
        (Do::C4C5Publish, _) => {
            let chosen = chosen(config, state, number);
            let published = chosen.and(match config.publish {
                Publish::TwoPhase => state.prepared,
                Publish::Copy | Publish::Adopt => state.staged,
            });
            if published == chosen || !config.rules.counts_are_checked {
                CommitStep::Published(published)
            } else {
                CommitStep::StagingLost
            }
        }
        // `ledger::commit`: UPDATE … AND state = 'open' must hit the row, which C2 keeps locked.
        (Do::C6Update, CommitStep::Published(published)) => CommitStep::Updated(published),
        // `try_commit`: COMMIT, of the decision.
        (Do::C7Commit, CommitStep::Updated(published)) if config.publish == Publish::TwoPhase => {
            state.decide(published);
            CommitStep::Replying(Answer::Committed)
        }
        // `try_commit`: COMMIT.
        (Do::C7Commit, CommitStep::Updated(published)) => {
            state.end(Write::Committed);
            for stream in published.iter() {
                state.target[stream] += 1;
            }
            if config.publish == Publish::Adopt {
                state.drop_staging();
            }
            CommitStep::Replying(Answer::Committed)
        }
        // `Transaction::end_with`.
        (Do::C7AnsweredRollback, _) => {
            state.rollbacks -= 1;
            if config.rules.tag_is_read {
                CommitStep::Failed
            } else {
                CommitStep::Replying(Answer::Committed)
            }
        }
        // `try_commit`: a new transaction, `Writer::abort`.
        (Do::AbortLostStaging, _) => CommitStep::AbortingLost(session::upsert(config, state)),
        (Do::CommitThatAbort, CommitStep::AbortingLost(upsert)) => {
            session::commit_upsert(state, upsert);
            match state.write {
                Write::Committing | Write::Committed | Write::PreparedLost
                    if config.rules.lost_staging_reads_ledger =>
                {
                    CommitStep::Replying(Answer::Committed)
                }
                _ => CommitStep::Replying(Answer::StagingLost),
            }
        }
        // `Writer::commit`: the answer to a success is what `status` reads.
        (Do::Reply, CommitStep::Replying(answer)) => {
            CommitStep::Answered(match (answer, state.write) {
                (Answer::Committed, Write::Open) => Answer::Open,
                (Answer::Committed, Write::Aborted) => Answer::Aborted,
                (Answer::Committed, Write::PreparedLost) => Answer::PreparedLost,
                _ => answer,
            })
        }
        (Do::LoseReply, CommitStep::Replying(answer)) => CommitStep::Lost(answer),
        (Do::CallAgain, _) => {
            state.commits[number].retries -= 1;
            CommitStep::Idle
        }
        (Do::ServerDies, _) => {
            state.server_died();
            CommitStep::Failed
        }
        (action, step) => unreachable!("{action:?} in {step:?}"),
    };
    state.commits[number].step = step;
}

/// Every receipt is in the ledger with the same rows. Receipts name a record, so that equal means
/// the same record.
fn receipts_agree(config: &Config, state: &State, number: usize) -> bool {
    let is_recorded = |record| state.ledger.has(record);
    receipts(config, state, number)
        .is_some_and(|receipts| receipts.into_iter().flatten().all(is_recorded))
}

/// The records whose rows are published: those that the ledger has under the accepted ids.
fn chosen(config: &Config, state: &State, number: usize) -> Streams {
    let mut chosen = Streams::default();
    let receipts = receipts(config, state, number).into_iter().flatten();
    for (partition, receipt) in receipts.enumerate() {
        let Some(receipt) = receipt else { continue };
        match state.first_recorded[partition] {
            Some(first) if !config.rules.drivers_list_decides => chosen.add(first),
            _ => {
                let id = config.streams[receipt].attempt;
                state
                    .ledger
                    .iter()
                    .filter(|&record| config.streams[record].attempt == id)
                    .for_each(|record| chosen.add(record));
            }
        }
    }
    chosen
}
