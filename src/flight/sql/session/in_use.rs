//! The ingests and statements of a client's transaction, one at a time.

use std::sync::{Arc, Weak};

use arrow::datatypes::Schema;
use arrow_pgcopy::table::TableName;
use arrow_pgcopy::{QualifiedName, Relation};
use futures_util::Stream;
use tokio::sync::OwnedMutexGuard;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::transaction::{
    ClientTransaction, INCOMPLETE, Open, State, aborted, in_doubt, over, reason_of,
};
use crate::error::{Error, Result};
use crate::flight::access::audit::AuditRecord;
use crate::write::{
    Incoming, KeptTransaction, Once, Receipt, StreamMessage, TableStatement, WriteSpec, Writer,
};

/// Why a transaction is rolled back in the middle of an ingest.
const OVERLAPPED: &str = "another call of it came while an ingest or a statement was running";
impl ClientTransaction {
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
            State::Empty | State::Open(_) if self.arrivals.has_lost() => {
                *state = State::Failed(INCOMPLETE.to_owned());
                return Err(aborted(INCOMPLETE));
            }
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
        self.running.0.id()
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
            Err(error) => *self.state = State::Failed(reason_of(error)),
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

    /// Creates a table without rows within the transaction.
    ///
    /// # Errors
    /// As [`InUse::write`], for [`Writer::create_empty_kept`].
    pub(crate) async fn create(
        &mut self,
        writer: &Writer,
        (spec, schema): (&WriteSpec, &Schema),
    ) -> Result<Option<QualifiedName>> {
        let kept = self.open(writer).await?;
        let (name, kept) = writer.create_empty_kept(kept, spec, schema).await?;
        self.keep(kept, writer);
        Ok(name)
    }

    /// Counts the rows of a table as the transaction sees them.
    ///
    /// # Errors
    /// As [`InUse::write`], for [`Writer::count_kept`].
    pub(crate) async fn count(
        &mut self,
        writer: &Writer,
        table: &TableName,
    ) -> Result<(QualifiedName, i64)> {
        let kept = self.open(writer).await?;
        let (counted, kept) = writer.count_kept(kept, table).await?;
        self.keep(kept, writer);
        Ok(counted)
    }

    /// Returns a table as the transaction sees it.
    ///
    /// # Errors
    /// As [`InUse::write`], for [`Writer::relation_kept`].
    pub(crate) async fn relation(
        &mut self,
        writer: &Writer,
        table: &TableName,
    ) -> Result<Relation> {
        let kept = self.open(writer).await?;
        let (relation, kept) = writer.relation_kept(kept, table).await?;
        self.keep(kept, writer);
        Ok(relation)
    }

    async fn open(&mut self, writer: &Writer) -> Result<KeptTransaction> {
        match self.open.take() {
            None => writer.begin_kept(self.running.0.id()).await,
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
            call: self.running.0.calls.token(),
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
                .in_transaction(transaction.id())
                .failed(&aborted(&reason));
            open.kept.rollback().await;
        }
        return;
    }
}
