//! Whole tables: made, emptied, named in full.

use super::catalog::current_schema;
use super::sql;
use super::transaction::Transaction;
use crate::error::Result;
use crate::plan::ddl::ColumnDefinition;
use crate::plan::{Ident, QualifiedName, TableName};

/// Makes a table.
///
/// # Errors
/// [`ErrorKind::AlreadyExists`](crate::error::ErrorKind::AlreadyExists) when it is there, else
/// what PostgreSQL said.
pub async fn create_table(
    transaction: &Transaction,
    table: &QualifiedName,
    columns: &[ColumnDefinition],
) -> Result<()> {
    transaction
        .execute_all(&sql::create_table(table, columns))
        .await
}

/// The SQL that [`create_table`] runs.
pub fn create_table_statement(table: &QualifiedName, columns: &[ColumnDefinition]) -> String {
    sql::create_table(table, columns)
}

/// Removes all rows and keeps the table, its grants, indexes and views. Locks everybody out
/// until the transaction ends.
///
/// # Errors
/// What PostgreSQL said: no right to, or a foreign key that points here.
pub async fn truncate(transaction: &Transaction, table: &QualifiedName) -> Result<()> {
    transaction
        .execute_all(&sql::truncate(table))
        .await
        .map_err(|error| error.with_table(table))
}

/// Removes all rows without locking readers out.
///
/// # Errors
/// What PostgreSQL said.
pub async fn delete_all(transaction: &Transaction, table: &QualifiedName) -> Result<()> {
    transaction
        .execute_all(&sql::delete_all(table))
        .await
        .map_err(|error| error.with_table(table))
}

/// The full name that a new table would get.
///
/// # Errors
/// [`ErrorKind::NotFound`](crate::error::ErrorKind::NotFound) when no schema was named and the
/// search_path has none.
pub async fn qualify(transaction: &Transaction, table: &TableName) -> Result<QualifiedName> {
    let schema: Ident = match &table.schema {
        Some(schema) => schema.clone(),
        None => current_schema(transaction).await?,
    };
    Ok(QualifiedName {
        schema,
        name: table.name.clone(),
    })
}
