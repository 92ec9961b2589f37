//! Metrics, and the current activity of this process's streams.
//!
//! A process runs one server, so the metrics are one global value behind functions, as the log is. Nothing here is
//! called for a row: a batch, a chunk or a message costs a read of the clock and an addition.

mod activity;
mod history;
mod reading;
mod registry;
mod stream;

pub use activity::{Activity, Outcome, SIDES, STAGES, Side};
pub use history::{Minute, SAMPLE_INTERVAL, Sample, history, keep_history, last_minute, to_f64};
pub use reading::{Readings, TargetReadings, Totals, encode, totals};
pub use registry::{CONTENT_TYPE, Publishing, Reaping, is_draining};
pub use registry::{
    count_decode_panic, count_error, count_published, count_reaped, count_stored, observe_publish,
    observe_turn_wait, set_draining,
};
pub use stream::{
    ActiveStream, FinishedStream, RecentError, Stream, StreamView, active_count, active_streams,
    finished_streams, recent_errors, remember_error,
};
