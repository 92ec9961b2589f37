//! The Arrow Flight server: the only modules besides `client` that name `tonic`, `arrow_flight` and `prost`.

mod access;
pub(crate) mod command;
#[cfg(any(test, fuzzing))]
pub mod fuzzed;
mod ingress;
mod lifecycle;
mod limits;
mod listener;
mod listing;
mod offline;
mod peer;
mod protobuf;
mod rpc;
mod service;
mod sql;
mod status;

pub use access::auth::Identity;
pub use limits::CallLimits;
pub use listener::server::{Server, ServerConfig};
pub use listener::tls::TlsFiles;
pub use offline::{read_schema, write_spec_from_json};
