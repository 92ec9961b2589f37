//! The limits of calls and connections, which a reload can change.

use std::time::Duration;

/// The limits of calls and connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallLimits {
    /// The time for the sender of a stream to send one message.
    pub idle_timeout: Duration,
    /// The time for a whole stream.
    pub stream_timeout: Duration,
    /// The time that a stream waits for another stream of its principal to end.
    pub stream_wait: Duration,
    /// Connections in all; further ones are closed at once.
    pub max_connections: usize,
    /// Connections from one address.
    pub max_connections_per_peer: usize,
    /// The time for running streams to end after the signal to shut down.
    pub drain_timeout: Duration,
    /// The interval between two heartbeats of a driver.
    pub heartbeat_interval: Duration,
}
