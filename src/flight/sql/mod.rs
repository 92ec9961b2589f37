//! Flight SQL: what ADBC clients send, as writes and lists of this server.
//!
//! A command is a protobuf `Any` of the package `arrow.flight.protocol.sql` (Arrow's `FlightSql.proto`). DoPut carries
//! rows (`ingest.rs`). What is not served is refused by its name, with what to use instead (`refused.rs`).

mod command;
mod ingest;
mod refused;

pub(crate) use command::command;
pub(crate) use ingest::{ingest, row_count};
