//! Keyed modes: staged rows change the rows of the target with the same keys.

use futures_util::future::join;

use super::staging::{cast_failed, check_casts};
use crate::error::{Error, Result};
use crate::pg::sql::{self, Merge};
use crate::pg::transaction::Transaction;

/// Checks the keys of the staged rows, and changes the target. Returns the number of changed rows.
///
/// # Errors
/// [`ErrorKind::DataRejected`](crate::error::ErrorKind::DataRejected) for a NULL in a key, and for several rows with
/// the same keys if no order decides between them; any error that PostgreSQL reports for the rows.
pub async fn merge(transaction: &Transaction, merge: &Merge<'_>) -> Result<u64> {
    let in_target = |error: Error| error.with_table(&merge.target.name);
    check_casts(transaction, merge.target, merge.staging).await?;
    let checking = check_rows(transaction, merge);
    let (checked, renewed) = join(checking, transaction.renew_role()).await;
    checked.and(renewed).map_err(in_target)?;
    let statement = sql::merge(merge);
    transaction
        .execute_on_rows(&statement, &[&merge.xact_ids])
        .await
        .map_err(|error| in_target(cast_failed(error, merge.target, merge.staging)))
}

/// Rejects NULL keys, and several rows with the same keys if no order decides between them.
async fn check_rows(transaction: &Transaction, merge: &Merge<'_>) -> Result<()> {
    let rejected = |message: String, hint, sqlstate: &str| {
        Err(Error::data_rejected(message)
            .with_hint(hint)
            .with_context(|context| context.sqlstate = Some(sqlstate.to_owned())))
    };
    let is_settled = merge.order_by.is_some();
    let statement = sql::count_bad_keys(&merge.staging.name, merge.compared, is_settled);
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
