//! Places where a test can stop the server in order to kill it there. They do nothing without the feature
//! `failpoints`.

/// The places, in the order of the write protocol's steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failpoint {
    /// The write is recorded, its transaction not committed.
    BeginBeforeCommit,
    /// The write is committed, the client has no answer.
    BeginAfterCommit,
    /// The COPY is open, no row sent.
    AttemptBeforeRows,
    /// Some rows are sent.
    AttemptMidRows,
    /// All rows are sent and counted, the COPY is not finished.
    AttemptBeforeFinish,
    /// The COPY is finished, the write's row not locked.
    AttemptBeforeFence,
    /// Only with prepared transactions: the attempt is prepared, not recorded.
    AttemptAfterPrepare,
    /// The attempt is recorded, its transaction not committed.
    AttemptBeforeCommit,
    /// The attempt is committed, the client has no answer.
    AttemptAfterCommit,
    /// The write's row is not locked.
    CommitBeforeLock,
    /// The write's row is locked, the receipts are checked.
    CommitBeforePublish,
    /// The rows are in the target, the write is not marked.
    CommitAfterPublish,
    /// The write is marked, the transaction not committed.
    CommitBeforeCommit,
    /// The write is committed, or decided; the client has no answer.
    CommitAfterCommit,
    /// Only with prepared transactions: all are committed, the write is not marked.
    CommitBeforeFinish,
}

impl Failpoint {
    /// All failpoints.
    pub const ALL: [Self; 15] = [
        Self::BeginBeforeCommit,
        Self::BeginAfterCommit,
        Self::AttemptBeforeRows,
        Self::AttemptMidRows,
        Self::AttemptBeforeFinish,
        Self::AttemptBeforeFence,
        Self::AttemptAfterPrepare,
        Self::AttemptBeforeCommit,
        Self::AttemptAfterCommit,
        Self::CommitBeforeLock,
        Self::CommitBeforePublish,
        Self::CommitAfterPublish,
        Self::CommitBeforeCommit,
        Self::CommitAfterCommit,
        Self::CommitBeforeFinish,
    ];
}

/// Blocks forever, the first time, if `PGFLIGHT_FAILPOINT` names this place. Prints a line to standard error first, so
/// that a test knows when to kill the server.
#[cfg(feature = "failpoints")]
#[expect(clippy::print_stderr, reason = "the line that the test waits for")]
pub(crate) async fn reach(point: Failpoint) {
    use std::sync::atomic::{AtomicBool, Ordering};
    static REACHED: AtomicBool = AtomicBool::new(false);
    let here = std::env::var("PGFLIGHT_FAILPOINT").is_ok_and(|name| name == format!("{point:?}"));
    if here && !REACHED.swap(true, Ordering::SeqCst) {
        eprintln!("failpoint {point:?} reached");
        std::future::pending::<()>().await;
    }
}

/// Does nothing.
#[cfg(not(feature = "failpoints"))]
#[inline]
pub(crate) async fn reach(_: Failpoint) {}
