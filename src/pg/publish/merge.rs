//! Keyed modes: staged rows change the rows of the target with the same keys.

use futures_util::future::join;

use super::staging::{cast_failed, check_casts};
use crate::error::{Error, Result};
use crate::pg::ledger::{RowCounts, from_bigint};
use crate::pg::sql::{self, Insert, KeyedAction, Keys, Merge, NewRows};
use crate::pg::transaction::{Parameter, Transaction};

/// Checks the keys of the staged rows, and changes the target. Returns the numbers of changed rows.
///
/// # Errors
/// [`ErrorKind::DataRejected`](crate::error::ErrorKind::DataRejected) for a NULL in a key, and for several rows with
/// the same keys if no order decides between them; any error that PostgreSQL reports for the rows.
pub async fn merge(transaction: &Transaction, merge: &Merge<'_>) -> Result<RowCounts> {
    let in_target = |error: Error| error.with_table(&merge.target.name);
    check_casts(transaction, merge.target, merge.staging).await?;
    let checking = check_rows(transaction, merge);
    let (checked, renewed) = join(checking, transaction.renew_role()).await;
    let Checked {
        total,
        has_nulls,
        new_rows,
    } = checked.map_err(in_target)?;
    renewed.map_err(in_target)?;
    // An index serves the comparison that NULL is equal to nothing better.
    let compared = &Keys {
        nulls_are_equal: has_nulls,
        ..merge.compared.clone()
    };
    let merge = &Merge { compared, ..*merge };
    let explained = |error: Error| in_target(cast_failed(error, merge.target, merge.staging));
    let changed = match merge.action {
        KeyedAction::Upsert | KeyedAction::InsertIfAbsent => {
            upsert(transaction, merge, new_rows).await
        }
        KeyedAction::UpdateOnly | KeyedAction::DeleteByKey => {
            let statement = sql::change(merge);
            let parameters: [&dyn Parameter; 1] = [&merge.xact_ids];
            let changing = transaction.execute_on_rows(&statement, &parameters);
            changing.await.map(|count| match merge.action {
                KeyedAction::DeleteByKey => RowCounts {
                    deleted: Some(count),
                    ..RowCounts::default()
                },
                KeyedAction::Upsert | KeyedAction::InsertIfAbsent | KeyedAction::UpdateOnly => {
                    RowCounts {
                        updated: Some(count),
                        ..RowCounts::default()
                    }
                }
            })
        }
    };
    let counts = changed.map_err(explained)?;
    // One row of the data may change several rows if the keys are not unique.
    let is_known = merge.compared.has_unique_index;
    let changed: u64 = counts.named().iter().map(|(_, count)| count).sum();
    Ok(RowCounts {
        ignored: is_known.then(|| total.saturating_sub(changed)),
        ..hide_unknown(counts, merge.action, new_rows)
    })
}

/// Deletes, inserts and updates rows as the changes say.
async fn upsert(
    transaction: &Transaction,
    merge: &Merge<'_>,
    new_rows: NewRows,
) -> Result<RowCounts> {
    let mut counts = RowCounts::default();
    let parameters: [&dyn Parameter; 1] = [&merge.xact_ids];
    if let Some(statement) = sql::delete_changed(merge) {
        counts.deleted = Some(transaction.execute_on_rows(&statement, &parameters).await?);
    }
    match sql::insert(merge, new_rows) {
        Insert::Adds(statement) => {
            counts.inserted = Some(transaction.execute_on_rows(&statement, &parameters).await?);
        }
        Insert::Changes(statement) => {
            let rows = transaction.query_on_rows(&statement, &parameters).await?;
            let count = |index: usize| rows.first().map(|row| from_bigint(row.get(index)));
            counts.inserted = count(0);
            counts.updated = count(1);
            if merge.changes.tombstone.is_some() {
                counts.deleted = count(2);
            }
        }
    }
    Ok(counts)
}

/// Hides the numbers of inserted and of updated rows where PostgreSQL returns only their sum.
fn hide_unknown(counts: RowCounts, action: KeyedAction, new_rows: NewRows) -> RowCounts {
    if action != KeyedAction::Upsert || new_rows != NewRows::AreUnknown {
        return counts;
    }
    RowCounts {
        inserted: None,
        updated: None,
        ..counts
    }
}

/// What is known of the staged rows before they are merged.
struct Checked {
    /// The number of all rows.
    total: u64,
    /// Whether a key is NULL.
    has_nulls: bool,
    /// How new rows of the target are recognised.
    new_rows: NewRows,
}

/// Rejects NULL keys if NULL identifies no row, and several rows with the same keys if no order decides between them.
async fn check_rows(transaction: &Transaction, merge: &Merge<'_>) -> Result<Checked> {
    let rejected = |message: String, hint, sqlstate: &str| {
        Err(Error::data_rejected(message)
            .with_hint(hint)
            .with_context(|context| context.sqlstate = Some(sqlstate.to_owned())))
    };
    let is_settled = merge.order_by.is_some() || merge.changes.has_envelope();
    let statement = sql::count_bad_keys(&merge.staging.name, merge.compared, is_settled);
    let row = transaction
        .query_one(&statement, &[&merge.xact_ids, &merge.target.oid])
        .await?;
    let (nulls, doubled): (i64, i64) = (row.get(0), row.get(1));
    let nulls_are_equal = merge.compared.nulls_are_equal;
    if nulls > 0 && !nulls_are_equal {
        return rejected(
            format!("{nulls} row(s) have NULL in a key column"),
            "remove such rows before writing, or choose other keys: only a unique index with NULLS NOT DISTINCT \
             identifies rows by NULL",
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
    let is_partitioned = row.get::<_, Option<bool>>(4).unwrap_or(false);
    // System columns can be read with the privilege on the whole table alone.
    let is_hidden: bool = row.get(5);
    let new_rows = match (row.get(3), nulls_are_equal) {
        (true, false) => NewRows::HaveNoOld,
        (true, true) if !is_hidden => NewRows::HaveNoOldPlace,
        (false, _) if !is_hidden && !is_partitioned => NewRows::HaveNoXmax,
        (true | false, _) => NewRows::AreUnknown,
    };
    Ok(Checked {
        total: from_bigint(row.get(2)),
        has_nulls: nulls > 0,
        new_rows,
    })
}
