//! The rows of attempts, which are finished streams.

use super::counts::to_bigint;
use super::record::{ATTEMPT_COLUMNS, Attempt, read_attempt};
use crate::error::Result;
use crate::pg::transaction::Transaction;

/// Records a finished stream if its write is open. Returns false when it is not.
///
/// The shared lock on the write's row waits for a running commit or abort and then sees its result. FOR KEY SHARE would
/// not wait.
///
/// # Errors
/// SQLSTATE 23505 when another stream recorded the same attempt; any other error that PostgreSQL reports.
pub async fn record_attempt(
    transaction: &Transaction,
    write_id: &str,
    attempt: &Attempt,
) -> Result<bool> {
    let fence = transaction
        .query_opt(
            "SELECT 1 FROM pgflight.write
             WHERE write_id OPERATOR(pg_catalog.=) $1 AND state OPERATOR(pg_catalog.=) 'open' FOR SHARE",
            &[&write_id],
        )
        .await?;
    if fence.is_none() {
        return Ok(false);
    }
    transaction
        .execute(
            "INSERT INTO pgflight.attempt
                (write_id, attempt_id, partition_id, row_count, byte_count, xact_id, gid, prepared_xact_id,
                 rejected_count, reject_set)
             VALUES ($1, $2, $3, $4, $5, $6::pg_catalog.text::pg_catalog.xid, $7,
                     $8::pg_catalog.text::pg_catalog.xid8, $9, $10)",
            &[
                &write_id,
                &attempt.attempt_id,
                &i64::from(attempt.partition_id),
                &to_bigint(attempt.row_count),
                &to_bigint(attempt.byte_count),
                &attempt.xact_id,
                &attempt.gid,
                &attempt.prepared_xact_id,
                &to_bigint(attempt.rejected_count),
                &attempt.reject_set,
            ],
        )
        .await?;
    Ok(true)
}

/// Reads an attempt.
///
/// # Errors
/// Any error that PostgreSQL reports.
pub async fn find_attempt(
    transaction: &Transaction,
    write_id: &str,
    attempt_id: &str,
) -> Result<Option<Attempt>> {
    let row = transaction
        .query_opt(
            &format!(
                "SELECT {ATTEMPT_COLUMNS} FROM pgflight.attempt
                 WHERE write_id OPERATOR(pg_catalog.=) $1 AND attempt_id OPERATOR(pg_catalog.=) $2"
            ),
            &[&write_id, &attempt_id],
        )
        .await?;
    Ok(row.map(|row| read_attempt(&row)))
}

/// Reads all attempts of a write.
///
/// # Errors
/// Any error that PostgreSQL reports.
pub async fn attempts(transaction: &Transaction, write_id: &str) -> Result<Vec<Attempt>> {
    let rows = transaction
        .query(
            &format!(
                "SELECT {ATTEMPT_COLUMNS} FROM pgflight.attempt WHERE write_id OPERATOR(pg_catalog.=) $1"
            ),
            &[&write_id],
        )
        .await?;
    Ok(rows.iter().map(read_attempt).collect())
}

/// Returns the rows and bytes of all recorded attempts of a write.
///
/// # Errors
/// Any error that PostgreSQL reports.
pub async fn recorded_volume(transaction: &Transaction, write_id: &str) -> Result<(u64, u64)> {
    let row = transaction
        .query_one(
            "SELECT pg_catalog.sum(row_count)::pg_catalog.int8, pg_catalog.sum(byte_count)::pg_catalog.int8
             FROM pgflight.attempt WHERE write_id OPERATOR(pg_catalog.=) $1",
            &[&write_id],
        )
        .await?;
    let count = |index| {
        let sum: Option<i64> = row.get(index);
        u64::try_from(sum.unwrap_or(0)).unwrap_or(0)
    };
    Ok((count(0), count(1)))
}

/// Returns the rows and bytes of all recorded attempts of a write. Other transactions that call this for the write wait
/// until this one ends.
///
/// # Errors
/// Any error that PostgreSQL reports.
pub async fn lock_recorded_volume(transaction: &Transaction, write_id: &str) -> Result<(u64, u64)> {
    transaction
        .query_opt(
            "SELECT FROM pgflight.write WHERE write_id OPERATOR(pg_catalog.=) $1 FOR NO KEY UPDATE",
            &[&write_id],
        )
        .await?;
    recorded_volume(transaction, write_id).await
}
