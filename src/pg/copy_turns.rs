//! Limits the number of COPYs that run at once, and lets the waiting writes take turns.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// Hands out a fixed number of turns.
///
/// Waiting writes are served round robin: a write with one stream waits for one turn of each other write, however many
/// streams those have.
#[derive(Debug, Clone)]
pub(in crate::pg) struct Turns(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    free: usize,
    /// The waiting writes, the next one first. Each is here once.
    order: VecDeque<String>,
    waiting: HashMap<String, VecDeque<oneshot::Sender<Turn>>>,
}

/// The right to copy. Dropping the turn passes it to the next stream that waits.
#[derive(Debug)]
pub(in crate::pg) struct Turn(Option<Turns>);

impl Turns {
    pub(in crate::pg) fn new(count: usize) -> Self {
        Self(Arc::new(Mutex::new(State {
            free: count,
            order: VecDeque::new(),
            waiting: HashMap::new(),
        })))
    }

    /// Waits for a turn on behalf of a write.
    ///
    /// Dropping the future leaves the queue, and passes a turn that was already granted to the next stream.
    pub(in crate::pg) async fn take(&self, write: &str) -> Turn {
        let receiver = {
            let mut state = self.state();
            // No stream waits while a turn is free.
            if state.free > 0 {
                state.free -= 1;
                return Turn(Some(self.clone()));
            }
            let (sender, receiver) = oneshot::channel();
            if !state.waiting.contains_key(write) {
                state.order.push_back(write.to_owned());
            }
            let waiting = state.waiting.entry(write.to_owned()).or_default();
            waiting.push_back(sender);
            receiver
        };
        // A sender is dropped only after it has sent.
        receiver.await.unwrap_or(Turn(None))
    }

    /// Takes a turn that no stream waits for, if there is one.
    pub(in crate::pg) fn take_free(&self) -> Option<Turn> {
        let mut state = self.state();
        state.free = state.free.checked_sub(1)?;
        Some(Turn(Some(self.clone())))
    }

    /// Returns the number of streams that wait.
    pub(in crate::pg) fn waiting(&self) -> usize {
        self.state().waiting.values().map(VecDeque::len).sum()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Grants a turn to the next stream that still waits for it.
    fn pass_on(self) {
        loop {
            let Some(next) = self.state().next() else {
                return;
            };
            match next.send(Turn(Some(self.clone()))) {
                Ok(()) => return,
                // The receiver has left. Its turn must not come back here when it is dropped.
                Err(mut turn) => turn.0 = None,
            }
        }
    }
}

impl State {
    /// Takes the next stream from the queue. Without any, the turn becomes free.
    fn next(&mut self) -> Option<oneshot::Sender<Turn>> {
        while let Some(write) = self.order.pop_front() {
            let Some(mut waiting) = self.waiting.remove(&write) else {
                continue;
            };
            let next = waiting.pop_front();
            if !waiting.is_empty() {
                self.waiting.insert(write.clone(), waiting);
                self.order.push_back(write);
            }
            if next.is_some() {
                return next;
            }
        }
        self.free += 1;
        None
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(turns) = self.0.take() {
            turns.pass_on();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::Turns;

    #[test]
    fn writes_take_turns_and_streams_of_a_write_stay_in_order() {
        let turns = Turns::new(1);
        let first = turns.take("a").now_or_never().unwrap();
        let names = ["a", "a", "a", "b", "c", "a", "b"];
        let mut waiting: Vec<_> = names
            .iter()
            .map(|name| Box::pin(turns.take(name)))
            .collect();
        for future in &mut waiting {
            assert!(
                future.as_mut().now_or_never().is_none(),
                "there is one turn"
            );
        }
        let mut waiting: Vec<_> = waiting.into_iter().map(Some).collect();
        let mut served = Vec::new();
        drop(first);
        while waiting.iter().any(Option::is_some) {
            for (index, place) in waiting.iter_mut().enumerate() {
                let future = place.as_mut();
                if let Some(turn) = future.and_then(|future| future.as_mut().now_or_never()) {
                    *place = None;
                    served.push(index);
                    drop(turn);
                }
            }
        }
        assert_eq!(served, [0, 3, 4, 1, 6, 2, 5]);
    }

    #[test]
    fn a_turn_granted_to_a_dropped_future_passes_on() {
        let turns = Turns::new(1);
        let first = turns.take("a").now_or_never().unwrap();
        let mut gone_before = Box::pin(turns.take("a"));
        let mut gone_after = Box::pin(turns.take("b"));
        assert!(gone_before.as_mut().now_or_never().is_none());
        assert!(gone_after.as_mut().now_or_never().is_none());
        drop(gone_before);
        drop(first);
        // It is granted to b, whose future has not been polled since.
        drop(gone_after);
        assert!(turns.take("c").now_or_never().is_some());
    }
}
