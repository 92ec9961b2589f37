//! One connection to PostgreSQL: how it is configured, secured and opened, and what PostgreSQL reports on it.

mod client;
mod config;
mod connect;
mod password;
mod redact;
mod sqlstate;
mod tap;
mod tls;

pub(in crate::pg) use client::Connection;
pub use client::NOTICES;
pub use config::ConnectionConfig;
pub(in crate::pg) use connect::{ConnectError, Connector, NO_ANSWER_HINT};
pub use password::PasswordSource;
pub use sqlstate::show_detail;
pub(in crate::pg) use sqlstate::{About, ServerError, from_postgres};
