//! The control calls of each principal: begin, plan, abort, status and lists.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::{Error, Result};

/// Limits the control calls of a principal that run at a time. Such a call holds a connection that all principals share,
/// and may wait there for locks that this principal holds.
#[derive(Debug, Clone, Default)]
pub(crate) struct Calls(Arc<Mutex<HashMap<String, Arc<Semaphore>>>>);

impl Calls {
    /// Waits until fewer than `limit` calls of the principal run. The call ends when the permit is dropped. `kind` names
    /// them in the error.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](crate::error::ErrorKind::Unavailable) when none of them ends within `timeout`.
    pub(crate) async fn enter(
        &self,
        principal: &str,
        (limit, kind): (usize, &str),
        timeout: Duration,
    ) -> Result<OwnedSemaphorePermit> {
        let semaphore = self.semaphore(principal, limit);
        match tokio::time::timeout(timeout, semaphore.acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) | Err(_) => Err(Error::unavailable(format!(
                "none of the {limit} {kind} of the principal that may run at once ended in time"
            ))
            .with_hint("try again later")),
        }
    }

    /// Returns the semaphore of a principal, and forgets those without calls.
    fn semaphore(&self, principal: &str, limit: usize) -> Arc<Semaphore> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A permit and a waiting call hold a reference.
        all.retain(|name, semaphore| name == principal || Arc::strong_count(semaphore) > 1);
        let semaphore = all
            .entry(principal.to_owned())
            .or_insert_with(|| Arc::new(Semaphore::new(limit)));
        Arc::clone(semaphore)
    }
}
