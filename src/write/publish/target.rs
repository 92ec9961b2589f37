//! The target of a write after its begin.

use crate::error::{Error, Result};
use crate::pg::{LedgerWrite, TableLock, Transaction, lock_named};
use arrow_pgcopy::{QualifiedName, Relation};

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
