//! Access: who calls, within which quotas, and the log of what they do.

pub(crate) mod audit;
pub(crate) mod auth;
mod keys;
pub(crate) mod quota;
