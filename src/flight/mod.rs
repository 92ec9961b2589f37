//! The Flight edge: the only place that names `tonic`, `arrow_flight` and `prost`.

mod action;
mod command;
mod decode;
mod door;
mod envelope;
mod gate;
mod info;
mod meter;
mod offline;
mod put;
mod server;
mod service;
mod status;
mod tls;

pub use offline::{read_schema, write_spec_from_json};
pub use server::{CallLimits, Server, ServerConfig};
pub use tls::TlsFiles;
