//! Writes of many partitions while servers, connections and sessions die: nothing lost, nothing
//! doubled, nothing left behind.
//!
//! Real processes: PostgreSQL, two servers on one database, each behind a proxy that can cut, stall
//! and swallow replies, as PostgreSQL is for them. Needs the feature `failpoints`.

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
