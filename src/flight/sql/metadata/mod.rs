//! What clients ask about the server and its tables.

pub(super) mod catalog;
pub(super) mod facts;
mod pattern;
pub(super) mod types;
