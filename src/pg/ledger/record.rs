//! What the ledger's rows hold: writes and attempts, as they are written there and read.

use tokio_postgres::Row;

use crate::error::{Error, Result};
use arrow_pgcopy::{Ident, QualifiedName};

/// What the ids of writes begin with that a server makes of a stream; nobody else's do.
pub const STREAM_PREFIX: &str = "stream:";

/// Where a write stands. Committed, aborted and prepared_lost are for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteState {
    /// Attempts are taken.
    Open,
    /// It is decided that its rows are in the target; the last of them are being made visible.
    Committing,
    /// Its rows are in the target.
    Committed,
    /// None of its rows are, nor will be.
    Aborted,
    /// It was decided that its rows are in the target, and some are lost: another session had ended prepared
    /// transactions that held them.
    PreparedLost,
}

/// How the staged rows reach the target when the write commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Publish {
    /// Added to what is there.
    Append,
    /// Added to what is there by each attempt, in a transaction that is prepared and that the commit
    /// commits; staged, where there is no room to prepare.
    TwoPhase,
    /// After TRUNCATE.
    Truncate,
    /// After DELETE of all rows.
    Delete,
    /// Filled beside the target, which it then replaces.
    Swap,
    /// Filled beside the target, then given its name.
    Create,
    /// Changing the rows with the same keys, as the spec says.
    Merge,
    /// Not by the commit: attempts went straight into the target.
    Direct,
    /// Not at all: the table was there and the caller wanted it left alone.
    Nothing,
}

/// The batch of a streaming query that a write is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchPlace {
    /// The output of the query.
    pub sink_id: String,
    /// Which of the sink's queries, counted from 0.
    pub run: i32,
    /// Which batch of the query.
    pub batch: i64,
}

/// What begin records.
#[derive(Debug)]
pub struct NewWrite {
    /// Unique, made by the caller.
    pub write_id: String,
    /// The specification in a form that is equal for equal writes.
    pub spec: String,
    /// Names and types of the data's columns, in a form that is equal for equal data.
    pub columns: String,
    /// The target, which may not exist yet.
    pub target: QualifiedName,
    /// The target's OID when it exists.
    pub target_oid: Option<u32>,
    /// The staging table; none when nothing will be written.
    pub staging: Option<QualifiedName>,
    /// How it will be published.
    pub publish: Publish,
    /// Whose it is; none where nobody is asked.
    pub principal: Option<String>,
    /// The driver that sends heartbeats for it.
    pub driver: Option<String>,
    /// The batch that it is.
    pub batch: Option<BatchPlace>,
}

/// A write as the ledger has it.
#[derive(Debug, Clone)]
pub struct LedgerWrite {
    /// Unique, made by the caller.
    pub write_id: String,
    /// Whose it is; none where nobody was asked.
    pub principal: Option<String>,
    /// As recorded by begin.
    pub spec: String,
    /// As recorded by begin.
    pub columns: String,
    /// The target; `None` in a tombstone that an abort left before any begin.
    pub target: Option<QualifiedName>,
    /// The target's OID at begin, when it existed.
    pub target_oid: Option<u32>,
    /// The staging table.
    pub staging: Option<QualifiedName>,
    /// The staging table's OID at begin; `None` when a server before version 4 of the ledger made it.
    pub staging_oid: Option<u32>,
    /// Its columns then.
    pub staging_columns: Option<String>,
    /// How it is published.
    pub publish: Publish,
    /// Where it stands.
    pub state: WriteState,
    /// Why it was aborted, or what was special about its end.
    pub reason: String,
    /// Rows published.
    pub row_count: u64,
    /// Bytes of COPY that were published.
    pub byte_count: u64,
    /// Attempts published: one per partition.
    pub attempt_count: u32,
    /// When it was begun, by the database's clock, for people.
    pub created_at: String,
    /// When it ended; empty while it is open.
    pub finished_at: String,
    /// The driver that sends heartbeats for it.
    pub driver: Option<String>,
    /// The batch that it is.
    pub batch: Option<BatchPlace>,
}

/// A finished stream as the ledger has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Unique within the write.
    pub attempt_id: String,
    /// Which part of the write.
    pub partition_id: u32,
    /// Rows staged.
    pub row_count: u64,
    /// Bytes of COPY that PostgreSQL received.
    pub byte_count: u64,
    /// The `xmin` of its rows.
    pub xact_id: String,
    /// The prepared transaction that holds its rows; `None` when they are staged.
    pub gid: Option<String>,
    /// The id of that transaction, with its epoch; `None` as well when a server before version 4 of the ledger
    /// recorded it.
    pub prepared_xact_id: Option<String>,
    /// Whether it was accepted, and another session had ended that transaction without its rows.
    pub lost: bool,
}

/// What a commit publishes.
#[derive(Debug, Default)]
pub struct Decision<'a> {
    /// Rows of the accepted attempts.
    pub row_count: u64,
    /// Their bytes of COPY.
    pub byte_count: u64,
    /// How many they are.
    pub attempt_count: u32,
    /// Those of them that wait as prepared transactions.
    pub gids: &'a [String],
    /// What was special about it.
    pub reason: &'a str,
}

impl Publish {
    /// As the ledger has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Append => "append",
            Self::TwoPhase => "two_phase",
            Self::Truncate => "truncate",
            Self::Delete => "delete",
            Self::Swap => "swap",
            Self::Create => "create",
            Self::Merge => "merge",
            Self::Direct => "direct",
            Self::Nothing => "nothing",
        }
    }

    pub(super) fn parse(text: &str) -> Result<Self> {
        [
            Self::Append,
            Self::TwoPhase,
            Self::Truncate,
            Self::Delete,
            Self::Swap,
            Self::Create,
            Self::Merge,
            Self::Direct,
            Self::Nothing,
        ]
        .into_iter()
        .find(|publish| publish.as_str() == text)
        .ok_or_else(|| {
            Error::internal("the ledger holds a way to publish that this pgflight does not know: a newer one wrote it, and is needed to go on")
        })
    }
}

impl WriteState {
    /// All of them, as they are counted.
    pub(super) const ALL: [Self; 5] = [
        Self::Open,
        Self::Committing,
        Self::Committed,
        Self::Aborted,
        Self::PreparedLost,
    ];

    /// Whether it was decided that its rows are published, and nothing can change that.
    pub fn is_decided(self) -> bool {
        match self {
            Self::Committing | Self::Committed | Self::PreparedLost => true,
            Self::Open | Self::Aborted => false,
        }
    }

    /// As the ledger has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Committing => "committing",
            Self::Committed => "committed",
            Self::Aborted => "aborted",
            Self::PreparedLost => "prepared_lost",
        }
    }

    pub(in crate::pg) fn parse(text: &str) -> Result<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|state| state.as_str() == text).ok_or_else(|| {
            Error::internal("the ledger holds a state that this pgflight does not know: a newer one wrote it, and is needed to go on")
        })
    }
}

/// Of a write, in the order that [`read_write`] takes them in.
pub(super) const WRITE_COLUMNS: &str = "write_id, spec, target_schema, target_name, target_oid, staging_name, publish, state,
    reason, row_count, byte_count, attempt_count, staging_schema, 
    (created_at AT TIME ZONE 'UTC')::pg_catalog.text OPERATOR(pg_catalog.||) 'Z',
    (finished_at AT TIME ZONE 'UTC')::pg_catalog.text OPERATOR(pg_catalog.||) 'Z', columns, principal, staging_oid, staging_columns, driver, sink_id,
    sink_run, sink_batch";

/// A write, of a row with [`WRITE_COLUMNS`].
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
    })
}

/// Of an attempt, in the order that [`read_attempt`] takes them in.
pub(super) const ATTEMPT_COLUMNS: &str =
    "attempt_id, partition_id, row_count, byte_count, xact_id::pg_catalog.text,
    gid, prepared_xact_id::pg_catalog.text, lost";

/// A finished stream, of a row with [`ATTEMPT_COLUMNS`].
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
    }
}

/// PostgreSQL's bigint has no unsigned twin; counts stay far below its end.
pub(super) fn to_bigint(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// The way back.
pub(in crate::pg) fn from_bigint(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0)
}
