//! The rows of writes.

use std::time::Duration;

use super::counts::{from_bigint, to_bigint};
use super::migration::explain_old;
use super::record::{Decision, LedgerWrite, NewWrite, WRITE_COLUMNS, WriteState, read_write};
use crate::error::{Error, Result};
use crate::pg::transaction::{Parameter, Transaction};
use arrow_pgcopy::Ident;

/// Records a new write. Returns false when its id exists already.
///
/// # Errors
/// Any error that PostgreSQL reports.
pub async fn begin(transaction: &Transaction, write: &NewWrite) -> Result<bool> {
    let inserted = transaction
        .execute(
            "INSERT INTO pgflight.write
                (write_id, spec, target_schema, target_name, target_oid, staging_schema,
                 staging_name, publish, columns, principal, driver, sink_id, sink_run, sink_batch, keys, state)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, 'open') ON CONFLICT DO NOTHING",
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
                &write.keys.iter().map(Ident::as_str).collect::<Vec<_>>(),
            ],
        )
        .await?;
    Ok(inserted == 1)
}

/// Counts the open writes of a principal. Other transactions that count them wait until this one ends.
///
/// # Errors
/// Any error that PostgreSQL reports.
pub async fn count_open_writes(transaction: &Transaction, principal: &str) -> Result<u64> {
    // A row is locked, since any role may take an advisory lock and keep it.
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

/// Counts the writes of a principal that were aborted before they were begun, up to `limit` + 1.
///
/// # Errors
/// Any error that PostgreSQL reports.
pub async fn count_tombstones(
    transaction: &Transaction,
    principal: Option<&str>,
    limit: u32,
) -> Result<u64> {
    let counted = "
        SELECT pg_catalog.count(*) FROM (
            SELECT FROM pgflight.write
            WHERE state OPERATOR(pg_catalog.=) 'aborted' AND spec OPERATOR(pg_catalog.=) ''
              AND COALESCE(principal, '') OPERATOR(pg_catalog.=) $1 LIMIT $2) counted";
    let limit = i64::from(limit).saturating_add(1);
    let principal = principal.unwrap_or_default();
    let row = transaction
        .query_one(counted, &[&principal, &limit])
        .await?;
    Ok(from_bigint(row.get(0)))
}

/// Reads a write.
///
/// # Errors
/// Any error that PostgreSQL reports.
pub async fn find_write(transaction: &Transaction, write_id: &str) -> Result<Option<LedgerWrite>> {
    select_write(transaction, write_id, "").await
}

/// Which writes [`recent_writes`] returns.
#[derive(Debug, Clone, Default)]
pub struct WriteFilter {
    /// The states; all if it is empty.
    pub states: Vec<WriteState>,
    /// Only writes that were begun at least this long ago.
    pub older_than: Duration,
    /// The writes that have not ended come before the others.
    pub unfinished_first: bool,
    /// The number of writes at most.
    pub limit: u32,
}

/// Returns the writes that were begun last, newest first. The counts of an open write are those of its recorded
/// attempts.
///
/// # Errors
/// Any error that PostgreSQL reports.
pub async fn recent_writes(
    transaction: &Transaction,
    filter: &WriteFilter,
) -> Result<Vec<LedgerWrite>> {
    let unfinished_first = match filter.unfinished_first {
        true => "state OPERATOR(pg_catalog.=) ANY ('{open,committing}'::pg_catalog.text[]) DESC,",
        false => "",
    };
    let statement = format!(
        "WITH recent AS (
            SELECT * FROM pgflight.write
            WHERE (state OPERATOR(pg_catalog.=) ANY ($2::pg_catalog.text[])
                   OR pg_catalog.cardinality($2::pg_catalog.text[]) OPERATOR(pg_catalog.=) 0)
              AND created_at OPERATOR(pg_catalog.<=) (pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-)
                  pg_catalog.make_interval(secs => $3::pg_catalog.float8))
            ORDER BY {unfinished_first} created_at DESC LIMIT $1)
         SELECT {WRITE_COLUMNS} FROM (
            SELECT w.write_id, w.spec, w.target_schema, w.target_name, w.target_oid, w.staging_schema,
                w.staging_name, w.publish, w.state, w.reason, w.created_at, w.finished_at, w.columns, w.principal,
                w.staging_oid, w.staging_columns,
                w.driver, w.sink_id, w.sink_run, w.sink_batch, w.keys,
                w.inserted_count, w.updated_count, w.deleted_count, w.replaced_count, w.ignored_count, w.reject_reasons,
                w.rejected_count OPERATOR(pg_catalog.+) open.rejected_count AS rejected_count,
                w.row_count OPERATOR(pg_catalog.+) open.row_count AS row_count,
                w.byte_count OPERATOR(pg_catalog.+) open.byte_count AS byte_count,
                w.attempt_count OPERATOR(pg_catalog.+) open.attempt_count AS attempt_count
            FROM recent w CROSS JOIN LATERAL (
                SELECT COALESCE(pg_catalog.sum(row_count), 0)::bigint AS row_count,
                    COALESCE(pg_catalog.sum(byte_count), 0)::bigint AS byte_count,
                    COALESCE(pg_catalog.sum(rejected_count), 0)::bigint AS rejected_count,
                    pg_catalog.count(*)::integer AS attempt_count
                FROM pgflight.attempt a
                WHERE w.state OPERATOR(pg_catalog.=) 'open'
                  AND a.write_id OPERATOR(pg_catalog.=) w.write_id) open) write
         ORDER BY {unfinished_first} write.created_at DESC"
    );
    let states: Vec<&str> = filter.states.iter().map(|state| state.as_str()).collect();
    let parameters: [&dyn Parameter; 3] = [
        &i64::from(filter.limit),
        &states,
        &filter.older_than.as_secs_f64(),
    ];
    let rows = transaction.query(&statement, &parameters).await;
    let rows = rows.map_err(explain_old)?;
    rows.iter().map(read_write).collect()
}

/// Counts the writes in each state.
///
/// # Errors
/// Any error that PostgreSQL reports.
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

/// Reads a write and locks its row: every other commit, abort and fence of it waits until this transaction ends.
///
/// # Errors
/// Any error that PostgreSQL reports.
pub async fn lock_write_for_publish(
    transaction: &Transaction,
    write_id: &str,
) -> Result<Option<LedgerWrite>> {
    select_write(transaction, write_id, "FOR UPDATE").await
}

/// Marks an open write as committed, with the counts of what it published. Marks it as committing while prepared
/// transactions must still be committed.
///
/// # Errors
/// [`ErrorKind::Internal`](crate::error::ErrorKind::Internal) when the write is not open, which
/// [`lock_write_for_publish`] rules out.
pub async fn commit(
    transaction: &Transaction,
    write_id: &str,
    decision: &Decision<'_>,
) -> Result<()> {
    let [inserted, updated, deleted, replaced, ignored] = decision.counts.to_bigints();
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
                 row_count = $2, byte_count = $3, attempt_count = $4, reason = $5, inserted_count = $7,
                 updated_count = $8, deleted_count = $9, replaced_count = $10, ignored_count = $11,
                 target_oid = COALESCE($12, target_oid), rejected_count = $13, reject_reasons = $14
             WHERE write_id OPERATOR(pg_catalog.=) $1 AND state OPERATOR(pg_catalog.=) 'open'",
            &[
                &write_id,
                &to_bigint(decision.row_count),
                &to_bigint(decision.byte_count),
                &i32::try_from(decision.attempt_count).unwrap_or(i32::MAX),
                &decision.reason,
                &decision.gids,
                &inserted,
                &updated,
                &deleted,
                &replaced,
                &ignored,
                &decision.target_oid,
                &to_bigint(decision.rejected.row_count),
                &decision.rejected.to_text(),
            ],
        )
        .await?;
    match updated {
        1 => Ok(()),
        _ => Err(
            Error::internal("the write was not open when it was published").with_write_id(write_id),
        ),
    }
}

/// Returns the writes that are decided and not finished: their servers died in between.
///
/// # Errors
/// Any error that PostgreSQL reports.
pub async fn committing_writes(transaction: &Transaction) -> Result<Vec<String>> {
    let rows = transaction
        .query(
            "SELECT write_id FROM pgflight.write WHERE state OPERATOR(pg_catalog.=) 'committing'",
            &[],
        )
        .await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Aborts a write unless it has ended already. Records a tombstone when it was never begun, so that a late begin is
/// rejected. [`find_write`] reads the state afterwards.
///
/// # Errors
/// Any error that PostgreSQL reports.
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
