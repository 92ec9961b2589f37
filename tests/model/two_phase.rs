//! The end of prepared transactions: `src/write/two_phase.rs`, with the statements of
//! `src/pg/prepared.rs`. Whoever comes by does it: the commit call, an abort that came late, the reaper of
//! any server. Each step is one statement, and all of them can come at any time.

use crate::config::{Config, Publish};
use crate::state::{CommitStep, State, Streams, Write};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum TwoPhaseAction {
    CommitPrepared(usize),
    Finish,
    RollBackPrepared(usize),
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
            Write::Committed | Write::Aborted => true,
        };
        if unwanted && config.rules.unwanted_are_rolled_back {
            add(Do::RollBackPrepared(stream));
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

pub(crate) fn apply(state: &mut State, action: TwoPhaseAction) {
    match action {
        TwoPhaseAction::CommitPrepared(stream) => state.commit_prepared(stream),
        TwoPhaseAction::Finish => state.write = Write::Committed,
        TwoPhaseAction::RollBackPrepared(stream) => state.prepared.remove(stream),
    }
}
