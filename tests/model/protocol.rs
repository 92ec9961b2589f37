//! All calls and all failures together, as a model that `stateright` searches.

use stateright::{Model, Property};

use crate::attempt::{self, AttemptAction};
use crate::commit::{self, CommitAction};
use crate::config::{Config, Publish, Rules};
use crate::properties;
use crate::session::{self, SessionAction};
use crate::state::{
    AbortStep, Answer, AttemptStep, Begin, CommitStep, Expiry, State, Streams, Write,
};
use crate::two_phase::{self, TwoPhaseAction};

pub(crate) struct Protocol {
    pub(crate) config: Config,
}

/// One atomic step of one call, or a failure.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Action {
    Session(SessionAction),
    Attempt(usize, AttemptAction),
    Commit(usize, CommitAction),
    TwoPhase(TwoPhaseAction),
    PostgresCrashes,
    PostgresFailsOver,
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::new(&self.config)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        let config = &self.config;
        session::actions(config, state, |action| {
            actions.push(Action::Session(action))
        });
        for number in 0..config.streams.len() {
            attempt::actions(config, state, number, |action| {
                actions.push(Action::Attempt(number, action));
            });
        }
        for number in 0..config.commits.len() {
            commit::actions(config, state, number, |action| {
                actions.push(Action::Commit(number, action));
            });
        }
        two_phase::actions(config, state, |action| {
            actions.push(Action::TwoPhase(action))
        });
        // A crash that empties no table has the same effect as servers that die.
        let unlogged = state.staged != Streams::default();
        let prepared = state.prepared != Streams::default();
        let matters = match self.config.publish {
            Publish::Copy => unlogged,
            Publish::TwoPhase => prepared,
            Publish::Adopt => false,
        };
        if matters && state.postgres_crashes > 0 {
            actions.push(Action::PostgresCrashes);
        }
        // Losing a commit that was never reported breaks no promise.
        let answered = properties::was_answered(state, &[Answer::Committed]);
        if state.failovers > 0 && state.write == Write::Committed && !answered {
            actions.push(Action::PostgresFailsOver);
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut state = state.clone();
        match action {
            Action::Session(action) => session::apply(&self.config, &mut state, action),
            Action::Attempt(number, action) => {
                attempt::apply(&self.config, &mut state, number, action);
            }
            Action::Commit(number, action) => {
                commit::apply(&self.config, &mut state, number, action);
            }
            Action::TwoPhase(action) => two_phase::apply(&self.config, &mut state, action),
            Action::PostgresCrashes => {
                state.postgres_crashes -= 1;
                crash_postgres(&mut state);
            }
            Action::PostgresFailsOver => {
                state.failovers -= 1;
                crash_postgres(&mut state);
                lose_the_commit(&mut state);
            }
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = properties::invariants();
        if self.config.rules == Rules::PROTOCOL {
            properties.extend(properties::outcomes(self));
        }
        properties
    }
}

/// Every transaction is rolled back and unlogged tables are empty; what was committed to logged ones
/// stays. The servers live on and see their connections break.
fn crash_postgres(state: &mut State) {
    state.staged = Streams::default();
    for begin in &mut state.begins {
        if *begin == Begin::Inserted {
            *begin = Begin::Failed;
        }
    }
    for attempt in &mut state.attempts {
        if attempt.has_copied() {
            attempt.step = AttemptStep::RolledBack;
        }
    }
    for commit in &mut state.commits {
        use CommitStep::{AbortingLost, Checked, CopiesEnded, Failed, Locked, Published, Updated};
        if matches!(
            commit.step,
            Locked | Checked | CopiesEnded | Published(_) | Updated(_) | AbortingLost(_)
        ) {
            commit.step = Failed;
        }
    }
    if matches!(state.abort.step, AbortStep::Upserted(_)) {
        state.abort.step = AbortStep::Failed;
    }
    if state.expiry == Expiry::Updated {
        state.expiry = Expiry::Idle;
    }
}

/// An asynchronous standby takes over that lacks the end of the log: the commit and what came after.
fn lose_the_commit(state: &mut State) {
    state.write = Write::Open;
    state.target = Default::default();
    state.staging = true;
    state.first_end = None;
}
