//! The ledger: what became of every write and attempt, in the database they write to.
//!
//! Every answer to a client is a function of these rows, so that every retry gets the same answer
//! from any server.

mod finish;
mod record;

pub use self::finish::{Finished, finish_commit};
pub(super) use self::record::from_bigint;
use self::record::{ATTEMPT_COLUMNS, WRITE_COLUMNS, read_attempt, read_write, to_bigint};
pub use self::record::{
    Attempt, BatchPlace, Decision, LedgerWrite, NewWrite, Publish, STREAM_PREFIX, WriteState,
};
use super::migration::explain_old;
use super::transaction::Transaction;
use crate::error::{Error, Result};

/// Records a new write; false when its id is already there.
///
/// # Errors
/// What PostgreSQL said.
pub async fn begin(transaction: &Transaction, write: &NewWrite) -> Result<bool> {
    let inserted = transaction
        .execute(
            "INSERT INTO pgflight.write
                (write_id, spec, target_schema, target_name, target_oid, staging_schema,
                 staging_name, publish, columns, principal, driver, sink_id, sink_run, sink_batch, state)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, 'open') ON CONFLICT DO NOTHING",
            &[
                &write.write_id,
                &write.spec,
                &write.target.schema.as_str(),
                &write.target.name.as_str(),
                &write.target_oid,
                &write
                    .staging
                    .as_ref()
                    .map(|staging| staging.schema.as_str()),
                &write.staging.as_ref().map(|staging| staging.name.as_str()),
                &write.publish.as_str(),
                &write.columns,
                &write.principal,
                &write.driver,
                &write.batch.as_ref().map(|batch| batch.sink_id.as_str()),
                &write.batch.as_ref().map(|batch| batch.run),
                &write.batch.as_ref().map(|batch| batch.batch),
            ],
        )
        .await?;
    Ok(inserted == 1)
}

/// How many writes of a principal are open. Until the transaction ends, no other counts them.
///
/// # Errors
/// What PostgreSQL said.
pub async fn count_open_writes(transaction: &Transaction, principal: &str) -> Result<u64> {
    // Any role may take an advisory lock, and keep it.
    let known = "INSERT INTO pgflight.principal (name) VALUES ($1) ON CONFLICT DO NOTHING";
    transaction.execute(known, &[&principal]).await?;
    let locked = "SELECT FROM pgflight.principal WHERE name OPERATOR(pg_catalog.=) $1 FOR UPDATE";
    transaction.query_one(locked, &[&principal]).await?;
    let statement = "
        SELECT pg_catalog.count(*) FROM pgflight.write
        WHERE state OPERATOR(pg_catalog.=) 'open' AND principal OPERATOR(pg_catalog.=) $1";
    let row = transaction.query_one(statement, &[&principal]).await?;
    Ok(from_bigint(row.get(0)))
}

/// How many writes of a principal were aborted that had never begun, up to one more than this many.
///
/// # Errors
/// What PostgreSQL said.
pub async fn count_tombstones(
    transaction: &Transaction,
    principal: Option<&str>,
    most: u32,
) -> Result<u64> {
    let counted = "
        SELECT pg_catalog.count(*) FROM (
            SELECT FROM pgflight.write
            WHERE state OPERATOR(pg_catalog.=) 'aborted' AND spec OPERATOR(pg_catalog.=) ''
              AND COALESCE(principal, '') OPERATOR(pg_catalog.=) $1 LIMIT $2) counted";
    let most = i64::from(most).saturating_add(1);
    let principal = principal.unwrap_or_default();
    let row = transaction.query_one(counted, &[&principal, &most]).await?;
    Ok(from_bigint(row.get(0)))
}

/// Reads a write.
///
/// # Errors
/// What PostgreSQL said.
pub async fn find_write(transaction: &Transaction, write_id: &str) -> Result<Option<LedgerWrite>> {
    select_write(transaction, write_id, "").await
}

/// The writes that were begun last, newest first. Of open ones, the attempts that are recorded are counted.
///
/// # Errors
/// What PostgreSQL said.
pub async fn recent_writes(transaction: &Transaction, limit: u32) -> Result<Vec<LedgerWrite>> {
    let statement = format!(
        "WITH recent AS (SELECT * FROM pgflight.write ORDER BY created_at DESC LIMIT $1)
         SELECT {WRITE_COLUMNS} FROM (
            SELECT w.write_id, w.spec, w.target_schema, w.target_name, w.target_oid, w.staging_schema,
                w.staging_name, w.publish, w.state, w.reason, w.created_at, w.finished_at, w.columns, w.principal,
                w.staging_oid, w.staging_columns,
                w.driver, w.sink_id, w.sink_run, w.sink_batch,
                w.row_count OPERATOR(pg_catalog.+) open.row_count AS row_count,
                w.byte_count OPERATOR(pg_catalog.+) open.byte_count AS byte_count,
                w.attempt_count OPERATOR(pg_catalog.+) open.attempt_count AS attempt_count
            FROM recent w CROSS JOIN LATERAL (
                SELECT COALESCE(pg_catalog.sum(row_count), 0)::bigint AS row_count,
                    COALESCE(pg_catalog.sum(byte_count), 0)::bigint AS byte_count,
                    pg_catalog.count(*)::integer AS attempt_count
                FROM pgflight.attempt a
                WHERE w.state OPERATOR(pg_catalog.=) 'open'
                  AND a.write_id OPERATOR(pg_catalog.=) w.write_id) open) write
         ORDER BY write.created_at DESC"
    );
    let rows = transaction.query(&statement, &[&i64::from(limit)]).await;
    let rows = rows.map_err(explain_old)?;
    rows.iter().map(read_write).collect()
}

/// How many writes the ledger holds in each state.
///
/// # Errors
/// What PostgreSQL said.
pub async fn count_writes(transaction: &Transaction) -> Result<Vec<(WriteState, u64)>> {
    let counted = "SELECT state, pg_catalog.count(*) FROM pgflight.write GROUP BY state";
    let rows = transaction.query(counted, &[]).await?;
    let counted: Result<Vec<_>> = rows
        .iter()
        .map(|row| Ok((WriteState::parse(row.get(0))?, from_bigint(row.get(1)))))
        .collect();
    let counted = counted?;
    let count = |state| counted.iter().find(|(counted, _)| *counted == state);
    Ok(WriteState::ALL
        .map(|state| (state, count(state).map_or(0, |(_, count)| *count)))
        .to_vec())
}

/// Reads a write and keeps every other commit, abort and fence of it waiting until this transaction
/// ends.
///
/// # Errors
/// What PostgreSQL said.
pub async fn lock_write_for_publish(
    transaction: &Transaction,
    write_id: &str,
) -> Result<Option<LedgerWrite>> {
    select_write(transaction, write_id, "FOR UPDATE").await
}

/// Records a finished stream if its write is still open; false when the write is not.
///
/// The shared lock on the write's row waits for a commit or abort that is under way and then sees
/// what it did; FOR KEY SHARE would not wait for it.
///
/// # Errors
/// What PostgreSQL said; SQLSTATE 23505 when another stream recorded the same attempt.
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
                (write_id, attempt_id, partition_id, row_count, byte_count, xact_id, gid, prepared_xact_id)
             VALUES ($1, $2, $3, $4, $5, $6::pg_catalog.text::pg_catalog.xid, $7,
                     $8::pg_catalog.text::pg_catalog.xid8)",
            &[
                &write_id,
                &attempt.attempt_id,
                &i64::from(attempt.partition_id),
                &to_bigint(attempt.row_count),
                &to_bigint(attempt.byte_count),
                &attempt.xact_id,
                &attempt.gid,
                &attempt.prepared_xact_id,
            ],
        )
        .await?;
    Ok(true)
}

/// Rows and bytes of all recorded attempts of a write.
///
/// # Errors
/// What PostgreSQL said.
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

/// The same, and until the transaction ends no other attempt of the write is recorded that asks likewise.
///
/// # Errors
/// What PostgreSQL said.
pub async fn lock_recorded_volume(transaction: &Transaction, write_id: &str) -> Result<(u64, u64)> {
    transaction
        .query_opt(
            "SELECT FROM pgflight.write WHERE write_id OPERATOR(pg_catalog.=) $1 FOR NO KEY UPDATE",
            &[&write_id],
        )
        .await?;
    recorded_volume(transaction, write_id).await
}

/// Reads a finished stream.
///
/// # Errors
/// What PostgreSQL said.
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

/// Reads all finished streams of a write.
///
/// # Errors
/// What PostgreSQL said.
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

/// Marks an open write as committed, with what it published; as committing, where prepared transactions
/// are still to be committed.
///
/// # Errors
/// [`ErrorKind::Internal`](crate::error::ErrorKind::Internal) when the write is not open, which
/// [`lock_write_for_publish`] rules out.
pub async fn commit(
    transaction: &Transaction,
    write_id: &str,
    decision: &Decision<'_>,
) -> Result<()> {
    let updated = transaction
        .execute(
            "WITH accepted AS (
                UPDATE pgflight.attempt SET accepted = true
                WHERE write_id OPERATOR(pg_catalog.=) $1
                  AND gid OPERATOR(pg_catalog.=) ANY ($6::pg_catalog.text[])
                RETURNING 1)
             UPDATE pgflight.write
             SET state = CASE WHEN EXISTS (SELECT FROM accepted) THEN 'committing' ELSE 'committed' END,
                 finished_at = CASE WHEN NOT EXISTS (SELECT FROM accepted) THEN pg_catalog.clock_timestamp() END,
                 row_count = $2, byte_count = $3, attempt_count = $4, reason = $5
             WHERE write_id OPERATOR(pg_catalog.=) $1 AND state OPERATOR(pg_catalog.=) 'open'",
            &[
                &write_id,
                &to_bigint(decision.row_count),
                &to_bigint(decision.byte_count),
                &i32::try_from(decision.attempt_count).unwrap_or(i32::MAX),
                &decision.reason,
                &decision.gids,
            ],
        )
        .await?;
    match updated {
        1 => Ok(()),
        _ => Err(Error::internal(format!(
            "write {write_id:?} was not open when it was published"
        ))),
    }
}

/// Writes that are decided and not finished: their servers died in between.
///
/// # Errors
/// What PostgreSQL said.
pub async fn committing_writes(transaction: &Transaction) -> Result<Vec<String>> {
    let rows = transaction
        .query(
            "SELECT write_id FROM pgflight.write WHERE state OPERATOR(pg_catalog.=) 'committing'",
            &[],
        )
        .await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Aborts a write unless it has ended already; leaves a tombstone when it was never begun, so that
/// a begin that comes late is refused. The state afterwards is what [`find_write`] says.
///
/// # Errors
/// What PostgreSQL said.
pub async fn abort(
    transaction: &Transaction,
    write_id: &str,
    principal: Option<&str>,
    reason: &str,
) -> Result<()> {
    transaction
        .execute(
            "INSERT INTO pgflight.write
                (write_id, spec, target_schema, target_name, publish, state, reason, principal, finished_at)
             VALUES ($1, '', '', '', 'nothing', 'aborted', $2, $3, pg_catalog.clock_timestamp())
             ON CONFLICT (write_id) DO UPDATE
                SET state = 'aborted', reason = EXCLUDED.reason, finished_at = EXCLUDED.finished_at
                WHERE pgflight.write.state OPERATOR(pg_catalog.=) 'open'",
            &[&write_id, &reason, &principal],
        )
        .await?;
    Ok(())
}

async fn select_write(
    transaction: &Transaction,
    write_id: &str,
    locking: &str,
) -> Result<Option<LedgerWrite>> {
    let statement = format!(
        "SELECT {WRITE_COLUMNS} FROM pgflight.write WHERE write_id OPERATOR(pg_catalog.=) $1 {locking}"
    );
    let row = transaction.query_opt(&statement, &[&write_id]).await;
    let row = row.map_err(explain_old)?;
    row.as_ref().map(read_write).transpose()
}
