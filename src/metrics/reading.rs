//! Reads the metrics: the text for Prometheus, the totals and the history of a server.

use std::fmt;
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};

use super::handle::Metrics;
use super::history::{History, Minute, SAMPLE_INTERVAL, Sample, Totals};
use super::registry::Instruments;

/// The values that other modules provide when metrics are read. Labels come from closed sets.
#[derive(Debug, Clone, Default)]
pub struct Readings {
    /// The targets.
    pub targets: Vec<TargetReadings>,
    /// Parts of the memory budget: name, bytes used, and the limit in bytes.
    pub memory: Vec<(&'static str, u64, u64)>,
}

/// The values of a target.
#[derive(Debug, Clone)]
pub struct TargetReadings {
    /// Its name in the configuration.
    pub name: String,
    /// Streams that wait for their turn.
    pub turns_waiting: usize,
    /// Pools of connections: name, busy, idle, and the limit.
    pub pools: Vec<(&'static str, usize, usize, usize)>,
    /// Whether PostgreSQL answered.
    pub is_up: bool,
    /// Writes in the ledger by state; empty when they could not be counted.
    pub writes: Vec<(&'static str, u64)>,
    /// Prepared transactions of pgflight.
    pub prepared_count: u64,
    /// The age of the oldest prepared transaction.
    pub prepared_oldest: Duration,
}

impl Metrics {
    /// Encodes all metrics in the text format of OpenMetrics.
    ///
    /// # Errors
    /// An error of the library's encoder.
    pub fn encode(&self, readings: &Readings) -> Result<String, fmt::Error> {
        let instruments = &self.inner().instruments;
        // Accounts for the time of running streams up to now, so that a hanging stream shows what it waits for.
        self.account_streams();
        for target in &readings.targets {
            set(instruments, target);
        }
        for (part, used, limit) in &readings.memory {
            let label = [("part", *part)];
            let memory_used = &instruments.memory_used;
            memory_used.get_or_create(&label).set(gauge(*used));
            let memory_limit = &instruments.memory_limit;
            memory_limit.get_or_create(&label).set(gauge(*limit));
        }
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &instruments.registry)?;
        Ok(text)
    }

    fn past(&self) -> MutexGuard<'_, History> {
        let history = &self.inner().history;
        history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes samples for as long as it is polled.
    pub async fn keep_history(&self) {
        let mut ticks = interval(SAMPLE_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let (now, totals) = (Instant::now(), self.totals());
            self.past().add(now, totals);
        }
    }

    /// Returns the samples of the last ten minutes, oldest first.
    pub fn history(&self) -> Vec<Sample> {
        self.past().samples()
    }

    /// Returns the shares of the streams' time in the last minute.
    pub fn last_minute(&self) -> Minute {
        let (now, totals) = (Instant::now(), self.totals());
        self.past().last_minute(now, totals)
    }

    /// Returns the totals of this server, with the time of running streams up to now.
    pub fn totals(&self) -> Totals {
        self.account_streams();
        let instruments = &self.inner().instruments;
        let [succeeded, _, _] = &instruments.streams;
        Totals {
            published_row_count: instruments.published_rows.get(),
            stream_count: succeeded.get(),
            row_count: instruments.rows.commit.get(),
            byte_count: instruments.bytes.commit.get(),
            sent_row_count: instruments.rows.send.get(),
            sent_byte_count: instruments.bytes.send.get(),
            side_seconds: std::array::from_fn(|side| instruments.side_seconds[side].get()),
        }
    }
}

fn set(metrics: &Instruments, target: &TargetReadings) {
    let name = || ("target", target.name.clone());
    let waiting = metrics.turns_waiting.get_or_create_owned(&[name()]);
    waiting.set(gauge(target.turns_waiting));
    for (pool, busy, idle, limit) in &target.pools {
        let pool = || ("pool", (*pool).to_owned());
        for (state, count) in [("busy", busy), ("idle", idle)] {
            let labels = [name(), pool(), ("state", state.to_owned())];
            let connections = metrics.connections.get_or_create_owned(&labels);
            connections.set(gauge(*count));
        }
        let limits = metrics
            .connections_limit
            .get_or_create_owned(&[name(), pool()]);
        limits.set(gauge(*limit));
    }
    let is_up = metrics.postgresql_up.get_or_create_owned(&[name()]);
    is_up.set(i64::from(target.is_up));
    let prepared = metrics.prepared.get_or_create_owned(&[name()]);
    prepared.set(gauge(target.prepared_count));
    let oldest = metrics.prepared_oldest.get_or_create_owned(&[name()]);
    oldest.set(target.prepared_oldest.as_secs_f64());
    for (state, count) in &target.writes {
        let labels = [name(), ("state", (*state).to_owned())];
        metrics
            .writes
            .get_or_create_owned(&labels)
            .set(gauge(*count));
    }
}

fn gauge<T: TryInto<i64>>(count: T) -> i64 {
    count.try_into().unwrap_or(i64::MAX)
}
