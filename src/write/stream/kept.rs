//! The transaction of a client: several streams and statements, which one commit publishes or none.

use arrow::datatypes::Schema;
use futures_util::{Stream, StreamExt};
use tokio::sync::OwnedSemaphorePermit;

use super::fan_out::new_stream_id;
use super::target::{Scope, open_target};
use super::whole_table::TableStatement;
use crate::error::{Error, ErrorKind, Result};
use crate::metrics::Activity;
use crate::pg::{
    Decision, NewWrite, Publish, Transaction, WriteState, begin, commit, ensure_schema,
};
use crate::write::pipeline::batches::{EndOfStream, Incoming, StreamMessage};
use crate::write::plan::decide::Planner;
use crate::write::record::{columns_of, fingerprint};
use crate::write::spec::{Once, Receipt, WriteSpec};
use crate::write::writer::Writer;
use arrow_pgcopy::table::TableName;
use arrow_pgcopy::{QualifiedName, Relation};

/// A client's transaction with its work so far, which no other session sees before [`Writer::commit_kept`]. Dropping it
/// rolls it back.
pub struct KeptTransaction {
    transaction: Transaction,
    /// The tables with new rows.
    filled: Vec<Relation>,
    row_count: u64,
    byte_count: u64,
    /// The writes that the commit records, so that they happen once.
    writes: Vec<(NewWrite, Receipt)>,
    /// Whether it has changed a table.
    has_changed: bool,
    /// Whether an ingest got the answer of a write that an earlier transaction has committed.
    has_repeated: bool,
    /// Counts among the transactions of its principal.
    _permit: Option<OwnedSemaphorePermit>,
}

/// What a client's transaction has written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Written {
    /// Number of rows.
    pub row_count: u64,
    /// Bytes of COPY.
    pub byte_count: u64,
}

impl KeptTransaction {
    /// Returns what it has written so far.
    pub fn written(&self) -> Written {
        Written {
            row_count: self.row_count,
            byte_count: self.byte_count,
        }
    }

    /// Rolls it back.
    pub async fn rollback(self) {
        self.transaction.rollback().await;
    }

    /// Rejects a transaction of which a part is not repeated, and the rest would run again: a DELETE would remove the rows
    /// of the first run.
    fn check_repeated(&self) -> Result<()> {
        match self.has_changed && self.has_repeated {
            false => Ok(()),
            true => Err(Error::conflict(
                "a part of this transaction was committed before, and the rest would run again",
            )
            .with_hint(
                "look at the table: if the whole transaction was committed, it is done; otherwise send it with new write ids",
            )),
        }
    }
}

impl Writer {
    /// Begins a client's transaction, which keeps a connection until its end. `id` names the session in PostgreSQL.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when PostgreSQL cannot be reached, and when the caller or all callers together keep as
    /// many transactions open as they may, and none ends in time.
    pub async fn begin_kept(&self, id: &str) -> Result<KeptTransaction> {
        let permit = self.enter_transaction().await?;
        let transaction = self.pool.begin_kept(id).await?;
        Ok(KeptTransaction {
            transaction: transaction.with_role(self.caller.role()),
            filled: Vec::new(),
            row_count: 0,
            byte_count: 0,
            writes: Vec::new(),
            has_changed: false,
            has_repeated: false,
            _permit: permit,
        })
    }

    /// Returns the longest time between two calls of a client's transaction.
    pub fn transaction_idle(&self) -> std::time::Duration {
        self.pool.transaction_idle()
    }

    /// Writes a stream within a client's transaction. After an error, and when the future is dropped, the whole
    /// transaction is rolled back. With `once`, the commit records the write, and a write that an earlier transaction
    /// has committed with this id is not repeated: its rows are read and discarded.
    ///
    /// # Errors
    /// The errors of [`Writer::write_stream`], except those of a COMMIT; [`ErrorKind::AlreadyExists`] when the id was
    /// used for another write, also in this transaction; [`ErrorKind::Conflict`] when a write with the id is open or
    /// was aborted, and when only a part of the transaction was committed before.
    pub async fn write_kept<S>(
        &self,
        mut kept: KeptTransaction,
        once: Option<&Once>,
        (spec, schema): (&WriteSpec, &Schema),
        incoming: Incoming<'_, S>,
    ) -> Result<(Receipt, KeptTransaction)>
    where
        S: Stream<Item = Result<StreamMessage>> + Unpin,
    {
        let stream = incoming.stream;
        let write_id = new_stream_id();
        stream.identify(&write_id, 0, "");
        let _sign = self.streaming.begin(&write_id);
        stream.enter(Activity::Open);
        let record = match once {
            Some(once) => {
                if let Some(stored) = self.find_once(once, &kept, spec, schema).await? {
                    kept.has_repeated = true;
                    kept.check_repeated()?;
                    return Ok((discard(incoming, once, stored).await?, kept));
                }
                Some((fingerprint(spec)?, columns_of(schema)))
            }
            None => None,
        };
        kept.has_changed = true;
        kept.check_repeated()?;
        let transaction = kept.transaction;
        let transaction = self.pool.give_turn(&write_id, stream, transaction).await?;
        let statements = &self.statements();
        let planner = Planner {
            transaction: &transaction,
            caller: &self.caller,
            spec,
            schema,
            statements,
            stream: Some(stream),
        };
        // Boxed, since the future is large.
        let opening = Box::pin(open_target(planner));
        let opened = stream.wait(Activity::Open, opening).await?;
        let relation = opened.relation().clone();
        let mut back = None;
        let target = (Scope::within(transaction, &mut back), opened);
        let filling = self.fill_opened(&write_id, (spec, schema), target, incoming);
        let receipt = Box::pin(filling).await?;
        let transaction = back.ok_or_else(|| Error::internal("a stream kept its transaction"))?;
        kept.transaction = transaction.without_turn();
        if let (Some(once), Some((spec, columns))) = (once, record) {
            let write = NewWrite {
                write_id: once.write_id.clone(),
                spec,
                columns,
                target: relation.name.clone(),
                target_oid: Some(relation.oid),
                staging: None,
                publish: Publish::Direct,
                principal: self.caller.name().map(str::to_owned),
                driver: None,
                batch: None,
                keys: Vec::new(),
            };
            kept.writes.push((write, receipt.clone()));
        }
        if !receipt.skipped {
            kept.filled.retain(|filled| filled.oid != relation.oid);
            kept.filled.push(relation);
            kept.row_count += receipt.row_count;
            kept.byte_count += receipt.byte_count;
        }
        Ok((receipt, kept))
    }

    /// Runs a statement about a whole table within a client's transaction. After an error, and when the future is
    /// dropped, the whole transaction is rolled back.
    ///
    /// # Errors
    /// The errors of [`Writer::run_statement`], except those of a COMMIT.
    pub async fn run_kept(
        &self,
        mut kept: KeptTransaction,
        statement: TableStatement,
        table: &TableName,
    ) -> Result<(Option<QualifiedName>, KeptTransaction)> {
        kept.has_changed = true;
        kept.check_repeated()?;
        // Boxed, since the future is large.
        let name = Box::pin(self.run_in(&kept.transaction, statement, table)).await?;
        if let (TableStatement::Drop { .. }, Some(name)) = (statement, &name) {
            kept.filled.retain(|filled| filled.name != *name);
        }
        Ok((name, kept))
    }

    /// Commits a client's transaction, and records its writes in the ledger.
    ///
    /// # Errors
    /// Any error of a deferred trigger or of PostgreSQL; [`ErrorKind::Conflict`] when a table has another name, or when
    /// another call with the same write id was committed first; [`ErrorKind::Internal`] when the connection broke during
    /// COMMIT and PostgreSQL did not report its outcome. After all others, nothing is kept.
    pub async fn commit_kept(&self, kept: KeptTransaction) -> Result<Written> {
        let written = kept.written();
        let KeptTransaction {
            transaction,
            filled,
            writes,
            _permit,
            ..
        } = kept;
        if !writes.is_empty() {
            transaction.resume_own_role().await?;
            for (write, receipt) in &writes {
                record_write(&transaction, write, receipt).await?;
            }
        }
        // Boxed, since the future is large.
        Box::pin(self.commit_checked(transaction, &filled)).await?;
        self.metrics
            .count_stored(written.row_count, written.byte_count);
        self.metrics.count_published(written.row_count);
        Ok(written)
    }

    /// Looks for a committed write with this id. Returns its receipt.
    async fn find_once(
        &self,
        once: &Once,
        kept: &KeptTransaction,
        spec: &WriteSpec,
        schema: &Schema,
    ) -> Result<Option<Receipt>> {
        let id = &once.write_id;
        let used_for = |what: &str| {
            Error::already_exists(format!("the write id was used for {what}"))
                .with_hint("use a new write id")
                .with_write_id(id)
        };
        if kept.writes.iter().any(|(write, _)| write.write_id == *id) {
            return Err(used_for("another ingest of this transaction"));
        }
        let (write, status) = match self.find_status(id).await {
            Ok(found) => found,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let transaction = self.begin_control().await?;
                ensure_schema(&transaction).await?;
                transaction.commit().await.into_result()?;
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        if write.state != WriteState::Committed {
            return Err(Error::conflict(
                "a write with this id was begun outside the transaction, and is not committed",
            )
            .with_hint("use a new write id, or send the ingest without a transaction")
            .with_write_id(id));
        }
        if write.spec != fingerprint(spec)? {
            return Err(used_for("another table, mode or options"));
        }
        if write.columns != columns_of(schema) {
            return Err(used_for("data with other columns"));
        }
        Ok(Some(Receipt {
            row_count: status.row_count,
            byte_count: status.byte_count,
            table: status.table,
            skipped: true,
            counts: status.counts,
            remark: String::new(),
        }))
    }
}

/// Reads the rows of a write that is committed, and checks their number. Returns its receipt.
async fn discard<S>(mut incoming: Incoming<'_, S>, once: &Once, stored: Receipt) -> Result<Receipt>
where
    S: Stream<Item = Result<StreamMessage>> + Unpin,
{
    incoming.stream.enter(Activity::Receive);
    let mut arrived = 0_u64;
    while let Some(message) = incoming.messages.next().await {
        if let StreamMessage::Batch(batch, _) = message? {
            arrived += u64::try_from(batch.num_rows()).unwrap_or(u64::MAX);
        }
    }
    if let Some(rows) = once.rows {
        EndOfStream::HasRows(rows).check(None, arrived)?;
    }
    if arrived != stored.row_count {
        return Err(Error::already_exists(format!(
            "the write id was used for {} rows, and not for {arrived}",
            stored.row_count
        ))
        .with_hint("use a new write id")
        .with_write_id(&once.write_id));
    }
    Ok(stored)
}

/// Records a write as committed.
async fn record_write(
    transaction: &Transaction,
    write: &NewWrite,
    receipt: &Receipt,
) -> Result<()> {
    if !begin(transaction, write).await? {
        return Err(
            Error::conflict("another call with the same write id was committed first")
                .with_hint("send the transaction again: its ingests then get their answers")
                .with_write_id(&write.write_id),
        );
    }
    let decision = Decision {
        row_count: receipt.row_count,
        byte_count: receipt.byte_count,
        attempt_count: 1,
        counts: receipt.counts,
        ..Decision::default()
    };
    commit(transaction, &write.write_id, &decision).await
}
