//! The calls of the Flight service, one file each.

pub(crate) mod action;
pub(crate) mod action_name;
pub(crate) mod info;
pub(crate) mod put;
pub(crate) mod rejects;
pub(crate) mod server_info;
pub(crate) mod stream_guard;
mod write_status;
