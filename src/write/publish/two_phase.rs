//! Adds rows to a table that exists, with one prepared transaction for each attempt.

use super::{Commit, Published, append};
use crate::error::{Error, Result};
use crate::pg::{
    Publish, RowCounts, Transaction, check_can_end, check_same_name, count_prepared,
    two_phase_obstacle,
};
use crate::write::plan::decide::{ExistingPlan, reject_casts};
use crate::write::spec::{AppendBy, Mode, WriteSpec};
use arrow_pgcopy::QualifiedName;

/// Returns whether the attempts of a write wait in prepared transactions.
///
/// # Errors
/// [`ErrorKind::Unsupported`](crate::error::ErrorKind::Unsupported) or
/// [`ErrorKind::SchemaMismatch`](crate::error::ErrorKind::SchemaMismatch) when the spec demands it and it is not
/// possible.
pub(crate) async fn is_possible(
    transaction: &Transaction,
    spec: &WriteSpec,
    plan: &ExistingPlan,
) -> Result<bool> {
    let Mode::Append { publish, .. } = &spec.mode else {
        return Ok(false);
    };
    if plan.publish != Publish::Append || !plan.added.is_empty() {
        return Ok(false);
    }
    match publish {
        AppendBy::Staging | AppendBy::Direct => Ok(false),
        AppendBy::Best if !plan.markers.is_empty() => Ok(false),
        // Statements run in the transaction in which the rows become visible.
        AppendBy::Best if spec.has_statements() => Ok(false),
        // Rows that PostgreSQL casts need a staging table.
        AppendBy::Best if plan.encode.first_cast().is_some() => Ok(false),
        AppendBy::Best => {
            let obstacle = two_phase_obstacle(transaction, &plan.table.relation).await?;
            Ok(obstacle.is_none())
        }
        AppendBy::TwoPhase => {
            check(transaction, plan).await?;
            Ok(true)
        }
    }
}

/// Checks that attempts can wait in prepared transactions.
async fn check(transaction: &Transaction, plan: &ExistingPlan) -> Result<()> {
    reject_casts(&plan.encode)?;
    if !plan.markers.is_empty() {
        return Err(Error::unsupported(
            "rows that PostgreSQL rejects cannot be found in prepared transactions",
        )
        .with_hint("publish staged, or name kinds in reject_kinds that are found before")
        .with_table(&plan.table.relation.name));
    }
    match two_phase_obstacle(transaction, &plan.table.relation).await? {
        None => Ok(()),
        Some(obstacle) => Err(Error::unsupported(format!(
            "the table cannot be written by prepared transactions: {obstacle}"
        ))
        .with_hint("publish staged")
        .with_table(&plan.table.relation.name)),
    }
}

/// Checks that all prepared transactions exist, and inserts the rows of the attempts that were staged. The prepared
/// transactions are committed once the ledger holds the decision.
pub(crate) async fn commit(commit: Commit<'_>, staging: &QualifiedName) -> Result<Published> {
    let Commit {
        transaction,
        chosen,
        ..
    } = commit;
    check_can_end(transaction, &chosen.gids).await?;
    let prepared = count_prepared(transaction, &chosen.gids).await?;
    if prepared != chosen.gids.len() {
        return Ok(Published::PreparedLost(prepared));
    }
    if let Some(oid) = commit.write.target_oid {
        check_same_name(transaction, commit.target, oid).await?;
    }
    if chosen.xact_ids.is_empty() {
        // The prepared transactions lock the table. Another lock of this transaction would queue behind any session
        // that waits for them.
        return Ok(Published::Done(RowCounts::default()));
    }
    append::commit(commit, staging).await
}
