//! Retries operations of `load` while the server or PostgreSQL is unavailable.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pgflight::error::{Result, chain, one_line};
use tokio::time::{Instant, sleep};

/// The number of tries when they take long, since each may wait for a turn to copy.
const MAX_TRIES: u32 = 6;
/// The first and the longest pause. Each pause is twice the one before, plus a random time of at most its length.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Longest time that the server or PostgreSQL may be unavailable.
#[derive(Debug, Clone, Copy)]
pub(super) struct RetryPolicy(pub(super) Duration);

impl RetryPolicy {
    /// Repeats an operation while its errors are retryable, and reports each of them.
    ///
    /// # Errors
    /// The last error, or the first that is not retryable.
    pub(super) async fn retry<T>(
        self,
        what: &str,
        report: impl Fn(&str),
        operation: impl AsyncFnMut() -> Result<T>,
    ) -> Result<T> {
        self.retry_reset_by(&AtomicBool::new(false), what, report, operation)
            .await
    }

    /// Repeats an operation as [`RetryPolicy::retry`] does. An operation that sets `ready` reached PostgreSQL: it resets
    /// the time of the outage, and is repeated a few times only.
    ///
    /// # Errors
    /// The errors of [`RetryPolicy::retry`].
    pub(super) async fn retry_reset_by<T>(
        self,
        ready: &AtomicBool,
        what: &str,
        report: impl Fn(&str),
        mut operation: impl AsyncFnMut() -> Result<T>,
    ) -> Result<T> {
        let mut backoff = Backoff::new(self);
        loop {
            let began = Instant::now();
            let error = match operation().await {
                Err(error) if error.kind().is_retryable() => error,
                done => return done,
            };
            let was_ready = ready.swap(false, Ordering::Relaxed);
            let Some(pause) = backoff.pause(began, Instant::now(), was_ready) else {
                return Err(error);
            };
            report(&format!(
                "{what}: {}; trying again",
                one_line(&chain(&error))
            ));
            // Spreads the retries of clients that failed together.
            let jitter = f64::from(uuid::Uuid::new_v4().as_bytes()[15]) / 255.0;
            sleep(pause + pause.mul_f64(jitter)).await;
        }
    }
}

/// The tries so far.
struct Backoff {
    timeout: Duration,
    /// Tries that reached PostgreSQL.
    ready_tries: u32,
    /// Tries since the last that reached PostgreSQL.
    tries: u32,
    /// When the first of these began.
    away_since: Option<Instant>,
    pause: Duration,
    /// The sum of all pauses since then.
    paused: Duration,
}

impl Backoff {
    fn new(RetryPolicy(timeout): RetryPolicy) -> Self {
        Self {
            timeout,
            ready_tries: 0,
            tries: 0,
            away_since: None,
            pause: FIRST_PAUSE,
            paused: Duration::ZERO,
        }
    }

    /// Returns the pause after a failed try; `None` if it was the last.
    fn pause(&mut self, began: Instant, ended: Instant, was_ready: bool) -> Option<Duration> {
        if was_ready {
            (self.tries, self.away_since) = (0, None);
            (self.pause, self.paused) = (FIRST_PAUSE, Duration::ZERO);
            self.ready_tries += 1;
        }
        self.tries += 1;
        let away_since = *self
            .away_since
            .get_or_insert(if was_ready { ended } else { began });
        let has_timed_out = ended.duration_since(away_since) >= self.timeout;
        let is_over = self.paused >= self.timeout || has_timed_out && self.tries >= MAX_TRIES;
        if is_over || self.ready_tries >= MAX_TRIES {
            return None;
        }
        let pause = self.pause;
        self.paused += pause;
        self.pause = (pause * 2).min(LONGEST_PAUSE);
        Some(pause)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::{Backoff, MAX_TRIES, RetryPolicy};

    /// Runs tries that each take `each`. Returns their number, and the time with all pauses.
    fn tried(timeout: u64, each: Duration, was_ready: bool) -> (u32, Duration) {
        let first = Instant::now();
        let mut backoff = Backoff::new(RetryPolicy(Duration::from_secs(timeout)));
        let (mut count, mut now) = (0, first);
        loop {
            count += 1;
            let began = now;
            now += each;
            match backoff.pause(began, now, was_ready) {
                Some(pause) => now += pause,
                None => return (count, now - first),
            }
        }
    }

    #[test]
    fn an_unavailable_server_is_retried_until_the_timeout() {
        let (_, waited) = tried(60, Duration::ZERO, false);
        assert!((60..75).contains(&waited.as_secs()), "{waited:?}");
        let (count, waited) = tried(1, Duration::ZERO, false);
        assert!(count == 3 && waited.as_secs() <= 2, "{count} in {waited:?}");
        assert_eq!(tried(0, Duration::ZERO, false).0, 1);
    }

    #[test]
    fn tries_that_reach_postgresql_are_counted() {
        assert_eq!(tried(60, Duration::ZERO, true).0, MAX_TRIES);
        assert_eq!(tried(60, Duration::from_secs(600), true).0, MAX_TRIES);
    }

    #[test]
    fn slow_failures_get_as_many_tries_as_fast_ones() {
        assert_eq!(tried(60, Duration::from_secs(600), false).0, MAX_TRIES);
    }
}
