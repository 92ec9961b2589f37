//! Changes rows of a table by their keys.

use super::{Commit, Published, staged};
use crate::error::{Error, Result};
use crate::pg::{
    Keys, Merge, Publish, RowCounts, TableLock, Transaction, accepted_row_count, add_primary_key,
    check_same_table, create_staging, create_table, drop_table, find_compared, find_staging,
    grant_fill, merge, new_shadow_name,
};
use crate::write::plan::decide::{ExistingPlan, MissingPlan, Planner, reject_casts};
use crate::write::plan::keyed::find_checked_keys;
use crate::write::record::spec_of;
use crate::write::spec::{Changes, KeyedAction, Mode};
use arrow_pgcopy::{Ident, QualifiedName, Relation};

/// Returns the action, the keys, the order and the rules of a keyed mode.
///
/// # Errors
/// [`ErrorKind::Internal`](crate::error::ErrorKind::Internal) for another mode.
fn keyed(mode: &Mode) -> Result<(KeyedAction, &[Ident], Option<&Ident>, &Changes)> {
    match mode {
        Mode::Keyed {
            action,
            keys,
            order_by,
            changes,
            ..
        } => {
            // The newest of several rows with the same keys counts.
            let order_by = order_by.as_ref().or(changes.newer_by.as_ref());
            Ok((*action, keys, order_by, changes))
        }
        Mode::Append { .. }
        | Mode::Create { .. }
        | Mode::Overwrite { .. }
        | Mode::Replace { .. } => Err(Error::internal("a write without keys was to be merged")),
    }
}

/// Creates the table of a keyed write, empty and with its primary key, and checks that the rows fit it.
///
/// # Errors
/// [`ErrorKind::AlreadyExists`](crate::error::ErrorKind::AlreadyExists) when another session has created it meanwhile;
/// the errors of [`reject_casts`] and [`find_checked_keys`]; any error that PostgreSQL reports for the columns or keys.
pub(crate) async fn make_table(
    planner: Planner<'_>,
    plan: &MissingPlan,
    name: &QualifiedName,
) -> Result<ExistingPlan> {
    let (transaction, spec) = (planner.transaction, planner.spec);
    create_table(transaction, name, &plan.columns, &spec.table_options)
        .await
        .map_err(|error| error.with_table(name))?;
    add_primary_key(transaction, name, &spec.primary_key).await?;
    let table = find_staging(transaction, name).await?;
    let encode = planner.encode(&table.relation)?;
    reject_casts(&encode)?;
    let keys = find_checked_keys(transaction, spec, planner.schema, &table, &encode).await?;
    Ok(ExistingPlan {
        table,
        added: Vec::new(),
        publish: Publish::Merge,
        encode,
        keys,
        part: None,
        markers: Vec::new(),
    })
}

/// Creates the staging table for a target that the commit creates. Before that, the role that will create the target
/// creates it under another name as a trial, and drops it again.
pub(crate) async fn begin_missing(
    planner: Planner<'_>,
    plan: &MissingPlan,
    staging: &QualifiedName,
) -> Result<()> {
    let transaction = planner.transaction;
    transaction.assume_role().await?;
    let tried = new_shadow_name(&plan.name)?;
    make_table(planner, plan, &tried).await?;
    drop_table(transaction, &tried).await?;
    transaction.resume_own_role().await?;
    create_staging(transaction, staging, &plan.columns).await?;
    grant_fill(transaction, staging).await
}

/// Merges the staged rows into the target.
pub(crate) async fn commit(commit: Commit<'_>, staging: &QualifiedName) -> Result<Published> {
    let (target, staging) = staged::open(commit, staging, TableLock::Insert).await?;
    let Commit {
        transaction,
        write,
        chosen,
        ..
    } = commit;
    let xact_ids = &chosen.xact_ids;
    let staged = accepted_row_count(transaction, &staging.name, xact_ids).await?;
    if staged != chosen.staged_row_count {
        return Ok(Published::StagingLost(staged));
    }
    let spec = spec_of(write)?;
    let (action, named, order_by, changes) = keyed(&spec.mode)?;
    // A write that names no keys has the primary key that the table had at its begin.
    let keys = match named.is_empty() {
        true => &write.keys,
        false => named,
    };
    let newer_by = changes.newer_by.as_ref();
    let compared = find_compared(transaction, &target, keys, order_by, newer_by).await?;
    if action.needs_unique_index() && !compared.has_unique_index() {
        return Err(Error::conflict(
            "the unique index on the keys was dropped since the write was begun",
        )
        .with_hint("create it again, and commit again")
        .with_table(&target.name));
    }
    let tables = (&target, &staging);
    let counts = merge_rows(transaction, &spec.mode, tables, xact_ids, &compared).await?;
    check_same_table(transaction, &target).await?;
    Ok(Published::Done(counts))
}

/// Merges the rows that the given transactions staged. Returns the numbers of changed rows.
pub(crate) async fn merge_rows(
    transaction: &Transaction,
    mode: &Mode,
    (target, staging): (&Relation, &Relation),
    xact_ids: &[String],
    compared: &Keys,
) -> Result<RowCounts> {
    let (action, _, order_by, changes) = keyed(mode)?;
    let rows = Merge {
        target,
        staging,
        xact_ids,
        action,
        compared,
        order_by,
        changes,
    };
    merge(transaction, &rows).await
}
