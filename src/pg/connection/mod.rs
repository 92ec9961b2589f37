//! One connection to PostgreSQL: how it is configured, secured and opened, and what PostgreSQL reports on it.

mod advice;
mod client;
mod config;
mod connect;
mod password;
mod redact;
mod server_error;
mod sqlstate;
mod tap;
mod tls;

pub(crate) use advice::LOCK_NOT_AVAILABLE;
pub(in crate::pg) use advice::QUERY_CANCELED;
pub(in crate::pg) use client::Connection;
pub use client::NOTICES;
pub use config::ConnectionConfig;
pub(in crate::pg) use connect::{ConnectError, Connector, NO_ANSWER_HINT};
pub use password::PasswordSource;
pub use server_error::show_detail;
pub(in crate::pg) use server_error::{Grantee, ServerError};
pub(in crate::pg) use sqlstate::{About, from_postgres};
