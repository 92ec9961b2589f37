//! Staging tables: where the attempts of a write wait for its commit.

use uuid::Uuid;

use super::ledger::SCHEMA;
use super::sql;
use super::transaction::Transaction;
use crate::error::Result;
use crate::plan::ddl::ColumnDefinition;
use crate::plan::{Ident, QualifiedName, Relation};

/// A name for a new staging table, never used before.
///
/// # Errors
/// None in practice: the name is always one that PostgreSQL can hold.
pub fn new_staging_name() -> Result<QualifiedName> {
    Ok(QualifiedName {
        schema: Ident::new(SCHEMA)?,
        name: Ident::new(format!("staging_{}", Uuid::new_v4().simple()))?,
    })
}

/// Definitions of these columns as the target has them, without defaults: type and NOT NULL.
///
/// # Errors
/// What PostgreSQL said.
pub async fn definitions_of<'a>(
    transaction: &Transaction,
    target: &Relation,
    columns: impl IntoIterator<Item = &'a Ident>,
) -> Result<Vec<ColumnDefinition>> {
    let names: Vec<&str> = columns.into_iter().map(Ident::as_str).collect();
    let rows = transaction
        .query(
            "SELECT attname::text, pg_catalog.format_type(atttypid, atttypmod), attnotnull
             FROM pg_catalog.pg_attribute
             WHERE attrelid = $1 AND attnum > 0 AND attname = ANY($2::text[])
             ORDER BY attnum",
            &[&target.oid, &names],
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok(ColumnDefinition {
                name: Ident::new(row.get::<_, String>(0))?,
                sql_type: row.get(1),
                not_null: row.get(2),
            })
        })
        .collect()
}

/// Makes the staging table of a write.
///
/// # Errors
/// What PostgreSQL said.
pub async fn create_staging(
    transaction: &Transaction,
    staging: &QualifiedName,
    columns: &[ColumnDefinition],
) -> Result<()> {
    transaction
        .execute_all(&sql::create_staging(staging, columns))
        .await
}

/// Drops a staging table; waits no longer than the transaction's `lock_timeout` for a stream that
/// still copies into it.
///
/// # Errors
/// What PostgreSQL said.
pub async fn drop_staging(transaction: &Transaction, staging: &QualifiedName) -> Result<()> {
    transaction.execute_all(&sql::drop_table(staging)).await
}

/// Copies the rows that the accepted attempts staged into the target; returns how many the target
/// took, which triggers and rules may change.
///
/// # Errors
/// What PostgreSQL has against the rows.
pub async fn publish_rows(
    transaction: &Transaction,
    target: &Relation,
    staging: &Relation,
    xact_ids: &[String],
) -> Result<u64> {
    let names = || staging.columns.iter().map(|column| &column.name);
    let overriding = target
        .columns
        .iter()
        .any(|column| column.identity_always && names().any(|name| *name == column.name));
    let statement = sql::publish(&target.name, &staging.name, names(), overriding);
    transaction
        .execute(&statement, &[&xact_ids])
        .await
        .map_err(|error| error.with_table(&target.name))
}

/// Rows of the accepted attempts that are in the staging table: fewer than recorded when PostgreSQL
/// crashed in between, since staging is not logged.
///
/// # Errors
/// What PostgreSQL said.
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
