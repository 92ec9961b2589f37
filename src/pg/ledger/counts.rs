//! Numbers of rows: those that a write changed, by what happened to them.

use tokio_postgres::Row;

/// The numbers of rows that a write changed. `None` where the write does not do this, or does not count it, as TRUNCATE
/// does not count the rows that it removes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RowCounts {
    /// Rows that are new in the table.
    pub inserted: Option<u64>,
    /// Rows that existed and have new values.
    pub updated: Option<u64>,
    /// Rows that were deleted because the data says so.
    pub deleted: Option<u64>,
    /// Rows that were deleted to make room for the data.
    pub replaced: Option<u64>,
    /// Rows of the data that changed nothing.
    pub ignored: Option<u64>,
}

impl RowCounts {
    /// Reads the counts from a row, where they begin at this column: inserted, updated, deleted,
    /// replaced, ignored.
    pub(super) fn read(row: &Row, first: usize) -> Self {
        let count = |index: usize| row.get::<_, Option<i64>>(first + index).map(from_bigint);
        Self {
            inserted: count(0),
            updated: count(1),
            deleted: count(2),
            replaced: count(3),
            ignored: count(4),
        }
    }

    /// Returns the counts as the ledger keeps them, in the order of [`RowCounts::read`].
    pub(super) fn to_bigints(self) -> [Option<i64>; 5] {
        let Self {
            inserted,
            updated,
            deleted,
            replaced,
            ignored,
        } = self;
        [inserted, updated, deleted, replaced, ignored].map(|count| count.map(to_bigint))
    }

    /// Returns the counts that exist, with their names.
    pub fn named(self) -> Vec<(&'static str, u64)> {
        let counts = [
            ("inserted", self.inserted),
            ("updated", self.updated),
            ("deleted", self.deleted),
            ("replaced", self.replaced),
            ("ignored", self.ignored),
        ];
        let found = counts.into_iter();
        found
            .filter_map(|(name, count)| count.map(|count| (name, count)))
            .collect()
    }
}

/// Converts a count for PostgreSQL, which has no unsigned bigint. Counts stay far below its limit.
pub(super) fn to_bigint(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Converts a count of PostgreSQL.
pub(in crate::pg) fn from_bigint(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0)
}
