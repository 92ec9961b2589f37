//! The transaction of a client: several streams and statements, which one commit publishes or none.

use arrow::datatypes::Schema;
use futures_util::Stream;
use tokio::sync::OwnedSemaphorePermit;

use super::done::Done;
use super::doubt::MayCommit;
use super::fan_out::new_stream_id;
use super::target::{Scope, open_target};
use super::whole_table::TableStatement;
use crate::auth::Caller;
use crate::error::{Error, ErrorKind, Result};
use crate::metrics::Activity;
use crate::pg::{Decision, NewWrite, Publish, RowCounts, Transaction, WriteState, begin, commit};
use crate::write::pipeline::batches::{Incoming, StreamMessage};
use crate::write::plan::decide::Planner;
use crate::write::record::{columns_of, fingerprint};
use crate::write::session::repeated::{discard, used_for};
use crate::write::session::status::WriteStatus;
use crate::write::spec::{Once, Receipt, WriteSpec};
use crate::write::writer::Writer;
use arrow_pgcopy::table::TableName;
use arrow_pgcopy::{QualifiedName, Relation};

/// The most bytes of specs and columns that a client's transaction keeps of its ingests with write ids.
const MAX_RECORDED_BYTES: usize = 16 << 20;

/// A client's transaction with its work so far, which no other session sees before [`Writer::commit_kept`]. Dropping it
/// rolls it back.
pub struct KeptTransaction {
    transaction: Transaction,
    /// The tables with new rows.
    filled: Vec<Relation>,
    done: Done,
    row_count: u64,
    byte_count: u64,
    /// The writes that the commit records, so that they happen once.
    writes: Vec<(NewWrite, Receipt)>,
    /// Bytes of the specs and columns of the writes.
    recorded_bytes: usize,
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

    /// Rejects a caller whose role in PostgreSQL is not that of the transaction any more.
    fn check_role(&self, caller: &Caller) -> Result<()> {
        match self.transaction.role() == caller.role() {
            true => Ok(()),
            false => Err(Error::permission_denied(
                "the principal has another role in PostgreSQL than when the transaction began",
            )
            .with_hint("roll back, and send the transaction again")),
        }
    }

    pub(super) fn transaction(&self) -> &Transaction {
        &self.transaction
    }

    /// Prepares it for a statement that only looks.
    pub(super) async fn prepare_look(&self, caller: &Caller) -> Result<()> {
        self.check_role(caller)?;
        self.transaction.renew_settings().await
    }

    /// Prepares it for a statement that changes a table.
    pub(super) async fn prepare_change(&mut self, caller: &Caller) -> Result<()> {
        self.check_role(caller)?;
        self.has_changed = true;
        self.check_repeated()?;
        self.done.check_room()?;
        self.transaction.renew_settings().await
    }

    /// Notes rows of a write, for the commit.
    pub(super) fn note_rows(
        &mut self,
        relation: Relation,
        did: (&WriteSpec, bool),
        counts: RowCounts,
    ) {
        self.done.add_rows(&relation.name, did, counts);
        self.filled.retain(|filled| filled.oid != relation.oid);
        self.filled.push(relation);
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
            done: Done::default(),
            row_count: 0,
            byte_count: 0,
            writes: Vec::new(),
            recorded_bytes: 0,
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
        if spec.rejects.is_some() {
            return Err(Error::unsupported(
                "rows cannot be rejected in a client's transaction yet",
            )
            .with_hint("leave on_error out, or send the rows outside the transaction"));
        }
        let stream = incoming.stream;
        kept.check_role(&self.caller)?;
        let write_id = new_stream_id();
        stream.identify(&write_id, 0, "");
        let _sign = self.streaming.begin(&write_id);
        stream.enter(Activity::Open);
        let record = match once {
            Some(once) => {
                if let Some(stored) = self.find_once(once, &kept, (spec, schema)).await? {
                    kept.has_repeated = true;
                    kept.check_repeated()?;
                    let discarded = discard(incoming, once.rows, stored).await;
                    let receipt = discarded.map_err(|error| error.with_write_id(&once.write_id))?;
                    return Ok((receipt, kept));
                }
                let record = (fingerprint(spec)?, columns_of(schema));
                kept.recorded_bytes += record.0.len() + record.1.len();
                if kept.recorded_bytes > MAX_RECORDED_BYTES {
                    return Err(Error::unsupported(
                        "the columns of the transaction's ingests with write ids have more than 16 MiB",
                    )
                    .with_hint("commit, and send other ingests in another transaction"));
                }
                Some(record)
            }
            None => None,
        };
        kept.done.check_room()?;
        kept.has_changed = true;
        kept.check_repeated()?;
        let transaction = kept.transaction;
        transaction.renew_settings().await?;
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
        let (relation, is_new) = (opened.relation().clone(), opened.is_new());
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
            let did = (spec, is_new);
            kept.note_rows(relation, did, receipt.counts);
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
        kept.prepare_change(&self.caller).await?;
        // Boxed, since the future is large.
        let found = Box::pin(self.run_in(&kept.transaction, statement, table)).await?;
        if let Some(relation) = &found {
            kept.done.add_statement(&relation.name, statement);
            // The commit checks that each table still has its name.
            kept.filled.retain(|filled| filled.oid != relation.oid);
            match statement {
                TableStatement::Drop { .. } => {}
                TableStatement::Delete | TableStatement::Truncate => {
                    kept.filled.push(relation.clone());
                }
            }
        }
        Ok((found.map(|relation| relation.name), kept))
    }

    /// Returns a table as a client's transaction sees it. After an error, and when the future is dropped, the whole
    /// transaction is rolled back.
    ///
    /// # Errors
    /// The errors of [`Writer::relation`].
    pub async fn relation_kept(
        &self,
        kept: KeptTransaction,
        table: &TableName,
    ) -> Result<(Relation, KeptTransaction)> {
        kept.prepare_look(&self.caller).await?;
        let relation = self.relation_in(&kept.transaction, table).await?;
        Ok((relation, kept))
    }

    /// Commits a client's transaction, if the caller may still do what it did, and records its writes in the ledger.
    /// `may_commit` is asked last.
    ///
    /// # Errors
    /// [`ErrorKind::PermissionDenied`] when a grant was removed since, or the principal has another role; the error of
    /// `may_commit`; any error of a deferred trigger or of PostgreSQL; [`ErrorKind::Conflict`] when a table has another name, or when
    /// another call with the same write id was committed first; [`ErrorKind::Internal`] when the connection broke during
    /// COMMIT and PostgreSQL did not report its outcome. After all others, nothing is kept.
    pub async fn commit_kept(
        &self,
        kept: KeptTransaction,
        may_commit: MayCommit<'_>,
    ) -> Result<Written> {
        let written = kept.written();
        let is_role = kept.check_role(&self.caller);
        let may = is_role.and_then(|()| kept.done.check(&self.caller));
        let KeptTransaction {
            transaction,
            filled,
            done,
            writes,
            _permit,
            ..
        } = kept;
        if let Err(error) = may {
            transaction.rollback().await;
            return Err(error);
        }
        if !writes.is_empty() {
            transaction.resume_own_role().await?;
            for (write, receipt) in &writes {
                record_write(&transaction, write, receipt).await?;
            }
        }
        // Boxed, since the future is large.
        Box::pin(self.commit_checked(transaction, &filled, may_commit)).await?;
        done.count(&self.metrics);
        self.metrics
            .count_stored(written.row_count, written.byte_count);
        self.metrics.count_published(written.row_count);
        Ok(written)
    }

    /// Looks for a committed write with this id. Returns its status.
    async fn find_once(
        &self,
        once: &Once,
        kept: &KeptTransaction,
        what: (&WriteSpec, &Schema),
    ) -> Result<Option<WriteStatus>> {
        let id = &once.write_id;
        if kept.writes.iter().any(|(write, _)| write.write_id == *id) {
            return Err(used_for("another ingest of this transaction").with_write_id(id));
        }
        let (write, status) = match self.find_status(id).await {
            Ok(found) => found,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.ensure_ledger().await?;
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
        let checked = self.check_repeated(&write, what).await;
        checked.map_err(|error| error.with_write_id(id))?;
        Ok(Some(WriteStatus {
            existed: true,
            ..status
        }))
    }
}

/// Records a write as committed.
pub(super) async fn record_write(
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
        rejected: receipt.rejected.clone(),
        ..Decision::default()
    };
    commit(transaction, &write.write_id, &decision).await
}
