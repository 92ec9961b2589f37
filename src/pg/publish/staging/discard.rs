//! Drops staging tables of writes that have ended.

use crate::error::Result;
use crate::pg::names::{SCHEMA, session_prefix};
use crate::pg::sql;
use crate::pg::transaction::Transaction;
use arrow_pgcopy::{Ident, QualifiedName};

/// Drops the staging table of a write that has ended, and records it in the ledger. Returns false when there is no
/// table to drop, and when another session is at work on the write.
///
/// Only the locked row of the ledger proves that the table is not needed: after a failover, even a write that was seen
/// committed may be open again.
///
/// # Errors
/// Any error that PostgreSQL reports, as for a lock on the table that is not released in time.
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

/// Drops a staging table. Waits for a stream that still copies into it, up to the transaction's `lock_timeout`.
///
/// # Errors
/// Any error that PostgreSQL reports.
async fn drop_staging(transaction: &Transaction, staging: &QualifiedName) -> Result<()> {
    if staging.schema.as_str() != SCHEMA {
        // A table beside the target belongs to the role that writes the target.
        transaction.act_as_owner(staging).await?;
    }
    // Another role may have created a view on it.
    transaction
        .define(&sql::drop_table_and_views(staging))
        .await?;
    transaction.resume_own_role().await
}

/// Ends the sessions, of any pgflight server, that still copy into a staging table whose write is decided. Their rows
/// will not be accepted, and their locks would block the end of the write.
///
/// A session is ended by the pid of its process, and behind a pooler that process may serve another client a moment
/// later. So a session is ended only while it holds a lock on the staging table, in a transaction that a pgflight
/// server named after this write: both hold for a transaction that copies into the table, and for no other. The
/// sessions are read first and the locks last, since PostgreSQL reads locks without a snapshot. A window of some
/// microseconds remains between this and the arrival of the signal: if a COPY and its COMMIT end within it, the next
/// client of the process sees its session end (57P01). PostgreSQL cannot end a transaction by its id.
///
/// # Errors
/// Any error that PostgreSQL reports.
pub(in crate::pg) async fn end_copies_into(
    transaction: &Transaction,
    write_id: &str,
    staging: &QualifiedName,
) -> Result<()> {
    let statement = "
        WITH ours AS MATERIALIZED (
            SELECT a.pid FROM pg_catalog.pg_stat_activity a
            WHERE a.usename OPERATOR(pg_catalog.=) session_user AND pg_catalog.pg_has_role(a.usesysid, 'USAGE')
              AND a.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()
              AND a.pid OPERATOR(pg_catalog.<>) pg_catalog.pg_backend_pid() AND a.xact_start IS NOT NULL
              AND pg_catalog.starts_with(a.application_name, $3::pg_catalog.text))
        SELECT pg_catalog.pg_terminate_backend(ours.pid) FROM ours
        WHERE EXISTS (
            SELECT FROM pg_catalog.pg_locks l
            WHERE l.pid OPERATOR(pg_catalog.=) ours.pid AND l.locktype OPERATOR(pg_catalog.=) 'relation'
              AND l.mode OPERATOR(pg_catalog.=) 'RowExclusiveLock' AND l.granted
              AND l.relation OPERATOR(pg_catalog.=) (
                  SELECT c.oid FROM pg_catalog.pg_class c
                  JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
                  WHERE n.nspname OPERATOR(pg_catalog.=) $1::pg_catalog.text
                    AND c.relname OPERATOR(pg_catalog.=) $2::pg_catalog.text))";
    // A session belongs to its login, whatever role it has set.
    transaction.resume_session_role().await?;
    // Without this, PostgreSQL returns the sessions that this transaction has read before.
    transaction
        .execute_all("SELECT pg_catalog.pg_stat_clear_snapshot()")
        .await?;
    let (schema, name) = (staging.schema.as_str(), staging.name.as_str());
    let session = session_prefix(write_id);
    transaction
        .query(statement, &[&schema, &name, &session])
        .await?;
    transaction.resume_own_role().await
}
