//! Signs of life in the ledger: heartbeats of drivers, streams at servers, and since when a server could receive a
//! heartbeat. Only the database's clock counts.

use std::time::Duration;

use super::migration::explain_old_tables;
use crate::error::Result;
use crate::pg::transaction::Transaction;

/// Records a heartbeat of a driver, and returns the ids of the open writes that it began, oldest first. Records nothing
/// for a driver without open writes: invented ids cannot fill the table.
///
/// # Errors
/// Any error that PostgreSQL reports.
pub async fn record_heartbeat(
    transaction: &Transaction,
    principal: Option<&str>,
    driver: &str,
) -> Result<Vec<String>> {
    let rows = transaction
        .query(
            "WITH open AS (
                SELECT write_id, created_at FROM pgflight.write
                WHERE state OPERATOR(pg_catalog.=) 'open' AND driver OPERATOR(pg_catalog.=) $2
                  AND COALESCE(principal, '') OPERATOR(pg_catalog.=) $1),
             heard AS (
                INSERT INTO pgflight.heartbeat (principal, driver) SELECT $1, $2 WHERE EXISTS (SELECT FROM open)
                ON CONFLICT (principal, driver) DO UPDATE SET heard_at = pg_catalog.clock_timestamp())
             SELECT write_id FROM open ORDER BY created_at",
            &[&principal.unwrap_or_default(), &driver],
        )
        .await
        .map_err(explain_old_tables)?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Counts a begin as a heartbeat, if the driver sends heartbeats.
///
/// # Errors
/// Any error that PostgreSQL reports.
pub async fn renew_heartbeat(
    transaction: &Transaction,
    principal: Option<&str>,
    driver: &str,
) -> Result<()> {
    transaction
        .execute(
            "UPDATE pgflight.heartbeat SET heard_at = pg_catalog.clock_timestamp()
             WHERE principal OPERATOR(pg_catalog.=) $1 AND driver OPERATOR(pg_catalog.=) $2",
            &[&principal.unwrap_or_default(), &driver],
        )
        .await
        .map(drop)
}

/// Sets the driver of an open write: the driver that began it last ends it. `None` for one without heartbeats.
///
/// # Errors
/// Any error that PostgreSQL reports.
pub async fn set_driver(
    transaction: &Transaction,
    write_id: &str,
    driver: Option<&str>,
) -> Result<()> {
    transaction
        .execute(
            "UPDATE pgflight.write SET driver = $2
             WHERE write_id OPERATOR(pg_catalog.=) $1 AND state OPERATOR(pg_catalog.=) 'open'
               AND (driver OPERATOR(pg_catalog.=) $2) IS NOT TRUE",
            &[&write_id, &driver],
        )
        .await
        .map(drop)
}

/// Records that a server can receive heartbeats, and which writes have streams at this server.
///
/// If no server recorded this for longer than `gap`, none could receive a heartbeat, and the silence of drivers counts
/// from now.
///
/// # Errors
/// Any error that PostgreSQL reports.
pub async fn record_watch(
    transaction: &Transaction,
    gap: Duration,
    streaming: &[String],
) -> Result<()> {
    // The clock is read once: PostgreSQL may be suspended between two readings.
    transaction
        .execute(
            "INSERT INTO pgflight.watch AS w (since, seen_at)
             SELECT t.now, t.now FROM (SELECT pg_catalog.clock_timestamp() AS now) t
             ON CONFLICT (only_row) DO UPDATE SET
                since = CASE WHEN w.seen_at OPERATOR(pg_catalog.<)
                                  (EXCLUDED.seen_at OPERATOR(pg_catalog.-) pg_catalog.make_interval(secs => $1))
                             THEN EXCLUDED.seen_at ELSE w.since END,
                seen_at = GREATEST(w.seen_at, EXCLUDED.seen_at)",
            &[&gap.as_secs_f64()],
        )
        .await
        .map_err(explain_old_tables)?;
    if streaming.is_empty() {
        return Ok(());
    }
    transaction
        .execute(
            "INSERT INTO pgflight.streaming (write_id)
             SELECT write_id FROM pgflight.write
             WHERE state OPERATOR(pg_catalog.=) 'open'
               AND write_id OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.text[])
             ORDER BY write_id
             ON CONFLICT (write_id) DO UPDATE SET seen_at = pg_catalog.clock_timestamp()",
            &[&streaming],
        )
        .await
        .map(drop)
}

/// Aborts open writes whose driver has sent heartbeats, and then none for `idle` although a server could receive them.
/// Returns their ids.
///
/// # Errors
/// Any error that PostgreSQL reports.
pub async fn expire_drivers(transaction: &Transaction, idle: Duration) -> Result<Vec<String>> {
    // Compares with the last watch and not with the clock: PostgreSQL or this server may have been suspended since.
    let rows = transaction
        .query(
            "UPDATE pgflight.write w SET state = 'aborted', finished_at = pg_catalog.clock_timestamp(),
                 reason = pg_catalog.concat('expired: its driver was not heard for ', $1::pg_catalog.float8, ' s')
             FROM (
                SELECT w.write_id
                FROM pgflight.write w
                JOIN pgflight.heartbeat h ON h.driver OPERATOR(pg_catalog.=) w.driver
                 AND h.principal OPERATOR(pg_catalog.=) COALESCE(w.principal, '')
                CROSS JOIN pgflight.watch
                WHERE w.state OPERATOR(pg_catalog.=) 'open'
                  AND GREATEST(h.heard_at, watch.since, w.created_at) OPERATOR(pg_catalog.<)
                      (watch.seen_at OPERATOR(pg_catalog.-) pg_catalog.make_interval(secs => $1))
                FOR UPDATE OF w SKIP LOCKED) expired
             WHERE w.write_id OPERATOR(pg_catalog.=) expired.write_id
             RETURNING w.write_id",
            &[&idle.as_secs_f64()],
        )
        .await
        .map_err(explain_old_tables)?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Deletes signs of life that no open write needs.
///
/// # Errors
/// Any error that PostgreSQL reports.
pub async fn delete_stale_signs(transaction: &Transaction, retention: Duration) -> Result<()> {
    transaction
        .execute(
            "DELETE FROM pgflight.heartbeat h
             WHERE h.heard_at OPERATOR(pg_catalog.<)
                   (pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) pg_catalog.make_interval(secs => $1))
               AND NOT EXISTS (SELECT FROM pgflight.write w
                               WHERE w.state OPERATOR(pg_catalog.=) 'open'
                                 AND w.driver OPERATOR(pg_catalog.=) h.driver
                                 AND COALESCE(w.principal, '') OPERATOR(pg_catalog.=) h.principal)",
            &[&retention.as_secs_f64()],
        )
        .await?;
    transaction
        .execute(
            "DELETE FROM pgflight.streaming s WHERE NOT EXISTS (
                SELECT FROM pgflight.write w
                WHERE w.write_id OPERATOR(pg_catalog.=) s.write_id AND w.state OPERATOR(pg_catalog.=) 'open')",
            &[],
        )
        .await
        .map(drop)
}
