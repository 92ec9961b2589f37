//! The status of the server, for `/status.json` and the page.

use std::time::{Duration, SystemTime};

use serde::Serialize;

use super::ledger::Snapshot;
use super::text::{instant, time_of_database};
use crate::metrics::{self, Metrics, SIDES, Side, StreamView};
use crate::write::{Budget, LedgerWrite, PreparedTransaction, WriteState, Writer};

/// The number of streams that are shown; the rest are counted.
const SHOWN: usize = 200;

/// The explanation while no stream runs and a commit is under way.
const PUBLISHES: &str = "PostgreSQL is publishing staged rows: it moves, merges or checks them. \
    pg_stat_activity shows the session, named after the write.";

/// Everything that the page shows. Errors and ended writes appear by kind and name, without their text, which may repeat
/// that of a job or a trigger.
#[derive(Serialize)]
pub(super) struct Status {
    pub(super) version: &'static str,
    pub(super) now: String,
    pub(super) uptime_seconds: u64,
    pub(super) is_draining: bool,
    pub(super) targets: Vec<Target>,
    /// The side that this server's streams waited for most in the last minute; `None` without streams.
    pub(super) bottleneck: Option<Bottleneck>,
    pub(super) shares: Vec<Share>,
    /// One value per second of the last ten minutes, oldest first.
    pub(super) rows_per_second: Vec<f64>,
    pub(super) bytes_per_second: f64,
    pub(super) published_row_count: u64,
    pub(super) publishing_count: u64,
    pub(super) turns_waiting: usize,
    pub(super) memory: Vec<Memory>,
    pub(super) stream_count: usize,
    pub(super) streams: Vec<Stream>,
    pub(super) ended_streams: Vec<EndedStream>,
    pub(super) writes: Vec<Write>,
    pub(super) prepared_count: u64,
    pub(super) prepared: Vec<Prepared>,
    pub(super) errors: Vec<RecentError>,
}

#[derive(Serialize)]
pub(super) struct Target {
    pub(super) name: String,
    pub(super) address: String,
    pub(super) is_reachable: bool,
    /// The kind of the error that reading the ledger gave.
    pub(super) problem: Option<&'static str>,
    pub(super) write_counts: Vec<WriteCount>,
}

#[derive(Serialize)]
pub(super) struct Bottleneck {
    pub(super) side: &'static str,
    pub(super) share: f64,
    pub(super) words: &'static str,
}

#[derive(Serialize)]
pub(super) struct Share {
    pub(super) side: &'static str,
    pub(super) share: f64,
}

#[derive(Serialize)]
pub(super) struct Memory {
    pub(super) part: &'static str,
    pub(super) used_bytes: u64,
    pub(super) limit_bytes: u64,
}

#[derive(Serialize)]
pub(super) struct Stream {
    pub(super) target: String,
    pub(super) write_id: String,
    pub(super) partition_id: u32,
    pub(super) attempt_id: String,
    pub(super) table: String,
    pub(super) row_count: u64,
    pub(super) byte_count: u64,
    pub(super) seconds: f64,
    /// The rate since the stream began.
    pub(super) rows_per_second: f64,
    pub(super) stage: &'static str,
    /// The current activity, in words.
    pub(super) activity: &'static str,
    pub(super) activity_seconds: f64,
    /// The side that took most of its time so far.
    pub(super) slow_side: Option<&'static str>,
}

#[derive(Serialize)]
pub(super) struct EndedStream {
    #[serde(flatten)]
    pub(super) stream: Stream,
    pub(super) outcome: &'static str,
    pub(super) ended_at: String,
}

#[derive(Serialize)]
pub(super) struct WriteCount {
    pub(super) state: &'static str,
    pub(super) count: u64,
}

#[derive(Serialize)]
pub(super) struct Write {
    pub(super) target: String,
    pub(super) write_id: String,
    pub(super) table: String,
    pub(super) state: &'static str,
    pub(super) row_count: u64,
    pub(super) byte_count: u64,
    pub(super) attempt_count: u32,
    pub(super) rejected_count: u64,
    pub(super) begun_at: String,
    pub(super) ended_at: String,
}

/// An attempt that is a prepared transaction, which holds its locks.
#[derive(Serialize)]
pub(super) struct Prepared {
    pub(super) target: String,
    pub(super) gid: String,
    pub(super) write_id: String,
    /// The state of the write; empty when the ledger has no such write.
    pub(super) state: &'static str,
    pub(super) prepared_at: String,
    pub(super) seconds: f64,
}

#[derive(Serialize)]
pub(super) struct RecentError {
    pub(super) at: String,
    pub(super) call: &'static str,
    pub(super) kind: &'static str,
    pub(super) sqlstate: String,
    pub(super) write_id: String,
    pub(super) partition_id: Option<u32>,
    pub(super) table: String,
    pub(super) column: String,
}

impl Status {
    /// Collects the status of this process and the snapshots of the targets' ledgers.
    pub(super) fn now(
        metrics: &Metrics,
        targets: &[(&str, &Writer, &Snapshot)],
        budget: &Budget,
    ) -> Self {
        let minute = metrics.last_minute();
        let history = metrics.history();
        let slow = minute.slow_side();
        let publishing_count = metrics.publishing_count();
        let is_publishing = publishing_count > 0 && metrics.active_count() == 0;
        Self {
            version: env!("CARGO_PKG_VERSION"),
            now: instant(SystemTime::now()),
            uptime_seconds: metrics.uptime().as_secs(),
            is_draining: metrics.is_draining(),
            targets: targets
                .iter()
                .map(|(name, writer, ledger)| Target::new(name, writer, ledger))
                .collect(),
            bottleneck: if is_publishing {
                Some(Bottleneck {
                    side: Side::Postgresql.name(),
                    share: 1.0,
                    words: PUBLISHES,
                })
            } else {
                slow.map(|(side, share)| Bottleneck {
                    side: side.name(),
                    share,
                    words: side.verdict(minute.slow_side_of_copies()),
                })
            },
            shares: SIDES
                .into_iter()
                .zip(minute.shares)
                .map(|(side, share)| Share {
                    side: side.name(),
                    share,
                })
                .collect(),
            bytes_per_second: history.last().map_or(0.0, |sample| sample.bytes_per_second),
            rows_per_second: history
                .iter()
                .map(|sample| sample.rows_per_second)
                .collect(),
            published_row_count: metrics.totals().published_row_count,
            publishing_count,
            turns_waiting: targets
                .iter()
                .map(|(_, writer, _)| writer.usage().turns_waiting)
                .sum(),
            memory: budget
                .usage()
                .into_iter()
                .map(|(part, used_bytes, limit_bytes)| Memory {
                    part,
                    used_bytes,
                    limit_bytes,
                })
                .collect(),
            stream_count: metrics.active_count(),
            streams: metrics
                .active_streams(SHOWN)
                .into_iter()
                .map(Stream::from)
                .collect(),
            ended_streams: metrics
                .finished_streams()
                .into_iter()
                .map(|ended| EndedStream {
                    outcome: ended.outcome.name(),
                    ended_at: instant(ended.at),
                    stream: ended.stream.into(),
                })
                .collect(),
            writes: targets
                .iter()
                .flat_map(|(name, _, ledger)| {
                    let writes = ledger.writes.iter();
                    writes.map(|write| Write::new(name, write))
                })
                .collect(),
            prepared_count: targets
                .iter()
                .map(|(_, _, snapshot)| snapshot.prepared.count)
                .sum(),
            prepared: targets
                .iter()
                .flat_map(|(name, _, ledger)| {
                    let prepared = ledger.prepared.longest.iter();
                    prepared.map(|prepared| Prepared::new(name, prepared))
                })
                .collect(),
            errors: metrics
                .recent_errors()
                .into_iter()
                .map(RecentError::from)
                .collect(),
        }
    }
}

impl Target {
    fn new(name: &str, writer: &Writer, ledger: &Snapshot) -> Self {
        Self {
            name: name.to_owned(),
            address: writer.address().to_owned(),
            is_reachable: ledger.is_reachable,
            problem: ledger.problem,
            write_counts: ledger
                .counts
                .iter()
                .map(|(state, count)| WriteCount {
                    state: state.as_str(),
                    count: *count,
                })
                .collect(),
        }
    }
}

impl From<StreamView> for Stream {
    fn from(stream: StreamView) -> Self {
        let seconds = stream.age.as_secs_f64();
        let rows_per_second = if stream.age > Duration::from_millis(1) {
            metrics::to_f64(stream.row_count) / seconds
        } else {
            0.0
        };
        Self {
            rows_per_second,
            seconds,
            stage: stream.activity.stage(),
            activity: stream.activity.description(),
            activity_seconds: stream.activity_age.as_secs_f64(),
            slow_side: stream.slow_side().map(Side::name),
            target: stream.target,
            write_id: stream.write_id,
            partition_id: stream.partition_id,
            attempt_id: stream.attempt_id,
            table: stream.table,
            row_count: stream.row_count,
            byte_count: stream.byte_count,
        }
    }
}

impl Write {
    fn new(target: &str, write: &LedgerWrite) -> Self {
        Self {
            target: target.to_owned(),
            write_id: write.write_id.clone(),
            table: write
                .target
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
            state: write.state.as_str(),
            row_count: write.row_count,
            byte_count: write.byte_count,
            attempt_count: write.attempt_count,
            rejected_count: write.rejected.row_count,
            begun_at: time_of_database(&write.created_at),
            ended_at: time_of_database(&write.finished_at),
        }
    }
}

impl Prepared {
    fn new(target: &str, prepared: &PreparedTransaction) -> Self {
        Self {
            target: target.to_owned(),
            gid: prepared.gid.clone(),
            write_id: prepared.write_id.clone(),
            state: prepared.state.map_or("", WriteState::as_str),
            prepared_at: time_of_database(&prepared.prepared_at),
            seconds: prepared.age.as_secs_f64(),
        }
    }
}

impl From<metrics::RecentError> for RecentError {
    fn from(error: metrics::RecentError) -> Self {
        Self {
            at: instant(error.at),
            call: error.call,
            kind: error.kind,
            sqlstate: error.sqlstate,
            write_id: error.write_id,
            partition_id: error.partition_id,
            table: error.table,
            column: error.column,
        }
    }
}
