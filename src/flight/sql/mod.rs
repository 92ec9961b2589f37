//! Flight SQL: what ADBC clients send, as writes and lists of this server.
//!
//! A command is a protobuf `Any` of the package `arrow.flight.protocol.sql` (Arrow's `FlightSql.proto`). DoPut carries
//! rows (`ingest.rs`), with options in headers (`headers.rs`). GetFlightInfo and DoGet (`query.rs`) answer what clients ask before and after: facts about the
//! server (`facts.rs`) and lists of what the caller may write (`catalog.rs`). A few statements about whole tables are parsed (`statement.rs`) and run (`execute.rs`). What is not served is refused by its name,
//! with what to use instead (`refused.rs`).

mod answer;
mod catalog;
mod command;
mod execute;
mod facts;
mod headers;
mod ingest;
mod pattern;
pub(crate) mod query;
mod refused;
pub(crate) mod session;
mod statement;

pub(crate) use answer::sent;
pub(crate) use command::{command, from_bytes};
pub(crate) use execute::update;
pub(crate) use headers::Headers;
pub(crate) use ingest::{ingest, row_count, transaction_id};
pub(crate) use refused::refused_action;
pub(crate) use session::action::{SqlAction, run as run_action};
pub(crate) use session::{Arrival, CallSession, InUse, Sessions};
