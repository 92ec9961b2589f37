//! Runs a stream within its principal's quota, the stream timeout and the life of the server.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::sleep;

use crate::error::{Error, Result};
use crate::flight::access::quota::Quota;
use crate::flight::lifecycle::Lifecycle;
use crate::flight::limits::CallLimits;
use crate::metrics::{Activity, Metrics, Outcome, Stream};

/// The limits of one stream.
pub(crate) struct StreamGuard {
    /// The quota of the stream's principal, if it has one.
    pub(crate) quota: Option<Arc<Quota>>,
    pub(crate) call_limits: watch::Sender<CallLimits>,
    pub(crate) lifecycle: Arc<Lifecycle>,
    pub(crate) metrics: Metrics,
}

impl StreamGuard {
    /// Runs `work`, which receives `stream`, and drops it when the stream timeout passes or the server stops. Dropping
    /// the future drops `work` and counts the client as disconnected.
    ///
    /// # Errors
    /// Any error of `work`; `Unavailable` when the principal is at its limit of streams or the server stops, `Timeout`
    /// when the stream takes too long, and `Internal` when the server ends a stream that may have committed.
    pub(crate) async fn run<T>(
        self,
        stream: &Arc<Stream>,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let _call = self.lifecycle.calls.token();
        let active = self.metrics.register(stream);
        let CallLimits {
            stream_timeout,
            stream_wait,
            ..
        } = *self.call_limits.borrow();
        let work = async {
            let _permit = match &self.quota {
                Some(quota) => {
                    let waiting = quota.acquire_stream(stream_wait);
                    Some(stream.wait(Activity::Turn, waiting).await?)
                }
                None => None,
            };
            work.await
        };
        // The futures ask whether the stream commits before the select drops it.
        let timed_out = async {
            sleep(stream_timeout).await;
            stream.may_be_committed()
        };
        let stopped = async {
            self.lifecycle.stopping.cancelled().await;
            stream.may_be_committed()
        };
        let outcome = tokio::select! {
            outcome = work => outcome,
            may_be_committed = timed_out => Err(ended(may_be_committed, Error::timeout(format!(
                "the stream took longer than {} and was rolled back",
                humantime::format_duration(stream_timeout)
            ))
            .with_hint("send fewer rows in a stream, or raise --stream-timeout"))),
            may_be_committed = stopped => Err(ended(may_be_committed, Error::unavailable(
                "the server shut down before the stream ended and rolled it back",
            )
            .with_hint("send the stream again"))),
        };
        active.end(if outcome.is_ok() {
            Outcome::Succeeded
        } else {
            Outcome::Failed
        });
        outcome
    }
}

/// Returns the error of a stream that the server ended. For a stream that was committing, it does not claim that the
/// stream was rolled back.
fn ended(may_be_committed: bool, error: Error) -> Error {
    if !may_be_committed {
        return error;
    }
    // Not retryable: a retry could write the rows a second time.
    Error::internal(
        "the server ended the stream during COMMIT, and it is not known whether the rows are in the table",
    )
    .with_hint("look for the rows in the table before sending them again")
    .with_source(error)
}
