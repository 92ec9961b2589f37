//! What a write is, in types that can only hold valid combinations.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::auth::WriteMode;
pub use crate::pg::KeyedAction;
pub use arrow_pgcopy::Conversion;
use arrow_pgcopy::Ident;
pub use arrow_pgcopy::conversion::{Form, Overflow, Rounding, Unit};
use arrow_pgcopy::table::{TableName, TableOptions};

/// Where rows go and how.
///
/// Serialized into the ledger, where equal text means the same write, and read back by whichever
/// server takes the next call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriteSpec {
    /// The table.
    pub table: TableName,
    /// What happens to it.
    pub mode: Mode,
    /// Column name to SQL type, for when the table is made.
    pub column_types: BTreeMap<String, String>,
    /// Column name to what may be changed in its values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub conversions: BTreeMap<String, Conversion>,
    /// What happens to columns of the data that the table lacks.
    #[serde(default, skip_serializing_if = "SchemaEvolution::is_default")]
    pub schema_evolution: SchemaEvolution,
    /// Whether the table's sequences are moved on to the values that the write brought.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sync_sequences: bool,
    /// The primary key of a table that the write makes; none when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub primary_key: Vec<Ident>,
    /// What else is said of a table that the write makes.
    #[serde(default, skip_serializing_if = "TableOptions::is_empty")]
    pub table_options: TableOptions,
}

/// What happens to columns of the data that the table lacks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SchemaEvolution {
    /// The write is refused.
    #[default]
    Refuse,
    /// They are added to the table, nullable, in the transaction that publishes the rows.
    AddColumns,
    /// They are left out.
    Ignore,
}

impl SchemaEvolution {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// What a write does with its table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// Add rows.
    Append {
        /// Make the table when it is missing instead of refusing.
        create_if_missing: bool,
        /// How the attempts of many partitions reach the table.
        publish: AppendBy,
    },
    /// Make the table, then add rows.
    Create {
        /// What to do when it is there.
        if_exists: IfExists,
    },
    /// Replace all rows.
    Overwrite {
        /// How the old ones go.
        with: OverwriteWith,
    },
    /// Change rows by their keys.
    Keyed {
        /// What happens to them.
        action: KeyedAction,
        /// The columns that identify a row, at least one.
        keys: Vec<Ident>,
        /// Settles which of several rows with the same keys counts: the greatest.
        order_by: Option<Ident>,
        /// Make the table when it is missing, with the keys as its primary key, instead of refusing.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        create_if_missing: bool,
    },
}

impl Mode {
    /// The mode as grants name it, and the protocol.
    pub fn write_mode(&self) -> WriteMode {
        match self {
            Self::Append { .. } => WriteMode::Append,
            Self::Create { .. } => WriteMode::Create,
            Self::Overwrite { .. } => WriteMode::Overwrite,
            Self::Keyed { action, .. } => match action {
                KeyedAction::Upsert => WriteMode::Upsert,
                KeyedAction::InsertIfAbsent => WriteMode::InsertIfAbsent,
                KeyedAction::UpdateOnly => WriteMode::UpdateOnly,
                KeyedAction::DeleteByKey => WriteMode::DeleteByKey,
            },
        }
    }
}

/// How the attempts of many partitions reach the table in [`Mode::Append`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum AppendBy {
    /// [`AppendBy::TwoPhase`] where the table and the server allow it, else [`AppendBy::Staging`].
    Best,
    /// They wait in a staging table, from which the commit copies.
    Staging,
    /// They wait in the table itself, each in a prepared transaction that the commit commits.
    TwoPhase,
    /// They do not wait: each is visible by itself.
    Direct,
}

/// What [`Mode::Create`] does when the table is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum IfExists {
    /// Refuses.
    Fail,
    /// Adds the rows to it.
    Append,
    /// Leaves it alone and writes nothing.
    Ignore,
}

/// How the old rows go in [`Mode::Overwrite`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum OverwriteWith {
    /// TRUNCATE: fast, locks readers out until the commit.
    Truncate,
    /// DELETE: readers go on, dead rows stay for vacuum.
    Delete,
    /// Another table, filled and indexed beside it, takes its place: readers wait for a moment.
    Swap,
}

/// What a finished stream returns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// Rows that the stream carried.
    pub row_count: u64,
    /// Bytes of binary COPY that PostgreSQL received.
    pub byte_count: u64,
    /// The table, quoted where SQL needs it.
    pub table: String,
    /// The table was there and was to be left alone: nothing was written.
    pub skipped: bool,
}

/// Which stream of which partition of which write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptId {
    /// The write.
    pub write_id: String,
    /// Which part of it.
    pub partition_id: u32,
    /// Unique within the write.
    pub attempt_id: String,
}
