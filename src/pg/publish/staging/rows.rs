//! Publishes staged rows.

use crate::error::{Error, Result};
use crate::pg::catalog::check_named;
use crate::pg::sql;
use crate::pg::transaction::Transaction;
use arrow_pgcopy::{QualifiedName, Relation};

/// Inserts the rows of the accepted attempts into the target. Returns the number of rows that PostgreSQL inserted,
/// which triggers and rules may change.
///
/// # Errors
/// The errors of [`check_named`] for casts; any error that PostgreSQL reports for the rows.
pub async fn publish_rows(
    transaction: &Transaction,
    target: &Relation,
    staging: &Relation,
    xact_ids: &[String],
) -> Result<u64> {
    if staging.columns.is_empty() {
        // INSERT allows no empty list of columns.
        return Ok(0);
    }
    check_casts(transaction, target, staging).await?;
    transaction
        .execute_on_rows(&sql::publish(target, staging), &[&xact_ids])
        .await
        .map_err(|error| cast_failed(error, target, staging).with_table(&target.name))
}

/// Checks that the types that staged text is cast to keep their names.
pub(in crate::pg) async fn check_casts(
    transaction: &Transaction,
    target: &Relation,
    staging: &Relation,
) -> Result<()> {
    let types: Vec<u32> = sql::casts(target, staging)
        .map(|column| column.ty.oid)
        .collect();
    check_named(transaction, target, &[], &types).await
}

/// Explains an error of a cast from staging. The input functions of types quote the text that they cannot parse, and
/// many use a SQLSTATE of something else: for text that names no table, `regclass` reports a missing table.
pub(in crate::pg) fn cast_failed(error: Error, target: &Relation, staging: &Relation) -> Error {
    let casts = sql::casts(target, staging);
    let casts: Vec<String> = casts
        .map(|column| format!("{}::{}", column.name, column.ty.name))
        .collect();
    let sqlstate = error.context().sqlstate.clone().unwrap_or_default();
    let message = match sqlstate.get(..2) {
        _ if casts.is_empty() => return error,
        // Errors of the connection, of other sessions, of constraints and of triggers.
        None | Some("08" | "23" | "40" | "44" | "53" | "55" | "57" | "P0") => return error,
        // The quoted value has been removed.
        Some("22") => error.to_string(),
        Some(_) => "a string is not valid for the type of its column".to_owned(),
    };
    Error::data_rejected(message)
        .with_hint(format!("look at the values for {}", casts.join(", ")))
        .with_context(|context| context.sqlstate = Some(sqlstate))
}

/// Counts the rows of the accepted attempts in a staging table. After a crash of PostgreSQL there are fewer than
/// recorded, since the table is not logged.
///
/// # Errors
/// Any error that PostgreSQL reports.
pub async fn accepted_row_count(
    transaction: &Transaction,
    staging: &QualifiedName,
    xact_ids: &[String],
) -> Result<u64> {
    let row = transaction
        .query_one(&sql::count_accepted(staging), &[&xact_ids])
        .await?;
    Ok(u64::try_from(row.get::<_, i64>(0)).unwrap_or(0))
}
