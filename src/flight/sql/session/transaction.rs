//! A client's transaction: empty, open in PostgreSQL, failed, or ended.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Mutex as AsyncMutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;
use uuid::Uuid;

use super::arrival::{Arrival, Arrivals};
use crate::auth::Caller;
use crate::error::{Error, ErrorKind, Result};
use crate::flight::access::audit::AuditRecord;
use crate::write::{KeptTransaction, Targets, Writer, Written};

/// The time after the end of a transaction in which the server stays for the next begin, when it drains.
const NEXT_BEGIN: Duration = Duration::from_secs(3);

/// A transaction that a client has begun. PostgreSQL knows of it from its first ingest or statement on.
pub(crate) struct ClientTransaction {
    id: String,
    principal: Option<String>,
    /// Ends the ingest or the statement that runs; `None` if none does.
    running: Mutex<Option<CancellationToken>>,
    /// Locked by the ingest, the statement or the end that runs.
    pub(super) state: Arc<AsyncMutex<State>>,
    pub(super) arrivals: Arc<Arrivals>,
    used: Mutex<Instant>,
    /// The calls of the server, which wait for it when they drain.
    pub(super) calls: TaskTracker,
}

pub(super) enum State {
    /// It has no work yet.
    Empty,
    Open(Box<Open>),
    /// It was rolled back by the server, and its client has not ended it. Has the reason.
    Failed(String),
    /// Its COMMIT had no answer, and may have succeeded. Has the reason.
    InDoubt(String),
    Ended {
        committed: bool,
    },
}

pub(super) struct Open {
    pub(super) kept: KeptTransaction,
    pub(super) target: String,
    pub(super) writer: Writer,
    /// The server waits for it when it drains.
    pub(super) call: TaskTrackerToken,
}

impl ClientTransaction {
    pub(super) fn new(caller: &Caller, calls: TaskTracker) -> Self {
        Self {
            id: Uuid::new_v4().simple().to_string(),
            principal: caller.name().map(str::to_owned),
            running: Mutex::default(),
            state: Arc::new(AsyncMutex::new(State::Empty)),
            arrivals: Arc::default(),
            used: Mutex::new(Instant::now()),
            calls,
        }
    }

    /// Returns the id that its client knows.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn belongs_to(&self, caller: &Caller) -> bool {
        self.principal.as_deref() == caller.name()
    }

    /// Returns whether it may have work that its end decides on.
    pub(super) fn has_work(&self) -> bool {
        match self.state.try_lock() {
            Ok(state) => matches!(*state, State::Open(_)),
            Err(_) => true,
        }
    }

    /// Returns whether its client has ended it.
    pub(super) fn has_ended(&self) -> bool {
        let state = self.state.try_lock();
        state.is_ok_and(|state| matches!(*state, State::Ended { .. }))
    }

    /// Returns the time of its last call.
    pub(super) fn used(&self) -> Instant {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a call that may be an ingest in it and that is not read yet. A commit before that fails.
    pub(super) fn arrive(&self) -> Arrival {
        self.arrivals.add()
    }

    pub(super) fn touch(&self) {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    pub(super) fn running(&self) -> MutexGuard<'_, Option<CancellationToken>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Commits the transaction, within the grants that the caller has now. A commit may come twice.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`](crate::error::ErrorKind::Conflict) when it has failed or was rolled back, and when one of
    /// its ingests did not complete; any error of [`Writer::commit_kept`], which then keeps nothing.
    pub(super) async fn commit(self: Arc<Self>, targets: Targets) -> Result<()> {
        self.end(Some(targets)).await
    }

    /// Rolls the transaction back, which may come twice.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`](crate::error::ErrorKind::Conflict) when it was committed.
    pub(super) async fn roll_back(self: Arc<Self>) -> Result<()> {
        self.end(None).await
    }

    async fn end(self: Arc<Self>, commit: Option<Targets>) -> Result<()> {
        // The commit goes on if the client disconnects, so that a second call gets its outcome.
        let ending = tokio::spawn(self.end_now(commit));
        ending.await.map_err(|error| {
            Error::internal("the end of a transaction failed").with_source(error)
        })?
    }

    async fn end_now(self: Arc<Self>, commit: Option<Targets>) -> Result<()> {
        // Calls that came before this one on its connection run first.
        tokio::task::yield_now().await;
        if let Some(running) = &*self.running() {
            running.cancel();
        }
        let mut state = Arc::clone(&self.state).lock_owned().await;
        self.touch();
        let commits = commit.is_some();
        let open = match &*state {
            State::Failed(reason) if commits => return Err(aborted(reason)),
            State::InDoubt(reason) => return Err(in_doubt(reason)),
            State::Ended { committed } if *committed == commits => return Ok(()),
            State::Ended { committed } => return Err(over(*committed)),
            State::Empty | State::Failed(_) | State::Open(_) => {
                let ended = State::Ended { committed: commits };
                std::mem::replace(&mut *state, ended)
            }
        };
        let outcome = match (open, commit) {
            (State::Open(open), commit) => self.end_open(*open, commit).await,
            (_, Some(_)) => self.check_read(),
            (_, None) => Ok(()),
        };
        if let Err(error) = &outcome {
            *state = match error.kind() == ErrorKind::Internal {
                true => State::InDoubt(error.to_string()),
                false => State::Failed(reason_of(error)),
            };
        }
        outcome
    }

    async fn end_open(&self, open: Open, commit: Option<Targets>) -> Result<()> {
        let Open {
            kept,
            target,
            writer,
            call,
        } = open;
        let record = AuditRecord::new(writer.caller(), "transaction").in_transaction(&self.id);
        let (mut written, mut done) = (kept.written(), "rolled_back");
        let outcome = match commit {
            Some(targets) => {
                done = "committed";
                let committed = self.commit_open(&targets, &target, kept).await;
                committed.map(|committed| written = committed)
            }
            None => {
                kept.rollback().await;
                Ok(())
            }
        };
        // ADBC's driver begins the next transaction at once, and its commit fails if the server is gone by then.
        tokio::spawn(async move {
            tokio::time::sleep(NEXT_BEGIN).await;
            drop(call);
        });
        match &outcome {
            Ok(()) => record.succeeded(done, "", written.row_count, written.byte_count),
            Err(error) => record.failed(error),
        }
        outcome
    }

    async fn commit_open(
        &self,
        targets: &Targets,
        target: &str,
        kept: KeptTransaction,
    ) -> Result<Written> {
        let found = self.check_read().and_then(|()| targets.find(target));
        match found {
            Ok((_, writer)) => Box::pin(writer.commit_kept(kept, &|| self.check_read())).await,
            Err(error) => {
                kept.rollback().await;
                Err(error)
            }
        }
    }

    /// Rejects a commit while an ingest that has arrived is not read, and after one that ended before.
    fn check_read(&self) -> Result<()> {
        match self.arrivals.are_read() {
            true => Ok(()),
            false => Err(aborted(INCOMPLETE)),
        }
    }
}

/// Why a transaction is rolled back after an ingest that it lost.
pub(super) const INCOMPLETE: &str = "an ingest of it did not complete";
/// What comes before the reason in the error of a transaction that was rolled back.
const ROLLED_BACK: &str = "the transaction was rolled back: ";
/// SQLSTATE `in_failed_sql_transaction`.
const FAILED: &str = "25P02";
/// SQLSTATE `invalid_transaction_termination`.
const INVALID_END: &str = "2D000";

pub(super) fn aborted(reason: &str) -> Error {
    Error::conflict(format!("{ROLLED_BACK}{reason}"))
        .with_hint("roll back, and send all its ingests and statements again, one after another")
        .with_context(|context| context.sqlstate = Some(FAILED.to_owned()))
}

/// Returns the reason that [`aborted`] takes.
pub(super) fn reason_of(error: &Error) -> String {
    let message = error.to_string();
    message
        .strip_prefix(ROLLED_BACK)
        .unwrap_or(&message)
        .to_owned()
}

pub(super) fn in_doubt(reason: &str) -> Error {
    Error::internal(format!("the transaction may be committed: {reason}"))
        .with_hint("look into its tables before you send it again")
}

pub(super) fn over(committed: bool) -> Error {
    let how = if committed {
        "committed"
    } else {
        "rolled back"
    };
    Error::conflict(format!("the transaction was already {how}"))
        .with_hint("begin a new transaction")
        .with_context(|context| context.sqlstate = Some(INVALID_END.to_owned()))
}
