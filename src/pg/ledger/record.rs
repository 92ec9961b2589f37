//! The records of the ledger: writes and attempts, as they are written and read.

use tokio_postgres::Row;

use super::counts::{RowCounts, from_bigint};
use super::rejects::Rejected;
use crate::error::{Error, Result};
use arrow_pgcopy::{Ident, QualifiedName};

/// The state of a write. Committed, aborted and prepared_lost are final.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteState {
    /// It accepts attempts.
    Open,
    /// Its commit is decided. The last prepared transactions are being committed.
    Committing,
    /// Its rows are in the target.
    Committed,
    /// None of its rows are in the target, nor will be.
    Aborted,
    /// Its commit was decided, and some rows are lost: another session had ended prepared transactions that held them.
    PreparedLost,
}

/// The method by which a commit publishes the staged rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Publish {
    /// Inserts them.
    Append,
    /// Each attempt copies its rows into the target in a prepared transaction, which the commit commits. An attempt
    /// without a slot to prepare is staged.
    TwoPhase,
    /// Inserts them after TRUNCATE.
    Truncate,
    /// Inserts them after DELETE of all rows.
    Delete,
    /// Replaces the target by a table that is filled beside it.
    Swap,
    /// Renames a table that is filled beside the target.
    Create,
    /// Changes the rows with the same keys, as the spec says.
    Merge,
    /// Inserts them after DELETE of the part that the spec names.
    Replace,
    /// Does nothing in the commit: attempts copy straight into the target.
    Direct,
    /// Does nothing at all: the table existed, and the spec leaves such a table alone.
    Nothing,
}

/// The place of a write among the batches of a streaming query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchPlace {
    /// The output of the query.
    pub sink_id: String,
    /// The number of the query at the sink, from 0.
    pub run: i32,
    /// The number of the batch.
    pub batch: i64,
}

/// The record of a new write.
#[derive(Debug)]
pub struct NewWrite {
    /// The id, unique, chosen by the client.
    pub write_id: String,
    /// The specification in a form that is equal for equal writes.
    pub spec: String,
    /// The names and types of the data's columns, in a form that is equal for equal data.
    pub columns: String,
    /// The target, which may not exist yet.
    pub target: QualifiedName,
    /// The target's OID when it exists.
    pub target_oid: Option<u32>,
    /// The staging table; `None` when nothing will be written.
    pub staging: Option<QualifiedName>,
    /// The publish method.
    pub publish: Publish,
    /// The owning principal; `None` without authentication.
    pub principal: Option<String>,
    /// The driver that sends heartbeats for it.
    pub driver: Option<String>,
    /// The batch that it is.
    pub batch: Option<BatchPlace>,
    /// The table's primary key, in a keyed mode without keys of its own.
    pub keys: Vec<Ident>,
}

/// A write in the ledger.
#[derive(Debug, Clone)]
pub struct LedgerWrite {
    /// The id, unique, chosen by the client.
    pub write_id: String,
    /// The owning principal; `None` without authentication.
    pub principal: Option<String>,
    /// The specification, as begin recorded it.
    pub spec: String,
    /// The columns, as begin recorded them.
    pub columns: String,
    /// The target; `None` in a tombstone that an abort left before any begin.
    pub target: Option<QualifiedName>,
    /// The target's OID: at begin, when it existed, and after the commit.
    pub target_oid: Option<u32>,
    /// The staging table.
    pub staging: Option<QualifiedName>,
    /// The staging table's OID at begin.
    pub staging_oid: Option<u32>,
    /// The staging table's columns at begin.
    pub staging_columns: Option<String>,
    /// The publish method.
    pub publish: Publish,
    /// The state.
    pub state: WriteState,
    /// The reason that it was aborted, or a remark about its end.
    pub reason: String,
    /// Number of rows published.
    pub row_count: u64,
    /// Number of bytes of COPY published.
    pub byte_count: u64,
    /// Number of attempts published: one per partition.
    pub attempt_count: u32,
    /// Numbers of rows that the commit changed.
    pub counts: RowCounts,
    /// The rejected rows of the published attempts.
    pub rejected: Rejected,
    /// The time of begin by the database's clock, for display.
    pub created_at: String,
    /// The time of its end; empty while it is open.
    pub finished_at: String,
    /// The driver that sends heartbeats for it.
    pub driver: Option<String>,
    /// The batch that it is.
    pub batch: Option<BatchPlace>,
    /// The table's primary key at begin, in a keyed mode without keys of its own.
    pub keys: Vec<Ident>,
}

/// An attempt in the ledger: a finished stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The id, unique within the write.
    pub attempt_id: String,
    /// The partition of the write.
    pub partition_id: u32,
    /// Number of rows.
    pub row_count: u64,
    /// Number of bytes of COPY that PostgreSQL received.
    pub byte_count: u64,
    /// The `xmin` of its rows.
    pub xact_id: String,
    /// The prepared transaction that holds its rows; `None` when they are staged.
    pub gid: Option<String>,
    /// The id of that transaction, with its epoch.
    pub prepared_xact_id: Option<String>,
    /// Whether it was accepted, and another session had rolled that transaction back.
    pub lost: bool,
    /// Number of its rows that were rejected. `row_count` does not include them.
    pub rejected_count: u64,
    /// The set of these rows; `None` without any.
    pub reject_set: Option<String>,
}

/// The decision of a commit.
#[derive(Debug, Default)]
pub struct Decision<'a> {
    /// Number of rows of the accepted attempts.
    pub row_count: u64,
    /// Number of their bytes of COPY.
    pub byte_count: u64,
    /// Number of accepted attempts.
    pub attempt_count: u32,
    /// Numbers of rows that the commit changed.
    pub counts: RowCounts,
    /// The rejected rows of the accepted attempts.
    pub rejected: Rejected,
    /// The prepared transactions of accepted attempts.
    pub gids: &'a [String],
    /// A remark about the commit.
    pub reason: &'a str,
    /// The target's OID, unless it is that of the begin.
    pub target_oid: Option<u32>,
}

impl Publish {
    /// All publish methods.
    pub const ALL: [Self; 10] = [
        Self::Append,
        Self::TwoPhase,
        Self::Truncate,
        Self::Delete,
        Self::Swap,
        Self::Create,
        Self::Merge,
        Self::Replace,
        Self::Direct,
        Self::Nothing,
    ];

    /// Returns the name in the ledger.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Append => "append",
            Self::TwoPhase => "two_phase",
            Self::Truncate => "truncate",
            Self::Delete => "delete",
            Self::Swap => "swap",
            Self::Create => "create",
            Self::Merge => "merge",
            Self::Replace => "replace",
            Self::Direct => "direct",
            Self::Nothing => "nothing",
        }
    }

    pub(super) fn parse(text: &str) -> Result<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|publish| publish.as_str() == text).ok_or_else(|| {
            Error::internal("the ledger holds a way to publish that this pgflight does not know")
                .with_hint(NEWER_HINT)
        })
    }
}

impl WriteState {
    /// All states, in the order in which they are counted.
    pub const ALL: [Self; 5] = [
        Self::Open,
        Self::Committing,
        Self::Committed,
        Self::Aborted,
        Self::PreparedLost,
    ];

    /// Returns whether the commit is decided, which nothing can undo.
    pub fn is_decided(self) -> bool {
        match self {
            Self::Committing | Self::Committed | Self::PreparedLost => true,
            Self::Open | Self::Aborted => false,
        }
    }

    /// Returns the name in the ledger.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Committing => "committing",
            Self::Committed => "committed",
            Self::Aborted => "aborted",
            Self::PreparedLost => "prepared_lost",
        }
    }

    /// Returns the state with a name of the ledger.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`](crate::error::ErrorKind::Internal) when there is no such state.
    pub fn parse(text: &str) -> Result<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|state| state.as_str() == text).ok_or_else(|| {
            Error::internal("the ledger holds a state that this pgflight does not know")
                .with_hint(NEWER_HINT)
        })
    }
}

/// The hint for a value that only a newer version knows.
const NEWER_HINT: &str = "use the newer pgflight that wrote it";

/// The columns of a write, in the order of [`read_write`].
pub(super) const WRITE_COLUMNS: &str = "
    write_id, spec, target_schema, target_name, target_oid, staging_name, publish, state,
    reason, row_count, byte_count, attempt_count, staging_schema,
    (created_at AT TIME ZONE 'UTC')::pg_catalog.text OPERATOR(pg_catalog.||) 'Z',
    (finished_at AT TIME ZONE 'UTC')::pg_catalog.text OPERATOR(pg_catalog.||) 'Z', columns, principal,
    staging_oid, staging_columns, driver, sink_id, sink_run, sink_batch,
    keys, inserted_count, updated_count, deleted_count, replaced_count, ignored_count,
    rejected_count, reject_reasons";

/// Reads a write from a row with [`WRITE_COLUMNS`].
pub(super) fn read_write(row: &Row) -> Result<LedgerWrite> {
    let name = |schema: &str, name: String| -> Result<QualifiedName> {
        Ok(QualifiedName {
            schema: Ident::new(schema)?,
            name: Ident::new(name)?,
        })
    };
    let (target_schema, target_name): (&str, String) = (row.get(2), row.get(3));
    Ok(LedgerWrite {
        write_id: row.get(0),
        principal: row.get(16),
        spec: row.get(1),
        columns: row.get(15),
        target: (!target_name.is_empty())
            .then(|| name(target_schema, target_name))
            .transpose()?,
        target_oid: row.get(4),
        staging: match (
            row.get::<_, Option<&str>>(12),
            row.get::<_, Option<String>>(5),
        ) {
            (Some(schema), Some(staging)) => Some(name(schema, staging)?),
            _ => None,
        },
        staging_oid: row.get(17),
        staging_columns: row.get(18),
        publish: Publish::parse(row.get(6))?,
        state: WriteState::parse(row.get(7))?,
        reason: row.get(8),
        row_count: from_bigint(row.get(9)),
        byte_count: from_bigint(row.get(10)),
        attempt_count: u32::try_from(row.get::<_, i32>(11)).unwrap_or(0),
        counts: RowCounts::read(row, 24),
        rejected: Rejected::read(row.get(29), row.get(30)),
        created_at: row.get(13),
        finished_at: row.get::<_, Option<String>>(14).unwrap_or_default(),
        driver: row.get(19),
        batch: match (row.get(20), row.get(21), row.get(22)) {
            (Some(sink_id), Some(run), Some(batch)) => Some(BatchPlace {
                sink_id,
                run,
                batch,
            }),
            _ => None,
        },
        keys: row
            .get::<_, Vec<String>>(23)
            .into_iter()
            .map(Ident::new)
            .collect::<std::result::Result<_, _>>()?,
    })
}

/// The columns of an attempt, in the order of [`read_attempt`].
pub(super) const ATTEMPT_COLUMNS: &str =
    "attempt_id, partition_id, row_count, byte_count, xact_id::pg_catalog.text,
    gid, prepared_xact_id::pg_catalog.text, lost, rejected_count, reject_set";

/// Reads an attempt from a row with [`ATTEMPT_COLUMNS`].
pub(super) fn read_attempt(row: &Row) -> Attempt {
    Attempt {
        attempt_id: row.get(0),
        partition_id: u32::try_from(row.get::<_, i64>(1)).unwrap_or(0),
        row_count: from_bigint(row.get(2)),
        byte_count: from_bigint(row.get(3)),
        xact_id: row.get(4),
        gid: row.get(5),
        prepared_xact_id: row.get(6),
        lost: row.get(7),
        rejected_count: from_bigint(row.get(8)),
        reject_set: row.get(9),
    }
}
