//! The end of a write of one stream: its receipt, and its rejected rows.

use super::kept::record_write;
use super::target::Opened;
use crate::error::Result;
use crate::pg::{
    NewWrite, Pool, Publish, ROW, RefusedRow, RejectReason, Rejected, RowCounts, Transaction,
    ensure_schema, publish_good_rows,
};
use crate::write::pipeline::lanes::Loaded;
use crate::write::plan::rejects::key_columns;
use crate::write::record::fingerprint;
use crate::write::reject::collected::{Place, Rejects};
use crate::write::reject::places::merged;
use crate::write::session::rejects::check_all_moved;
use crate::write::spec::{Receipt, WriteSpec};
use crate::write::writer::Writer;
use arrow_pgcopy::{Ident, Relation};

/// A stream whose rows are in the target, before the commit.
#[derive(Clone, Copy)]
pub(super) struct Ended<'a> {
    pub(super) spec: &'a WriteSpec,
    pub(super) target: &'a Relation,
    pub(super) loaded: &'a Loaded,
    pub(super) counts: RowCounts,
}

impl<'a> Ended<'a> {
    /// Returns a stream whose target is still to be checked.
    pub(super) fn new(
        spec: &'a WriteSpec,
        target: &'a Relation,
        loaded: &'a Loaded,
        counts: RowCounts,
    ) -> Self {
        Self {
            spec,
            target,
            loaded,
            counts,
        }
    }

    /// Returns the receipt.
    pub(super) fn receipt(&self, rejects: Option<&Rejects>) -> Receipt {
        let rejects = rejects.filter(|rejects| rejects.row_count() > 0);
        Receipt {
            row_count: self.loaded.row_count,
            byte_count: self.loaded.byte_count,
            table: self.target.name.to_string(),
            skipped: false,
            counts: self.counts,
            remark: self.spec.mode.remark(self.counts).to_owned(),
            rejected: rejects.map_or_else(Rejected::default, Rejects::rejected),
            write_id: rejects.map_or_else(String::new, |rejects| rejects.write_id().to_owned()),
        }
    }
}

/// Creates the collection of the rejected rows of a stream; `None` if it rejects none.
///
/// # Errors
/// Any error that PostgreSQL reports.
pub(super) async fn open_rejects(
    pool: &Pool,
    write_id: &str,
    spec: &WriteSpec,
    (transaction, opened): (&Transaction, &Opened),
) -> Result<Option<Rejects>> {
    let Some(rules) = &spec.rejects else {
        return Ok(None);
    };
    let table_oid = match opened {
        Opened::Existing(plan) | Opened::Made(plan) => Some(plan.table.relation.oid),
        // Its primary key is added after the rows.
        Opened::New(..) | Opened::LeftAlone(_) => None,
    };
    let keys = key_columns(transaction, spec, rules, table_oid).await?;
    let place = Place {
        write_id,
        partition_id: 0,
        attempt_id: "",
    };
    Ok(Some(Rejects::new(rules, pool, place, keys)))
}

/// Inserts the rows of a temporary table that PostgreSQL takes, and collects the others. Returns the number of inserted
/// rows.
///
/// # Errors
/// The errors of [`publish_good_rows`]; those of the limit.
pub(super) async fn insert_good(
    transaction: &Transaction,
    tables: (&Relation, &Relation),
    xact_ids: &[String],
    rejects: &Rejects,
    refused: &mut Vec<RefusedRow>,
) -> Result<u64> {
    let (rules, before) = (rejects.rules(), rejects.row_count());
    let mut on_refused = |row: RefusedRow| {
        refused.push(row);
        let count = before.saturating_add(u64::try_from(refused.len()).unwrap_or(u64::MAX));
        let rows = refused.iter();
        let reason = |row: &RefusedRow| {
            let context = row.error.context();
            RejectReason {
                kind: row.kind.to_owned(),
                column: context.column.clone().unwrap_or_default(),
                constraint: context.constraint.clone().unwrap_or_default(),
                row_count: 1,
            }
        };
        rules.check_limit(count, || {
            merged(rejects.reasons().into_iter().chain(rows.map(reason)))
        })
    };
    let place = Ident::new(ROW)?;
    let is_rejected = |kind: &str| rules.reject(kind);
    let inserting = publish_good_rows(
        transaction,
        tables,
        xact_ids,
        (&place, rejects.kept()),
        &is_rejected,
        &mut on_refused,
    );
    inserting.await.map(|(inserted, _)| inserted)
}

impl Writer {
    /// Creates a missing ledger in a transaction of its own.
    ///
    /// # Errors
    /// The errors of [`ensure_schema`].
    pub(super) async fn ensure_ledger(&self) -> Result<()> {
        let transaction = self.begin_control().await?;
        ensure_schema(&transaction).await?;
        transaction.commit().await.into_result()
    }

    /// Decides the limits of a stream's rejected rows, and publishes the rows in its transaction. The ledger then has the
    /// stream as a write, which they belong to.
    ///
    /// # Errors
    /// The errors of [`Rejects::check_limits`], [`Writer::publish_rejects`] and [`check_all_moved`]; an error of a
    /// deferred trigger; any error that PostgreSQL reports.
    pub(super) async fn end_rejects(
        &self,
        transaction: &Transaction,
        done: &Ended<'_>,
        rejects: &Rejects,
        receipt: &Receipt,
    ) -> Result<()> {
        rejects.check_limits(done.loaded.row_count)?;
        let Some(set_id) = rejects.set_id() else {
            return Ok(());
        };
        let write_id = rejects.write_id();
        let write = NewWrite {
            write_id: write_id.to_owned(),
            spec: fingerprint(done.spec)?,
            columns: String::new(),
            target: done.target.name.clone(),
            target_oid: Some(done.target.oid),
            staging: None,
            publish: Publish::Direct,
            principal: self.caller.name().map(str::to_owned),
            driver: None,
            batch: None,
            keys: Vec::new(),
        };
        transaction.resume_own_role().await?;
        record_write(transaction, &write, receipt).await?;
        let sets = [set_id.to_owned()];
        let publishing = self.publish_rejects(transaction, rejects.rules(), (write_id, &sets));
        check_all_moved(publishing.await?, rejects.row_count())
    }
}
