//! Adds rows to a table that exists.

use super::{Commit, Published, staged};
use crate::error::Result;
use crate::pg::{TableLock, add_columns};
use crate::write::plan::decide::{ExistingPlan, Planner};
use arrow_pgcopy::QualifiedName;

/// Adds the columns that the table lacks, and locks the table for INSERT.
pub(crate) async fn open(planner: Planner<'_>, plan: ExistingPlan) -> Result<ExistingPlan> {
    let table = &plan.table.relation;
    add_columns(planner.transaction, &table.name, table.oid, &plan.added).await?;
    staged::lock(planner, plan, TableLock::Insert).await
}

/// Inserts the staged rows.
pub(crate) async fn commit(commit: Commit<'_>, staging: &QualifiedName) -> Result<Published> {
    let (target, staging) = staged::open(commit, staging, TableLock::Insert).await?;
    staged::insert(commit, &target, &staging).await
}
