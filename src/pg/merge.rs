//! Keyed modes: staged rows change the rows of the target that have the same keys.

use serde::{Deserialize, Serialize};

use super::keys::Keys;
use super::sql;
use super::staging::cast_failed;
use super::transaction::Transaction;
use crate::error::{Error, Result};
use crate::plan::{Ident, Relation};

/// What happens to the rows with the keys of the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeyedAction {
    /// Replaced, or added when missing.
    Upsert,
    /// Added when missing, else left alone.
    InsertIfAbsent,
    /// Replaced, else ignored.
    UpdateOnly,
    /// Removed.
    DeleteByKey,
}

/// Rows in a staging table, and how they change the target.
pub struct Merge<'a> {
    /// The target.
    pub target: &'a Relation,
    /// Where the rows are; its columns are those of the data.
    pub staging: &'a Relation,
    /// The transactions that wrote the rows that count, as their `xmin` has them.
    pub xact_ids: &'a [String],
    /// What happens.
    pub action: KeyedAction,
    /// The columns that identify a row.
    pub keys: &'a [Ident],
    /// How they are compared.
    pub compared: &'a Keys,
    /// Which of several rows with the same keys counts.
    pub order_by: Option<&'a Ident>,
}

impl KeyedAction {
    /// Whether it needs a unique index on the keys: what ON CONFLICT is settled by.
    pub fn needs_unique_index(self) -> bool {
        match self {
            Self::Upsert | Self::InsertIfAbsent => true,
            Self::UpdateOnly | Self::DeleteByKey => false,
        }
    }
}

/// Refuses NULL keys, and several rows with the same keys unless an order settles them; then changes
/// the target.
///
/// # Errors
/// [`ErrorKind::DataRejected`](crate::error::ErrorKind::DataRejected) for such rows, else what
/// PostgreSQL has against them.
pub async fn merge(transaction: &Transaction, merge: &Merge<'_>) -> Result<u64> {
    let in_target = |error: Error| error.with_table(&merge.target.name);
    check_rows(transaction, merge).await.map_err(in_target)?;
    let statement = sql::merge(merge, &merge.compared.equalities);
    transaction
        .execute_on_rows(&statement, &[&merge.xact_ids])
        .await
        .map_err(|error| in_target(cast_failed(error, merge.target, merge.staging)))
}

/// Refuses NULL keys, and several rows with the same keys unless an order settles them.
async fn check_rows(transaction: &Transaction, merge: &Merge<'_>) -> Result<()> {
    let rejected = |message: String, hint, sqlstate: &str| {
        Err(Error::data_rejected(message)
            .with_hint(hint)
            .with_context(|context| context.sqlstate = Some(sqlstate.to_owned())))
    };
    let is_unique = merge.order_by.is_some();
    let statement = sql::count_bad_keys(&merge.staging.name, merge.keys, is_unique);
    let row = transaction
        .query_one(&statement, &[&merge.xact_ids])
        .await?;
    let (nulls, doubled): (i64, i64) = (row.get(0), row.get(1));
    if nulls > 0 {
        return rejected(
            format!("{nulls} row(s) have NULL in a key column"),
            "remove such rows before writing, or choose other keys",
            "23502",
        );
    }
    if doubled > 0 {
        return rejected(
            format!("{doubled} key(s) come more than once in the data"),
            "make the keys unique, or name a column in order_by: the row with its greatest value counts",
            "21000",
        );
    }
    Ok(())
}
