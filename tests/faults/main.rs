//! Writes of many partitions while servers, connections and sessions die: nothing lost, nothing
//! doubled, nothing left behind.
//!
//! The processes are real: PostgreSQL and two servers on one database. A proxy before each of them can cut, stall and
//! swallow replies. Needs the feature `failpoints`.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::let_underscore_must_use,
    clippy::string_slice,
    clippy::disallowed_types,
    unreachable_pub,
    reason = "a test fails by panicking, and waits by the clock on the wall"
)]

mod fan_out;
mod frozen;
mod kill_points;
mod outcomes;
mod postgres;
mod prepared_lost;
mod random;
mod rig;
#[path = "../it/support/mod.rs"]
#[expect(
    dead_code,
    unused_imports,
    reason = "shared with the other tests, which use all of it"
)]
mod support;
mod two_phase;
