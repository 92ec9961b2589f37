//! Signs of life: heartbeats of drivers, and the servers' lists of writes with streams.

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
