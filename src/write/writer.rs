//! The one handle on everything that can be done with writes.

use std::time::Duration;

use tokio::sync::watch;

use crate::auth::Caller;
use crate::error::{Error, Result};
use crate::metrics::{Metrics, Stream};
use crate::pg::{
    LedgerVersion, LedgerWrite, Pool, PreparedTransactions, Timeouts, Transaction, Usage,
    WriteState, count_writes, ensure_schema, has_schema, ledger_version, prepared_transactions,
    recent_writes, writable_relations,
};
use crate::write::plan::permission::{find_permitted, missing_table};
use crate::write::stream::fan_out::FanOut;
use crate::write::stream::volume::VolumeLimits;
use crate::write::upkeep::liveness::Streaming;
use arrow_pgcopy::Relation;
use arrow_pgcopy::table::TableName;

/// Carries out writes on one PostgreSQL. Holds no state of its own: any other server on the same
/// database answers as well.
#[derive(Clone)]
pub struct Writer {
    pub(crate) pool: Pool,
    pub(crate) fan_out: FanOut,
    pub(crate) volume: watch::Sender<VolumeLimits>,
    pub(crate) caller: Caller,
    /// That of all callers.
    pub(crate) streaming: Streaming,
    pub(crate) metrics: Metrics,
}

/// What the ledger holds.
#[derive(Debug, Default)]
pub struct Overview {
    /// The writes that were begun last, newest first.
    pub writes: Vec<LedgerWrite>,
    /// How many there are in each state.
    pub counts: Vec<(WriteState, u64)>,
    /// What waits as prepared transactions.
    pub prepared: PreparedTransactions,
}

impl Writer {
    /// Carries out writes through these connections, each stream by one.
    pub fn new(pool: Pool) -> Self {
        Self {
            pool,
            fan_out: FanOut::default(),
            volume: watch::Sender::new(VolumeLimits::default()),
            caller: Caller::anonymous(),
            streaming: Streaming::default(),
            metrics: Metrics::default(),
        }
    }

    /// Lets a stream into a new table have more connections.
    pub fn with_fan_out(self, fan_out: FanOut) -> Self {
        Self { fan_out, ..self }
    }

    /// Counts in the metrics of a server.
    pub fn with_metrics(self, metrics: Metrics) -> Self {
        Self { metrics, ..self }
    }

    /// Carries out what this caller asks for, as far as it may. Ids of writes are those of the ledger: see
    /// [`Caller::ledger_id`].
    pub fn on_behalf_of(&self, caller: Caller) -> Self {
        Self {
            caller,
            ..self.clone()
        }
    }

    /// Who asks.
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// A transaction that carries no rows, with the role of the caller.
    pub(crate) async fn begin_control(&self) -> Result<Transaction> {
        let transaction = self.pool.begin_control().await?;
        Ok(transaction.with_role(self.caller.role()))
    }

    /// As [`Writer::begin_control`], for what writes nothing.
    async fn begin_look(&self) -> Result<Transaction> {
        let transaction = self.pool.begin_read().await?;
        Ok(transaction.with_role(self.caller.role()))
    }

    /// A transaction for rows of a write, with the role of the caller.
    pub(crate) async fn begin_data(&self, write: &str, stream: &Stream) -> Result<Transaction> {
        let transaction = self.pool.begin_data(write, stream).await?;
        Ok(transaction.with_role(self.caller.role()))
    }

    /// Lets streams and writes hold no more than this, from now on: also those of its clones.
    pub fn set_volume(&self, limits: VolumeLimits) {
        self.volume.send_replace(limits);
    }

    /// Changes how long things may take, for what begins from now on.
    pub fn set_timeouts(&self, timeouts: Timeouts) {
        self.pool.set_timeouts(timeouts);
    }

    /// Asks PostgreSQL for a sign of life.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](crate::error::ErrorKind::Unavailable) when it is out of reach, or a standby.
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

    /// A table as the catalog has it.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::error::ErrorKind::NotFound) when there is none of that name;
    /// [`ErrorKind::PermissionDenied`](crate::error::ErrorKind::PermissionDenied) when the caller may not know.
    pub async fn relation(&self, table: &TableName) -> Result<Relation> {
        let transaction = self.begin_look().await?;
        transaction.assume_role().await?;
        let relation = find_permitted(&transaction, &self.caller, table).await?;
        let relation = match relation {
            Some(table) => Ok(table.relation),
            None => Err(missing_table(&transaction, &self.caller, table).await?),
        };
        transaction.rollback().await;
        relation
    }

    /// The writes that were begun last, newest first; none when there is no ledger.
    ///
    /// # Errors
    /// What PostgreSQL said.
    pub async fn writes(&self, limit: u32) -> Result<Vec<LedgerWrite>> {
        let transaction = self.pool.begin_read().await?;
        let writes = match has_schema(&transaction).await? {
            true => recent_writes(&transaction, limit).await?,
            false => Vec::new(),
        };
        transaction.rollback().await;
        Ok(writes)
    }

    /// The writes that were begun last and how many there are by state; none when there is no ledger.
    ///
    /// # Errors
    /// What PostgreSQL said.
    pub async fn overview(&self, limit: u32) -> Result<Overview> {
        let transaction = self.pool.begin_read().await?;
        let overview = match has_schema(&transaction).await? {
            true => Overview {
                writes: recent_writes(&transaction, limit).await?,
                counts: count_writes(&transaction).await?,
                prepared: prepared_transactions(&transaction, limit).await?,
            },
            false => Overview::default(),
        };
        transaction.rollback().await;
        Ok(overview)
    }

    /// How busy the connections are.
    pub fn usage(&self) -> Usage {
        self.pool.usage()
    }

    /// Where PostgreSQL is, for people; no password.
    pub fn address(&self) -> &str {
        self.pool.address()
    }

    /// Brings a ledger that is there up to date, so that writes which an older server began go on. Gives the
    /// version that was found.
    ///
    /// # Errors
    /// As [`Writer::migrate`].
    pub async fn upgrade(&self) -> Result<LedgerVersion> {
        let transaction = self.pool.begin_control().await?;
        let found = ledger_version(&transaction).await?;
        if let LedgerVersion::Old(_) = found {
            ensure_schema(&transaction).await?;
        }
        transaction.commit().await.into_result()?;
        Ok(found)
    }

    /// Makes the ledger where it is missing.
    ///
    /// # Errors
    /// [`ErrorKind::PermissionDenied`](crate::error::ErrorKind::PermissionDenied) when the role may
    /// not, else what PostgreSQL said.
    pub async fn migrate(&self) -> Result<()> {
        let transaction = self.pool.begin_control().await?;
        ensure_schema(&transaction).await?;
        transaction.commit().await.into_result()
    }

    /// All tables that the caller may write.
    ///
    /// # Errors
    /// What PostgreSQL said.
    pub async fn relations(&self) -> Result<Vec<Relation>> {
        let transaction = self.begin_look().await?;
        transaction.assume_role().await?;
        let relations = writable_relations(&transaction, |name| self.caller.may_see(name)).await?;
        transaction.rollback().await;
        Ok(relations)
    }
}
