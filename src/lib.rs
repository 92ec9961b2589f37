//! Writes Apache Arrow data to PostgreSQL through binary COPY.
//!
//! The binary `pgflight` is an Arrow Flight server made of these modules. [`plan`] and [`encode`] do no I/O; other
//! programs can use them to turn Arrow data into COPY bytes.

pub mod auth;
pub mod client;
pub mod config;
pub mod encode;
pub mod error;
pub mod failpoint;
pub mod files;
pub mod flight;
pub mod metrics;
pub mod monitor;
pub mod pg;
pub mod plan;
pub mod proto;
pub mod telemetry;
mod tls;
pub mod write;
