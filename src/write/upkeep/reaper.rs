//! The reaper: ends writes whose driver is gone, and removes what they left.
//!
//! Every server has one. Reapers do not disturb each other: the first one that locks a row handles it. The reaper
//! changes nothing that a client could still ask for.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::error::Result;
use crate::metrics::Reaping;
use crate::pg::{
    committing_writes, delete_ended_writes, delete_stale_rejects, delete_stale_signs,
    drop_staging_of, ended_with_staging, expire_drivers, expire_writes, has_schema,
};
use crate::write::writer::Writer;

/// Limit of the time in which one round drops staging tables. Each drop may wait for a lock.
const DROP_TIME: Duration = Duration::from_secs(5);

/// The intervals and limits of the reaper.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReaperConfig {
    /// The interval between two rounds.
    pub interval: Duration,
    /// The silence after which an open write is aborted.
    pub write_ttl: Duration,
    /// The same for a write whose attempts wait as prepared transactions, which keep vacuum from removing dead rows.
    pub prepared_ttl: Duration,
    /// The silence of the driver after which an open write is aborted, if the driver has sent heartbeats.
    pub driver_ttl: Duration,
    /// The time from the end of a write to its deletion from the ledger. A later call about the write finds nothing.
    pub retention: Duration,
}

impl ReaperConfig {
    /// Returns the interval at which this server records that it can receive heartbeats, and which streams it has:
    /// several times within each of the limits.
    fn watch_interval(&self) -> Duration {
        let idle = self.write_ttl.min(self.prepared_ttl);
        let often = self.interval.min(self.driver_ttl / 12).min(idle / 4);
        often.max(Duration::from_millis(10))
    }

    /// Returns the gap without such a record after which no server could have received a heartbeat. The gap and the
    /// interval of heartbeats, a sixth of the limit, are much smaller than the limit.
    pub(crate) fn gap(&self) -> Duration {
        self.driver_ttl / 4
    }
}

/// The result of one round.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Reaped {
    /// Number of open writes that were aborted.
    pub expired: usize,
    /// Number of staging tables that were dropped.
    pub dropped: usize,
    /// Number of writes that were deleted.
    pub forgotten: u64,
}

impl Writer {
    /// Reaps, and records the watch, until `stop` is cancelled. Each round uses the current configuration. An error
    /// ends a round, not the reaper.
    pub async fn reap_until(&self, stop: CancellationToken, config: watch::Receiver<ReaperConfig>) {
        // They run separately, since a round of the reaper may take long.
        tokio::join!(
            self.watch_rounds(&stop, config.clone()),
            self.reap_rounds(&stop, config)
        );
    }

    async fn watch_rounds(
        &self,
        stop: &CancellationToken,
        mut config: watch::Receiver<ReaperConfig>,
    ) {
        while let Some(current) = next_round(stop, &mut config, ReaperConfig::watch_interval).await
        {
            if let Err(error) = self.record_watch(&current).await {
                tracing::debug!(error = %error.report(), "could not record the watch");
            }
        }
    }

    async fn reap_rounds(
        &self,
        stop: &CancellationToken,
        mut config: watch::Receiver<ReaperConfig>,
    ) {
        while let Some(current) = next_round(stop, &mut config, |config| config.interval).await {
            match self.reap(&current).await {
                Ok(reaped) if reaped == Reaped::default() => {}
                Ok(Reaped {
                    expired,
                    dropped,
                    forgotten,
                }) => {
                    tracing::info!(expired, dropped, forgotten, "reaped");
                }
                Err(error) => {
                    self.metrics.count_reaped(Reaping::Interrupted, 1);
                    tracing::warn!(error = %error.report(), "the reaper was interrupted; it comes again");
                }
            }
        }
    }

    /// Runs one round.
    ///
    /// # Errors
    /// Any error that PostgreSQL reports. Completed steps stay done.
    pub async fn reap(&self, config: &ReaperConfig) -> Result<Reaped> {
        let mut reaped = Reaped::default();
        let transaction = self.pool.begin_control().await?;
        if !has_schema(&transaction).await? {
            transaction.rollback().await;
            return Ok(reaped);
        }
        let mut expired =
            expire_writes(&transaction, config.write_ttl, config.prepared_ttl).await?;
        expired.extend(expire_drivers(&transaction, config.driver_ttl).await?);
        transaction.commit().await.into_result()?;
        for write_id in &expired {
            tracing::warn!(write_id, "an open write has expired and was aborted");
        }
        reaped.expired = expired.len();
        self.metrics
            .count_reaped(Reaping::Expired, to_u64(reaped.expired));
        let transaction = self.pool.begin_control().await?;
        let committing = committing_writes(&transaction).await?;
        transaction.rollback().await;
        for write_id in &committing {
            match self.finish_commit(write_id).await {
                Ok(()) => {
                    self.metrics.count_reaped(Reaping::Finished, to_u64(1));
                    tracing::info!(write_id, "finished a commit that was decided");
                }
                Err(error) => {
                    tracing::info!(write_id, error = %error.report(), "a commit is not finished yet")
                }
            }
        }
        if let Err(error) = self.roll_back_prepared(None).await {
            tracing::warn!(error = %error.report(), "prepared transactions are not rolled back yet");
        }
        let transaction = self.pool.begin_control().await?;
        let ended = ended_with_staging(&transaction, &self.stuck.not_due(Instant::now())).await?;
        transaction.rollback().await;
        let began = Instant::now();
        for write_id in &ended {
            // The rest is left to the next round, which first expires writes.
            if began.elapsed() > DROP_TIME {
                break;
            }
            // A session that reads one of the tables, such as a backup, must not delay the others.
            match self.drop_staging(write_id).await {
                Ok(dropped) => {
                    self.stuck.dropped(write_id);
                    reaped.dropped += usize::from(dropped);
                }
                Err(error) => {
                    self.stuck.failed(write_id, Instant::now());
                    tracing::info!(write_id, error = %error.report(), "a staging table is not dropped yet");
                }
            }
        }
        self.metrics
            .count_reaped(Reaping::Dropped, to_u64(reaped.dropped));
        let transaction = self.pool.begin_control().await?;
        reaped.forgotten = delete_ended_writes(&transaction, config.retention).await?;
        delete_stale_signs(&transaction, config.retention).await?;
        delete_stale_rejects(&transaction).await?;
        transaction.commit().await.into_result()?;
        self.metrics
            .count_reaped(Reaping::Forgotten, reaped.forgotten);
        Ok(reaped)
    }

    /// Drops the staging table of a write that has ended. Waits only a moment for sessions that use it. Returns whether
    /// it was dropped.
    pub(crate) async fn drop_staging(&self, write_id: &str) -> Result<bool> {
        let transaction = self.pool.begin_control().await?;
        let dropped = drop_staging_of(&transaction, write_id).await?;
        transaction.commit().await.into_result()?;
        Ok(dropped)
    }
}

/// Waits for the next round, and returns its configuration; `None` when it is time to stop.
async fn next_round(
    stop: &CancellationToken,
    config: &mut watch::Receiver<ReaperConfig>,
    interval: impl Fn(&ReaperConfig) -> Duration,
) -> Option<ReaperConfig> {
    loop {
        let current = config.borrow_and_update().clone();
        tokio::select! {
            () = stop.cancelled() => return None,
            // A new, shorter interval must not wait until the old one ends.
            Ok(()) = config.changed() => {}
            () = tokio::time::sleep(interval(&current)) => return Some(current),
        }
    }
}

fn to_u64(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
