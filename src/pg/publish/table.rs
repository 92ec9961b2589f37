//! Whole tables: create, drop, add columns, add keys, remove all rows.

use futures_util::future::join;

use super::shadow::new_shadow_name;
use crate::error::{Error, ErrorKind, Result};
use crate::pg::catalog::{renamed, resolve_requested_types};
use crate::pg::sql;
use crate::pg::transaction::Transaction;
use arrow_pgcopy::schema::ColumnDefinition;
use arrow_pgcopy::table::TableOptions;
use arrow_pgcopy::{Ident, QualifiedName, Relation};

/// Creates a table.
///
/// # Errors
/// The errors of [`resolve_requested_types`]; [`ErrorKind::AlreadyExists`] when the table exists;
/// [`ErrorKind::SchemaMismatch`] for a type, a modifier or an option that PostgreSQL rejects; any other error that
/// PostgreSQL reports.
pub async fn create_table(
    transaction: &Transaction,
    table: &QualifiedName,
    columns: &[ColumnDefinition],
    options: &TableOptions,
) -> Result<()> {
    let mut columns = columns.to_vec();
    resolve_requested_types(transaction, &mut columns, None).await?;
    transaction
        .define(&sql::create_table(table, &columns, options))
        .await
        .map_err(|error| match error.context().sqlstate.clone() {
            // An error about a type, a modifier or an option, and not about a row.
            Some(sqlstate)
                if sqlstate.starts_with("22") || ["42601", "42P16"].contains(&&*sqlstate) =>
            {
                let context = error.context().clone();
                Error::new(
                    ErrorKind::SchemaMismatch,
                    "cannot create the table with these types and options",
                )
                .with_context(|own| *own = context)
                .with_source(error)
            }
            _ => error,
        })
}

/// Drops a table.
///
/// # Errors
/// Any error that PostgreSQL reports.
pub async fn drop_table(transaction: &Transaction, table: &QualifiedName) -> Result<()> {
    transaction.define(&sql::drop_table(table)).await
}

/// Drops a table that this transaction has locked.
///
/// # Errors
/// [`ErrorKind::Conflict`] when the name belonged to another table, since a lock does not prevent a rename of the schema;
/// any error that PostgreSQL reports.
pub async fn drop_locked_table(transaction: &Transaction, table: &Relation) -> Result<()> {
    drop_table(transaction, &table.name).await?;
    let row = transaction.query_one(EXISTS, &[&table.oid]).await?;
    match row.get(0) {
        true => Err(renamed(&table.name)),
        false => Ok(()),
    }
}

const EXISTS: &str = "
    SELECT EXISTS (SELECT FROM pg_catalog.pg_class WHERE oid OPERATOR(pg_catalog.=) $1)";

/// Returns the SQL of [`create_table`].
pub fn create_table_statement(
    table: &QualifiedName,
    columns: &[ColumnDefinition],
    options: &TableOptions,
) -> String {
    sql::create_table(table, columns, options)
}

/// Adds columns to a table. Columns that another session has added are left as they are. Locks readers and writers out
/// until the transaction ends, if there are columns to add.
///
/// # Errors
/// The errors of [`resolve_requested_types`]; [`ErrorKind::PermissionDenied`] when the current role does not own the
/// table; any other error that PostgreSQL reports.
pub async fn add_columns(
    transaction: &Transaction,
    table: &QualifiedName,
    table_oid: u32,
    columns: &[ColumnDefinition],
) -> Result<()> {
    let in_table = |error: Error| error.with_table(table);
    let mut columns = columns.to_vec();
    let resolved = resolve_requested_types(transaction, &mut columns, Some(table_oid)).await;
    resolved.map_err(in_table)?;
    let Some(statement) = sql::add_columns(table, &columns) else {
        return Ok(());
    };
    let added = transaction.define_on_rows(&statement).await;
    added.map_err(in_table)
}

/// Returns the SQL of [`add_columns`]; `None` without columns.
pub fn add_columns_statement(
    table: &QualifiedName,
    columns: &[ColumnDefinition],
) -> Option<String> {
    sql::add_columns(table, columns)
}

/// Adds the primary key of a filled table. Does nothing without columns.
///
/// # Errors
/// Any error that PostgreSQL reports for the rows or for the types of the columns.
pub async fn add_primary_key(
    transaction: &Transaction,
    table: &QualifiedName,
    keys: &[Ident],
) -> Result<()> {
    let Some(statement) = sql::add_primary_key(table, keys) else {
        return Ok(());
    };
    transaction
        .define(&statement)
        .await
        .map_err(|error| error.with_table(table))
}

/// Returns the SQL of [`add_primary_key`]; `None` without columns.
pub fn add_primary_key_statement(table: &QualifiedName, keys: &[Ident]) -> Option<String> {
    sql::add_primary_key(table, keys)
}

/// Checks on an empty table that its columns can be a primary key. The key is added when the table is filled: until
/// then it also holds rows of attempts that will not be accepted.
///
/// # Errors
/// Any error that PostgreSQL reports for the types of the columns.
pub async fn check_primary_key(
    transaction: &Transaction,
    table: &QualifiedName,
    keys: &[Ident],
) -> Result<()> {
    if keys.is_empty() {
        return Ok(());
    }
    // Another session may have taken any fixed name.
    let name = new_shadow_name(table)?.name;
    transaction
        .define(&sql::try_primary_key(table, &name, keys))
        .await
}

/// Returns the columns of a staging table that its target lacks, with their types and NOT NULL. Without a target: all.
///
/// # Errors
/// Any error that PostgreSQL reports.
pub async fn missing_columns(
    transaction: &Transaction,
    target_oid: Option<u32>,
    staging: &Relation,
) -> Result<Vec<ColumnDefinition>> {
    let rows = transaction
        .query(
            "SELECT s.attname::pg_catalog.text, pg_catalog.format_type(s.atttypid, s.atttypmod), s.attnotnull
             FROM pg_catalog.pg_attribute s
             WHERE s.attrelid OPERATOR(pg_catalog.=) $1 AND s.attnum OPERATOR(pg_catalog.>) 0
               AND NOT s.attisdropped
               AND NOT EXISTS (SELECT FROM pg_catalog.pg_attribute t
                               WHERE t.attrelid OPERATOR(pg_catalog.=) $2
                                 AND t.attname OPERATOR(pg_catalog.=) s.attname AND NOT t.attisdropped)
             ORDER BY s.attnum",
            &[&staging.oid, &target_oid],
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

/// Removes all rows by TRUNCATE. Locks readers and writers out until the transaction ends.
///
/// # Errors
/// [`ErrorKind::PermissionDenied`] without the privilege; [`ErrorKind::Unsupported`] when a foreign key points to the
/// table; any other error that PostgreSQL reports.
pub async fn truncate(transaction: &Transaction, table: &QualifiedName) -> Result<()> {
    let statement = sql::truncate(table);
    // Renews the role first if earlier code may have changed it. Otherwise the statement would do so, after the second
    // renewal is sent.
    transaction.renew_role().await?;
    let truncating = transaction.execute_all_on_rows(&statement);
    let (truncated, renewed) = join(truncating, transaction.renew_role()).await;
    truncated
        .and(renewed)
        .map_err(|error| error.with_table(table))
}

/// Returns the number of rows of a table.
///
/// # Errors
/// Any error that PostgreSQL reports.
pub async fn count_rows(transaction: &Transaction, table: &QualifiedName) -> Result<i64> {
    let rows = transaction
        .query_on_rows(&sql::count_rows(table), &[])
        .await;
    let rows = rows.map_err(|error| error.with_table(table))?;
    let row = rows.first();
    row.map(|row| row.get(0))
        .ok_or_else(|| Error::internal("PostgreSQL returned no count"))
}

/// Removes all rows by DELETE, without locking readers out. Returns their number.
///
/// # Errors
/// Any error that PostgreSQL reports.
pub async fn delete_all(transaction: &Transaction, table: &QualifiedName) -> Result<u64> {
    transaction
        .execute_on_rows(&sql::delete_all(table), &[])
        .await
        .map_err(|error| error.with_table(table))
}
