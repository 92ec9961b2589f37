//! Creates the table under another name. The commit renames it.

use super::{Commit, Published};
use crate::error::Result;
use crate::pg::{
    RowCounts, STREAM_PREFIX, add_primary_key, adopt_shadow, check_primary_key, check_same_name,
    create_table, keep_accepted, only_owner_may_write, staging_relation,
};
use crate::write::plan::decide::{MissingPlan, Planner, reject_casts};
use crate::write::record::spec_of;
use arrow_pgcopy::QualifiedName;

/// Creates the table under the other name, and checks that the rows fit it.
pub(crate) async fn begin(
    planner: Planner<'_>,
    plan: &MissingPlan,
    shadow: &QualifiedName,
) -> Result<()> {
    let (transaction, spec) = (planner.transaction, planner.spec);
    transaction.assume_role().await?;
    create_table(transaction, shadow, &plan.columns, &spec.table_options).await?;
    check_primary_key(transaction, shadow, &spec.primary_key).await?;
    let relation = staging_relation(transaction, shadow).await?;
    reject_casts(&planner.encode(&relation)?)
}

/// Gives the filled table its name and its primary key.
pub(crate) async fn commit(commit: Commit<'_>, shadow: &QualifiedName) -> Result<Published> {
    if let Some(lost) = keep_accepted_rows(commit, shadow).await? {
        return Ok(lost);
    }
    let Commit {
        transaction,
        write,
        target,
        ..
    } = commit;
    transaction.assume_role().await?;
    adopt_shadow(transaction, shadow, target).await?;
    add_primary_key(transaction, target, &spec_of(write)?.primary_key).await?;
    // Each statement has found the table by its name.
    check_same_name(transaction, target, write.staging_oid.unwrap_or_default()).await?;
    Ok(Published::Done(RowCounts::default()))
}

/// Deletes the rows of attempts that were not accepted from the table that becomes the target. Returns the outcome when
/// accepted rows are missing.
///
/// Reading all rows takes a tenth of the time of their COPY. A write that the server made of a stream skips it when all
/// attempts are accepted, the caller has no role of its own, and only the table's owner may write: the table is logged,
/// so no rows can be missing.
pub(crate) async fn keep_accepted_rows(
    commit: Commit<'_>,
    filled: &QualifiedName,
) -> Result<Option<Published>> {
    let Commit {
        transaction,
        write,
        chosen,
        ..
    } = commit;
    let is_stream =
        write.write_id.starts_with(STREAM_PREFIX) && chosen.is_all && transaction.role().is_none();
    if is_stream && only_owner_may_write(transaction, filled).await? {
        return Ok(None);
    }
    let (xact_ids, expected) = (&chosen.xact_ids, chosen.row_count);
    let staged = keep_accepted(transaction, write, filled, xact_ids, expected).await?;
    Ok((staged != expected).then_some(Published::StagingLost(staged)))
}
