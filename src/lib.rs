//! Writes Apache Arrow data to PostgreSQL through binary COPY.
//!
//! The binary `pgflight` is an Arrow Flight server made of these modules. The crate [`arrow_pgcopy`] turns batches
//! into the bytes of COPY.

pub mod auth;
pub mod client;
pub mod config;
pub mod error;
pub mod failpoint;
pub mod files;
pub mod flight;
pub mod metrics;
pub mod monitor;
pub mod pg;
pub mod proto;
pub mod telemetry;
mod tls;
pub mod write;
