//! The other end of a connection.

use std::net::SocketAddr;
use std::sync::Arc;

/// The other end of a connection. tonic adds it to the extensions of every request.
#[derive(Debug, Clone, Default)]
pub(crate) struct Peer {
    /// Its address.
    pub(crate) address: Option<SocketAddr>,
    /// Whether the connection is encrypted.
    pub(crate) is_secure: bool,
    /// Its certificate in DER, verified against the configured authorities.
    pub(crate) certificate: Option<Arc<[u8]>>,
}
