//! `[writes]`: the lifetime of writes of many partitions.

use std::time::Duration;

use clap::Args;
use serde::Deserialize;

use crate::config::problems::Problems;
use crate::config::value::{Time, impl_or, required};
use crate::error::{Error, Result};
use crate::write::{ReaperConfig, heartbeat_interval};

/// The time of three heartbeats, which a driver sends at most every second.
const MIN_DRIVER_TTL: Time = Time(Duration::from_secs(3));

/// The options of writes of many partitions.
#[derive(Debug, Clone, Default, Args, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct WriteOptions {
    /// Time without a begin, an attempt or a stream after which an open write is aborted. Applies if its driver sends
    /// no heartbeats. Make it longer than the longest pause of any job.
    #[arg(
        long,
        env = "PGFLIGHT_WRITE_TTL",
        value_name = "TIME",
        default_value = "24h"
    )]
    write_ttl: Option<Time>,

    /// The same for writes with attempts in prepared transactions, which keep vacuum from removing dead rows in the whole
    /// cluster.
    #[arg(
        long,
        env = "PGFLIGHT_PREPARED_TTL",
        value_name = "TIME",
        default_value = "6h"
    )]
    prepared_ttl: Option<Time>,

    /// Time without a heartbeat after which an open write is aborted, even if its tasks still run. Applies if its
    /// driver has sent a heartbeat before. Time in which no server could receive a heartbeat does not count.
    #[arg(
        long,
        env = "PGFLIGHT_DRIVER_TTL",
        value_name = "TIME",
        default_value = "3m"
    )]
    driver_ttl: Option<Time>,

    /// Time for which the ledger keeps ended writes. A job that runs again within it is recognised by its write id.
    #[arg(
        long,
        env = "PGFLIGHT_RETENTION",
        value_name = "TIME",
        default_value = "7d"
    )]
    retention: Option<Time>,

    /// Interval between two searches for abandoned writes and what they left behind.
    #[arg(
        long,
        env = "PGFLIGHT_REAPER_INTERVAL",
        value_name = "TIME",
        default_value = "60s"
    )]
    reaper_interval: Option<Time>,
}

impl_or!(WriteOptions {
    write_ttl,
    prepared_ttl,
    driver_ttl,
    retention,
    reaper_interval,
});

impl WriteOptions {
    pub(super) fn heartbeat_interval(&self) -> Result<Duration> {
        let driver_ttl = required(self.driver_ttl, "driver_ttl")?;
        Ok(heartbeat_interval(driver_ttl.0))
    }

    /// Builds the configuration of the reaper.
    pub(in crate::config) fn build(&self, problems: &mut Problems) -> Result<ReaperConfig> {
        let driver_ttl = required(self.driver_ttl, "driver_ttl")?;
        if driver_ttl.0 < MIN_DRIVER_TTL.0 {
            let message =
                format!("--driver-ttl (in the file writes.driver_ttl) is too short: {driver_ttl}");
            let hint = format!(
                "give at least {MIN_DRIVER_TTL}: drivers send a heartbeat at most every second"
            );
            problems.add(Error::invalid_command(message).with_hint(hint));
        }
        Ok(ReaperConfig {
            interval: required(self.reaper_interval, "reaper_interval")?.0,
            write_ttl: required(self.write_ttl, "write_ttl")?.0,
            prepared_ttl: required(self.prepared_ttl, "prepared_ttl")?.0,
            driver_ttl: driver_ttl.0,
            retention: required(self.retention, "retention")?.0,
        })
    }
}
