//! Signs of life in the ledger: heartbeats of drivers, streams that servers have, and since when a server
//! could take a heartbeat. Only the database's clock counts.

use std::time::Duration;

use super::migration::explain_old_tables;
use super::transaction::Transaction;
use crate::error::Result;

/// Records that a driver is alive, and returns the ids of the open writes that it began, oldest first. Of a
/// driver without any, nothing is recorded: ids that callers make up fill no table.
///
/// # Errors
/// What PostgreSQL said.
pub async fn hear_driver(
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

/// Counts a begin of a driver as a heartbeat, if the driver sends heartbeats.
///
/// # Errors
/// What PostgreSQL said.
pub async fn hear_driver_again(
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

/// Makes an open write one of this driver, or of none: the driver that began it last is the one that ends it.
///
/// # Errors
/// What PostgreSQL said.
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

/// Records that a server can take heartbeats, and which writes have streams at this server.
///
/// When no server has said so for longer than `gap`, none could take a heartbeat meanwhile, and the silence of
/// drivers counts from now.
///
/// # Errors
/// What PostgreSQL said.
pub async fn keep_watch(
    transaction: &Transaction,
    gap: Duration,
    streaming: &[String],
) -> Result<()> {
    // The clock is read once: PostgreSQL may stand still between two readings.
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

/// Aborts open writes whose driver was heard once and then not for so long, though a server could have heard
/// it. Returns their ids.
///
/// # Errors
/// What PostgreSQL said.
pub async fn expire_drivers(transaction: &Transaction, idle: Duration) -> Result<Vec<String>> {
    // Not by the clock, but by when the watch was kept last: PostgreSQL or this server may have stood still since.
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

/// Forgets signs of life that no open write needs.
///
/// # Errors
/// What PostgreSQL said.
pub async fn forget_signs(transaction: &Transaction, retention: Duration) -> Result<()> {
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
