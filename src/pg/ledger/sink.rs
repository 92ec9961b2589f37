//! Sinks in the ledger: the streaming query that writes to an output, and the batch that it committed last.
//!
//! Lock order: the write's row, the sink's row, the target. A begin locks the sink's row and then only inserts a write,
//! so it waits for no row of a write.

use super::counts::from_bigint;
use super::record::BatchPlace;
use crate::error::Result;
use crate::pg::transaction::Transaction;

/// A sink in the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sink {
    /// The streaming query that may write; empty when no client has named one.
    pub query_id: String,
    /// The queries that it replaced, the latest last.
    pub past_query_ids: Vec<String>,
    /// Number of queries that were adopted after the first.
    pub run: i32,
    /// The last committed batch of this query.
    pub last_batch: Option<i64>,
    /// Whether this transaction created it.
    pub is_new: bool,
}

/// Counts the sinks of a principal, up to `limit` + 1.
///
/// # Errors
/// Any error that PostgreSQL reports.
pub async fn count_sinks(
    transaction: &Transaction,
    principal: Option<&str>,
    limit: u32,
) -> Result<u64> {
    let counted = "
        SELECT pg_catalog.count(*) FROM (
            SELECT FROM pgflight.sink WHERE principal OPERATOR(pg_catalog.=) $1 LIMIT $2) counted";
    let limit = i64::from(limit).saturating_add(1);
    let principal = principal.unwrap_or_default();
    let row = transaction
        .query_one(counted, &[&principal, &limit])
        .await?;
    Ok(from_bigint(row.get(0)))
}

/// Locks the row of a sink until the transaction ends. Creates it for this query if there is none.
///
/// # Errors
/// Any error that PostgreSQL reports.
pub async fn lock_sink(
    transaction: &Transaction,
    principal: Option<&str>,
    sink_id: &str,
    query_id: &str,
) -> Result<Sink> {
    let principal = principal.unwrap_or_default();
    let inserted = transaction
        .execute(
            "INSERT INTO pgflight.sink (principal, sink_id, query_id) VALUES ($1, $2, $3)
             ON CONFLICT DO NOTHING",
            &[&principal, &sink_id, &query_id],
        )
        .await?;
    let row = transaction
        .query_one(
            "SELECT query_id, past_query_ids, run, last_batch FROM pgflight.sink
             WHERE principal OPERATOR(pg_catalog.=) $1 AND sink_id OPERATOR(pg_catalog.=) $2 FOR UPDATE",
            &[&principal, &sink_id],
        )
        .await?;
    Ok(Sink {
        query_id: row.get(0),
        past_query_ids: row.get(1),
        run: row.get(2),
        last_batch: row.get(3),
        is_new: inserted == 1,
    })
}

/// Records the query that writes to a sink from now on. Call it after [`lock_sink`].
///
/// # Errors
/// Any error that PostgreSQL reports.
pub async fn update_sink(
    transaction: &Transaction,
    principal: Option<&str>,
    sink_id: &str,
    sink: &Sink,
) -> Result<()> {
    transaction
        .execute(
            "UPDATE pgflight.sink SET query_id = $3, past_query_ids = $4, run = $5, last_batch = $6,
                 changed_at = pg_catalog.clock_timestamp()
             WHERE principal OPERATOR(pg_catalog.=) $1 AND sink_id OPERATOR(pg_catalog.=) $2",
            &[
                &principal.unwrap_or_default(),
                &sink_id,
                &sink.query_id,
                &sink.past_query_ids,
                &sink.run,
                &sink.last_batch,
            ],
        )
        .await
        .map(drop)
}

/// Returns the last batch that was committed under the name `<prefix><batch>` by clients that named no sink.
///
/// # Errors
/// Any error that PostgreSQL reports.
pub async fn last_named_batch(transaction: &Transaction, prefix: &str) -> Result<Option<i64>> {
    let row = transaction
        .query_one(
            "SELECT pg_catalog.max(CASE WHEN rest OPERATOR(pg_catalog.~) '^[0-9]{1,18}(#[0-9]+)?$'
                                        THEN pg_catalog.split_part(rest, '#', 1)::bigint END)
             FROM (SELECT pg_catalog.substr(write_id, pg_catalog.length($1) OPERATOR(pg_catalog.+) 1) AS rest
                   FROM pgflight.write
                   WHERE pg_catalog.starts_with(write_id, $1)
                     AND state OPERATOR(pg_catalog.=) ANY (ARRAY['committing', 'committed'])
                     AND sink_id IS NULL) named",
            &[&prefix],
        )
        .await?;
    Ok(row.get(0))
}

/// Returns the name of the write of a batch: `name`, or the first of `name#2`, `name#3` and so on, if earlier writes
/// were aborted or belong to another caller.
///
/// # Errors
/// Any error that PostgreSQL reports.
pub async fn name_of_batch(
    transaction: &Transaction,
    name: &str,
    place: &BatchPlace,
) -> Result<String> {
    let row = transaction
        .query_one(
            "WITH RECURSIVE tried (n, write_id) AS (
                SELECT 1, $1::pg_catalog.text
                UNION ALL
                SELECT t.n OPERATOR(pg_catalog.+) 1, pg_catalog.concat($1, '#', t.n OPERATOR(pg_catalog.+) 1)
                FROM tried t JOIN pgflight.write w ON w.write_id OPERATOR(pg_catalog.=) t.write_id
                WHERE w.state OPERATOR(pg_catalog.=) 'aborted'
                   OR NOT COALESCE(w.sink_id OPERATOR(pg_catalog.=) $2 AND w.sink_run OPERATOR(pg_catalog.=) $3,
                                   w.sink_id IS NULL AND $3 OPERATOR(pg_catalog.=) 0))
             SELECT write_id FROM tried ORDER BY n DESC LIMIT 1",
            &[&name, &place.sink_id, &place.run],
        )
        .await?;
    Ok(row.get(0))
}

/// Records a batch as committed, in the transaction that commits it, and locks the row of its sink. Returns false when
/// another query has taken over the sink.
///
/// # Errors
/// Any error that PostgreSQL reports.
pub async fn advance_sink(
    transaction: &Transaction,
    principal: Option<&str>,
    place: &BatchPlace,
) -> Result<bool> {
    let updated = transaction
        .execute(
            "UPDATE pgflight.sink SET last_batch = GREATEST(last_batch, $4),
                 changed_at = pg_catalog.clock_timestamp()
             WHERE principal OPERATOR(pg_catalog.=) $1 AND sink_id OPERATOR(pg_catalog.=) $2
               AND run OPERATOR(pg_catalog.=) $3",
            &[
                &principal.unwrap_or_default(),
                &place.sink_id,
                &place.run,
                &place.batch,
            ],
        )
        .await?;
    Ok(updated == 1)
}
