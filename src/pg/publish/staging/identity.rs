//! The identity of a staging table: its OID and columns, which begin records and the commit compares.

use crate::error::{Error, ErrorKind, Result};
use crate::pg::ledger::LedgerWrite;
use crate::pg::sql;
use crate::pg::transaction::Transaction;
use arrow_pgcopy::QualifiedName;

/// Reads the OID of a staging table, and its columns in a form that is equal for equal columns. Row-level security, which
/// only another session can have set, would hide rows from the count of the commit.
const STAGING: &str = "
    SELECT c.oid, CASE WHEN c.relrowsecurity THEN 'row-level security' ELSE
                  (SELECT pg_catalog.string_agg(pg_catalog.format('%s %I %s %s %s', a.attnum, a.attname, a.atttypid,
                                                                  a.atttypmod, a.attcollation), ', ' ORDER BY a.attnum)
                   FROM pg_catalog.pg_attribute a
                   WHERE a.attrelid OPERATOR(pg_catalog.=) c.oid AND a.attnum OPERATOR(pg_catalog.>) 0
                     AND NOT a.attisdropped) END
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
    WHERE n.nspname OPERATOR(pg_catalog.=) $1::pg_catalog.text
      AND c.relname OPERATOR(pg_catalog.=) $2::pg_catalog.text";

/// Records the identity of the staging table of a write, in the transaction that created it. Returns its OID.
///
/// # Errors
/// [`ErrorKind::Conflict`] when its schema was renamed meanwhile; any error that PostgreSQL reports.
pub async fn record_staging(
    transaction: &Transaction,
    write_id: &str,
    staging: &QualifiedName,
) -> Result<u32> {
    let statement = format!(
        "UPDATE pgflight.write SET (staging_oid, staging_columns) = ({STAGING})
         WHERE write_id OPERATOR(pg_catalog.=) $3 RETURNING staging_oid"
    );
    let (schema, name) = (staging.schema.as_str(), staging.name.as_str());
    let row = transaction
        .query_one(&statement, &[&schema, &name, &write_id])
        .await?;
    row.get::<_, Option<u32>>(0).ok_or_else(|| {
        Error::conflict(
            "another session renamed the schema of the target while the write was begun",
        )
        .with_hint("run the job again: nothing is kept")
    })
}

/// Returns how the staging table of a write has changed since begin created it; `None` if it has not.
///
/// # Errors
/// Any error that PostgreSQL reports.
pub async fn staging_change(
    transaction: &Transaction,
    write: &LedgerWrite,
) -> Result<Option<&'static str>> {
    let Some(staging) = &write.staging else {
        return Ok(None);
    };
    let (schema, name) = (staging.schema.as_str(), staging.name.as_str());
    let Some(row) = transaction.query_opt(STAGING, &[&schema, &name]).await? else {
        return Ok(Some("dropped, renamed or moved"));
    };
    let (oid, columns): (u32, Option<String>) = (row.get(0), row.get(1));
    Ok(if Some(oid) != write.staging_oid {
        Some("dropped and made again")
    } else if columns != write.staging_columns {
        Some("altered")
    } else {
        None
    })
}

/// Locks the staging table of a write against ALTER and DROP until the transaction ends, and returns how it has
/// changed, as [`staging_change`] does. It does not wait for streams that still copy into the table.
///
/// # Errors
/// Any error that PostgreSQL reports.
pub async fn lock_staging(
    transaction: &Transaction,
    write: &LedgerWrite,
    staging: &QualifiedName,
) -> Result<Option<&'static str>> {
    let lock = sql::lock_for_reading(staging);
    match transaction.execute_all(&lock).await {
        Ok(()) => staging_change(transaction, write).await,
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Some("dropped, renamed or moved")),
        Err(error) => Err(error),
    }
}
