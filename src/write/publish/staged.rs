//! The common steps of the methods whose rows wait in a staging table.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Commit, Published, Refused};
use crate::error::{Error, Result};
use crate::pg::{
    LedgerWrite, ROW, RefusedRow, RowCounts, TableLock, Transaction, accepted_row_count,
    add_columns, add_primary_key, check_copied_types, check_same_table, create_staging,
    create_table, definitions_of, grant_fill, lock_named, lock_table, missing_columns, primary_key,
    publish_good_rows, publish_rows, staging_relation,
};
use crate::write::plan::decide::{ExistingPlan, Planner};
use crate::write::plan::evolution::check_not_cast;
use crate::write::record::spec_of;
use crate::write::reject::places::{kept, merged, reason_of, reject_of};
use crate::write::reject::rules::RejectValues;
use crate::write::spec::{SchemaEvolution, WriteSpec};
use arrow_pgcopy::mapping::is_cast;
use arrow_pgcopy::schema::ColumnDefinition;
use arrow_pgcopy::{Ident, QualifiedName, Relation};

/// Creates the staging table for a target that exists.
pub(crate) async fn begin(
    transaction: &Transaction,
    spec: &WriteSpec,
    plan: &ExistingPlan,
    staging: &QualifiedName,
) -> Result<()> {
    check_not_cast(&plan.encode, &plan.added)?;
    let target = &plan.table.relation;
    let mut columns = definitions_of(transaction, target, plan.encode.columns()).await?;
    columns.extend_from_slice(&plan.added);
    add_marker(spec, plan, &mut columns);
    create_staging(transaction, staging, &columns).await?;
    check_copied_types(transaction, staging, target).await?;
    grant_fill(transaction, staging).await
}

/// Adds the columns that say which rows delete, and their order, to those of a staging table. Such rows may have NULL anywhere.
pub(crate) fn add_marker(
    spec: &WriteSpec,
    plan: &ExistingPlan,
    columns: &mut Vec<ColumnDefinition>,
) {
    columns.extend_from_slice(&plan.markers);
    if spec.mode.delete_when().is_some() {
        for column in columns {
            column.not_null = false;
        }
    }
}

/// Removes the columns that say which rows delete, and their order, from the description of a staging table: they are
/// not written.
pub(crate) fn hide_marker(spec: &WriteSpec, staging: &mut Relation) -> Result<()> {
    let mut hidden = spec.mode.orders_of_envelope()?;
    hidden.extend(spec.mode.delete_when().map(|delete| delete.column.clone()));
    if spec.rejects.is_some() {
        hidden.push(Ident::new(ROW)?);
    }
    staging
        .columns
        .retain(|column| !hidden.contains(&column.name));
    Ok(())
}

/// Locks the table of one stream, and decides again if it has changed since the plan.
pub(crate) async fn lock(
    planner: Planner<'_>,
    plan: ExistingPlan,
    lock: TableLock,
) -> Result<ExistingPlan> {
    let table = lock_table(planner.transaction, plan.table.clone(), lock).await?;
    if table == plan.table {
        Ok(plan)
    } else {
        planner.decide_again(table).await
    }
}

/// Opens the target and the staging table for a commit. Creates the target or adds its new columns if the write asks
/// for it, locks it, and checks that it has the columns of the staging table.
///
/// # Errors
/// [`ErrorKind::Conflict`](crate::error::ErrorKind::Conflict) when the target has changed since begin; any error that
/// PostgreSQL reports.
pub(crate) async fn open(
    commit: Commit<'_>,
    staging: &QualifiedName,
    lock: TableLock,
) -> Result<(Relation, Relation)> {
    let Commit {
        transaction,
        write,
        target,
        ..
    } = commit;
    let mut staging = staging_relation(transaction, staging).await?;
    transaction.assume_role().await?;
    let spec = spec_of(write)?;
    let has_places = staging
        .columns
        .iter()
        .any(|column| column.name.as_str() == ROW);
    locked(commit.refused).has_places = has_places && spec.rejects.is_some();
    hide_marker(&spec, &mut staging)?;
    let is_missing = write.target_oid.is_none();
    if is_missing || spec.schema_evolution == SchemaEvolution::AddColumns {
        let missing = missing_columns(transaction, write.target_oid, &staging).await?;
        match write.target_oid {
            None => {
                create_table(transaction, target, &missing, &spec.table_options)
                    .await
                    .map_err(|error| error.with_table(target))?;
                add_primary_key(transaction, target, &spec.primary_key).await?;
            }
            Some(oid) => add_columns(transaction, target, oid, &missing).await?,
        }
    }
    let relation = if is_missing {
        lock_named(transaction, target, TableLock::Insert)
            .await?
            .relation
    } else {
        lock_target(transaction, write, target, lock).await?
    };
    check_same_columns(&relation, &staging)?;
    Ok((relation, staging))
}

/// Locks the target, and checks that it is still the table that the write was begun with.
///
/// # Errors
/// [`ErrorKind::Conflict`](crate::error::ErrorKind::Conflict) when it is another table; any error that PostgreSQL
/// reports.
pub(crate) async fn lock_target(
    transaction: &Transaction,
    write: &LedgerWrite,
    name: &QualifiedName,
    lock: TableLock,
) -> Result<Relation> {
    let relation = lock_named(transaction, name, lock).await?.relation;
    match Some(relation.oid) == write.target_oid {
        true => Ok(relation),
        false => Err(Error::conflict(
            "the table was dropped and made again since the write was begun",
        )
        .with_table(name)),
    }
}

/// Inserts the accepted rows into the target.
pub(crate) async fn insert(
    commit: Commit<'_>,
    target: &Relation,
    staging: &Relation,
) -> Result<Published> {
    let Commit {
        transaction,
        chosen,
        ..
    } = commit;
    let xact_ids = &chosen.xact_ids;
    let has_places = locked(commit.refused).has_places;
    let (published, staged) = match has_places {
        false => {
            let published = publish_rows(transaction, target, staging, xact_ids).await?;
            (published, None)
        }
        true => insert_good(commit, target, staging).await?,
    };
    if let Some(staged) = staged.filter(|staged| *staged != chosen.staged_row_count) {
        return Ok(Published::StagingLost(staged));
    }
    check_same_table(transaction, target).await?;
    let counts = RowCounts {
        inserted: Some(published),
        ..RowCounts::default()
    };
    let refused = u64::try_from(locked(commit.refused).rows.len()).unwrap_or(u64::MAX);
    if published.saturating_add(refused) == chosen.staged_row_count {
        return Ok(Published::Done(counts));
    }
    let staged = accepted_row_count(transaction, &staging.name, &chosen.xact_ids).await?;
    if staged != chosen.staged_row_count {
        return Ok(Published::StagingLost(staged));
    }
    tracing::warn!(
        table = ?target.name.to_string(), sent = chosen.staged_row_count, kept = published,
        "a trigger of the table dropped rows"
    );
    Ok(Published::Done(counts))
}

/// Inserts the accepted rows that PostgreSQL takes, and collects the others. Returns the number of inserted rows, and that
/// of all rows if some were rejected.
async fn insert_good(
    commit: Commit<'_>,
    target: &Relation,
    staging: &Relation,
) -> Result<(u64, Option<u64>)> {
    let Commit {
        transaction,
        write,
        chosen,
        refused,
        ..
    } = commit;
    let spec = spec_of(write)?;
    let rules = spec.rejects.unwrap_or_default();
    let keys = match &rules.values {
        RejectValues::None => Vec::new(),
        RejectValues::Keys | RejectValues::Row => primary_key(transaction, target.oid)
            .await?
            .map(|key| key.columns)
            .unwrap_or_default(),
    };
    let attempt_of = |partition_id: u32| {
        let attempt_id = chosen.attempt_ids.get(&partition_id);
        attempt_id.cloned().unwrap_or_default()
    };
    let mut on_refused = |row: RefusedRow| {
        let mut refused = locked(refused);
        refused.rows.push(reject_of(row, attempt_of));
        let count = u64::try_from(refused.rows.len()).unwrap_or(u64::MAX);
        let count = count.saturating_add(chosen.rejected_count);
        rules.check_limit(count, || {
            let earlier = refused.earlier.iter().cloned();
            merged(earlier.chain(refused.rows.iter().map(reason_of)))
        })
    };
    let place = Ident::new(ROW)?;
    publish_good_rows(
        transaction,
        (target, staging),
        &chosen.xact_ids,
        (&place, kept(&rules, &keys)),
        &|kind| rules.reject(kind),
        &mut on_refused,
    )
    .await
}

pub(crate) fn locked(refused: &Mutex<Refused>) -> MutexGuard<'_, Refused> {
    refused.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Checks that the columns still have the types of the staged rows. INSERT would cast to another type, and lose what
/// that type cannot hold. Text that was staged for a cast stays valid.
fn check_same_columns(target: &Relation, staging: &Relation) -> Result<()> {
    for staged in &staging.columns {
        let same = target.columns.iter().any(|column| {
            let same_type = column.ty == staged.ty && column.typmod == staged.typmod;
            column.name == staged.name && (same_type || is_cast(staged, column))
        });
        if !same {
            return Err(Error::conflict(
                "the column was changed or dropped since the write was begun",
            )
            .with_hint("run the job again")
            .with_table(&target.name)
            .with_column(staged.name.as_str()));
        }
    }
    Ok(())
}
