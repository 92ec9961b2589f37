//! Tables that are filled beside their target and then take its name.

use uuid::Uuid;

use super::staging::end_copies_into;
use crate::error::{Error, Result};
use crate::pg::ledger::LedgerWrite;
use crate::pg::names::SHADOW_PREFIX;
use crate::pg::sql;
use crate::pg::transaction::Transaction;
use arrow_pgcopy::{Ident, QualifiedName};

/// Returns a new, unique name for a table that will become the target, of mode create or an overwrite by swap. It is in
/// the target's schema, so that the default privileges there apply.
///
/// # Errors
/// None in practice: PostgreSQL can always hold the name.
pub fn new_shadow_name(target: &QualifiedName) -> Result<QualifiedName> {
    Ok(QualifiedName {
        schema: target.schema.clone(),
        name: Ident::new(format!("{SHADOW_PREFIX}{}", Uuid::new_v4().simple()))?,
    })
}

/// Deletes all rows but those of the accepted attempts from a table that will become the target. Returns the number of
/// rows of the accepted attempts.
///
/// # Errors
/// [`ErrorKind::Conflict`](crate::error::ErrorKind::Conflict) when a trigger or a rule of the table keeps other rows;
/// any other error that PostgreSQL reports.
pub async fn keep_accepted(
    transaction: &Transaction,
    write: &LedgerWrite,
    shadow: &QualifiedName,
    xact_ids: &[String],
    row_count: u64,
) -> Result<u64> {
    end_copies_into(transaction, &write.write_id, write.staging_oid).await?;
    // The role that fills the table owns it, and may have added triggers or policies.
    transaction.assume_role().await?;
    let (accepted, all) = count_accepted_and_all(transaction, shadow, xact_ids).await?;
    if accepted != row_count || all == accepted {
        return Ok(accepted);
    }
    transaction
        .execute_on_rows(&sql::delete_unaccepted(shadow), &[&xact_ids])
        .await?;
    // A trigger or a rule of the table may have kept rows, or changed others.
    let (accepted, all) = count_accepted_and_all(transaction, shadow, xact_ids).await?;
    if all == accepted {
        return Ok(accepted);
    }
    Err(Error::conflict(
        "a trigger or a rule on the new table keeps rows of attempts that were not accepted",
    )
    .with_hint("drop it, or find the event trigger that creates it, and run the job again"))
}

/// Returns the number of rows of the accepted attempts in a table, and that of all rows.
async fn count_accepted_and_all(
    transaction: &Transaction,
    shadow: &QualifiedName,
    xact_ids: &[String],
) -> Result<(u64, u64)> {
    let rows = transaction
        .query_on_rows(&sql::count_accepted_and_all(shadow), &[&xact_ids])
        .await?;
    let row = (rows.first()).ok_or_else(|| Error::internal("PostgreSQL counted nothing"))?;
    let count = |column| u64::try_from(row.get::<_, i64>(column)).unwrap_or(0);
    Ok((count(0), count(1)))
}

/// Returns whether only the owner may change the rows of a table.
///
/// # Errors
/// Any error that PostgreSQL reports.
pub async fn only_owner_may_write(
    transaction: &Transaction,
    table: &QualifiedName,
) -> Result<bool> {
    let row = transaction
        .query_one(
            "SELECT NOT EXISTS (
                SELECT FROM pg_catalog.pg_class c
                JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace,
                     LATERAL pg_catalog.aclexplode(c.relacl) a
                WHERE n.nspname OPERATOR(pg_catalog.=) $1::pg_catalog.text
                  AND c.relname OPERATOR(pg_catalog.=) $2::pg_catalog.text
                  AND a.grantee OPERATOR(pg_catalog.<>) c.relowner
                  AND a.privilege_type OPERATOR(pg_catalog.<>) ALL (ARRAY['SELECT', 'REFERENCES']))",
            &[&table.schema.as_str(), &table.name.as_str()],
        )
        .await?;
    Ok(row.get(0))
}

/// Renames a table that no other session has seen yet. [`adopt_shadow`] gives it its name back.
///
/// # Errors
/// Any error that PostgreSQL reports.
pub async fn hide_table(
    transaction: &Transaction,
    table: &QualifiedName,
    shadow: &QualifiedName,
) -> Result<()> {
    transaction
        .define(&sql::rename_table(table, &shadow.name))
        .await
}

/// Renames a filled table to its final name. No row is copied.
///
/// # Errors
/// [`ErrorKind::AlreadyExists`](crate::error::ErrorKind::AlreadyExists) when another session has created a
/// table of that name.
pub async fn adopt_shadow(
    transaction: &Transaction,
    shadow: &QualifiedName,
    name: &QualifiedName,
) -> Result<()> {
    transaction
        .define(&sql::rename_table(shadow, &name.name))
        .await
        .map_err(|error| error.with_table(name))
}
