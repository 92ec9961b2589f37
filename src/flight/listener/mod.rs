//! The listener: connections, TLS, and the gRPC server on top of them.

mod connections;
pub(crate) mod server;
pub(crate) mod tls;
