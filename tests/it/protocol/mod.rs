//! Writes of many partitions: their calls, their states, and what ends them.

mod liveness;
mod reaper;
mod refused_commit;
mod session;
mod sink;
mod staging_changed;
mod strangers;
mod waits;
