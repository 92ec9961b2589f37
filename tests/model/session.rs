//! Begin and abort: `src/write/session/`, with the statements of `src/pg/ledger/`. Expiry and cleaning:
//! `src/write/upkeep/reaper.rs`, with those of `src/pg/ledger/reap.rs`, and `Writer::clean_up`.

use crate::config::Config;
use crate::state::{
    Abort, AbortStep, Answer, Begin, Call, CommitStep, Expiry, RowLock, State, Upsert, Write,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum SessionAction {
    BeginInserts(usize),
    BeginCommits(usize),
    BeginDies(usize),
    /// Only in the mutant without the lock.
    AbortLooks,
    AbortUpserts,
    AbortCommits,
    AbortAnsweredRollback,
    AbortReply,
    AbortLosesReply,
    AbortAgain,
    AbortDies,
    ExpiryUpdates,
    ExpiryCommits,
    DropStaging,
}

/// Returns the possible steps. A step that waits for a lock is not one of them.
pub(crate) fn actions(config: &Config, state: &State, mut add: impl FnMut(SessionAction)) {
    use SessionAction as Do;
    for number in 0..config.begins {
        match state.begins[number] {
            // INSERT … ON CONFLICT DO NOTHING waits for the same key of another transaction.
            Begin::Idle if !state.row_is_being_inserted() => add(Do::BeginInserts(number)),
            Begin::Inserted => {
                add(Do::BeginCommits(number));
                if state.server_can_die() {
                    add(Do::BeginDies(number));
                }
            }
            _ => {}
        }
    }
    if config.abort {
        abort_actions(config, state, &mut add);
    }
    // FOR UPDATE SKIP LOCKED; the write may have expired whenever the reaper looks.
    let can_expire = config.expiry && state.expiry == Expiry::Idle && state.write == Write::Open;
    if can_expire && state.can_lock_row(config, Call::Expiry, RowLock::Update) {
        add(Do::ExpiryUpdates);
    }
    if state.expiry == Expiry::Updated {
        add(Do::ExpiryCommits);
    }
    // The call that ended the write drops the table, or later the reaper, with a short lock_timeout.
    let ended = state.has_ended() || (!config.rules.cleaning_asks_ledger && is_remembered(state));
    if ended && state.staging && !state.staging_is_in_use() {
        add(Do::DropStaging);
    }
}

/// Whether a commit call has committed and not answered yet, also if the commit is lost since.
fn is_remembered(state: &State) -> bool {
    state
        .commits
        .iter()
        .any(|commit| commit.step == CommitStep::Replying(Answer::Committed))
}

fn abort_actions(config: &Config, state: &State, add: &mut impl FnMut(SessionAction)) {
    use SessionAction as Do;
    let Abort { step, retries } = state.abort;
    match step {
        AbortStep::Idle if !config.rules.abort_locks => add(Do::AbortLooks),
        AbortStep::Idle | AbortStep::Looked(_) if can_upsert(config, state, Call::Abort) => {
            add(Do::AbortUpserts);
        }
        AbortStep::Upserted(_) => {
            add(Do::AbortCommits);
            if state.rollbacks > 0 {
                add(Do::AbortAnsweredRollback);
            }
            if state.server_can_die() {
                add(Do::AbortDies);
            }
        }
        // `finish_commit` comes first, in steps of its own: see `crate::two_phase`.
        AbortStep::Replying if state.write != Write::Committing => {
            add(Do::AbortReply);
            add(Do::AbortLosesReply);
        }
        AbortStep::Lost | AbortStep::Failed if retries > 0 => add(Do::AbortAgain),
        _ => {}
    }
}

pub(crate) fn apply(config: &Config, state: &mut State, action: SessionAction) {
    use SessionAction as Do;
    match action {
        // `Writer::begin`: `find_write`, `open`, `finish`.
        Do::BeginInserts(number) => {
            state.begins[number] = match state.write {
                Write::Absent => Begin::Inserted,
                Write::Aborted | Write::PreparedLost => Begin::Refused,
                Write::Open | Write::Committing | Write::Committed => Begin::Done,
            };
        }
        Do::BeginCommits(number) => {
            state.write = Write::Open;
            state.staging = true;
            state.begins[number] = Begin::Done;
        }
        Do::BeginDies(number) => {
            state.server_died();
            state.begins[number] = Begin::Failed;
        }
        Do::AbortLooks => state.abort.step = AbortStep::Looked(state.write),
        // `ledger::abort`: INSERT … ON CONFLICT DO UPDATE … WHERE state = 'open'.
        Do::AbortUpserts => {
            let upsert = match state.abort.step {
                AbortStep::Looked(Write::Open) => Upsert::End,
                _ => upsert(config, state),
            };
            state.abort.step = AbortStep::Upserted(upsert);
        }
        Do::AbortCommits => {
            if let AbortStep::Upserted(upsert) = state.abort.step {
                commit_upsert(state, upsert);
            }
            state.abort.step = AbortStep::Replying;
        }
        Do::AbortAnsweredRollback => {
            state.rollbacks -= 1;
            state.abort.step = if config.rules.tag_is_read {
                AbortStep::Failed
            } else {
                AbortStep::Replying
            };
        }
        // `Writer::abort`: the answer is what `find_status` reads.
        Do::AbortReply => {
            state.abort.step = match state.write {
                Write::Committed => AbortStep::Answered(Answer::Committed),
                Write::PreparedLost => AbortStep::Answered(Answer::PreparedLost),
                Write::Aborted | Write::Absent | Write::Committing => {
                    AbortStep::Answered(Answer::Aborted)
                }
                // The error says that the outcome is unknown, and to abort again.
                Write::Open => AbortStep::Failed,
            };
        }
        Do::AbortLosesReply => state.abort.step = AbortStep::Lost,
        Do::AbortAgain => {
            state.abort = Abort {
                step: AbortStep::Idle,
                retries: state.abort.retries - 1,
            };
        }
        Do::AbortDies => {
            state.server_died();
            state.abort.step = AbortStep::Failed;
        }
        // `expire_writes`: UPDATE … FOR UPDATE SKIP LOCKED.
        Do::ExpiryUpdates => state.expiry = Expiry::Updated,
        Do::ExpiryCommits => {
            state.end(Write::Aborted);
            state.expiry = Expiry::Done;
        }
        // `drop_staging_of`: DROP TABLE IF EXISTS.
        Do::DropStaging => state.drop_staging(),
    }
}

/// Whether an abort's statement need not wait: for another insert of the id, or for the row.
pub(crate) fn can_upsert(config: &Config, state: &State, call: Call) -> bool {
    !state.row_is_being_inserted() && state.can_lock_row(config, call, RowLock::NoKeyUpdate)
}

/// Returns the effect of an abort's statement on the row that it has.
pub(crate) fn upsert(config: &Config, state: &State) -> Upsert {
    match state.write {
        Write::Absent if config.rules.tombstone => Upsert::Tombstone,
        Write::Open => Upsert::End,
        Write::Absent
        | Write::Committing
        | Write::Committed
        | Write::Aborted
        | Write::PreparedLost => Upsert::Nothing,
    }
}

pub(crate) fn commit_upsert(state: &mut State, upsert: Upsert) {
    match upsert {
        Upsert::Tombstone | Upsert::End => state.end(Write::Aborted),
        Upsert::Nothing => {}
    }
}
