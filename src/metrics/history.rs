//! Samples of the last ten minutes, for the status page's curve and its slowest side.

use std::collections::VecDeque;
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};

use super::activity::{SIDES, Side};
use super::handle::Metrics;
use super::reading::Totals;

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

/// The samples, oldest first.
pub(super) type Points = VecDeque<Point>;

pub(super) struct Point {
    at: Instant,
    totals: Totals,
    sample: Sample,
}

impl Metrics {
    fn points(&self) -> MutexGuard<'_, Points> {
        let points = &self.inner().points;
        points.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes samples for as long as it is polled.
    pub async fn keep_history(&self) {
        let mut ticks = interval(SAMPLE_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.add_sample();
        }
    }

    fn add_sample(&self) {
        let (at, totals) = (Instant::now(), self.totals());
        let mut points = self.points();
        let sample = match points.back() {
            Some(before) => {
                let seconds = at
                    .saturating_duration_since(before.at)
                    .as_secs_f64()
                    .max(0.001);
                let per_second =
                    |now: u64, before: u64| to_f64(now.saturating_sub(before)) / seconds;
                Sample {
                    rows_per_second: per_second(
                        totals.sent_row_count,
                        before.totals.sent_row_count,
                    ),
                    bytes_per_second: per_second(
                        totals.sent_byte_count,
                        before.totals.sent_byte_count,
                    ),
                }
            }
            None => Sample {
                rows_per_second: 0.0,
                bytes_per_second: 0.0,
            },
        };
        if points.len() == MAX_SAMPLES {
            points.pop_front();
        }
        points.push_back(Point { at, totals, sample });
    }

    /// Returns the samples of the last ten minutes, oldest first.
    pub fn history(&self) -> Vec<Sample> {
        self.points().iter().map(|point| point.sample).collect()
    }

    /// Returns the shares of the streams' time in the last minute.
    pub fn last_minute(&self) -> Minute {
        let (now, totals) = (Instant::now(), self.totals());
        let points = self.points();
        let before = points
            .iter()
            .find(|point| now.saturating_duration_since(point.at) <= MINUTE);
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

/// Converts a count for a division.
#[expect(
    clippy::cast_precision_loss,
    reason = "the result is shown to people; it is exact up to 2⁵³"
)]
pub fn to_f64(count: u64) -> f64 {
    count as f64
}
