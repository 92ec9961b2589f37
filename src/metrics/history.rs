//! Samples of the last ten minutes, for the status page's curve and its slowest side.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::activity::{SIDES, Side};

/// The interval between two samples.
pub const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);
/// The number of samples: ten minutes.
const MAX_SAMPLES: usize = 600;
const MINUTE: Duration = Duration::from_secs(60);

/// The rates in the interval before a sample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// Rows per second that PostgreSQL took.
    pub rows_per_second: f64,
    /// Bytes of COPY per second.
    pub bytes_per_second: f64,
}

/// The shares of the streams' time in the last minute.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Minute {
    /// Shares by side, in the order of [`SIDES`]; together 1, or 0 without streams.
    pub shares: [f64; SIDES.len()],
}

/// The totals of a server.
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

/// The samples of the last ten minutes, oldest first.
#[derive(Default)]
pub(super) struct History(VecDeque<Point>);

struct Point {
    at: Instant,
    totals: Totals,
    sample: Sample,
}

impl History {
    /// Adds a sample, with the totals at this moment.
    pub(super) fn add(&mut self, at: Instant, totals: Totals) {
        let sample = match self.0.back() {
            Some(before) => {
                let elapsed = at.saturating_duration_since(before.at);
                let seconds = elapsed.as_secs_f64().max(0.001);
                let per_second =
                    |now: u64, before: u64| to_f64(now.saturating_sub(before)) / seconds;
                let sent = &before.totals;
                Sample {
                    rows_per_second: per_second(totals.sent_row_count, sent.sent_row_count),
                    bytes_per_second: per_second(totals.sent_byte_count, sent.sent_byte_count),
                }
            }
            None => Sample {
                rows_per_second: 0.0,
                bytes_per_second: 0.0,
            },
        };
        if self.0.len() == MAX_SAMPLES {
            self.0.pop_front();
        }
        self.0.push_back(Point { at, totals, sample });
    }

    /// Returns the samples, oldest first.
    pub(super) fn samples(&self) -> Vec<Sample> {
        self.0.iter().map(|point| point.sample).collect()
    }

    /// Returns the shares of the streams' time in the minute before these totals.
    pub(super) fn last_minute(&self, now: Instant, totals: Totals) -> Minute {
        let mut points = self.0.iter();
        let before = points.find(|point| now.saturating_duration_since(point.at) <= MINUTE);
        let seconds: [f64; SIDES.len()] = std::array::from_fn(|side| {
            let before = before.map_or(0.0, |point| point.totals.side_seconds[side]);
            (totals.side_seconds[side] - before).max(0.0)
        });
        let all: f64 = seconds.iter().sum();
        Minute {
            shares: seconds.map(|side| if all > 0.0 { side / all } else { 0.0 }),
        }
    }
}

impl Minute {
    /// Returns the side that streams waited for most, and its share; `None` when no stream ran.
    pub fn slow_side(&self) -> Option<(Side, f64)> {
        self.slowest_of(|_| true)
    }

    /// Returns the side that copying streams waited for most.
    pub fn slow_side_of_copies(&self) -> Option<Side> {
        let slowest = self.slowest_of(|side| side != Side::Turn);
        slowest.map(|(side, _)| side)
    }

    fn slowest_of(&self, counts: impl Fn(Side) -> bool) -> Option<(Side, f64)> {
        let shares = SIDES.into_iter().zip(self.shares);
        shares
            .filter(|(side, share)| counts(*side) && *share > 0.0)
            .max_by(|(_, a), (_, b)| a.total_cmp(b))
    }
}

/// Converts a count to a float, for ratios.
#[expect(
    clippy::cast_precision_loss,
    reason = "the result is shown to people; it is exact up to 2⁵³"
)]
pub fn to_f64(count: u64) -> f64 {
    count as f64
}
