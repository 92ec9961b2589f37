//! Reads the metrics: the text for Prometheus, and the totals of this process.

use std::fmt;
use std::time::Duration;

use super::activity::SIDES;
use super::registry::METRICS;
use super::stream::active_streams;

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

/// Encodes all metrics in the text format of OpenMetrics.
///
/// # Errors
/// An error of the library's encoder.
pub fn encode(readings: &Readings) -> Result<String, fmt::Error> {
    let metrics = &*METRICS;
    // Accounts for the time of running streams up to now, so that a hanging stream shows what it waits for.
    totals();
    for target in &readings.targets {
        set(target);
    }
    for (part, used, limit) in &readings.memory {
        let label = [("part", *part)];
        metrics.memory_used.get_or_create(&label).set(gauge(*used));
        metrics
            .memory_limit
            .get_or_create(&label)
            .set(gauge(*limit));
    }
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &metrics.registry)?;
    Ok(text)
}

fn set(target: &TargetReadings) {
    let metrics = &*METRICS;
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

/// The totals of this process.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Totals {
    /// Rows made visible in their tables.
    pub published_row_count: u64,
    /// Streams that succeeded: their rows are staged or committed.
    pub stream_count: u64,
    /// Their rows.
    pub row_count: u64,
    /// Their bytes of COPY.
    pub byte_count: u64,
    /// Rows that PostgreSQL has received, of any stream.
    pub sent_row_count: u64,
    /// Bytes of COPY that PostgreSQL has received.
    pub sent_byte_count: u64,
    /// Seconds of streams by the side they waited for, in the order of [`SIDES`].
    pub side_seconds: [f64; SIDES.len()],
}

/// Returns the totals of this process, with the time of running streams up to now.
pub fn totals() -> Totals {
    // Reading the streams accounts for their time.
    drop(active_streams(usize::MAX));
    let metrics = &*METRICS;
    let [succeeded, _, _] = &metrics.streams;
    Totals {
        published_row_count: metrics.published_rows.get(),
        stream_count: succeeded.get(),
        row_count: metrics.rows.commit.get(),
        byte_count: metrics.bytes.commit.get(),
        sent_row_count: metrics.rows.send.get(),
        sent_byte_count: metrics.bytes.send.get(),
        side_seconds: std::array::from_fn(|side| metrics.side_seconds[side].get()),
    }
}
