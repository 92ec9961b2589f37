//! A client's transaction: empty, open in PostgreSQL, failed, or ended.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use arrow::datatypes::Schema;
use arrow_pgcopy::QualifiedName;
use arrow_pgcopy::table::TableName;
use futures_util::Stream;
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;
use uuid::Uuid;

use crate::auth::Caller;
use crate::error::{Error, ErrorKind, Result};
use crate::flight::access::audit::AuditRecord;
use crate::write::{
    Incoming, KeptTransaction, Once, Receipt, StreamMessage, TableStatement, WriteSpec, Writer,
    Written,
};

/// The time after the end of a transaction in which the server stays for the next begin, when it drains.
const NEXT_BEGIN: Duration = Duration::from_secs(3);

/// A transaction that a client has begun. PostgreSQL knows of it from its first ingest or statement on.
pub(crate) struct ClientTransaction {
    id: String,
    principal: Option<String>,
    /// Ends the ingest or the statement that runs; `None` if none does.
    running: Mutex<Option<CancellationToken>>,
    /// Locked by the ingest, the statement or the end that runs.
    state: Arc<AsyncMutex<State>>,
    used: Mutex<Instant>,
    /// The calls of the server, which wait for it when they drain.
    calls: TaskTracker,
}

enum State {
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

struct Open {
    kept: KeptTransaction,
    target: String,
    writer: Writer,
    _call: TaskTrackerToken,
}

impl ClientTransaction {
    pub(super) fn new(caller: &Caller, calls: TaskTracker) -> Self {
        Self {
            id: Uuid::new_v4().simple().to_string(),
            principal: caller.name().map(str::to_owned),
            running: Mutex::default(),
            state: Arc::new(AsyncMutex::new(State::Empty)),
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

    fn touch(&self) {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn running(&self) -> MutexGuard<'_, Option<CancellationToken>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the transaction for an ingest or a statement. Unless the caller reports success, the transaction is rolled
    /// back. An ingest that still runs is ended, and the transaction with it: ADBC's driver leaves an ingest open whose
    /// reader has failed.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`](crate::error::ErrorKind::Conflict) when it has failed or ended, or is in use.
    pub(crate) async fn take(self: &Arc<Self>) -> Result<InUse> {
        let token = {
            let mut running = self.running();
            if let Some(running) = &*running {
                running.cancel();
                return Err(aborted(OVERLAPPED));
            }
            running.insert(CancellationToken::new()).clone()
        };
        // From here on, dropping it frees the transaction.
        let running = Running(Arc::clone(self));
        let mut state = Arc::clone(&self.state).lock_owned().await;
        self.touch();
        let open = match &*state {
            State::Failed(reason) => return Err(aborted(reason)),
            State::InDoubt(reason) => return Err(in_doubt(reason)),
            State::Ended { committed } => return Err(over(*committed)),
            State::Empty | State::Open(_) => {
                let cancelled = "an ingest or a statement of it was cancelled".to_owned();
                match std::mem::replace(&mut *state, State::Failed(cancelled)) {
                    State::Open(open) => Some(open),
                    State::Empty | State::Failed(_) | State::InDoubt(_) | State::Ended { .. } => {
                        None
                    }
                }
            }
        };
        Ok(InUse {
            running,
            token,
            state,
            is_new: open.is_none(),
            open,
        })
    }

    /// Ends the transaction. An end may come twice.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`](crate::error::ErrorKind::Conflict) when it has failed or ended otherwise, and any error of
    /// a commit, which then keeps nothing.
    pub(super) async fn end(self: Arc<Self>, commit: bool) -> Result<()> {
        // The commit goes on if the client disconnects, so that a second call gets its outcome.
        let ending = tokio::spawn(self.end_now(commit));
        ending.await.map_err(|error| {
            Error::internal("the end of a transaction failed").with_source(error)
        })?
    }

    async fn end_now(self: Arc<Self>, commit: bool) -> Result<()> {
        if let Some(running) = &*self.running() {
            running.cancel();
        }
        let mut state = Arc::clone(&self.state).lock_owned().await;
        self.touch();
        let open = match &*state {
            State::Failed(reason) if commit => return Err(aborted(reason)),
            State::InDoubt(reason) => return Err(in_doubt(reason)),
            State::Ended { committed } if *committed == commit => return Ok(()),
            State::Ended { committed } => return Err(over(*committed)),
            State::Empty | State::Failed(_) | State::Open(_) => {
                let ended = State::Ended { committed: commit };
                std::mem::replace(&mut *state, ended)
            }
        };
        let State::Open(open) = open else {
            return Ok(());
        };
        let Open {
            kept,
            writer,
            _call: call,
            ..
        } = *open;
        let record = AuditRecord::new(writer.caller(), "transaction").in_transaction(&self.id);
        let written = kept.written();
        let outcome = match commit {
            true => Box::pin(writer.commit_kept(kept)).await,
            false => {
                kept.rollback().await;
                Ok(written)
            }
        };
        // ADBC's driver begins the next transaction at once, and its commit fails if the server is gone by then.
        tokio::spawn(async move {
            tokio::time::sleep(NEXT_BEGIN).await;
            drop(call);
        });
        match outcome {
            Ok(Written {
                row_count,
                byte_count,
            }) => {
                let outcome = if commit { "committed" } else { "rolled_back" };
                record.succeeded(outcome, "", row_count, byte_count);
                Ok(())
            }
            Err(error) => {
                record.failed(&error);
                *state = match error.kind() == ErrorKind::Internal {
                    true => State::InDoubt(error.to_string()),
                    false => State::Failed(error.to_string()),
                };
                Err(error)
            }
        }
    }
}

/// Makes a transaction free for the next ingest or statement when it is dropped.
struct Running(Arc<ClientTransaction>);

impl Drop for Running {
    fn drop(&mut self) {
        *self.0.running() = None;
    }
}

/// A transaction during one of its ingests or statements. Dropping it rolls the transaction back.
pub(crate) struct InUse {
    token: CancellationToken,
    state: OwnedMutexGuard<State>,
    open: Option<Box<Open>>,
    is_new: bool,
    /// Dropped last, after the state is free.
    running: Running,
}

impl InUse {
    /// Returns the id of the transaction.
    pub(crate) fn id(&self) -> &str {
        &self.running.0.id
    }

    /// Runs the work that `work` begins in the transaction, if there is one, and reports its outcome: the transaction goes
    /// on after a success, and is rolled back after an error and when another call of it comes meanwhile.
    ///
    /// # Errors
    /// The errors of the work.
    pub(crate) async fn run_within<T>(
        mut within: Option<Self>,
        work: impl AsyncFnOnce(Option<&mut Self>) -> Result<T>,
    ) -> Result<T> {
        let Some(within) = &mut within else {
            return work(None).await;
        };
        let token = within.token.clone();
        let outcome = tokio::select! {
            outcome = work(Some(within)) => outcome,
            () = token.cancelled() => Err(aborted(OVERLAPPED)),
        };
        within.finish(outcome)
    }

    fn finish<T>(&mut self, outcome: Result<T>) -> Result<T> {
        let transaction = &self.running.0;
        transaction.touch();
        match &outcome {
            Ok(_) => {
                *self.state = match self.open.take() {
                    Some(open) => {
                        if self.is_new {
                            let transaction = Arc::downgrade(transaction);
                            tokio::spawn(end_when_idle(transaction, open.writer.clone()));
                        }
                        State::Open(open)
                    }
                    None => State::Empty,
                }
            }
            Err(error) => *self.state = State::Failed(error.to_string()),
        }
        outcome
    }

    /// Writes a stream within the transaction.
    ///
    /// # Errors
    /// The errors of [`Writer::begin_kept`] and [`Writer::write_kept`], and
    /// [`ErrorKind::Unsupported`](crate::error::ErrorKind::Unsupported) for a second target.
    pub(crate) async fn write<S>(
        &mut self,
        writer: &Writer,
        once: Option<&Once>,
        what: (&WriteSpec, &Schema),
        incoming: Incoming<'_, S>,
    ) -> Result<Receipt>
    where
        S: Stream<Item = Result<StreamMessage>> + Unpin,
    {
        let kept = self.open(writer).await?;
        let (receipt, kept) = writer.write_kept(kept, once, what, incoming).await?;
        self.keep(kept, writer);
        Ok(receipt)
    }

    /// Runs a statement within the transaction.
    ///
    /// # Errors
    /// As [`InUse::write`], for [`Writer::run_kept`].
    pub(crate) async fn run(
        &mut self,
        writer: &Writer,
        statement: TableStatement,
        table: &TableName,
    ) -> Result<Option<QualifiedName>> {
        let kept = self.open(writer).await?;
        let (name, kept) = writer.run_kept(kept, statement, table).await?;
        self.keep(kept, writer);
        Ok(name)
    }

    async fn open(&mut self, writer: &Writer) -> Result<KeptTransaction> {
        match self.open.take() {
            None => writer.begin_kept(&self.running.0.id).await,
            Some(open) if open.target == writer.caller().target() => Ok(open.kept),
            Some(_) => Err(Error::unsupported(
                "a transaction writes to one target, and this one has another",
            )
            .with_hint("commit before you write to another catalog")),
        }
    }

    fn keep(&mut self, kept: KeptTransaction, writer: &Writer) {
        self.open = Some(Box::new(Open {
            kept,
            target: writer.caller().target().to_owned(),
            writer: writer.clone(),
            _call: self.running.0.calls.token(),
        }));
    }
}

/// Rolls a transaction back when its client sends nothing for too long.
async fn end_when_idle(transaction: Weak<ClientTransaction>, writer: Writer) {
    loop {
        let Some(transaction) = transaction.upgrade() else {
            return;
        };
        let idle = writer.transaction_idle();
        let deadline = transaction.used() + idle;
        if Instant::now() < deadline {
            drop(transaction);
            tokio::time::sleep_until(deadline).await;
            continue;
        }
        let Ok(mut state) = transaction.state.try_lock() else {
            // An ingest runs, which has timeouts of its own.
            drop(transaction);
            tokio::time::sleep(idle).await;
            continue;
        };
        if !matches!(*state, State::Open(_)) {
            return;
        }
        let reason = format!(
            "its client sent nothing for {}",
            humantime::format_duration(idle)
        );
        let open = std::mem::replace(&mut *state, State::Failed(reason.clone()));
        if let State::Open(open) = open {
            let record = AuditRecord::new(open.writer.caller(), "transaction");
            record
                .in_transaction(&transaction.id)
                .failed(&aborted(&reason));
            open.kept.rollback().await;
        }
        return;
    }
}

/// Why a transaction is rolled back in the middle of an ingest.
const OVERLAPPED: &str = "another call of it came while an ingest or a statement was running";
/// SQLSTATE `in_failed_sql_transaction`.
const FAILED: &str = "25P02";
/// SQLSTATE `invalid_transaction_termination`.
const INVALID_END: &str = "2D000";

fn aborted(reason: &str) -> Error {
    Error::conflict(format!("the transaction was rolled back: {reason}"))
        .with_hint("roll back, and send all its ingests and statements again, one after another")
        .with_context(|context| context.sqlstate = Some(FAILED.to_owned()))
}

fn in_doubt(reason: &str) -> Error {
    Error::internal(format!("the transaction may be committed: {reason}"))
        .with_hint("look into its tables before you send it again")
}

fn over(committed: bool) -> Error {
    let how = if committed {
        "committed"
    } else {
        "rolled back"
    };
    Error::conflict(format!("the transaction was already {how}"))
        .with_hint("begin a new transaction")
        .with_context(|context| context.sqlstate = Some(INVALID_END.to_owned()))
}
