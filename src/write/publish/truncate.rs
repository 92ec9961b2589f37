//! Replaces all rows of a table by TRUNCATE. It is fast, and readers wait until the commit.

use super::{Commit, Published, staged};
use crate::error::Result;
use crate::pg::{TableLock, add_columns, truncate};
use crate::write::plan::decide::{ExistingPlan, Planner};
use arrow_pgcopy::QualifiedName;

/// Locks the table and truncates it.
pub(crate) async fn open(planner: Planner<'_>, plan: ExistingPlan) -> Result<ExistingPlan> {
    let transaction = planner.transaction;
    let table = &plan.table.relation;
    add_columns(transaction, &table.name, table.oid, &plan.added).await?;
    let plan = staged::lock(planner, plan, TableLock::Truncate).await?;
    truncate(transaction, &plan.table.relation.name).await?;
    Ok(plan)
}

/// Truncates the target and inserts the staged rows.
pub(crate) async fn commit(commit: Commit<'_>, staging: &QualifiedName) -> Result<Published> {
    let (target, staging) = staged::open(commit, staging, TableLock::Truncate).await?;
    truncate(commit.transaction, &target.name).await?;
    staged::insert(commit, &target, &staging).await
}
