//! The rejected rows of the accepted attempts: their limits are decided, and they are published with the other rows.

use uuid::Uuid;

use crate::error::{Error, Result};
use crate::pg::{
    Reject, RejectReason, TableLock, Transaction, check_same_table, count_rejects, delete_rejects,
    lock_table, move_some_rejects, publish_rejects, read_rejects, store_rejects,
};
use crate::write::plan::rejects::find_reject_table;
use crate::write::publish::Chosen;
use crate::write::record::spec_of;
use crate::write::reject::places::{merged, reason_of};
use crate::write::reject::rules::RejectRules;
use crate::write::spec::WriteSpec;
use crate::write::writer::Writer;

/// The number of rows that one statement stores.
const STORED_AT_ONCE: usize = 1000;

impl Writer {
    /// Counts the rejected rows of the accepted attempts, and checks the limits of all of them.
    ///
    /// # Errors
    /// The errors of [`RejectRules::check_limits`] and [`check_all_moved`]; any error that PostgreSQL reports.
    pub(super) async fn decide_rejects(
        &self,
        transaction: &Transaction,
        spec: &WriteSpec,
        chosen: &Chosen,
    ) -> Result<Vec<RejectReason>> {
        let Some(rules) = spec.rejects.as_ref().filter(|_| chosen.rejected_count > 0) else {
            return Ok(Vec::new());
        };
        let reasons = count_rejects(transaction, &chosen.reject_sets).await?;
        let stored = reasons.iter().map(|reason| reason.row_count).sum();
        check_all_moved(stored, chosen.rejected_count)?;
        let sent = chosen.row_count.saturating_add(chosen.rejected_count);
        rules.check_limits(chosen.rejected_count, sent, || reasons.clone())?;
        Ok(reasons)
    }

    /// Stores the rows that PostgreSQL has rejected in a set of this transaction, in the role of the ledger, and checks the
    /// limits of all rejected rows. Returns the set, and all reasons.
    ///
    /// # Errors
    /// The errors of [`RejectRules::check_limits`]; any error that PostgreSQL reports.
    pub(super) async fn add_refused(
        &self,
        transaction: &Transaction,
        (rules, write_id): (&RejectRules, &str),
        (chosen, earlier): (&Chosen, Vec<RejectReason>),
        refused: &[Reject],
    ) -> Result<(String, Vec<RejectReason>)> {
        let set_id = Uuid::new_v4().simple().to_string();
        let reasons = merged(earlier.into_iter().chain(refused.iter().map(reason_of)));
        let count = u64::try_from(refused.len()).unwrap_or(u64::MAX);
        let rejected = chosen.rejected_count.saturating_add(count);
        let sent = chosen.row_count.saturating_add(chosen.rejected_count);
        rules.check_limits(rejected, sent, || reasons.clone())?;
        for some in refused.chunks(STORED_AT_ONCE) {
            store_rejects(transaction, write_id, &set_id, some).await?;
        }
        Ok((set_id, reasons))
    }

    /// Returns some rejected rows of a committed write of the caller, in the order of partition and row, after a place; none
    /// after the last.
    ///
    /// # Errors
    /// The errors of [`Writer::status`]; [`ErrorKind::Conflict`](crate::error::ErrorKind::Conflict) when the write is not
    /// committed, or when its rejected rows are in a table of the caller; any error that PostgreSQL reports.
    pub async fn rejects(&self, write_id: &str, after: Option<(u32, u64)>) -> Result<Vec<Reject>> {
        if after.is_none() {
            let (write, status) = self.find_status(write_id).await?;
            if !status.state.is_decided() {
                return Err(Error::conflict("the write is not committed")
                    .with_hint("commit it first: an open write has no rejected rows yet")
                    .with_write_id(write_id));
            }
            let table = spec_of(&write).ok().and_then(|spec| spec.rejects?.table);
            if let Some(table) = table {
                return Err(Error::conflict(
                    "the rejected rows of the write are in a table of their own",
                )
                .with_hint("read that table")
                .with_table(table)
                .with_write_id(write_id));
            }
        }
        let transaction = self.begin_look().await?;
        let rejects = read_rejects(&transaction, write_id, after).await;
        transaction.rollback().await;
        rejects
    }

    /// Publishes these sets of a write, and deletes its others: in the ledger's table, or in the caller's. Returns the
    /// number of rows. The role of the ledger must be in force, and is afterwards.
    ///
    /// # Errors
    /// The errors of [`find_reject_table`]; any error that PostgreSQL reports.
    pub(crate) async fn publish_rejects(
        &self,
        transaction: &Transaction,
        rules: &RejectRules,
        (write_id, set_ids): (&str, &[String]),
    ) -> Result<u64> {
        if rules.table.is_none() || set_ids.is_empty() {
            return publish_rejects(transaction, write_id, set_ids).await;
        }
        transaction.assume_role().await?;
        let found = find_reject_table(transaction, &self.caller, rules).await?;
        let table =
            found.ok_or_else(|| Error::internal("a table for rejected rows has no name"))?;
        let table = lock_table(transaction, table, TableLock::Insert)
            .await?
            .relation;
        let (mut moved, write_name) = (0, self.caller.write_id(write_id));
        loop {
            let some = move_some_rejects(transaction, &table, write_name, set_ids).await?;
            if some == 0 {
                break;
            }
            moved += some;
        }
        check_same_table(transaction, &table).await?;
        delete_rejects(transaction, write_id).await?;
        Ok(moved)
    }
}

/// Checks that all rejected rows are there which the records of the attempts count.
///
/// # Errors
/// [`ErrorKind::Conflict`](crate::error::ErrorKind::Conflict) when some are missing.
pub(crate) fn check_all_moved(found: u64, recorded: u64) -> Result<()> {
    match found == recorded {
        true => Ok(()),
        false => Err(Error::conflict(format!(
            "{found} of {recorded} rejected rows are stored in the ledger; nothing was published"
        ))
        .with_hint("run the job again with a new write id")),
    }
}
