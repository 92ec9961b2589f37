//! The monitoring port: metrics, probes and the status page, read-only, over plain HTTP.

mod routes;
mod chart;
mod ledger;
mod page;
mod server;
mod status;
mod text;

pub use server::Monitor;
