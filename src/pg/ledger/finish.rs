//! The end of a decided write: committed, or without rows that another session rolled back.

use tokio_postgres::Row;

use super::counts::{from_bigint, to_bigint};

use crate::error::Result;
use crate::pg::transaction::Transaction;

/// The progress of a decided write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finished {
    /// It has ended, now or earlier.
    Yes,
    /// One of its prepared transactions has not ended.
    NotYet,
    /// It has ended now, and rows are lost. The text says which.
    Lost(String),
}

/// Number of lost partitions that the reason names.
const MOST_NAMED: usize = 20;

/// Marks a decided write as committed, or as `prepared_lost`, when no prepared transaction of its accepted attempts is
/// left.
///
/// A prepared transaction that is gone was committed, by a server or by hand, or rolled back by hand. PostgreSQL knows
/// which by its id, unless the id is very old. An unknown one counts as lost, since nothing proves that its rows exist.
///
/// # Errors
/// Any error that PostgreSQL reports.
pub async fn finish_commit(transaction: &Transaction, write_id: &str) -> Result<Finished> {
    let locked = transaction
        .query_opt(
            "SELECT FROM pgflight.write
             WHERE write_id OPERATOR(pg_catalog.=) $1 AND state OPERATOR(pg_catalog.=) 'committing' FOR UPDATE",
            &[&write_id],
        )
        .await?;
    if locked.is_none() {
        return Ok(Finished::Yes);
    }
    let rows = transaction.query(ACCEPTED, &[&write_id]).await?;
    let attempts: Vec<Accepted> = rows.iter().map(Accepted::read).collect();
    if attempts.iter().any(|attempt| attempt.fate == Fate::Open) {
        return Ok(Finished::NotYet);
    }
    let lost = attempts.iter().filter(|attempt| attempt.fate == Fate::Lost);
    let lost: Vec<&Accepted> = lost.collect();
    if lost.is_empty() {
        transaction
            .execute(
                "UPDATE pgflight.write SET state = 'committed', finished_at = pg_catalog.clock_timestamp()
                 WHERE write_id OPERATOR(pg_catalog.=) $1",
                &[&write_id],
            )
            .await?;
        return Ok(Finished::Yes);
    }
    mark_lost(transaction, write_id, &lost)
        .await
        .map(Finished::Lost)
}

async fn mark_lost(
    transaction: &Transaction,
    write_id: &str,
    lost: &[&Accepted],
) -> Result<String> {
    let reason = reason(lost);
    let ids: Vec<&str> = lost.iter().map(|one| one.attempt_id.as_str()).collect();
    transaction
        .execute(
            "UPDATE pgflight.attempt SET lost = true
             WHERE write_id OPERATOR(pg_catalog.=) $1
               AND attempt_id OPERATOR(pg_catalog.=) ANY ($2::pg_catalog.text[])",
            &[&write_id, &ids],
        )
        .await?;
    let row_count: u64 = lost.iter().map(|one| one.row_count).sum();
    let byte_count: u64 = lost.iter().map(|one| one.byte_count).sum();
    let attempt_count = i32::try_from(lost.len()).unwrap_or(i32::MAX);
    let row = transaction
        .query_one(
            "UPDATE pgflight.write
             SET state = 'prepared_lost', finished_at = pg_catalog.clock_timestamp(),
                 row_count = row_count OPERATOR(pg_catalog.-) $2, byte_count = byte_count OPERATOR(pg_catalog.-) $3,
                 attempt_count = attempt_count OPERATOR(pg_catalog.-) $4,
                 reason = pg_catalog.concat($5, '; the other ', row_count OPERATOR(pg_catalog.-) $2,
                                            ' rows are in the table')
             WHERE write_id OPERATOR(pg_catalog.=) $1 RETURNING reason",
            &[
                &write_id,
                &to_bigint(row_count),
                &to_bigint(byte_count),
                &attempt_count,
                &reason,
            ],
        )
        .await?;
    Ok(row.get(0))
}

fn reason(lost: &[&Accepted]) -> String {
    let named = lost.iter().take(MOST_NAMED).map(|one| {
        let (partition, rows) = (one.partition_id, one.row_count);
        format!("partition {partition} ({rows} rows)")
    });
    let named = named.collect::<Vec<_>>().join(", ");
    let more = match lost.len().saturating_sub(MOST_NAMED) {
        0 => String::new(),
        more => format!(" and {more} more partitions"),
    };
    format!(
        "prepared_lost: the commit was decided, and another session had rolled back prepared transactions of the \
         write; lost are {named}{more}"
    )
}

/// An attempt whose prepared transaction is to be committed.
struct Accepted {
    attempt_id: String,
    partition_id: i64,
    row_count: u64,
    byte_count: u64,
    fate: Fate,
}

/// The end of a prepared transaction.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It is still prepared, or another session is ending it.
    Open,
    Committed,
    /// Rolled back, or PostgreSQL has forgotten it.
    Lost,
}

impl Accepted {
    fn read(row: &Row) -> Self {
        let (is_prepared, is_known): (bool, bool) = (row.get(4), row.get(5));
        let fate = match (is_prepared, row.get::<_, Option<&str>>(6)) {
            (_, Some("committed")) => Fate::Committed,
            (true, _) | (false, Some("in progress")) => Fate::Open,
            // Without a recorded id, a transaction that is gone counts as committed.
            (false, _) if !is_known => Fate::Committed,
            (false, _) => Fate::Lost,
        };
        Self {
            attempt_id: row.get(0),
            partition_id: row.get(1),
            row_count: from_bigint(row.get(2)),
            byte_count: from_bigint(row.get(3)),
            fate,
        }
    }
}

/// Reads the accepted attempts. The prepared transactions are read before the status of a transaction: one that another
/// server commits in between then counts as committed. An id that PostgreSQL has not assigned yet, as after a restore
/// from a dump, would be an error.
const ACCEPTED: &str = "
    WITH prepared AS MATERIALIZED (
        SELECT gid, transaction FROM pg_catalog.pg_prepared_xacts
        WHERE database OPERATOR(pg_catalog.=) pg_catalog.current_database())
    SELECT a.attempt_id, a.partition_id, a.row_count, a.byte_count, p.gid IS NOT NULL, a.prepared_xact_id IS NOT NULL,
           CASE WHEN a.prepared_xact_id OPERATOR(pg_catalog.<) pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())
                THEN pg_catalog.pg_xact_status(a.prepared_xact_id) END
    FROM pgflight.attempt a LEFT JOIN prepared p
      ON p.gid OPERATOR(pg_catalog.=) a.gid
     AND COALESCE(p.transaction OPERATOR(pg_catalog.=) a.prepared_xact_id::pg_catalog.xid, true)
    WHERE a.write_id OPERATOR(pg_catalog.=) $1 AND a.accepted ORDER BY a.partition_id";
