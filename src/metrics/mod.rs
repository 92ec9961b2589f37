//! Metrics, and the current activity of a server's streams.

mod active;
mod activity;
mod handle;
mod history;
mod panics;
#[cfg(target_os = "linux")]
mod process;
mod reading;
mod registry;
mod stream;
mod streams;

pub use active::ActiveStream;
pub use activity::{Activity, Outcome, SIDES, STAGES, Side};
pub use handle::{Metrics, Publishing};
pub use history::{Minute, SAMPLE_INTERVAL, Sample, Totals, to_f64};
pub use panics::count_decode_panic;
#[cfg(any(test, fuzzing))]
pub use panics::decode_panics;
pub use reading::{Readings, TargetReadings};
pub use registry::{CONTENT_TYPE, Reaping};
pub use stream::{Stream, StreamView};
pub use streams::{FinishedStream, RecentError};
