//! The handle for all operations on writes.

use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, watch};

use crate::auth::Caller;
use crate::error::{Error, Result};
use crate::metrics::{Metrics, Stream};
use crate::pg::{
    LedgerVersion, LedgerWrite, Pool, PreparedTransactions, Publish, STREAM_PREFIX, Timeouts,
    Transaction, Usage, WriteFilter, WriteState, count_writes, ensure_schema, has_schema,
    ledger_version, prepared_transactions, recent_writes,
};
use crate::write::calls::Calls;
use crate::write::limits::{FanOut, VolumeLimits};
use crate::write::statements::Statements;
use crate::write::streaming::Streaming;
use crate::write::stuck::Stuck;

/// Carries out writes on one PostgreSQL. It keeps no state of writes: another server on the same database answers calls
/// about them too.
#[derive(Clone)]
pub struct Writer {
    pub(crate) pool: Pool,
    pub(crate) fan_out: FanOut,
    pub(crate) volume: watch::Sender<VolumeLimits>,
    statements: watch::Sender<Statements>,
    pub(crate) caller: Caller,
    /// The streams of all callers.
    pub(crate) streaming: Streaming,
    pub(crate) metrics: Metrics,
    /// The control calls of all callers.
    calls: Calls,
    /// The commits of all callers.
    commit_calls: Calls,
    /// The calls of all callers that hold a connection for commits and commit no write.
    statement_calls: Calls,
    /// The transactions that clients keep open.
    transactions: Calls,
    /// The writes of all callers whose staging table could not be dropped.
    pub(crate) stuck: Stuck,
}

/// The contents of the ledger.
#[derive(Debug, Default)]
pub struct Overview {
    /// The latest writes, newest first.
    pub writes: Vec<LedgerWrite>,
    /// The number of writes in each state.
    pub counts: Vec<(WriteState, u64)>,
    /// The prepared transactions that wait for a commit.
    pub prepared: PreparedTransactions,
}

impl Writer {
    /// Creates a writer that uses the connections of `pool`: one for each stream.
    pub fn new(pool: Pool) -> Self {
        Self {
            pool,
            fan_out: FanOut::default(),
            volume: watch::Sender::new(VolumeLimits::default()),
            statements: watch::Sender::new(Statements::default()),
            caller: Caller::anonymous(),
            streaming: Streaming::default(),
            metrics: Metrics::default(),
            calls: Calls::default(),
            commit_calls: Calls::default(),
            statement_calls: Calls::default(),
            transactions: Calls::default(),
            stuck: Stuck::default(),
        }
    }

    /// Sets the number of connections of a stream into a new table.
    pub fn with_fan_out(self, fan_out: FanOut) -> Self {
        Self { fan_out, ..self }
    }

    /// Counts in the metrics of a server.
    pub fn with_metrics(self, metrics: Metrics) -> Self {
        metrics.show_publish_methods(Publish::ALL.into_iter().map(Publish::as_str));
        Self { metrics, ..self }
    }

    /// Returns a writer that acts for this caller, within its permissions. Ids of writes are those of the ledger: see
    /// [`Writer::ledger_id`].
    pub fn on_behalf_of(&self, caller: Caller) -> Self {
        Self {
            caller,
            ..self.clone()
        }
    }

    /// Returns the caller that this writer acts for.
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Returns the ledger's id for a write that the caller names: see [`Caller::ledger_id`]. A write that a server made
    /// of a stream has the same id for all principals, and belongs to that of the stream.
    pub fn ledger_id(&self, write_id: &str) -> String {
        if write_id.starts_with(STREAM_PREFIX) {
            return write_id.to_owned();
        }
        self.caller.ledger_id(write_id)
    }

    /// Begins a transaction that carries no rows, with the role of the caller. Waits while other calls of the caller
    /// hold its share of the connections.
    pub(crate) async fn begin_control(&self) -> Result<Transaction> {
        let call = self.enter().await?;
        let transaction = self.pool.begin_control().await?;
        Ok(transaction.with_permit(call).with_role(self.caller.role()))
    }

    /// Begins a transaction that writes nothing, as [`Writer::begin_control`] does.
    pub(crate) async fn begin_look(&self) -> Result<Transaction> {
        let call = self.enter().await?;
        let transaction = self.pool.begin_read().await?;
        Ok(transaction.with_permit(call).with_role(self.caller.role()))
    }

    async fn enter(&self) -> Result<Option<OwnedSemaphorePermit>> {
        let Some(principal) = self.caller.name() else {
            return Ok(None);
        };
        let (limit, timeout) = (self.pool.max_calls(), self.pool.wait_timeout());
        let entering = self.calls.enter(principal, (limit, "calls"), timeout);
        entering.await.map(Some)
    }

    /// Begins the transaction of a commit, or of a call that may take as long, with the role of the caller. Waits while
    /// other commits of the caller hold its share of the connections. `name` names the session.
    pub(crate) async fn begin_commit(&self, name: &str) -> Result<Transaction> {
        let permit = match self.caller.name() {
            Some(principal) => {
                let limit = (self.pool.max_commits_each(), "commits");
                let timeout = self.pool.wait_timeout();
                Some(self.commit_calls.enter(principal, limit, timeout).await?)
            }
            None => None,
        };
        let transaction = self.pool.begin_commit(name).await?;
        Ok(transaction
            .with_permit(permit)
            .with_role(self.caller.role()))
    }

    /// Waits while the principal keeps its share of the connections for transactions.
    pub(crate) async fn enter_transaction(&self) -> Result<Option<OwnedSemaphorePermit>> {
        let Some(principal) = self.caller.name() else {
            return Ok(None);
        };
        let limit = (self.pool.max_transactions(), "transactions");
        let timeout = self.pool.wait_timeout();
        let entering = self.transactions.enter(principal, limit, timeout);
        entering.await.map(Some)
    }

    /// Waits while the caller runs another statement about a whole table, since each may hold a connection for commits and
    /// wait for locks.
    pub(crate) async fn enter_statement(&self) -> Result<Option<OwnedSemaphorePermit>> {
        let Some(principal) = self.caller.name() else {
            return Ok(None);
        };
        let timeout = self.pool.wait_timeout();
        let entering = self
            .statement_calls
            .enter(principal, (1, "statements"), timeout);
        entering.await.map(Some)
    }

    /// Begins a transaction for the rows of a write, with the role of the caller.
    pub(crate) async fn begin_data(&self, write: &str, stream: &Stream) -> Result<Transaction> {
        let transaction = self.pool.begin_data(write, stream).await?;
        Ok(transaction.with_role(self.caller.role()))
    }

    /// Sets the limits of streams and writes from now on, also for clones of this writer.
    pub fn set_volume(&self, limits: VolumeLimits) {
        self.volume.send_replace(limits);
    }

    /// Sets the statements that writes may name from now on, also for clones of this writer.
    pub fn set_statements(&self, statements: Statements) {
        self.statements.send_replace(statements);
    }

    /// Returns the statements that writes may name.
    pub(crate) fn statements(&self) -> Statements {
        self.statements.borrow().clone()
    }

    /// Sets the timeouts of transactions that begin from now on.
    pub fn set_timeouts(&self, timeouts: Timeouts) {
        self.pool.set_timeouts(timeouts);
    }

    /// Checks that PostgreSQL answers, and is a primary.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](crate::error::ErrorKind::Unavailable) when it does not answer within `timeout`, or is
    /// a standby.
    pub async fn check(&self, timeout: Duration) -> Result<()> {
        match tokio::time::timeout(timeout, self.pool.begin_read()).await {
            Ok(transaction) => {
                let transaction = transaction?;
                let is_primary = transaction.check_primary();
                transaction.rollback().await;
                is_primary
            }
            Err(_) => Err(Error::unavailable(format!(
                "no answer from PostgreSQL at {} within {} s",
                self.pool.address(),
                timeout.as_secs()
            ))),
        }
    }

    /// Returns the latest writes, newest first; none when there is no ledger.
    ///
    /// # Errors
    /// Any error that PostgreSQL reports.
    pub async fn writes(&self, filter: &WriteFilter) -> Result<Vec<LedgerWrite>> {
        let transaction = self.pool.begin_read().await?;
        let writes = match has_schema(&transaction).await? {
            true => recent_writes(&transaction, filter).await?,
            false => Vec::new(),
        };
        transaction.rollback().await;
        Ok(writes)
    }

    /// Returns the latest writes, those that have not ended first, and the number of writes in each state; no
    /// writes when there is no ledger.
    ///
    /// # Errors
    /// Any error that PostgreSQL reports.
    pub async fn overview(&self, limit: u32) -> Result<Overview> {
        let transaction = self.pool.begin_read().await?;
        let latest = WriteFilter {
            unfinished_first: true,
            limit,
            ..WriteFilter::default()
        };
        let overview = match has_schema(&transaction).await? {
            true => Overview {
                writes: recent_writes(&transaction, &latest).await?,
                counts: count_writes(&transaction).await?,
                prepared: prepared_transactions(&transaction, limit).await?,
            },
            false => Overview {
                counts: WriteState::ALL.map(|state| (state, 0)).to_vec(),
                ..Overview::default()
            },
        };
        transaction.rollback().await;
        Ok(overview)
    }

    /// Returns the load of the connections.
    pub fn usage(&self) -> Usage {
        self.pool.usage()
    }

    /// Returns the address of PostgreSQL for messages, without the password.
    pub fn address(&self) -> &str {
        self.pool.address()
    }

    /// Brings an existing ledger up to date: writes that an older server began can then continue. Returns the version
    /// that it had.
    ///
    /// # Errors
    /// The errors of [`Writer::migrate`].
    pub async fn upgrade(&self) -> Result<LedgerVersion> {
        let transaction = self.pool.begin_control().await?;
        let found = ledger_version(&transaction).await?;
        if let LedgerVersion::Old(_) = found {
            ensure_schema(&transaction).await?;
        }
        transaction.commit().await.into_result()?;
        Ok(found)
    }

    /// Creates a missing ledger, or updates an old one.
    ///
    /// # Errors
    /// [`ErrorKind::PermissionDenied`](crate::error::ErrorKind::PermissionDenied) when the role may not; any other
    /// error that PostgreSQL reports.
    pub async fn migrate(&self) -> Result<()> {
        let transaction = self.pool.begin_control().await?;
        ensure_schema(&transaction).await?;
        transaction.commit().await.into_result()
    }
}
