//! What the reaper asks the ledger: writes that nobody will end, tables and rows that nobody needs.
//!
//! Only the database's clock counts, and rows that another server works on are skipped.

use std::time::Duration;

use super::ledger::STREAM_PREFIX;
use super::migration::explain_old_tables;
use super::staging::{drop_staging, end_copies_into};
use super::transaction::Transaction;
use crate::error::Result;
use arrow_pgcopy::{Ident, QualifiedName};

/// A server that drives a write itself says soon that it has its stream: where it does not, it is dead.
const STREAM_IDLE: Duration = Duration::from_secs(600);

/// Aborts open writes of which nothing was heard for so long: no begin, no finished attempt, no stream that a
/// server has, waiting or under way. Those whose driver sends heartbeats are for
/// [`expire_drivers`](super::liveness::expire_drivers). `idle_prepared` holds for those whose attempts wait as
/// prepared transactions, which keep vacuum from its work, and those that a server made of a stream are not
/// waited for long. Returns their ids.
///
/// # Errors
/// What PostgreSQL said.
pub async fn expire_writes(
    transaction: &Transaction,
    idle: Duration,
    idle_prepared: Duration,
) -> Result<Vec<String>> {
    // Locks tell nothing here: any session may hold the same ones on a target, and a stream that waits for its
    // turn holds none.
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
        // What a round begins with.
        .map_err(explain_old_tables)?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Writes that have ended and whose staging table may still be there, longest ended first.
///
/// # Errors
/// What PostgreSQL said.
pub async fn ended_with_staging(transaction: &Transaction) -> Result<Vec<String>> {
    let rows = transaction
        .query(
            "SELECT write_id FROM pgflight.write
             WHERE staging_name IS NOT NULL AND state OPERATOR(pg_catalog.<>) 'open' ORDER BY finished_at LIMIT 1000",
            &[],
        )
        .await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Drops the staging table of a write if the write has ended, and records that it is gone; false
/// when there was nothing to drop, or somebody else is about it.
///
/// The ledger is asked under a lock, since nothing else says that nobody needs the table: after a
/// failover even a write that was seen committed may be open again.
///
/// # Errors
/// What PostgreSQL said; a lock on the table that is not given up in time among it.
pub async fn drop_staging_of(transaction: &Transaction, write_id: &str) -> Result<bool> {
    let row = transaction
        .query_opt(
            "SELECT staging_schema, staging_name FROM pgflight.write
             WHERE write_id OPERATOR(pg_catalog.=) $1 AND state OPERATOR(pg_catalog.<>) 'open'
               AND staging_name IS NOT NULL
             FOR UPDATE SKIP LOCKED",
            &[&write_id],
        )
        .await?;
    let Some(row) = row else { return Ok(false) };
    let staging = QualifiedName {
        schema: Ident::new(row.get::<_, String>(0))?,
        name: Ident::new(row.get::<_, String>(1))?,
    };
    end_copies_into(transaction, write_id, &staging).await?;
    drop_staging(transaction, &staging).await?;
    transaction
        .execute(
            "UPDATE pgflight.write SET staging_schema = NULL, staging_name = NULL
             WHERE write_id OPERATOR(pg_catalog.=) $1",
            &[&write_id],
        )
        .await?;
    Ok(true)
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
                WHERE w.write_id OPERATOR(pg_catalog.=) ANY (
                    SELECT write_id FROM pgflight.write
                    WHERE state OPERATOR(pg_catalog.<>) 'open' AND staging_name IS NULL
                      AND finished_at OPERATOR(pg_catalog.<)
                          (pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) pg_catalog.make_interval(secs => $1))
                    FOR UPDATE SKIP LOCKED)
                RETURNING w.write_id),
             attempts AS (
                DELETE FROM pgflight.attempt a USING forgotten f
                WHERE a.write_id OPERATOR(pg_catalog.=) f.write_id)
             SELECT FROM forgotten",
            &[&seconds],
        )
        .await
}
