//! The rules by which an upsert applies changes.

use serde::{Deserialize, Serialize};

use super::condition::quoted;
use super::list::list;
use super::null::{is_not_null, is_null};
use arrow_pgcopy::Ident;

/// The rules by which an upsert applies changes. By default each row replaces that of the target.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    /// The column of the data that says which rows delete.
    pub delete_when: Option<DeleteWhen>,
    /// The column of the table that decides between a row of the data and that of the target: the greater value wins,
    /// and the target's row stays if they are equal.
    pub newer_by: Option<Ident>,
    /// The column of the table that a delete sets, instead of deleting the row.
    pub tombstone: Option<Ident>,
    /// The columns that are set in rows that exist; empty for all.
    pub update_columns: Vec<Ident>,
    /// The columns that are set in new rows; empty for all.
    pub insert_columns: Vec<Ident>,
    /// The envelope of the data. Then [`DELETED`] says which rows delete, and [`SEQUENCE`] and [`ROW`] order them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub envelope: Option<EnvelopeKind>,
}

/// A message around each row of the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum EnvelopeKind {
    /// `before`, `after`, `op` and `source` or `ts_ms`.
    Debezium,
}

/// The columns that the server makes of an envelope. They are staged and not written: whether a row deletes, the number
/// by which changes are ordered, and the number of the row in its stream.
pub const DELETED: &str = "_pgflight_deleted";
/// See [`DELETED`].
pub const SEQUENCE: &str = "_pgflight_sequence";
/// See [`DELETED`].
pub const ROW: &str = "_pgflight_row";

/// The column of the data that says which rows delete. It is not written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteWhen {
    /// The column.
    pub column: Ident,
    /// Its values that delete, as text; empty for a boolean column.
    pub values: Vec<String>,
}

/// The comparison of `newer_by`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::pg) struct Newer {
    pub(in crate::pg) column: Ident,
    /// The operator "less than", with its schema.
    pub(in crate::pg) less: String,
    /// The type that it takes, with its schema.
    pub(in crate::pg) operand: String,
}

impl Changes {
    /// Returns whether these are no rules.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Returns whether the rows come in an envelope, which orders them.
    pub fn has_envelope(&self) -> bool {
        self.envelope.is_some()
    }

    /// Returns whether rows are deleted, and not only marked.
    pub fn deletes(&self) -> bool {
        self.delete_when.is_some() && self.tombstone.is_none()
    }

    /// Returns whether a delete of these changes can be undone by a change that arrives late.
    pub fn can_bring_back(&self) -> bool {
        self.deletes() && self.newer_by.is_some()
    }
}

impl DeleteWhen {
    /// Returns an expression that is true for rows that delete, and false for others.
    pub(super) fn holds(&self) -> String {
        let column = &self.column;
        if self.values.is_empty() {
            return format!("COALESCE({column}, false)");
        }
        let values = self.values.iter();
        let values = list(values.map(|value| format!("{}::pg_catalog.text", quoted(value))));
        format!(
            "COALESCE({column}::pg_catalog.text OPERATOR(pg_catalog.=) ANY (ARRAY[{values}]), false)"
        )
    }
}

impl Newer {
    /// Returns the condition that the right row is newer. NULL is the least value.
    pub(super) fn between(&self, left: &str, right: &str) -> String {
        let Self {
            column,
            less,
            operand,
        } = self;
        let is_first = is_null(format!("{left}.{column}"));
        let is_set = is_not_null(format!("{right}.{column}"));
        format!(
            "({left}.{column}::{operand} {less} {right}.{column}::{operand} OR {is_first} AND {is_set})"
        )
    }
}
