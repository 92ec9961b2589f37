//! Replaces a part of a table by DELETE: what has the values that the data has, or what meets a condition. Readers
//! continue, and so do writers of other rows. Writes that replace a part wait for each other.

use super::{Commit, Published, staged};
use crate::error::{Error, Result};
use crate::pg::{
    TableLock, Transaction, accepted_row_count, analyze_staged, delete_by, delete_where, lock_table,
};
use crate::write::plan::decide::ExistingPlan;
use crate::write::plan::part::{CheckedPart, find_part};
use crate::write::record::spec_of;
use crate::write::spec::{Mode, Part, WriteSpec};
use arrow_pgcopy::{QualifiedName, Relation};

/// Deletes the rows that the rows of one stream replace, and returns their number. `staged` is the temporary table with
/// the rows, and their `xmin`; `None` before they are copied straight into the table.
pub(crate) async fn delete_part(
    transaction: &Transaction,
    plan: &ExistingPlan,
    staged: Option<(&QualifiedName, &[String])>,
) -> Result<u64> {
    let target = &plan.table.relation;
    if let (Some(CheckedPart::By(keys)), Some((staging, _))) = (&plan.part, staged) {
        let columns: Vec<_> = keys.names().cloned().collect();
        analyze_staged(transaction, staging, &columns).await?;
    }
    // Another write may replace the same part. The statements after the lock see its rows.
    lock_table(transaction, plan.table.clone(), TableLock::Keep).await?;
    match (&plan.part, staged) {
        (Some(CheckedPart::Where(condition)), None) => {
            delete_where(transaction, &target.name, condition).await
        }
        (Some(part), Some((staging, xact_ids))) => {
            delete(transaction, (target, staging), xact_ids, part).await
        }
        (Some(CheckedPart::By(_)) | None, None) | (None, Some(_)) => {
            Err(Error::internal("a write without a part was to replace one"))
        }
    }
}

/// Deletes the part of the target that the staged rows replace, and inserts them.
pub(crate) async fn commit(commit: Commit<'_>, staging: &QualifiedName) -> Result<Published> {
    let Commit {
        transaction,
        write,
        chosen,
        ..
    } = commit;
    let spec = spec_of(write)?;
    let part = part_of(&spec)?;
    if let Part::By(columns) = part {
        // In the role of the server, which owns the staging table.
        analyze_staged(transaction, staging, columns).await?;
    }
    let (target, staging) = staged::open(commit, staging, TableLock::Keep).await?;
    let xact_ids = &chosen.xact_ids;
    // Rows that are lost must not decide what is deleted.
    let found = accepted_row_count(transaction, &staging.name, xact_ids).await?;
    if found != chosen.staged_row_count {
        return Ok(Published::StagingLost(found));
    }
    let checked = find_part(transaction, &target, part).await?;
    let tables = (&target, &staging.name);
    let replaced = delete(transaction, tables, xact_ids, &checked).await?;
    let published = staged::insert(commit, &target, &staging).await?;
    Ok(published.replacing(replaced))
}

async fn delete(
    transaction: &Transaction,
    (target, staging): (&Relation, &QualifiedName),
    xact_ids: &[String],
    part: &CheckedPart,
) -> Result<u64> {
    match part {
        CheckedPart::By(by) => delete_by(transaction, (target, staging), xact_ids, by).await,
        CheckedPart::Where(condition) => delete_where(transaction, &target.name, condition).await,
    }
}

fn part_of(spec: &WriteSpec) -> Result<&Part> {
    match &spec.mode {
        Mode::Replace { part } => Ok(part),
        Mode::Append { .. } | Mode::Create { .. } | Mode::Overwrite { .. } | Mode::Keyed { .. } => {
            Err(Error::internal("a write without a part was to replace one"))
        }
    }
}
