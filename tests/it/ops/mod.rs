//! The server as a process between its configuration, its database and its clients.

mod check;
mod configuration;
mod ledger_version;
mod listener_tls;
mod load;
mod passwords;
mod pooler;
mod postgres_tls;
mod server;
