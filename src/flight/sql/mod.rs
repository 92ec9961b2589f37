//! Flight SQL: what ADBC clients send, as writes and lists of this server.
//!
//! A command is a protobuf `Any` of the package `arrow.flight.protocol.sql` (Arrow's `FlightSql.proto`). DoPut carries
//! rows (`ingest.rs`), with options in headers (`headers.rs`), also for a prepared INSERT (`prepared.rs`). GetFlightInfo
//! and DoGet (`query.rs`) answer what clients ask before and after: facts about the server, and lists of what the caller
//! may write (`metadata/`). A few statements are parsed (`statement/`) and run (`execute.rs`). Actions (`action.rs`) are
//! about sessions, transactions and prepared INSERTs. What is not served is refused by its name, with what to use instead
//! (`refused.rs`).

mod action;
mod answer;
mod command;
mod execute;
mod headers;
mod ingest;
mod metadata;
mod prepared;
pub(crate) mod query;
mod refused;
pub(crate) mod session;
mod statement;

pub(crate) use action::{SqlAction, run as run_action};
pub(crate) use answer::sent;
pub(crate) use command::{command, from_bytes};
pub(crate) use execute::update;
pub(crate) use headers::Headers;
pub(crate) use ingest::{RowsCommand, row_count};
pub(crate) use refused::refused_action;
pub(crate) use session::{Arrival, CallSession, InUse, Sessions};
