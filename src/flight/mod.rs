//! The Flight edge: the only place that names `tonic`, `arrow_flight` and `prost`.

mod action;
mod audit;
mod auth;
mod client;
mod columns;
mod command;
mod decode;
mod door;
mod envelope;
mod expansion;
#[cfg(any(test, fuzzing))]
pub mod fuzzed;
mod gate;
mod info;
mod json;
mod keys;
mod meter;
mod offline;
mod protobuf;
mod put;
mod quota;
mod server;
mod service;
mod status;
mod tls;

pub use auth::Identity;
pub use client::{AttemptReceipt, Client, ClientConfig, RemoteStatus, RemoteWrite};
pub use offline::{read_schema, write_spec_from_json};
pub use server::{CallLimits, Server, ServerConfig};
pub use tls::TlsFiles;
