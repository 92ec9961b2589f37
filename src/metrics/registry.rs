//! All metrics: name, help text and labels. `docs/metrics.md` lists them.

use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::activity::{Outcome, SIDES, STAGES, Side};
use super::panics;
use crate::error::ErrorKind;

/// The content type of [`Metrics::encode`](super::Metrics::encode) (OpenMetrics 1.0.0, "Protocol Negotiation").
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The name and the help text of a metric.
#[derive(Clone, Copy)]
pub(super) struct Metric(pub(super) &'static str, pub(super) &'static str);

const STAGE_SECONDS: Metric = Metric(
    "pgflight_stage_seconds_total",
    "Time streams spend in each stage of the pipeline, in seconds",
);
const STAGE_ROWS: Metric = Metric(
    "pgflight_stage_rows_total",
    "Rows that have passed each stage",
);
const STAGE_BYTES: Metric = Metric(
    "pgflight_stage_bytes_total",
    "Bytes that have passed each stage",
);
const STREAM_SECONDS: Metric = Metric(
    "pgflight_stream_seconds_total",
    "Time streams spend waiting, by the side they wait for, in seconds",
);
const STREAMS_ACTIVE: Metric = Metric("pgflight_streams_active", "Running streams");
const STREAMS: Metric = Metric("pgflight_streams_total", "Finished streams, by outcome");
const TURN_WAIT_SECONDS: Metric = Metric(
    "pgflight_turn_wait_seconds",
    "Time streams waited for their turn to copy, in seconds",
);
const TURNS_WAITING: Metric = Metric(
    "pgflight_turns_waiting",
    "Streams that wait for their turn to copy",
);
const CONNECTIONS: Metric = Metric(
    "pgflight_connections",
    "Busy and idle connections to PostgreSQL",
);
const CONNECTIONS_LIMIT: Metric = Metric(
    "pgflight_connections_limit",
    "The limit of connections to PostgreSQL",
);
const MEMORY_USED_BYTES: Metric = Metric(
    "pgflight_memory_used_bytes",
    "Memory that each part of the budget uses, in bytes",
);
const MEMORY_LIMIT_BYTES: Metric = Metric(
    "pgflight_memory_limit_bytes",
    "The memory limit of each part of the budget, in bytes",
);
const WRITES: Metric = Metric(
    "pgflight_writes",
    "Writes of many partitions in the ledger, by state",
);
const PREPARED_TRANSACTIONS: Metric = Metric(
    "pgflight_prepared_transactions",
    "Prepared transactions of pgflight",
);
const PREPARED_OLDEST_SECONDS: Metric = Metric(
    "pgflight_prepared_oldest_seconds",
    "Age of the oldest prepared transaction of pgflight, in seconds",
);
const PUBLISHING: Metric = Metric(
    "pgflight_publishing",
    "Writes that this server is publishing now",
);
const PUBLISH_SECONDS: Metric = Metric(
    "pgflight_publish_seconds",
    "Time commits took to publish a write, by publish method, in seconds",
);
const PUBLISHED_ROWS: Metric = Metric(
    "pgflight_published_rows_total",
    "Rows that this server has made visible in their tables",
);
const REJECTED_ROWS: Metric = Metric(
    "pgflight_rejected_rows_total",
    "Rows that writes of this server rejected, kept apart from those that it has made visible",
);
const CHANGED_ROWS: Metric = Metric(
    "pgflight_changed_rows_total",
    "Rows that writes of this server changed, as far as they count them, by what happened to them",
);
const REAPED: Metric = Metric("pgflight_reaped_total", "Actions of the reaper");
const ERRORS: Metric = Metric(
    "pgflight_errors_total",
    "Errors returned to callers, by kind",
);
const CERTIFICATE_END: Metric = Metric(
    "pgflight_certificate_end_seconds",
    "End of the validity of the listener's certificate, in seconds since 1970; 0 without TLS",
);
const HANDSHAKES_REFUSED: Metric = Metric(
    "pgflight_handshakes_refused_total",
    "TLS handshakes with clients that failed",
);
const DECODE_PANICS: Metric = Metric(
    "pgflight_decode_panics_total",
    "Panics of the Arrow decoder; must stay 0",
);
const POSTGRESQL_UP: Metric = Metric(
    "pgflight_postgresql_up",
    "Whether PostgreSQL answered the last check",
);
const DRAINING: Metric = Metric("pgflight_draining", "Whether this server is shutting down");
const BUILD_INFO: Metric = Metric("pgflight_build_info", "The version of this server");

type Label = [(&'static str, &'static str); 1];
type ByLabel<M> = Family<Label, M>;
/// Labels with the name of a target, which comes from the configuration.
pub(super) type Labels<const N: usize> = [(&'static str, String); N];
type Seconds = Counter<f64, AtomicU64>;

/// What a write does to rows, by the names of its counts.
const CHANGES: [&str; 5] = ["inserted", "updated", "deleted", "replaced", "ignored"];

/// An action of the reaper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reaping {
    /// Aborted an open write without a sign of life.
    Expired,
    /// Finished a decided commit.
    Finished,
    /// Dropped a staging table.
    Dropped,
    /// Deleted the record of an ended write.
    Forgotten,
    /// Stopped a round at an error.
    Interrupted,
}

const REAPINGS: [Reaping; 5] = [
    Reaping::Expired,
    Reaping::Finished,
    Reaping::Dropped,
    Reaping::Forgotten,
    Reaping::Interrupted,
];

impl Reaping {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Finished => "finished",
            Self::Dropped => "dropped",
            Self::Forgotten => "forgotten",
            Self::Interrupted => "interrupted",
        }
    }
}

/// Counters of rows or bytes by stage; not every stage has both.
pub(super) struct ByStage {
    pub(super) meter: Counter,
    pub(super) decode: Counter,
    pub(super) encode: Counter,
    pub(super) send: Counter,
    pub(super) commit: Counter,
}

/// The metrics that Prometheus reads.
pub(super) struct Instruments {
    pub(super) registry: Registry,
    pub(super) stage_seconds: [Seconds; STAGES.len()],
    pub(super) side_seconds: [Seconds; SIDES.len()],
    pub(super) rows: ByStage,
    pub(super) bytes: ByStage,
    pub(super) streams_active: Gauge,
    pub(super) streams: [Counter; 3],
    pub(super) turn_wait_seconds: Histogram,
    pub(super) turns_waiting: Family<Labels<1>, Gauge>,
    pub(super) connections: Family<Labels<3>, Gauge>,
    pub(super) connections_limit: Family<Labels<2>, Gauge>,
    pub(super) memory_used: ByLabel<Gauge>,
    pub(super) memory_limit: ByLabel<Gauge>,
    pub(super) writes: Family<Labels<2>, Gauge>,
    pub(super) prepared: Family<Labels<1>, Gauge>,
    pub(super) prepared_oldest: Family<Labels<1>, Gauge<f64, AtomicU64>>,
    pub(super) publishing: Gauge,
    pub(super) publish_seconds: Family<Label, Histogram, fn() -> Histogram>,
    pub(super) published_rows: Counter,
    pub(super) rejected_rows: Counter,
    pub(super) changed_rows: ByLabel<Counter>,
    pub(super) reaped: ByLabel<Counter>,
    pub(super) errors: ByLabel<Counter>,
    pub(super) certificate_end: Gauge,
    pub(super) handshakes_refused: Counter,
    pub(super) postgresql_up: Family<Labels<1>, Gauge>,
    pub(super) draining: Gauge,
}

/// Histogram buckets for waits, in seconds: from a millisecond to an hour.
fn waits() -> Histogram {
    Histogram::new([
        0.001, 0.005, 0.02, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0,
    ])
}

impl Instruments {
    pub(super) fn new() -> Self {
        let mut registry = Registry::default();
        let stage_seconds: ByLabel<Seconds> = add(&mut registry, STAGE_SECONDS);
        let rows: ByLabel<Counter> = add(&mut registry, STAGE_ROWS);
        let bytes: ByLabel<Counter> = add(&mut registry, STAGE_BYTES);
        let side_seconds: ByLabel<Seconds> = add(&mut registry, STREAM_SECONDS);
        let streams_active = add(&mut registry, STREAMS_ACTIVE);
        let streams: ByLabel<Counter> = add(&mut registry, STREAMS);
        let turn_wait_seconds = waits();
        register(&mut registry, TURN_WAIT_SECONDS, turn_wait_seconds.clone());
        let turns_waiting = add(&mut registry, TURNS_WAITING);
        let connections = add(&mut registry, CONNECTIONS);
        let connections_limit = add(&mut registry, CONNECTIONS_LIMIT);
        let memory_used = add(&mut registry, MEMORY_USED_BYTES);
        let memory_limit = add(&mut registry, MEMORY_LIMIT_BYTES);
        let writes = add(&mut registry, WRITES);
        let prepared = add(&mut registry, PREPARED_TRANSACTIONS);
        let prepared_oldest = add(&mut registry, PREPARED_OLDEST_SECONDS);
        let publishing = add(&mut registry, PUBLISHING);
        let publish_seconds = Family::new_with_constructor(waits as fn() -> Histogram);
        register(&mut registry, PUBLISH_SECONDS, publish_seconds.clone());
        let published_rows = add(&mut registry, PUBLISHED_ROWS);
        let rejected_rows = add(&mut registry, REJECTED_ROWS);
        let changed_rows: ByLabel<Counter> = add(&mut registry, CHANGED_ROWS);
        for change in CHANGES {
            drop(changed_rows.get_or_create(&[("change", change)]));
        }
        let reaped: ByLabel<Counter> = add(&mut registry, REAPED);
        for reaping in REAPINGS {
            drop(reaped.get_or_create(&[("action", reaping.name())]));
        }
        let errors: ByLabel<Counter> = add(&mut registry, ERRORS);
        for kind in ErrorKind::ALL {
            drop(errors.get_or_create(&[("kind", kind.reason())]));
        }
        let certificate_end = add(&mut registry, CERTIFICATE_END);
        let handshakes_refused = add(&mut registry, HANDSHAKES_REFUSED);
        register(&mut registry, DECODE_PANICS, panics::DECODE_PANICS.clone());
        let postgresql_up = add(&mut registry, POSTGRESQL_UP);
        let draining = add(&mut registry, DRAINING);
        let build_info: ByLabel<Gauge> = add(&mut registry, BUILD_INFO);
        build_info
            .get_or_create(&[("version", env!("CARGO_PKG_VERSION"))])
            .set(1);
        let outcomes = [Outcome::Succeeded, Outcome::Failed, Outcome::Disconnected];
        // A counter that is not registered, for stages that have no rows or no bytes of their own.
        let no_stage = Counter::default;
        Self {
            registry,
            stage_seconds: STAGES
                .map(|stage| stage_seconds.get_or_create_owned(&[("stage", stage)])),
            side_seconds: SIDES
                .map(|side| side_seconds.get_or_create_owned(&[("side", side.name())])),
            rows: ByStage {
                meter: no_stage(),
                decode: of_stage(&rows, "decode"),
                encode: of_stage(&rows, "encode"),
                send: of_stage(&rows, "send"),
                commit: of_stage(&rows, "commit"),
            },
            bytes: ByStage {
                meter: of_stage(&bytes, "meter"),
                decode: no_stage(),
                encode: of_stage(&bytes, "encode"),
                send: of_stage(&bytes, "send"),
                commit: of_stage(&bytes, "commit"),
            },
            streams_active,
            streams: outcomes
                .map(|outcome| streams.get_or_create_owned(&[("outcome", outcome.name())])),
            turn_wait_seconds,
            turns_waiting,
            connections,
            connections_limit,
            memory_used,
            memory_limit,
            writes,
            prepared,
            prepared_oldest,
            publishing,
            publish_seconds,
            published_rows,
            rejected_rows,
            changed_rows,
            reaped,
            errors,
            certificate_end,
            handshakes_refused,
            postgresql_up,
            draining,
        }
    }

    pub(super) fn count_stream(&self, outcome: Outcome) {
        let [succeeded, failed, disconnected] = &self.streams;
        match outcome {
            Outcome::Succeeded => succeeded,
            Outcome::Failed => failed,
            Outcome::Disconnected => disconnected,
        }
        .inc();
    }
}

fn of_stage(family: &ByLabel<Counter>, stage: &'static str) -> Counter {
    family.get_or_create_owned(&[("stage", stage)])
}

fn add<M>(registry: &mut Registry, metric: Metric) -> M
where
    M: prometheus_client::registry::Metric + Default + Clone,
{
    let value = M::default();
    register(registry, metric, value.clone());
    value
}

fn register(
    registry: &mut Registry,
    Metric(name, question): Metric,
    value: impl prometheus_client::registry::Metric,
) {
    // The library adds the suffix of counters and a full stop after the help text.
    registry.register(name.trim_end_matches("_total"), question, value);
}

pub(super) fn index_of_stage(stage: &str) -> usize {
    STAGES.iter().position(|name| *name == stage).unwrap_or(0)
}

pub(super) fn index_of_side(side: Side) -> usize {
    SIDES.iter().position(|other| *other == side).unwrap_or(0)
}
