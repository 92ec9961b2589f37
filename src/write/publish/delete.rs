//! Replaces all rows of a table by DELETE. Readers continue, and vacuum removes the old rows later.

use super::{Commit, Published, staged};
use crate::error::Result;
use crate::pg::{TableLock, add_columns, delete_all};
use crate::write::plan::decide::{ExistingPlan, Planner};
use arrow_pgcopy::QualifiedName;

/// Locks the table against writers.
pub(crate) async fn open(planner: Planner<'_>, plan: ExistingPlan) -> Result<ExistingPlan> {
    let table = &plan.table.relation;
    add_columns(planner.transaction, &table.name, table.oid, &plan.added).await?;
    staged::lock(planner, plan, TableLock::Replace).await
}

/// Deletes the rows of the target and inserts the staged rows.
pub(crate) async fn commit(commit: Commit<'_>, staging: &QualifiedName) -> Result<Published> {
    let (target, staging) = staged::open(commit, staging, TableLock::Replace).await?;
    let replaced = delete_all(commit.transaction, &target.name).await?;
    let published = staged::insert(commit, &target, &staging).await?;
    Ok(published.replacing(replaced))
}
