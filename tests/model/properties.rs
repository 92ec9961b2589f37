//! The invariants of every state, and the outcomes that some states must have.

use stateright::{Model, Property};

use crate::config::{End, PARTITIONS, Publish, STRANGER, STREAMS};
use crate::protocol::Protocol;
use crate::state::{
    AbortStep, Answer, AttemptStep, Begin, CommitStep, Expiry, State, Streams, Write,
};

pub(crate) const I1: &str =
    "I1 a committed write has each accepted attempt once and whole, and no other row";
pub(crate) const I2: &str = "I2 a write that is not committed has no row in the target";
pub(crate) const I3: &str = "I3 an acknowledged commit stays";
pub(crate) const I4: &str = "I4 an acknowledged abort stays";
pub(crate) const I5: &str = "I5 no call reports a commit where another reports an abort";
pub(crate) const I6: &str = "I6 an attempt has one record and gets one answer";
pub(crate) const I7: &str =
    "I7 rows are staged if and only if they are recorded, but for a crash of PostgreSQL";
pub(crate) const I8: &str = "I8 a write that has ended changes no more and records no more";
pub(crate) const I9: &str =
    "I9 a write is said to lack rows only where it does, and where a person took them";
pub(crate) const RECEIPTS: &str =
    "a receipt that was given is never said to differ from the ledger";
pub(crate) const END: &str =
    "when nothing more can happen, no call waits, and no write is left open or staged";

type Condition = fn(&Protocol, &State) -> bool;

fn always(name: &'static str, condition: Condition) -> Property<Protocol> {
    Property::always(name, condition)
}

fn sometimes(name: &'static str, condition: Condition) -> Property<Protocol> {
    Property::sometimes(name, condition)
}

/// The invariants, for every search.
pub(crate) fn invariants() -> Vec<Property<Protocol>> {
    vec![
        always(I1, |model, state| {
            state.write != Write::Committed || target_is_what_a_driver_accepted(model, state)
        }),
        always(I2, |_, state| match state.write {
            Write::Committed => true,
            Write::Committing | Write::PreparedLost => (0..STREAMS)
                .all(|number| state.target[number] <= u8::from(state.decided.has(number))),
            Write::Absent | Write::Open | Write::Aborted => state.target == [0; STREAMS],
        }),
        always(I3, |_, state| {
            state.write == Write::Committed || !was_answered(state, &[Answer::Committed])
        }),
        always(I4, |_, state| {
            state.write == Write::Aborted || !was_answered(state, ABORTED)
        }),
        always(I5, |_, state| {
            !was_answered(state, &[Answer::Committed]) || !was_answered(state, ABORTED)
        }),
        always(I6, every_attempt_has_one_answer),
        always(I7, |model, state| {
            let open = state.write == Write::Open;
            let crashed = state.postgres_crashes < model.config.postgres_crashes
                || state.failovers < model.config.failovers
                || state.by_hand < model.config.by_hand;
            let waiting = match model.config.publish {
                Publish::TwoPhase => state.prepared,
                Publish::Copy | Publish::Adopt => state.staged,
            };
            state.staged.is_subset_of(state.ledger)
                && (!open || crashed || state.ledger.is_subset_of(waiting))
        }),
        always(I8, |_, state| {
            let stays = |end| {
                let decided = matches!(state.write, Write::Committing | Write::PreparedLost);
                state.write == end || (end == Write::Committed && decided)
            };
            !state.recorded_late && state.first_end.is_none_or(stays)
        }),
        always(I9, |model, state| {
            let lacks = state.decided.iter().any(|stream| state.target[stream] == 0);
            let is_said = state.write == Write::PreparedLost;
            let answered = was_answered(state, &[Answer::PreparedLost]);
            let by_hand = state.by_hand < model.config.by_hand;
            (!is_said || (lacks && by_hand)) && (!answered || is_said)
        }),
        always(RECEIPTS, |_, state| {
            !was_answered(state, &[Answer::Differs])
        }),
        always(END, everything_comes_to_its_end),
    ]
}

const ABORTED: &[Answer] = &[Answer::Aborted, Answer::StagingLost];

/// The table has the rows of exactly the receipts of one driver, each once, none of them truncated.
fn target_is_what_a_driver_accepted(model: &Protocol, state: &State) -> bool {
    let drivers = model.config.commits.iter();
    drivers
        .filter(|&&driver| driver != STRANGER)
        .any(|&driver| {
            let accepted = state.accepted[driver];
            (0..PARTITIONS).all(|partition| accepted[partition].is_some())
                && (0..STREAMS).all(|number| {
                    let times = u8::from(accepted.contains(&Some(number)));
                    let whole = times == 0
                        || (!state.attempts[number].cut
                            && model.config.streams[number].end != End::Truncated);
                    state.target[number] == times && whole
                })
        })
}

pub(crate) fn was_answered(state: &State, answers: &[Answer]) -> bool {
    let by_commit = state.commits.iter().any(
        |commit| matches!(commit.step, CommitStep::Answered(answer) if answers.contains(&answer)),
    );
    let by_abort =
        matches!(state.abort.step, AbortStep::Answered(answer) if answers.contains(&answer));
    by_commit || by_abort
}

fn every_attempt_has_one_answer(model: &Protocol, state: &State) -> bool {
    let streams = &model.config.streams;
    let differ = |one: usize, other: usize| {
        use AttemptStep::{Receipt, Refused};
        let both_recorded = state.ledger.has(one) && state.ledger.has(other);
        both_recorded
            || match (state.attempts[one].step, state.attempts[other].step) {
                (Receipt(one), Receipt(other)) => one != other,
                (Receipt(_), Refused) | (Refused, Receipt(_)) => true,
                _ => false,
            }
    };
    (0..streams.len()).all(|one| {
        (one + 1..streams.len())
            .all(|other| streams[one].attempt != streams[other].attempt || !differ(one, other))
    })
}

/// Liveness. No step can be undone and every retry is counted, so every run ends: the property holds if it holds in
/// each state in which a run ends.
fn everything_comes_to_its_end(model: &Protocol, state: &State) -> bool {
    if (0..STREAMS).any(|number| state.attempt_goes_on(number)) {
        return true;
    }
    let mut actions = Vec::new();
    model.actions(state, &mut actions);
    if !actions.is_empty() {
        return true;
    }
    let waits = state
        .attempts
        .iter()
        .any(|attempt| matches!(attempt.step, AttemptStep::Finished | AttemptStep::Fenced))
        || state
            .commits
            .iter()
            .any(|commit| commit.step == CommitStep::StagingLost)
        || matches!(state.abort.step, AbortStep::Looked(_));
    let accepted = state.accepted[0].iter().all(Option::is_some);
    let well = match state.write {
        Write::Absent => true,
        // Only a write that no call ends and whose driver has nothing to commit or has stopped retrying.
        Write::Open => {
            let gives_up = model.config.server_crashes.is_none();
            !model.config.expiry && (!accepted || gives_up)
        }
        Write::Committing => false,
        Write::Committed | Write::Aborted | Write::PreparedLost => {
            !state.staging && state.prepared == Streams::default()
        }
    };
    well && !waits
}

/// The outcomes that a search must reach. Without them its invariants would hold only because nothing could break them.
pub(crate) fn outcomes(model: &Protocol) -> Vec<Property<Protocol>> {
    let config = &model.config;
    let mut outcomes = vec![
        sometimes(
            "a commit answers what one before it did without a reply",
            |_, state| {
                let is = |step| state.commits.iter().any(|commit| commit.step == step);
                is(CommitStep::Lost(Answer::Committed))
                    && is(CommitStep::Answered(Answer::Committed))
            },
        ),
        sometimes(
            "every run can end with the rows in and nothing left behind",
            |_, state| state.write == Write::Committed && !state.staging,
        ),
    ];
    let streams = &config.streams;
    if streams.len() > PARTITIONS {
        outcomes.push(sometimes(
            "an attempt that comes too late is refused by the fence",
            |_, state| {
                state.write == Write::Committed
                    && state
                        .attempts
                        .iter()
                        .any(|attempt| attempt.step == AttemptStep::ShutOut)
            },
        ));
    }
    if streams.iter().any(|stream| stream.end == End::Truncated) {
        outcomes.push(sometimes(
            "a truncated attempt is recorded, answered and not published",
            |model, state| {
                state.write == Write::Committed
                    && (0..model.config.streams.len()).any(|number| {
                        model.config.streams[number].end == End::Truncated
                            && state.attempts[number].step == AttemptStep::Receipt(number)
                            && state.target[number] == 0
                    })
            },
        ));
    }
    if (1..streams.len())
        .any(|one| (0..one).any(|two| streams[one].attempt == streams[two].attempt))
    {
        outcomes.push(sometimes(
            "a stream that was sent twice gets the receipt of its twin",
            |_, state| {
                (0..STREAMS).any(|number| {
                    matches!(state.attempts[number].step, AttemptStep::Receipt(record) if record != number)
                })
            },
        ));
    }
    if config.abort {
        outcomes.extend(outcomes_of_abort());
    }
    if config.expiry {
        outcomes.push(sometimes(
            "a commit learns that the write has expired",
            |_, state| state.expiry == Expiry::Done && was_answered(state, &[Answer::Aborted]),
        ));
    }
    if config.postgres_crashes > 0 && config.publish == Publish::Copy {
        outcomes.push(sometimes(
            "a commit refuses rows that were staged and are lost",
            |_, state| was_answered(state, &[Answer::StagingLost]),
        ));
    }
    if config.by_hand > 0 {
        outcomes.push(sometimes(
            "a commit learns which of its rows are lost",
            |_, state| was_answered(state, &[Answer::PreparedLost]),
        ));
    }
    if config.rollbacks > 0 {
        outcomes.push(sometimes(
            "a call whose COMMIT was rolled back works when it is made again",
            |model, state| {
                state.rollbacks < model.config.rollbacks
                    && was_answered(state, &[Answer::Committed])
            },
        ));
    }
    if config.commits.contains(&STRANGER) {
        outcomes.push(sometimes("a stranger is refused", |_, state| {
            was_answered(state, &[Answer::Refused])
        }));
    }
    outcomes
}

fn outcomes_of_abort() -> Vec<Property<Protocol>> {
    vec![
        sometimes(
            "an abort after the commit learns of the commit",
            |_, state| state.abort.step == AbortStep::Answered(Answer::Committed),
        ),
        sometimes(
            "a commit after the abort learns of the abort",
            |_, state| {
                state
                    .commits
                    .iter()
                    .any(|commit| commit.step == CommitStep::Answered(Answer::Aborted))
            },
        ),
        sometimes("a begin after the abort is refused", |_, state| {
            state.begins[0] == Begin::Refused
        }),
    ]
}
