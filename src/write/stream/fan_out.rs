//! One stream into a new table over several connections. The server makes it a write of many partitions, and commits it
//! itself.
//!
//! The first connection creates the table and begins to fill it, as for any stream. If the stream is large, the rows so
//! far become the first attempt of a write in the ledger, and the rest goes to further attempts. Other sessions can
//! only fill a table that they can see, so the table is visible, under another name, until it is full.

use arrow::datatypes::Schema;
use futures_util::Stream;
use futures_util::future::try_join_all;
use tokio::time::Instant;
use uuid::Uuid;

use super::doubt::{PATIENCE, PAUSE, in_doubt};
use crate::error::{Error, Result};
use crate::failpoint::{Failpoint, reach};
use crate::pg::{
    NewWrite, Publish, Rejected, RowCounts, STREAM_PREFIX, TableLock, Transaction, begin,
    check_same_table, ensure_schema, hide_table, lock_named, new_shadow_name, record_attempt,
    record_staging,
};
use crate::write::pipeline::batches::{BatchSource, StreamMessage};
use crate::write::pipeline::lanes::{Lane, Lanes, Loaded};
use crate::write::publish::Accepted;
use crate::write::record::{columns_of, fingerprint};
use crate::write::session::attempt::{attempt_of, check_staged, record};
use crate::write::spec::{AttemptId, Receipt, WriteSpec};
use crate::write::writer::Writer;
use arrow_pgcopy::{EncodePlan, QualifiedName, Relation};

/// Returns a new id for the write of a stream.
pub(crate) fn new_stream_id() -> String {
    format!("{STREAM_PREFIX}{}", Uuid::new_v4())
}

/// The new table of a stream, and its target.
#[derive(Clone, Copy)]
pub(crate) struct NewTable<'a> {
    pub(crate) spec: &'a WriteSpec,
    pub(crate) schema: &'a Schema,
    pub(crate) target: &'a Relation,
    /// The name of the table that is filled.
    pub(crate) filled: &'a QualifiedName,
    /// Its OID.
    pub(crate) filled_oid: u32,
    /// Whether the filled table replaces the target, instead of being it.
    pub(crate) by_swap: bool,
}

/// The work of the first connection.
pub(crate) struct FirstLane<'a> {
    pub(crate) write_id: &'a str,
    /// The transaction that created the table.
    pub(crate) transaction: Transaction,
    pub(crate) loaded: Loaded,
}

impl Writer {
    /// Takes connections for the rest of a stream, besides its own. Returns none when other streams need them or when
    /// the ledger is not available.
    pub(crate) async fn find_lanes(&self, write_id: &str) -> Vec<Transaction> {
        let found = async {
            let more = self
                .pool
                .begin_more_data(write_id, self.fan_out.lanes - 1)
                .await?;
            if !more.is_empty() {
                let control = self.pool.begin_control().await?;
                ensure_schema(&control).await?;
                control.commit().await.into_result()?;
            }
            Ok(more)
        };
        found.await.unwrap_or_else(|error: Error| {
            tracing::debug!(write_id, error = %error.report(), "a stream stays on one connection");
            Vec::new()
        })
    }

    /// Loads the rest of a stream over its own connection and the given ones, and publishes all of it. Dropping the
    /// future aborts the write.
    ///
    /// # Errors
    /// Any error of the stream, the encoder or PostgreSQL. The rows are then discarded, unless the error says that the
    /// outcome of the commit is unknown.
    pub(crate) async fn fan_out<S>(
        &self,
        new_table: NewTable<'_>,
        begun: FirstLane<'_>,
        more: Vec<Transaction>,
        source: BatchSource<'_, S>,
    ) -> Result<Receipt>
    where
        S: Stream<Item = Result<StreamMessage>> + Unpin,
    {
        let mut unfinished = Unfinished(Some((self.clone(), begun.write_id.to_owned())));
        let published = self
            .fan_out_and_publish(new_table, begun, more, source)
            .await;
        match published {
            Ok(receipt) => {
                unfinished.0 = None;
                Ok(receipt)
            }
            Err(error) => {
                unfinished.end().await;
                Err(error)
            }
        }
    }

    async fn fan_out_and_publish<S>(
        &self,
        new_table: NewTable<'_>,
        begun: FirstLane<'_>,
        more: Vec<Transaction>,
        mut source: BatchSource<'_, S>,
    ) -> Result<Receipt>
    where
        S: Stream<Item = Result<StreamMessage>> + Unpin,
    {
        let FirstLane {
            write_id,
            transaction,
            loaded,
        } = begun;
        let id = |partition_id: u32| AttemptId {
            write_id: write_id.to_owned(),
            partition_id,
            attempt_id: format!("lane-{partition_id}"),
        };
        check_staged(&loaded)?;
        let principal = self.caller.name();
        let shadow = begin_write(&transaction, write_id, principal, new_table).await?;
        let filled = Relation {
            oid: shadow.1,
            name: shadow.0,
            columns: new_table.target.columns.clone(),
        };
        let first = attempt_of(&id(0), &transaction, &loaded).await?;
        record_attempt(&transaction, write_id, &first).await?;
        reach(Failpoint::BeginBeforeCommit).await;
        let mut transactions = vec![self.pool.commit_and_begin(write_id, transaction).await?];
        self.metrics.count_stored(first.row_count, first.byte_count);
        reach(Failpoint::BeginAfterCommit).await;
        transactions.extend(more);
        // The table belongs to the role in which the first connection created it.
        let of_role = |transaction: Transaction| transaction.with_role(self.caller.role());
        let transactions: Vec<_> = transactions.into_iter().map(of_role).collect();
        for transaction in &transactions {
            transaction.assume_role().await?;
        }

        tracing::debug!(write_id, lanes = transactions.len(), "a stream fans out");
        let plan = source.plan();
        let opening = transactions
            .iter()
            .map(|transaction| open_lane(transaction, &filled, plan));
        let mut lanes = Lanes::new(try_join_all(opening).await?);
        source.copy_batches(&mut lanes, u64::MAX).await?;
        let loaded = lanes.finish().await?;
        let recording = transactions.into_iter().zip(&loaded).zip(1_u32..).map(
            async |((transaction, loaded), partition)| {
                check_staged(loaded)?;
                check_same_table(&transaction, &filled).await?;
                transaction.resume_own_role().await?;
                let attempt = attempt_of(&id(partition), &transaction, loaded).await?;
                record(&self.metrics, transaction, write_id, attempt).await
            },
        );
        let mut attempts = try_join_all(recording).await?;
        attempts.push(first);
        let accepted: Vec<_> = attempts
            .iter()
            .map(|attempt| (id(attempt.partition_id), attempt.row_count))
            .collect();
        self.commit_fanned_out(write_id, &accepted).await?;
        let row_count = attempts.iter().map(|attempt| attempt.row_count).sum();
        Ok(Receipt {
            row_count,
            byte_count: attempts.iter().map(|attempt| attempt.byte_count).sum(),
            table: new_table.target.name.to_string(),
            skipped: false,
            counts: RowCounts {
                inserted: Some(row_count),
                ..RowCounts::default()
            },
            remark: String::new(),
            rejected: Rejected::default(),
            write_id: String::new(),
        })
    }

    /// Commits, and retries for a while after retryable errors. Then it aborts the write: the rows are committed, or
    /// they never will be, or PostgreSQL does not report which.
    async fn commit_fanned_out(&self, write_id: &str, attempts: &[(AttemptId, u64)]) -> Result<()> {
        let began = Instant::now();
        let accepted = Accepted {
            attempts,
            allow_none: false,
        };
        let error = loop {
            match self.commit_any(write_id, accepted).await {
                Ok(_) => return Ok(()),
                Err(error) if !error.kind().is_retryable() => return Err(error),
                Err(error) if began.elapsed() < PATIENCE => {
                    tracing::info!(write_id, error = %error.report(), "the commit of a stream is tried again");
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => break error,
            }
        };
        let reason = "its commit could not be carried out in time";
        match self.abort_any(write_id, reason).await {
            Ok(status) if status.state.is_decided() => Ok(()),
            Ok(_) => Err(error),
            Err(_) => Err(in_doubt(error)),
        }
    }
}

/// Opens a lane into the table of a stream that fans out.
async fn open_lane(
    transaction: &Transaction,
    filled: &Relation,
    plan: &EncodePlan,
) -> Result<Lane> {
    let locked = lock_named(transaction, &filled.name, TableLock::Insert).await?;
    match locked.relation.oid == filled.oid {
        true => Lane::open(transaction, &filled.name, plan, None).await,
        false => Err(moved()),
    }
}

fn moved() -> Error {
    Error::conflict("another session renamed the schema of the target while rows were written")
        .with_hint("run the job again: nothing is kept")
}

/// Makes the work of a transaction the first attempt of a write. Returns the name of the table until the commit, and its
/// OID.
async fn begin_write(
    transaction: &Transaction,
    write_id: &str,
    principal: Option<&str>,
    new_table: NewTable<'_>,
) -> Result<(QualifiedName, u32)> {
    let target = &new_table.target.name;
    let (publish, shadow, target_oid) = if new_table.by_swap {
        let oid = Some(new_table.target.oid);
        (Publish::Swap, new_table.filled.clone(), oid)
    } else {
        let shadow = new_shadow_name(target)?;
        hide_table(transaction, target, &shadow).await?;
        (Publish::Create, shadow, None)
    };
    let write = NewWrite {
        write_id: write_id.to_owned(),
        spec: fingerprint(new_table.spec)?,
        columns: columns_of(new_table.schema),
        target: target.clone(),
        target_oid,
        staging: Some(shadow.clone()),
        publish,
        principal: principal.map(str::to_owned),
        driver: None,
        batch: None,
        keys: Vec::new(),
    };
    transaction.resume_own_role().await?;
    match begin(transaction, &write).await? {
        true => {
            let oid = record_staging(transaction, write_id, &shadow).await?;
            match oid == new_table.filled_oid {
                true => Ok((shadow, oid)),
                false => Err(moved()),
            }
        }
        false => Err(Error::internal("the id of a stream was there before")),
    }
}

/// A write whose stream may end early: by an error, or when the client has disconnected and the future is dropped.
struct Unfinished(Option<(Writer, String)>);

impl Unfinished {
    /// Aborts the write. Dropping the future does not stop it: the client may disconnect while its stream fails.
    async fn end(&mut self) {
        if let Some((writer, write_id)) = self.0.take() {
            tokio::spawn(abort(writer, write_id)).await.ok();
        }
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some((writer, write_id)) = self.0.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(abort(writer, write_id));
        }
    }
}

/// Aborts the write. Best effort: the reaper removes the rest.
async fn abort(writer: Writer, write_id: String) {
    let aborted = writer.abort_any(&write_id, "its stream ended early").await;
    if let Err(error) = aborted {
        tracing::info!(write_id, error = %error.report(), "a stream that failed is not cleaned up yet");
    }
}
