//! What the reaper asks the ledger: writes that nobody will end, tables and rows that nobody needs.
//!
//! Only the database's clock counts, and rows that another server works on are skipped.

use std::time::Duration;

use super::staging::{drop_staging, end_copies_into};
use super::transaction::Transaction;
use crate::error::Result;
use crate::plan::{Ident, QualifiedName};

/// Aborts open writes of which nothing was heard for so long: no begin, no finished attempt, no
/// stream under way. Returns their ids.
///
/// # Errors
/// What PostgreSQL said.
pub async fn expire_writes(transaction: &Transaction, idle: Duration) -> Result<Vec<String>> {
    let rows = transaction
        .query(
            "UPDATE pgflight.write SET state = 'aborted', finished_at = pg_catalog.clock_timestamp(),
                 reason = 'expired: nothing was heard of it for ' || $1::float8 || ' s'
             WHERE write_id IN (
                SELECT w.write_id FROM pgflight.write w
                WHERE w.state = 'open'
                  AND GREATEST(w.created_at, (SELECT pg_catalog.max(a.done_at) FROM pgflight.attempt a
                                              WHERE a.write_id = w.write_id))
                      < pg_catalog.clock_timestamp() - pg_catalog.make_interval(secs => $1)
                  AND NOT EXISTS (
                    SELECT FROM pg_catalog.pg_locks l
                    WHERE l.locktype = 'relation' AND l.mode = 'RowExclusiveLock'
                      AND l.relation = pg_catalog.to_regclass(pg_catalog.format('%I.%I', w.staging_schema, w.staging_name)))
                FOR UPDATE OF w SKIP LOCKED)
             RETURNING write_id",
            &[&idle.as_secs_f64()],
        )
        .await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Drops the staging table of one write that has ended, if there is such a write; returns its id.
///
/// # Errors
/// What PostgreSQL said; a lock on the table that is not given up in time among it.
pub async fn drop_one_staging(transaction: &Transaction) -> Result<Option<String>> {
    let row = transaction
        .query_opt(
            "SELECT write_id, staging_schema, staging_name FROM pgflight.write
             WHERE staging_name IS NOT NULL AND state <> 'open'
             ORDER BY finished_at LIMIT 1 FOR UPDATE SKIP LOCKED",
            &[],
        )
        .await?;
    let Some(row) = row else { return Ok(None) };
    let staging = QualifiedName {
        schema: Ident::new(row.get::<_, String>(1))?,
        name: Ident::new(row.get::<_, String>(2))?,
    };
    let write_id: String = row.get(0);
    drop_staging_of(transaction, &write_id, &staging).await?;
    Ok(Some(write_id))
}

/// Drops the staging table of a write that has ended and records that it is gone.
///
/// # Errors
/// As [`drop_one_staging`].
pub async fn drop_staging_of(
    transaction: &Transaction,
    write_id: &str,
    staging: &QualifiedName,
) -> Result<()> {
    end_copies_into(transaction, staging).await?;
    drop_staging(transaction, staging).await?;
    transaction
        .execute(
            "UPDATE pgflight.write SET staging_schema = NULL, staging_name = NULL WHERE write_id = $1",
            &[&write_id],
        )
        .await?;
    Ok(())
}

/// Forgets writes that ended so long ago and have no staging table left; returns how many.
///
/// # Errors
/// What PostgreSQL said.
pub async fn forget_writes(transaction: &Transaction, retention: Duration) -> Result<u64> {
    let seconds = retention.as_secs_f64();
    transaction
        .execute(
            "WITH forgotten AS (
                DELETE FROM pgflight.write w
                WHERE w.write_id IN (
                    SELECT write_id FROM pgflight.write
                    WHERE state <> 'open' AND staging_name IS NULL
                      AND finished_at < pg_catalog.clock_timestamp() - pg_catalog.make_interval(secs => $1)
                    FOR UPDATE SKIP LOCKED)
                RETURNING w.write_id),
             attempts AS (DELETE FROM pgflight.attempt a USING forgotten f WHERE a.write_id = f.write_id)
             SELECT FROM forgotten",
            &[&seconds],
        )
        .await
}
