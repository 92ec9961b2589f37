//! The end of prepared transactions: `src/write/session/two_phase.rs`, with the statements of
//! `src/pg/publish/prepared.rs`. The commit call, a late abort and the reaper of any server all do it. Each step is one
//! statement, and all of them can come at any time.

use crate::config::{Config, Publish};
use crate::state::{CommitStep, State, Streams, Write};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum TwoPhaseAction {
    CommitPrepared(usize),
    Finish,
    RollBackPrepared(usize),
    /// A person does it by hand, against the rules.
    CommitByHand(usize),
    RollBackByHand(usize),
}

pub(crate) fn actions(config: &Config, state: &State, mut add: impl FnMut(TwoPhaseAction)) {
    use TwoPhaseAction as Do;
    if config.publish != Publish::TwoPhase {
        return;
    }
    for stream in to_commit(config, state).iter() {
        add(Do::CommitPrepared(stream));
    }
    if state.write == Write::Committing && state.decided.and(state.prepared) == Streams::default() {
        add(Do::Finish);
    }
    for stream in state.prepared.iter() {
        // `UNWANTED`.
        let unwanted = match state.write {
            Write::Absent | Write::Open => false,
            Write::Committing => !config.rules.accepted_are_kept || !state.decided.has(stream),
            Write::Committed | Write::Aborted | Write::PreparedLost => true,
        };
        if unwanted && config.rules.unwanted_are_rolled_back {
            add(Do::RollBackPrepared(stream));
        }
        if state.by_hand > 0 {
            add(Do::RollBackByHand(stream));
            // Rows that are committed by hand before the decision stay, whatever becomes of the write.
            if state.write == Write::Committing && state.decided.has(stream) {
                add(Do::CommitByHand(stream));
            }
        }
    }
}

/// `ACCEPTED`; in the mutant also what a commit call has decided and not committed.
fn to_commit(config: &Config, state: &State) -> Streams {
    if state.write == Write::Committing {
        return state.decided.and(state.prepared);
    }
    let undecided = state.commits.iter().find_map(|commit| match commit.step {
        CommitStep::Updated(published) => Some(published),
        _ => None,
    });
    match undecided {
        Some(published) if !config.rules.decision_comes_first => published.and(state.prepared),
        _ => Streams::default(),
    }
}

pub(crate) fn apply(config: &Config, state: &mut State, action: TwoPhaseAction) {
    match action {
        TwoPhaseAction::CommitPrepared(stream) => state.commit_prepared(stream),
        // `ledger::finish_commit`: `pg_xact_status` of each that is gone.
        TwoPhaseAction::Finish => {
            let is_lost = state
                .decided
                .iter()
                .any(|stream| is_lost(config, state, stream));
            state.write = if is_lost {
                Write::PreparedLost
            } else {
                Write::Committed
            };
        }
        TwoPhaseAction::RollBackPrepared(stream) => state.prepared.remove(stream),
        TwoPhaseAction::CommitByHand(stream) => {
            state.by_hand -= 1;
            state.commit_prepared(stream);
            if !config.rules.commits_of_others_count {
                state.committed_by_hand.add(stream);
            }
        }
        TwoPhaseAction::RollBackByHand(stream) => {
            state.by_hand -= 1;
            state.prepared.remove(stream);
        }
    }
}

/// Whether the server reports the rows of an accepted stream as lost, if the stream is no longer prepared.
fn is_lost(config: &Config, state: &State, stream: usize) -> bool {
    let is_there = state.target[stream] > 0 && !state.committed_by_hand.has(stream);
    config.rules.gone_are_looked_up && !is_there
}
