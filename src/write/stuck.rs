//! Staging tables that could not be dropped: each is tried again later and later, so that they do not delay the others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The pause after the first failure. It doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);
/// Limit of the remembered writes, beyond which all are tried again.
const MAX_REMEMBERED: usize = 10_000;

/// The writes whose staging table this server could not drop. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stuck(Arc<Mutex<HashMap<String, Retry>>>);

#[derive(Debug)]
struct Retry {
    pause: Duration,
    at: Instant,
}

impl Stuck {
    /// Returns the writes that are not due for another try.
    pub(crate) fn not_due(&self, now: Instant) -> Vec<String> {
        let retries = self.retries();
        let later = retries.iter().filter(|(_, retry)| retry.at > now);
        later.map(|(write_id, _)| write_id.clone()).collect()
    }

    /// Remembers that a staging table could not be dropped.
    pub(crate) fn failed(&self, write_id: &str, now: Instant) {
        let mut retries = self.retries();
        if retries.len() >= MAX_REMEMBERED {
            retries.clear();
        }
        let before = retries.get(write_id).map(|retry| retry.pause * 2);
        let pause = before.unwrap_or(FIRST_PAUSE).min(LONGEST_PAUSE);
        let at = now + pause;
        retries.insert(write_id.to_owned(), Retry { pause, at });
    }

    /// Forgets a write whose staging table is dropped.
    pub(crate) fn dropped(&self, write_id: &str) {
        self.retries().remove(write_id);
    }

    fn retries(&self) -> MutexGuard<'_, HashMap<String, Retry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::Stuck;

    #[test]
    fn a_table_that_cannot_be_dropped_is_tried_less_and_less_often() {
        let stuck = Stuck::default();
        let (first, later) = (Instant::now(), Duration::from_millis(300));
        stuck.failed("w", first);
        assert_eq!(stuck.not_due(first), ["w"]);
        let second = first + later;
        assert!(stuck.not_due(second).is_empty());
        stuck.failed("w", second);
        assert_eq!(
            stuck.not_due(second + later),
            ["w"],
            "the pause has doubled"
        );
        stuck.dropped("w");
        assert!(stuck.not_due(second).is_empty());
    }
}
