//! The specification of a write, in types that can only hold valid combinations.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::auth::WriteMode;
pub use crate::pg::{Changes, DeleteWhen, EnvelopeKind, KeyedAction};
use crate::pg::{Condition, ROW, Rejected, RowCounts, SEQUENCE};
use crate::write::reject::rules::RejectRules;
pub use arrow_pgcopy::Conversion;
use arrow_pgcopy::Ident;
pub use arrow_pgcopy::conversion::{Form, Overflow, Rounding, Unit};
use arrow_pgcopy::table::{TableName, TableOptions};

/// The specification of a write: its table, its mode and its options.
///
/// The ledger stores it as text, where equal text means the same write. Any server reads it back for the next call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriteSpec {
    /// The table.
    pub table: TableName,
    /// The mode.
    pub mode: Mode,
    /// Column names with their SQL types, for a table that the write creates.
    pub column_types: BTreeMap<String, String>,
    /// Column names with the conversions of their values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub conversions: BTreeMap<String, Conversion>,
    /// The handling of columns of the data that the table lacks.
    #[serde(default, skip_serializing_if = "SchemaEvolution::is_default")]
    pub schema_evolution: SchemaEvolution,
    /// Whether the commit advances the table's sequences past the values of the write.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sync_sequences: bool,
    /// The primary key of a table that the write creates; empty for none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub primary_key: Vec<Ident>,
    /// Further options of a table that the write creates.
    #[serde(default, skip_serializing_if = "TableOptions::is_empty")]
    pub table_options: TableOptions,
    /// The statements of the operator, by name, that run before the rows are published, in the same transaction.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub before: Vec<String>,
    /// Those that run after the rows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<String>,
    /// The rules by which rows are rejected; `None` if the first row that cannot be written ends the write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejects: Option<Box<RejectRules>>,
}

impl WriteSpec {
    /// Returns the spec of a write to a table in a mode, with the defaults for everything else.
    pub fn new(table: TableName, mode: Mode) -> Self {
        Self {
            table,
            mode,
            column_types: BTreeMap::new(),
            conversions: BTreeMap::new(),
            schema_evolution: SchemaEvolution::default(),
            sync_sequences: false,
            primary_key: Vec::new(),
            table_options: TableOptions::default(),
            before: Vec::new(),
            after: Vec::new(),
            rejects: None,
        }
    }

    /// Returns whether statements run around the rows. The rows must then become visible in that transaction.
    pub(crate) fn has_statements(&self) -> bool {
        !self.before.is_empty() || !self.after.is_empty()
    }
}

/// The handling of columns of the data that the table lacks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SchemaEvolution {
    /// Rejects the write.
    #[default]
    Refuse,
    /// Adds them to the table, nullable, in the transaction that publishes the rows.
    AddColumns,
    /// Leaves them out.
    Ignore,
}

impl SchemaEvolution {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// The effect of a write on its table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// Adds rows.
    Append {
        /// Creates a missing table instead of rejecting the write.
        create_if_missing: bool,
        /// How the attempts of many partitions get into the table.
        publish: AppendBy,
    },
    /// Creates the table, then adds rows.
    Create {
        /// The handling of a table that exists.
        if_exists: IfExists,
    },
    /// Replaces all rows.
    Overwrite {
        /// The removal of the old rows.
        with: OverwriteWith,
    },
    /// Replaces a part of the rows.
    Replace {
        /// The part.
        part: Part,
    },
    /// Changes rows by their keys.
    Keyed {
        /// The change.
        action: KeyedAction,
        /// The columns that identify a row; empty for the table's primary key.
        keys: Vec<Ident>,
        /// The column that decides between rows with the same keys: the greatest value wins.
        order_by: Option<Ident>,
        /// Creates a missing table, with the keys as its primary key, instead of rejecting the write. Only with keys.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        create_if_missing: bool,
        /// The rules by which an upsert applies changes.
        #[serde(default, skip_serializing_if = "is_without_rules")]
        changes: Box<Changes>,
    },
}

#[expect(clippy::borrowed_box, reason = "serde passes a reference to the field")]
fn is_without_rules(changes: &Box<Changes>) -> bool {
    changes.is_default()
}

impl Mode {
    /// Returns the rules by which an upsert applies changes, if there are any.
    pub(crate) fn changes(&self) -> Option<&Changes> {
        match self {
            Self::Keyed { changes, .. } => Some(changes),
            Self::Append { .. }
            | Self::Create { .. }
            | Self::Overwrite { .. }
            | Self::Replace { .. } => None,
        }
    }

    /// Returns a remark on the result of a write with these counts; empty without one.
    pub(crate) fn remark(&self, counts: RowCounts) -> &'static str {
        let can_bring_back = self.changes().is_some_and(Changes::can_bring_back);
        match can_bring_back && counts.deleted.is_some_and(|deleted| deleted > 0) {
            true => BRINGS_BACK,
            false => "",
        }
    }

    /// Returns the column that says which rows delete, if there is one.
    pub(crate) fn delete_when(&self) -> Option<&DeleteWhen> {
        self.changes()?.delete_when.as_ref()
    }

    /// Returns the columns that order the rows of an envelope; none without one.
    pub(crate) fn orders_of_envelope(&self) -> crate::error::Result<Vec<Ident>> {
        match self.changes().is_some_and(Changes::has_envelope) {
            true => Ok(vec![Ident::new(SEQUENCE)?, Ident::new(ROW)?]),
            false => Ok(Vec::new()),
        }
    }

    /// Returns the mode by its name in grants and in the protocol.
    pub fn write_mode(&self) -> WriteMode {
        match self {
            Self::Append { .. } => WriteMode::Append,
            Self::Create { .. } => WriteMode::Create,
            Self::Overwrite { .. } | Self::Replace { .. } => WriteMode::Overwrite,
            Self::Keyed { action, .. } => match action {
                KeyedAction::Upsert => WriteMode::Upsert,
                KeyedAction::InsertIfAbsent => WriteMode::InsertIfAbsent,
                KeyedAction::UpdateOnly => WriteMode::UpdateOnly,
                KeyedAction::DeleteByKey => WriteMode::DeleteByKey,
            },
        }
    }
}

/// How the attempts of many partitions get into the table in [`Mode::Append`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum AppendBy {
    /// [`AppendBy::TwoPhase`] if the table and the server allow it, and otherwise [`AppendBy::Staging`].
    Best,
    /// The attempts wait in a staging table. The commit copies them from there.
    Staging,
    /// The attempts wait in the table itself, each in a prepared transaction. The commit commits these.
    TwoPhase,
    /// The attempts do not wait: each is visible at once.
    Direct,
}

/// The handling of a table that exists in [`Mode::Create`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum IfExists {
    /// Rejects the write.
    Fail,
    /// Adds the rows to it.
    Append,
    /// Leaves it alone and writes nothing.
    Ignore,
}

/// The remark on a write whose deletes later changes can undo.
pub(crate) const BRINGS_BACK: &str = "rows are deleted for good: a change of such a row that arrives late adds it again; a \
                                     tombstone column prevents that";

/// The rows that [`Mode::Replace`] deletes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Part {
    /// Those that have the values that a row of the data has in these columns, at least one. NULL equals NULL.
    By(Vec<Ident>),
    /// Those for which the condition holds, which must hold for all rows of the data.
    Where(Condition),
}

/// The removal of the old rows in [`Mode::Overwrite`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum OverwriteWith {
    /// TRUNCATE: fast, and readers wait until the commit.
    Truncate,
    /// DELETE: readers continue, and dead rows stay for vacuum.
    Delete,
    /// Another table, filled and indexed beside the old one, replaces it. Readers wait for a moment.
    Swap,
}

/// A write that happens once: its id in the ledger, and the number of its rows, if the client announces it.
#[derive(Debug, Clone)]
pub struct Once {
    /// The ledger's id.
    pub write_id: String,
    /// The number of rows.
    pub rows: Option<u64>,
}

/// The result of a finished stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// Number of rows that were written.
    pub row_count: u64,
    /// Number of bytes of binary COPY that PostgreSQL received.
    pub byte_count: u64,
    /// The table, quoted where SQL needs it.
    pub table: String,
    /// Whether nothing was written, because the table existed and the spec leaves it alone.
    pub skipped: bool,
    /// Numbers of rows that the stream changed; none for an attempt.
    pub counts: RowCounts,
    /// A remark about the result; empty without one.
    pub remark: String,
    /// The rejected rows, which `row_count` does not include. Of an attempt, only their number.
    pub rejected: Rejected,
    /// The write that has the rejected rows of a stream of its own, if there are any.
    pub write_id: String,
}

/// The identity of an attempt: a stream of a partition of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptId {
    /// The write.
    pub write_id: String,
    /// The partition of the write.
    pub partition_id: u32,
    /// The attempt, unique within the write.
    pub attempt_id: String,
}
