//! Quotas of principals on this server: concurrent streams and bytes per second. A call beyond a quota waits.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until};

use crate::auth::{Limits, Principal};
use crate::error::{Error, Result};

/// The lead over its rate that a principal may have before it waits. So it can make up for a pause between two
/// messages.
const BURST: Duration = Duration::from_secs(1);

/// The quotas of the principals that have called.
#[derive(Clone, Default)]
pub(crate) struct Quotas(Arc<Mutex<HashMap<String, Arc<Quota>>>>);

/// The quota of a principal.
pub(crate) struct Quota {
    name: String,
    limits: Limits,
    streams: Arc<Semaphore>,
    /// When the rate has caught up with the bytes so far.
    paid_until: Mutex<Instant>,
}

impl Quotas {
    /// Returns the quota of a principal. Changed limits make a new quota; running streams keep the old one.
    pub(crate) fn of(&self, principal: &Principal) -> Arc<Quota> {
        let mut quotas = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match quotas.get(principal.name()) {
            Some(quota) if quota.limits == principal.limits() => Arc::clone(quota),
            _ => {
                let quota = Arc::new(Quota::new(principal.name(), principal.limits()));
                quotas.insert(principal.name().to_owned(), Arc::clone(&quota));
                quota
            }
        }
    }
}

impl Quota {
    fn new(name: &str, limits: Limits) -> Self {
        let streams = limits
            .max_streams
            .and_then(|most| usize::try_from(most).ok());
        Self {
            name: name.to_owned(),
            limits,
            streams: Arc::new(Semaphore::new(streams.unwrap_or(Semaphore::MAX_PERMITS))),
            paid_until: Mutex::new(Instant::now()),
        }
    }

    /// Waits until another stream may run. The stream counts until its permit is dropped.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](crate::error::ErrorKind::Unavailable) when no stream ended within `timeout`.
    pub(crate) async fn acquire_stream(&self, timeout: Duration) -> Result<OwnedSemaphorePermit> {
        let permit = Arc::clone(&self.streams).acquire_owned();
        match tokio::time::timeout(timeout, permit).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(Error::unavailable(format!(
                "principal {} is at its limit of streams, and none ended within {}",
                self.name,
                humantime::format_duration(timeout)
            ))
            .with_hint("try again later, or raise max_streams of the principal")),
        }
    }

    /// Waits until the rate allows `byte_count` more bytes.
    pub(crate) async fn wait_for_rate(&self, byte_count: u64) {
        let Some(rate) = self.limits.max_bytes_per_second else {
            return;
        };
        let until = self.reserve(byte_count, rate, Instant::now());
        sleep_until(until).await;
    }

    /// Reserves the bytes, and returns when the rate allows them.
    fn reserve(&self, byte_count: u64, rate: u64, now: Instant) -> Instant {
        let nanoseconds = u128::from(byte_count) * 1_000_000_000 / u128::from(rate.max(1));
        let cost = Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX));
        let mut paid_until = self
            .paid_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let from = (*paid_until).max(now.checked_sub(BURST).unwrap_or(now));
        *paid_until = from.checked_add(cost).unwrap_or(from);
        *paid_until
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::Quota;
    use crate::auth::Limits;

    #[tokio::test]
    async fn bytes_keep_to_the_rate_after_a_burst_of_a_second() {
        let limits = Limits {
            max_bytes_per_second: Some(100),
            ..Limits::default()
        };
        let quota = Quota::new("etl", limits);
        let start = Instant::now() + Duration::from_secs(60);
        let due = |byte_count, seconds: u64| {
            let now = start + Duration::from_secs(seconds);
            quota
                .reserve(byte_count, 100, now)
                .saturating_duration_since(now)
                .as_secs()
        };
        assert_eq!(due(100, 0), 0, "a burst of one second");
        assert_eq!(due(100, 0), 1);
        assert_eq!(due(300, 0), 4);
        assert_eq!(due(0, 3), 1, "what was reserved before is still due");
        assert_eq!(due(100, 10), 0, "a long pause saves one second");
        assert_eq!(due(100, 10), 1);
    }

    #[tokio::test]
    async fn streams_beyond_the_limit_wait() {
        let limits = Limits {
            max_streams: Some(1),
            ..Limits::default()
        };
        let quota = Quota::new("etl", limits);
        let timeout = Duration::from_millis(1);
        let first = quota.acquire_stream(timeout).await.unwrap();
        assert!(quota.acquire_stream(timeout).await.is_err());
        drop(first);
        assert!(quota.acquire_stream(timeout).await.is_ok());
    }
}
