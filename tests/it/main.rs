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

mod attacks;
mod check;
mod commands;
mod configuration;
mod conversions;
mod decimals;
mod evolution;
mod faithful;
mod fan_out;
mod floats;
mod foreign_code;
mod hostile;
mod identity;
mod insert_only;
mod jwt;
mod keyed;
mod keyed_missing;
mod layering;
mod ledger_version;
mod listener_tls;
mod liveness;
mod load;
mod matrix;
mod monitor;
mod monitor_page;
mod monitor_publish;
#[cfg(feature = "otlp")]
mod otlp;
#[path = "../../crates/arrow-pgcopy/src/encode/tests/golden/pair.rs"]
mod pair;
mod pairs;
mod passwords;
mod permission;
mod pooler;
mod postgres_tls;
mod put;
mod random_types;
mod ready;
mod reaper;
mod refused_commit;
mod rejected;
mod role;
mod role_in_force;
mod round_trips;
mod secrets;
mod sequences;
mod server;
mod session;
mod settings;
mod siege;
mod sink;
mod sql_texts;
mod staging_changed;
mod strangers;
#[allow(dead_code, reason = "shared with tests/faults, which uses the rest")]
mod support;
mod swap;
mod traces;
mod two_phase;
mod types;
mod types_page;
mod undecodable;
mod under_way;
mod volume;
mod wire;
