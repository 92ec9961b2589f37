//! Replaces a table by a twin that is filled beside it. Readers wait only for a moment.

use super::{Commit, Published, create};
use crate::error::Result;
use crate::pg::{RowCounts, Transaction, create_twin, swap_in};
use crate::write::plan::decide::{ExistingPlan, reject_casts};
use arrow_pgcopy::QualifiedName;

/// Creates the twin, in the role that fills it.
pub(crate) async fn begin(
    transaction: &Transaction,
    plan: &ExistingPlan,
    twin: &QualifiedName,
) -> Result<()> {
    reject_casts(&plan.encode)?;
    transaction.assume_role().await?;
    create_twin(transaction, twin, &plan.table.relation).await
}

/// Replaces the target by the twin.
pub(crate) async fn commit(commit: Commit<'_>, twin: &QualifiedName) -> Result<Published> {
    if let Some(lost) = create::keep_accepted_rows(commit, twin).await? {
        return Ok(lost);
    }
    let Commit {
        transaction,
        write,
        target,
        ..
    } = commit;
    transaction.assume_role().await?;
    let twin = (twin, write.staging_oid.unwrap_or_default());
    swap_in(transaction, twin, target, write.target_oid).await?;
    Ok(Published::Done(RowCounts::default()))
}
