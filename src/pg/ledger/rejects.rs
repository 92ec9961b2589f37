//! Rejected rows. A stream stores them in sets as it finds them, before its attempt is recorded. The record of the
//! attempt names its set, and only the commit of the attempt moves the set to the rejects that users read. Sets that no
//! commit will move are deleted by the reaper.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio_postgres::Row;

use super::counts::{from_bigint, to_bigint};
use crate::error::Result;
use crate::pg::transaction::{Parameter, Transaction};

/// The columns of the rejects, in the order of `pgflight.reject`.
pub const REJECT_COLUMNS: [&str; 13] = [
    "write_id",
    "partition_id",
    "attempt_id",
    "row_number",
    "kind",
    "sqlstate",
    "column_name",
    "constraint_name",
    "message",
    "keys",
    "row",
    "ipc",
    "rejected_at",
];
/// The most reasons that a result has.
const MAX_REASONS: usize = 10;
/// The silence after which the sets of a stream are deleted that is not in the ledger. Its server records every few
/// seconds that it has the stream.
const STREAM_IDLE: Duration = Duration::from_secs(600);

/// A rejected row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reject {
    /// The partition of the write.
    pub partition_id: u32,
    /// The attempt; empty for a write of one stream.
    pub attempt_id: String,
    /// The row within the stream, from 0.
    pub row: u64,
    /// The kind of the error.
    pub kind: String,
    /// The SQLSTATE that PostgreSQL reports or would report.
    pub sqlstate: Option<String>,
    /// The column.
    pub column: Option<String>,
    /// The constraint.
    pub constraint: Option<String>,
    /// The message, without values.
    pub message: String,
    /// The values of the keys, as a JSON object.
    pub keys: Option<String>,
    /// All values, as a JSON object.
    pub values: Option<String>,
    /// The row as a stream of Arrow IPC, in hexadecimal digits.
    pub ipc: Option<String>,
}

/// A reason for which rows were rejected.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RejectReason {
    /// The kind of the error.
    pub kind: String,
    /// The column; empty if it is not known.
    pub column: String,
    /// The constraint; empty if there is none.
    pub constraint: String,
    /// Number of rows.
    pub row_count: u64,
}

/// The numbers of rejected rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rejected {
    /// Number of all rejected rows.
    pub row_count: u64,
    /// The commonest reasons.
    pub reasons: Vec<RejectReason>,
}

impl fmt::Display for RejectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.row_count, self.kind)?;
        if !self.column.is_empty() {
            write!(f, " in column {:?}", self.column)?;
        }
        if !self.constraint.is_empty() {
            write!(f, " by constraint {:?}", self.constraint)?;
        }
        Ok(())
    }
}

impl Rejected {
    /// Counts the rows of all reasons, and keeps the commonest reasons.
    pub fn of(mut reasons: Vec<RejectReason>) -> Self {
        let row_count = reasons.iter().map(|reason| reason.row_count).sum();
        reasons.sort_by(|a, b| b.row_count.cmp(&a.row_count).then_with(|| a.cmp(b)));
        reasons.truncate(MAX_REASONS);
        Self { row_count, reasons }
    }

    /// Reads the text of [`Rejected::to_text`], or the empty text of a write without rejects.
    pub(super) fn read(row_count: i64, reasons: &str) -> Self {
        Self {
            row_count: from_bigint(row_count),
            reasons: serde_json::from_str(reasons).unwrap_or_default(),
        }
    }

    /// Returns the reasons as the ledger keeps them.
    pub(super) fn to_text(&self) -> String {
        match self.reasons.is_empty() {
            true => String::new(),
            false => serde_json::to_string(&self.reasons).unwrap_or_default(),
        }
    }
}

/// Stores rejected rows in a set.
///
/// # Errors
/// Any error that PostgreSQL reports.
pub async fn store_rejects(
    transaction: &Transaction,
    write_id: &str,
    set_id: &str,
    rejects: &[Reject],
) -> Result<()> {
    let partitions: Vec<i64> = rejects.iter().map(|r| r.partition_id.into()).collect();
    let rows: Vec<i64> = rejects.iter().map(|r| to_bigint(r.row)).collect();
    let attempts: Vec<&str> = rejects.iter().map(|r| r.attempt_id.as_str()).collect();
    let kinds: Vec<&str> = rejects.iter().map(|r| r.kind.as_str()).collect();
    let messages: Vec<&str> = rejects.iter().map(|r| r.message.as_str()).collect();
    let optional = |field: fn(&Reject) -> &Option<String>| -> Vec<Option<&str>> {
        rejects.iter().map(|r| field(r).as_deref()).collect()
    };
    let sqlstates = optional(|r| &r.sqlstate);
    let columns = optional(|r| &r.column);
    let constraints = optional(|r| &r.constraint);
    let keys = optional(|r| &r.keys);
    let values = optional(|r| &r.values);
    let ipc = optional(|r| &r.ipc);
    let parameters: [&dyn Parameter; 13] = [
        &set_id,
        &write_id,
        &partitions,
        &attempts,
        &rows,
        &kinds,
        &sqlstates,
        &columns,
        &constraints,
        &messages,
        &keys,
        &values,
        &ipc,
    ];
    transaction.execute(STORE, &parameters).await.map(drop)
}

const STORE: &str = "
    INSERT INTO pgflight.staged_reject
        (set_id, write_id, partition_id, attempt_id, row_number, kind, sqlstate, column_name, constraint_name, message,
         keys, row, ipc)
    SELECT $1, $2, r.partition_id, r.attempt_id, r.row_number, r.kind, r.sqlstate, r.column_name, r.constraint_name,
           r.message, r.keys::pg_catalog.jsonb, r.row::pg_catalog.jsonb, pg_catalog.decode(r.ipc, 'hex')
    FROM ROWS FROM (
        pg_catalog.unnest($3::pg_catalog.int8[]), pg_catalog.unnest($4::pg_catalog.text[]),
        pg_catalog.unnest($5::pg_catalog.int8[]), pg_catalog.unnest($6::pg_catalog.text[]),
        pg_catalog.unnest($7::pg_catalog.text[]), pg_catalog.unnest($8::pg_catalog.text[]),
        pg_catalog.unnest($9::pg_catalog.text[]), pg_catalog.unnest($10::pg_catalog.text[]),
        pg_catalog.unnest($11::pg_catalog.text[]), pg_catalog.unnest($12::pg_catalog.text[]),
        pg_catalog.unnest($13::pg_catalog.text[]))
        r(partition_id, attempt_id, row_number, kind, sqlstate, column_name, constraint_name, message, keys, row, ipc)";

/// Counts the rows of sets by their reason.
///
/// # Errors
/// Any error that PostgreSQL reports.
pub async fn count_rejects(
    transaction: &Transaction,
    set_ids: &[String],
) -> Result<Vec<RejectReason>> {
    let rows = transaction
        .query(
            "SELECT kind, COALESCE(column_name, ''), COALESCE(constraint_name, ''), pg_catalog.count(*)
             FROM pgflight.staged_reject WHERE set_id OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.text[])
             GROUP BY kind, column_name, constraint_name",
            &[&set_ids],
        )
        .await?;
    let reason = rows.iter().map(|row| RejectReason {
        kind: row.get(0),
        column: row.get(1),
        constraint: row.get(2),
        row_count: from_bigint(row.get(3)),
    });
    Ok(reason.collect())
}

/// Moves these sets of a write to the rejects that users read, and deletes its other sets. Returns the number of moved
/// rows.
///
/// # Errors
/// Any error that PostgreSQL reports.
pub async fn publish_rejects(
    transaction: &Transaction,
    write_id: &str,
    set_ids: &[String],
) -> Result<u64> {
    transaction
        .execute(
            "WITH staged AS (
                DELETE FROM pgflight.staged_reject s WHERE s.write_id OPERATOR(pg_catalog.=) $1 RETURNING s.*)
             INSERT INTO pgflight.reject
                (write_id, partition_id, attempt_id, row_number, kind, sqlstate, column_name, constraint_name, message,
                 keys, row, ipc, rejected_at)
             SELECT write_id, partition_id, attempt_id, row_number, kind, sqlstate, column_name, constraint_name,
                    message, keys, row, ipc, staged_at
             FROM staged WHERE set_id OPERATOR(pg_catalog.=) ANY ($2::pg_catalog.text[])",
            &[&write_id, &set_ids],
        )
        .await
}

/// Reads some published rejects of a write, in the order of their places, after a place.
///
/// # Errors
/// Any error that PostgreSQL reports.
pub async fn read_rejects(
    transaction: &Transaction,
    write_id: &str,
    after: Option<(u32, u64)>,
) -> Result<Vec<Reject>> {
    let (partition_id, row) = match after {
        Some((partition_id, row)) => (i64::from(partition_id), to_bigint(row)),
        None => (-1, -1),
    };
    let parameters: [&dyn Parameter; 4] = [&write_id, &partition_id, &row, &READ];
    let rows = transaction.query(READ_SOME, &parameters).await?;
    let reject = |row: &Row| Reject {
        partition_id: u32::try_from(row.get::<_, i64>(0)).unwrap_or(u32::MAX),
        attempt_id: row.get(1),
        row: from_bigint(row.get(2)),
        kind: row.get(3),
        sqlstate: row.get(4),
        column: row.get(5),
        constraint: row.get(6),
        message: row.get(7),
        keys: row.get(8),
        values: row.get(9),
        ipc: row.get(10),
    };
    Ok(rows.iter().map(reject).collect())
}

/// The number of rows that are read at a time. Each may hold some megabytes.
const READ: i64 = 64;

const READ_SOME: &str = "
    SELECT partition_id, attempt_id, row_number, kind, sqlstate, column_name, constraint_name, message,
           keys::pg_catalog.text, row::pg_catalog.text, pg_catalog.encode(ipc, 'hex')
    FROM pgflight.reject
    WHERE write_id OPERATOR(pg_catalog.=) $1
      AND (partition_id OPERATOR(pg_catalog.>) $2
           OR partition_id OPERATOR(pg_catalog.=) $2 AND row_number OPERATOR(pg_catalog.>) $3)
    ORDER BY partition_id, row_number LIMIT $4";

/// Takes some rows of sets out of the ledger, for another table; none when all are taken.
///
/// # Errors
/// Any error that PostgreSQL reports.
pub(in crate::pg) async fn take_rejects(
    transaction: &Transaction,
    set_ids: &[String],
) -> Result<Vec<Row>> {
    transaction.query(TAKE, &[&set_ids, &TAKEN]).await
}

/// The number of rows that are taken at a time. Each may hold some megabytes.
const TAKEN: i64 = 64;

const TAKE: &str = "
    DELETE FROM pgflight.staged_reject WHERE ctid OPERATOR(pg_catalog.=) ANY (ARRAY(
        SELECT ctid FROM pgflight.staged_reject
        WHERE set_id OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.text[]) LIMIT $2))
    RETURNING partition_id, attempt_id, row_number, kind, sqlstate, column_name, constraint_name, message,
              keys::pg_catalog.text, row::pg_catalog.text, pg_catalog.encode(ipc, 'hex'), staged_at::pg_catalog.text";

/// Deletes the sets of a write that are left.
///
/// # Errors
/// Any error that PostgreSQL reports.
pub async fn delete_rejects(transaction: &Transaction, write_id: &str) -> Result<u64> {
    let deleted = "DELETE FROM pgflight.staged_reject WHERE write_id OPERATOR(pg_catalog.=) $1";
    transaction.execute(deleted, &[&write_id]).await
}

/// Deletes the sets that no commit will move: those of writes that have ended, and those of streams that have ended
/// without a write in the ledger. Returns the number of rows.
///
/// # Errors
/// Any error that PostgreSQL reports.
pub async fn delete_stale_rejects(transaction: &Transaction) -> Result<u64> {
    transaction
        .execute(
            "DELETE FROM pgflight.staged_reject s
             WHERE NOT EXISTS (SELECT FROM pgflight.write w
                               WHERE w.write_id OPERATOR(pg_catalog.=) s.write_id
                                 AND w.state OPERATOR(pg_catalog.=) 'open')
               AND (EXISTS (SELECT FROM pgflight.write w WHERE w.write_id OPERATOR(pg_catalog.=) s.write_id)
                    OR GREATEST(s.staged_at, (SELECT pg_catalog.max(o.seen_at) FROM pgflight.streaming o
                                              WHERE o.write_id OPERATOR(pg_catalog.=) s.write_id))
                       OPERATOR(pg_catalog.<) (pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-)
                                               pg_catalog.make_interval(secs => $1)))",
            &[&STREAM_IDLE.as_secs_f64()],
        )
        .await
}
