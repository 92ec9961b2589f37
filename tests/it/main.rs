//! The server as clients meet it: the real binary, a real PostgreSQL, a real Flight client.

mod layering;
mod put;
mod rejected;
mod server;
mod session;
mod support;
