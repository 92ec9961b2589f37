//! Replaces all rows of a table by DELETE. Readers continue, and vacuum removes the old rows later.

use super::{Commit, Published, staged};
use crate::error::Result;
use crate::pg::{TableLock, add_columns, delete_all};
use crate::write::plan::decide::{ExistingPlan, Planner};
use arrow_pgcopy::QualifiedName;

/// Locks the table against writers and deletes all its rows.
pub(crate) async fn open(planner: Planner<'_>, plan: ExistingPlan) -> Result<ExistingPlan> {
    let transaction = planner.transaction;
    let table = &plan.table.relation;
    add_columns(transaction, &table.name, table.oid, &plan.added).await?;
    let plan = staged::lock(planner, plan, TableLock::Replace).await?;
    delete_all(transaction, &plan.table.relation.name).await?;
    Ok(plan)
}

/// Deletes the rows of the target and inserts the staged rows.
pub(crate) async fn commit(commit: Commit<'_>, staging: &QualifiedName) -> Result<Published> {
    let (target, staging) = staged::open(commit, staging, TableLock::Replace).await?;
    delete_all(commit.transaction, &target.name).await?;
    staged::insert(commit, &target, &staging).await
}
