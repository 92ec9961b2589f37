//! Sinks in the ledger: which streaming query writes to an output, and which batch it committed last.
//!
//! Lock order: the write's row, the sink's row, the target. A begin locks the sink's row and then only adds a
//! write, so it waits for no row of a write.

use super::ledger::{BatchPlace, from_bigint};
use super::transaction::Transaction;
use crate::error::Result;

/// A sink as the ledger has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sink {
    /// The streaming query that may write; empty when no caller has named one.
    pub query_id: String,
    /// Queries that it replaced, the last of them last.
    pub past_query_ids: Vec<String>,
    /// How many queries were adopted after the first.
    pub run: i32,
    /// The batch of this query that was committed last.
    pub last_batch: Option<i64>,
    /// Whether this transaction made it.
    pub is_new: bool,
}

/// How many sinks a principal has, up to one more than this many.
///
/// # Errors
/// What PostgreSQL said.
pub async fn count_sinks(
    transaction: &Transaction,
    principal: Option<&str>,
    most: u32,
) -> Result<u64> {
    let counted = "
        SELECT pg_catalog.count(*) FROM (
            SELECT FROM pgflight.sink WHERE principal OPERATOR(pg_catalog.=) $1 LIMIT $2) counted";
    let most = i64::from(most).saturating_add(1);
    let principal = principal.unwrap_or_default();
    let row = transaction.query_one(counted, &[&principal, &most]).await?;
    Ok(from_bigint(row.get(0)))
}

/// Locks the row of a sink until the transaction ends; makes it for this query when there is none.
///
/// # Errors
/// What PostgreSQL said.
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

/// Records which query writes to a sink from now on, after [`lock_sink`].
///
/// # Errors
/// What PostgreSQL said.
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

/// The last batch that was committed under the name `<prefix><batch>` by callers that named no sink.
///
/// # Errors
/// What PostgreSQL said.
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

/// The name of the write that a batch is, or will be: `name`, or, where writes of that name were aborted or
/// belong to another caller, the first of `name#2`, `name#3` and so on that is not.
///
/// # Errors
/// What PostgreSQL said.
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

/// Records a batch as committed, in the transaction that commits it, and keeps the row of its sink locked;
/// false when another query has the sink by now.
///
/// # Errors
/// What PostgreSQL said.
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
