//! Every SQL text that holds a name: built here alone, from checked names.

use std::fmt::Display;

use super::catalog::TableLock;
use crate::plan::ddl::ColumnDefinition;
use crate::plan::{Ident, QualifiedName};

/// A list of names, quoted: `a, "B"`.
fn list<T: Display>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    items.join(", ")
}

pub(super) fn lock_table(table: &QualifiedName, lock: TableLock) -> String {
    let mode = match lock {
        TableLock::Insert => "ROW EXCLUSIVE",
        TableLock::Replace => "SHARE ROW EXCLUSIVE",
        TableLock::Truncate => "ACCESS EXCLUSIVE",
    };
    format!("LOCK TABLE ONLY {table} IN {mode} MODE")
}

pub(super) fn copy_in<'a>(
    table: &QualifiedName,
    columns: impl IntoIterator<Item = &'a Ident>,
) -> String {
    format!(
        "COPY {table} ({}) FROM STDIN (FORMAT binary)",
        list(columns)
    )
}

pub(super) fn truncate(table: &QualifiedName) -> String {
    format!("TRUNCATE TABLE {table}")
}

pub(super) fn delete_all(table: &QualifiedName) -> String {
    format!("DELETE FROM {table}")
}

pub(super) fn create_table(table: &QualifiedName, columns: &[ColumnDefinition]) -> String {
    format!(
        "CREATE TABLE {table} ({})",
        list(columns.iter().map(column_definition))
    )
}

/// Staging holds rows for minutes: no WAL, no vacuum that would come too late anyway.
pub(super) fn create_staging(table: &QualifiedName, columns: &[ColumnDefinition]) -> String {
    format!(
        "CREATE UNLOGGED TABLE {table} ({}) WITH (autovacuum_enabled = false, toast.autovacuum_enabled = false)",
        list(columns.iter().map(column_definition))
    )
}

fn column_definition(column: &ColumnDefinition) -> String {
    let not_null = if column.not_null { " NOT NULL" } else { "" };
    format!("{} {}{not_null}", column.name, column.sql_type)
}

pub(super) fn create_table_like(table: &QualifiedName, staging: &QualifiedName) -> String {
    format!("CREATE TABLE {table} (LIKE {staging})")
}

pub(super) fn drop_table(table: &QualifiedName) -> String {
    format!("DROP TABLE IF EXISTS {table}")
}

/// The rows of the accepted attempts: `$1` are their transaction ids as text. A row keeps the id of
/// the transaction that wrote it in `xmin` (PostgreSQL manual, 5.6 System Columns).
pub(super) fn publish<'a>(
    target: &QualifiedName,
    staging: &QualifiedName,
    columns: impl IntoIterator<Item = &'a Ident>,
    overriding: bool,
) -> String {
    let columns = list(columns);
    let overriding = if overriding {
        " OVERRIDING SYSTEM VALUE"
    } else {
        ""
    };
    format!(
        "INSERT INTO {target} ({columns}){overriding} SELECT {columns} FROM {staging} {}",
        accepted_rows()
    )
}

pub(super) fn count_accepted(staging: &QualifiedName) -> String {
    format!(
        "SELECT pg_catalog.count(*) FROM {staging} {}",
        accepted_rows()
    )
}

fn accepted_rows() -> &'static str {
    "WHERE xmin = ANY($1::text[]::pg_catalog.xid[])"
}
