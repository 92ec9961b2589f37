//! The reaper's statements: writes that no client will end, and rows of the ledger that are no longer needed.
//!
//! Only the database's clock counts. Rows that another server has locked are skipped.

use std::time::Duration;

use super::migration::explain_old_tables;
use crate::error::Result;
use crate::pg::names::STREAM_PREFIX;
use crate::pg::transaction::Transaction;

/// The silence after which a write that a server made of a stream is aborted. Its server records the stream within
/// seconds, unless it is dead.
const STREAM_IDLE: Duration = Duration::from_secs(600);

/// Aborts open writes that have been silent for `idle`: no begin, no finished attempt, no stream at a server, waiting
/// or running. Returns their ids.
///
/// Writes whose driver sends heartbeats are left to [`expire_drivers`](super::liveness::expire_drivers).
/// `idle_prepared` applies to writes with prepared transactions, which hold up vacuum. Writes that a server made of a
/// stream expire after ten minutes at most.
///
/// # Errors
/// Any error that PostgreSQL reports.
pub async fn expire_writes(
    transaction: &Transaction,
    idle: Duration,
    idle_prepared: Duration,
) -> Result<Vec<String>> {
    // Locks prove nothing here: any session may hold the same ones on a target, and a stream that waits for its turn
    // holds none.
    let rows = transaction
        .query(
            "UPDATE pgflight.write w SET state = 'aborted', finished_at = pg_catalog.clock_timestamp(),
                 reason = pg_catalog.concat('expired: nothing was heard of it for ', expired.ttl, ' s')
             FROM (
                SELECT w.write_id, t.ttl
                FROM pgflight.write w,
                     LATERAL (SELECT pg_catalog.max(a.done_at) AS done_at, pg_catalog.max(a.gid) IS NOT NULL AS prepared
                              FROM pgflight.attempt a WHERE a.write_id OPERATOR(pg_catalog.=) w.write_id) last,
                     LATERAL (SELECT pg_catalog.max(s.seen_at) AS seen_at
                              FROM pgflight.streaming s
                              WHERE s.write_id OPERATOR(pg_catalog.=) w.write_id) stream,
                     LATERAL (SELECT CASE WHEN pg_catalog.starts_with(w.write_id, $4)
                                          THEN LEAST($1::pg_catalog.float8, $3::pg_catalog.float8)
                                          WHEN last.prepared THEN $2::pg_catalog.float8
                                          ELSE $1::pg_catalog.float8 END AS ttl) t
                WHERE w.state OPERATOR(pg_catalog.=) 'open'
                  AND GREATEST(w.created_at, last.done_at, stream.seen_at) OPERATOR(pg_catalog.<)
                      (pg_catalog.clock_timestamp()
                       OPERATOR(pg_catalog.-) pg_catalog.make_interval(secs => t.ttl))
                  AND NOT EXISTS (SELECT FROM pgflight.heartbeat h
                                  WHERE h.driver OPERATOR(pg_catalog.=) w.driver
                                    AND h.principal OPERATOR(pg_catalog.=) COALESCE(w.principal, ''))
                FOR UPDATE OF w SKIP LOCKED) expired
             WHERE w.write_id OPERATOR(pg_catalog.=) expired.write_id
             RETURNING w.write_id",
            &[
                &idle.as_secs_f64(),
                &idle_prepared.as_secs_f64(),
                &STREAM_IDLE.as_secs_f64(),
                &STREAM_PREFIX,
            ],
        )
        .await
        // The first statement of a round.
        .map_err(explain_old_tables)?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Returns writes that have ended and whose staging table may still exist, except `skipped`, those that ended first at
/// the front.
///
/// # Errors
/// Any error that PostgreSQL reports.
pub async fn ended_with_staging(
    transaction: &Transaction,
    skipped: &[String],
) -> Result<Vec<String>> {
    let rows = transaction
        .query(
            "SELECT write_id FROM pgflight.write
             WHERE staging_name IS NOT NULL AND state OPERATOR(pg_catalog.<>) 'open'
               AND write_id OPERATOR(pg_catalog.<>) ALL ($1::pg_catalog.text[])
             ORDER BY finished_at LIMIT 1000",
            &[&skipped],
        )
        .await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Deletes writes that ended longer than `retention` ago and have no staging table, with their attempts and rejected rows.
/// Returns their number.
///
/// # Errors
/// Any error that PostgreSQL reports.
pub async fn delete_ended_writes(transaction: &Transaction, retention: Duration) -> Result<u64> {
    let seconds = retention.as_secs_f64();
    transaction
        .execute(
            "WITH forgotten AS (
                DELETE FROM pgflight.write w
                WHERE w.write_id OPERATOR(pg_catalog.=) ANY (
                    SELECT write_id FROM pgflight.write
                    WHERE state OPERATOR(pg_catalog.<>) 'open' AND staging_name IS NULL
                      AND finished_at OPERATOR(pg_catalog.<)
                          (pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) pg_catalog.make_interval(secs => $1))
                    FOR UPDATE SKIP LOCKED)
                RETURNING w.write_id),
             attempts AS (
                DELETE FROM pgflight.attempt a USING forgotten f
                WHERE a.write_id OPERATOR(pg_catalog.=) f.write_id),
             rejects AS (
                DELETE FROM pgflight.reject r USING forgotten f
                WHERE r.write_id OPERATOR(pg_catalog.=) f.write_id)
             SELECT FROM forgotten",
            &[&seconds],
        )
        .await
}
