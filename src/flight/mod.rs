//! The Flight edge: the only place that names `tonic`, `arrow_flight` and `prost`.

mod action;
mod command;
mod decode;
mod envelope;
mod info;
mod put;
mod server;
mod service;
#[deny(
    clippy::wildcard_enum_match_arm,
    reason = "a new error kind must get its code here"
)]
mod status;

pub use server::{Server, ServerConfig};
