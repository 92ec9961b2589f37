//! The monitoring port: metrics, probes and the status page, read-only, over plain HTTP.

mod chart;
mod ledger;
mod page;
mod routes;
mod server;
mod status;
mod text;

pub use server::Monitor;
