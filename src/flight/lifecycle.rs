//! The state of a server that shuts down, as its calls see it.

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::error::{Error, Result};

/// Connects the end of the server with its calls.
#[derive(Default)]
pub(crate) struct Lifecycle {
    /// Set when the server drains: it rejects new writes.
    pub(crate) draining: CancellationToken,
    /// Set when the drain timeout has passed: it ends running streams.
    pub(crate) stopping: CancellationToken,
    /// Counts the running streams and actions.
    pub(crate) calls: TaskTracker,
}

impl Lifecycle {
    /// Rejects a new write while the server drains.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](crate::error::ErrorKind::Unavailable) while the server drains.
    pub(crate) fn reject_when_draining(&self) -> Result<()> {
        if self.draining.is_cancelled() {
            return Err(Error::unavailable("the server is shutting down")
                .with_hint("try again, here or at another replica"));
        }
        Ok(())
    }
}
