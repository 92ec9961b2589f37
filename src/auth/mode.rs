//! The modes of writes.

use std::fmt;

use serde::Deserialize;

/// A mode of a write, named as in the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WriteMode {
    /// Adds rows.
    Append,
    /// Creates the table, or adds columns to it.
    Create,
    /// Replaces all rows.
    Overwrite,
    /// Updates or inserts rows by key.
    Upsert,
    /// Inserts rows whose keys are not in the table.
    InsertIfAbsent,
    /// Updates rows by key.
    UpdateOnly,
    /// Deletes rows by key.
    DeleteByKey,
}

impl WriteMode {
    /// All modes.
    pub const ALL: [Self; 7] = [
        Self::Append,
        Self::Create,
        Self::Overwrite,
        Self::Upsert,
        Self::InsertIfAbsent,
        Self::UpdateOnly,
        Self::DeleteByKey,
    ];
}

impl fmt::Display for WriteMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Append => "append",
            Self::Create => "create",
            Self::Overwrite => "overwrite",
            Self::Upsert => "upsert",
            Self::InsertIfAbsent => "insert_if_absent",
            Self::UpdateOnly => "update_only",
            Self::DeleteByKey => "delete_by_key",
        })
    }
}
