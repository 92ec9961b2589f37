//! The facts about the server that its answers carry.

/// The limits that clients keep to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ServerInfo {
    pub(crate) max_message_bytes: u64,
    pub(crate) heartbeat_seconds: u32,
}
