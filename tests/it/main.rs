//! The server as clients meet it: the real binary, a real PostgreSQL, a real Flight client.

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

mod access;
mod changes;
mod hostile;
mod layering;
mod load;
mod modes;
mod monitor;
mod ops;
#[path = "../../crates/arrow-pgcopy/src/encode/tests/golden/pair.rs"]
mod pair;
mod protocol;
mod rejects;
mod sql;
mod stream;
#[allow(dead_code, reason = "shared with tests/faults, which uses the rest")]
mod support;
mod types;
