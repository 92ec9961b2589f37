//! Drops staging tables of writes that have ended.

use futures_util::future::try_join;

use crate::error::Result;
use crate::pg::names::{SCHEMA, session_prefix};
use crate::pg::sql;
use crate::pg::transaction::{Parameter, Transaction};
use arrow_pgcopy::{Ident, QualifiedName};

/// Drops the staging table of a write that has ended, and records it in the ledger. Returns false when there is no
/// table to drop, and when another session is at work on the write.
///
/// Only the locked row of the ledger proves that the table is not needed: after a failover, even a write that was seen
/// committed may be open again.
///
/// # Errors
/// Any error that PostgreSQL reports, as for a lock on the table that is not released in time. The transaction is that of a
/// control call, which waits half a second.
pub async fn drop_staging_of(transaction: &Transaction, write_id: &str) -> Result<bool> {
    let parameters: [&dyn Parameter; 1] = [&write_id];
    let row = transaction.query_opt(STAGING_OF, &parameters).await?;
    let Some(row) = row else { return Ok(false) };
    let oid: Option<u32> = row.get(0);
    end_copies_into(transaction, write_id, oid).await?;
    let forgetting = transaction.execute(FORGET, &parameters);
    let (Some(schema), Some(name)) = (
        row.get::<_, Option<String>>(1),
        row.get::<_, Option<String>>(2),
    ) else {
        // Another session has dropped it.
        forgetting.await?;
        return Ok(true);
    };
    let staging = QualifiedName {
        schema: Ident::new(schema)?,
        name: Ident::new(name)?,
    };
    // Another role may have created a view on it.
    let drop = sql::drop_table_and_views(&staging);
    if staging.schema.as_str() == SCHEMA {
        try_join(transaction.define(&drop), forgetting).await?;
        return Ok(true);
    }
    // A table beside the target belongs to the role that writes the target.
    transaction.act_as_owner(&staging).await?;
    transaction.define(&drop).await?;
    transaction.resume_own_role().await?;
    forgetting.await?;
    Ok(true)
}

/// Locks a write that has ended, and reads its staging table: the OID, and the schema and the name that it has now. Its
/// schema may have been renamed, and a table of its name in its schema may be another one. In the server's own schema,
/// the server drops both.
const STAGING_OF: &str = "
    SELECT w.staging_oid, n.nspname::pg_catalog.text, c.relname::pg_catalog.text
    FROM pgflight.write w
    LEFT JOIN (pg_catalog.pg_class c
               JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace)
           ON c.relname OPERATOR(pg_catalog.=) w.staging_name
          AND (c.oid OPERATOR(pg_catalog.=) w.staging_oid OR n.nspname OPERATOR(pg_catalog.=) 'pgflight')
    WHERE w.write_id OPERATOR(pg_catalog.=) $1 AND w.state OPERATOR(pg_catalog.<>) 'open'
      AND w.staging_name IS NOT NULL
    FOR UPDATE OF w SKIP LOCKED";

const FORGET: &str = "
    UPDATE pgflight.write SET staging_schema = NULL, staging_name = NULL
    WHERE write_id OPERATOR(pg_catalog.=) $1";

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
    staging_oid: Option<u32>,
) -> Result<()> {
    let statement = "
        WITH ours AS MATERIALIZED (
            SELECT a.pid FROM pg_catalog.pg_stat_activity a
            WHERE a.usename OPERATOR(pg_catalog.=) session_user AND pg_catalog.pg_has_role(a.usesysid, 'USAGE')
              AND a.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()
              AND a.pid OPERATOR(pg_catalog.<>) pg_catalog.pg_backend_pid() AND a.xact_start IS NOT NULL
              AND pg_catalog.starts_with(a.application_name, $2::pg_catalog.text))
        SELECT pg_catalog.pg_terminate_backend(ours.pid) FROM ours
        WHERE EXISTS (
            SELECT FROM pg_catalog.pg_locks l
            WHERE l.pid OPERATOR(pg_catalog.=) ours.pid AND l.locktype OPERATOR(pg_catalog.=) 'relation'
              AND l.mode OPERATOR(pg_catalog.=) 'RowExclusiveLock' AND l.granted
              AND l.relation OPERATOR(pg_catalog.=) $1)";
    // A session belongs to its login, whatever role it has set.
    transaction.resume_session_role().await?;
    // Without this, PostgreSQL returns the sessions that this transaction has read before.
    let clearing = transaction.execute_all("SELECT pg_catalog.pg_stat_clear_snapshot()");
    let session = session_prefix(write_id);
    let parameters: [&dyn Parameter; 2] = [&staging_oid, &session];
    try_join(clearing, transaction.query(statement, &parameters)).await?;
    transaction.resume_own_role().await
}
