//! Signs of life: heartbeats of drivers, and the servers' lists of writes with streams.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::reaper::ReaperConfig;
use crate::error::Result;
use crate::pg::{has_schema, record_heartbeat, record_watch, renew_heartbeat};
use crate::write::writer::Writer;

/// Returns the interval of a driver's heartbeats, when its writes are aborted after a silence of `driver_ttl`. Several
/// heartbeats in a row may be lost.
pub fn heartbeat_interval(driver_ttl: Duration) -> Duration {
    Duration::from_secs((driver_ttl / 6).as_secs().max(1))
}

/// The writes whose streams are at this server, waiting for their turn or in progress.
#[derive(Debug, Clone, Default)]
pub(crate) struct Streaming(Arc<Mutex<HashMap<String, usize>>>);

/// Counts a stream of a write until it is dropped.
#[derive(Debug)]
pub(crate) struct StreamSign {
    streaming: Streaming,
    write_id: String,
}

impl Streaming {
    /// Counts a stream of a write until the returned sign is dropped.
    pub(crate) fn begin(&self, write_id: &str) -> StreamSign {
        *self.counts().entry(write_id.to_owned()).or_default() += 1;
        StreamSign {
            streaming: self.clone(),
            write_id: write_id.to_owned(),
        }
    }

    fn write_ids(&self) -> Vec<String> {
        self.counts().keys().cloned().collect()
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for StreamSign {
    fn drop(&mut self) {
        let mut counts = self.streaming.counts();
        if let Entry::Occupied(mut count) = counts.entry(std::mem::take(&mut self.write_id)) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

impl Writer {
    /// Records that a driver of the caller is alive. Returns the ledger's ids of the open writes that the driver began,
    /// oldest first.
    ///
    /// # Errors
    /// Any error that PostgreSQL reports.
    pub async fn heartbeat(&self, driver: &str) -> Result<Vec<String>> {
        let transaction = self.pool.begin_liveness().await?;
        if !has_schema(&transaction).await? {
            transaction.rollback().await;
            return Ok(Vec::new());
        }
        let open = record_heartbeat(&transaction, self.caller.name(), driver).await?;
        transaction.commit().await.into_result()?;
        Ok(open)
    }

    /// Counts a begin as a heartbeat, if the driver sends heartbeats. The write that it takes over may be much older.
    pub(crate) async fn heartbeat_again(&self, driver: &str) -> Result<()> {
        let transaction = self.pool.begin_liveness().await?;
        renew_heartbeat(&transaction, self.caller.name(), driver).await?;
        transaction.commit().await.into_result()
    }

    /// Records that this server can receive heartbeats, and which writes have streams at this server.
    ///
    /// # Errors
    /// Any error that PostgreSQL reports.
    pub(crate) async fn record_watch(&self, config: &ReaperConfig) -> Result<()> {
        let transaction = self.pool.begin_liveness().await?;
        if !has_schema(&transaction).await? {
            transaction.rollback().await;
            return Ok(());
        }
        let streaming = self.streaming.write_ids();
        record_watch(&transaction, config.gap(), &streaming).await?;
        transaction.commit().await.into_result()
    }
}

#[cfg(test)]
mod tests {
    use super::Streaming;

    #[test]
    fn a_write_is_streaming_until_its_last_stream_ends() {
        let streaming = Streaming::default();
        let first = streaming.begin("a");
        let second = streaming.begin("a");
        let other = streaming.begin("b");
        drop(first);
        drop(other);
        assert_eq!(streaming.write_ids(), ["a"]);
        drop(second);
        assert!(streaming.write_ids().is_empty());
    }
}
