//! SQL about whole tables: definitions, locks, privileges.

use super::list::list;
use arrow_pgcopy::schema::ColumnDefinition;
use arrow_pgcopy::table::TableOptions;
use arrow_pgcopy::{Ident, QualifiedName};

/// The purpose of a lock on a table, which decides its mode (PostgreSQL manual, 13.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableLock {
    /// ROW EXCLUSIVE, the mode of INSERT: prevents changes to the columns.
    Insert,
    /// SHARE UPDATE EXCLUSIVE: prevents changes to the columns. Readers and writers go on.
    Keep,
    /// SHARE ROW EXCLUSIVE: blocks writers. Readers go on.
    Replace,
    /// ACCESS EXCLUSIVE: blocks readers and writers.
    Truncate,
}

pub(in crate::pg) fn lock_table(table: &QualifiedName, lock: TableLock) -> String {
    let mode = match lock {
        TableLock::Insert => "ROW EXCLUSIVE",
        TableLock::Keep => "SHARE UPDATE EXCLUSIVE",
        TableLock::Replace => "SHARE ROW EXCLUSIVE",
        TableLock::Truncate => "ACCESS EXCLUSIVE",
    };
    // A write that keeps others out of a table, or of a part of it, also keeps them out of its partitions, which may be
    // named themselves. TRUNCATE locks them.
    let only = match lock {
        TableLock::Keep | TableLock::Replace => "",
        TableLock::Insert | TableLock::Truncate => "ONLY ",
    };
    let statement = format!("LOCK TABLE {only}{table} IN {mode} MODE");
    match lock {
        TableLock::Insert => format!("SAVEPOINT lock; {statement}; RELEASE SAVEPOINT lock"),
        TableLock::Keep | TableLock::Replace | TableLock::Truncate => statement,
    }
}

/// Returns to the state before [`lock_table`] for INSERT has failed.
pub(in crate::pg) const FORGET_LOCK: &str = "ROLLBACK TO SAVEPOINT lock; RELEASE SAVEPOINT lock";

/// Locks a table for INSERT with a privilege on any of its columns. EXPLAIN inserts nothing. The planner may run immutable
/// functions of defaults.
pub(in crate::pg) fn lock_by_insert(table: &QualifiedName) -> String {
    format!("EXPLAIN INSERT INTO {table} DEFAULT VALUES")
}

/// Gives the privilege to insert into these columns. For people.
pub(in crate::pg) fn grant_insert(
    table: &QualifiedName,
    columns: &[&Ident],
    role: &Ident,
) -> String {
    let columns = list(columns.iter().copied());
    format!("GRANT INSERT ({columns}) ON {table} TO {role};")
}

/// Locks a table against ALTER and DROP, and nothing else.
pub(in crate::pg) fn lock_for_reading(table: &QualifiedName) -> String {
    format!("LOCK TABLE ONLY {table} IN ACCESS SHARE MODE")
}

pub(in crate::pg) fn truncate(table: &QualifiedName) -> String {
    format!("TRUNCATE TABLE {table}")
}

pub(in crate::pg) fn delete_all(table: &QualifiedName) -> String {
    format!("DELETE FROM {table}")
}

pub(in crate::pg) fn count_rows(table: &QualifiedName) -> String {
    format!("SELECT pg_catalog.count(*) FROM {table}")
}

pub(in crate::pg) fn create_table(
    table: &QualifiedName,
    columns: &[ColumnDefinition],
    options: &TableOptions,
) -> String {
    let columns = list(columns.iter().map(column_definition));
    if options.is_empty() {
        format!("CREATE TABLE {table} ({columns})")
    } else {
        format!("CREATE TABLE {table} ({columns}) {options}")
    }
}

pub(in crate::pg) fn add_columns(
    table: &QualifiedName,
    columns: &[ColumnDefinition],
) -> Option<String> {
    let columns: Vec<String> = columns
        .iter()
        .map(|column| format!("ADD COLUMN IF NOT EXISTS {}", column_definition(column)))
        .collect();
    (!columns.is_empty()).then(|| format!("ALTER TABLE {table} {}", columns.join(", ")))
}

pub(in crate::pg) fn add_primary_key(table: &QualifiedName, keys: &[Ident]) -> Option<String> {
    (!keys.is_empty()).then(|| format!("ALTER TABLE {table} ADD PRIMARY KEY ({})", list(keys)))
}

/// Adds a primary key of this name, which its index gets as well, and drops it again.
pub(in crate::pg) fn try_primary_key(
    table: &QualifiedName,
    name: &Ident,
    keys: &[Ident],
) -> String {
    format!(
        "ALTER TABLE {table} ADD CONSTRAINT {name} PRIMARY KEY ({}); ALTER TABLE {table} DROP CONSTRAINT {name}",
        list(keys)
    )
}

/// Creates the table for rows that are not published yet: without WAL, and without vacuum, which would come too late.
pub(in crate::pg) fn create_staging(table: &QualifiedName, columns: &[ColumnDefinition]) -> String {
    format!(
        "CREATE UNLOGGED TABLE {table} ({}) \
         WITH (autovacuum_enabled = false, toast.autovacuum_enabled = false)",
        list(columns.iter().map(column_definition))
    )
}

/// Creates the table for the rows of a single stream that cannot be copied straight into its target.
pub(in crate::pg) fn create_temporary(table: &Ident, columns: &[ColumnDefinition]) -> String {
    format!(
        "CREATE TEMPORARY TABLE pg_temp.{table} ({}) ON COMMIT DROP",
        list(columns.iter().map(column_definition))
    )
}

fn column_definition(column: &ColumnDefinition) -> String {
    let not_null = if column.not_null { " NOT NULL" } else { "" };
    format!("{} {}{not_null}", column.name, column.sql_type)
}

pub(in crate::pg) fn rename_table(table: &QualifiedName, name: &Ident) -> String {
    format!("ALTER TABLE {table} RENAME TO {name}")
}

/// Collects the planner's statistics.
pub(in crate::pg) fn analyze(table: &QualifiedName) -> String {
    format!("ANALYZE {table}")
}

/// Collects the planner's statistics about some columns.
pub(in crate::pg) fn analyze_columns(table: &QualifiedName, columns: &[Ident]) -> String {
    format!("ANALYZE {table} ({})", list(columns))
}

pub(in crate::pg) fn set_role(role: &Ident) -> String {
    format!("SET LOCAL ROLE {role}")
}

pub(in crate::pg) fn grant_schema(schema: &Ident, role: &Ident) -> String {
    format!("GRANT USAGE ON SCHEMA {schema} TO {role}")
}

pub(in crate::pg) fn grant_fill(table: &QualifiedName, role: &Ident) -> String {
    format!("GRANT SELECT, INSERT ON {table} TO {role}")
}

/// Drops a staging table with everything that depends on it.
pub(in crate::pg) fn drop_table_and_views(table: &QualifiedName) -> String {
    format!("DROP TABLE IF EXISTS {table} CASCADE")
}

pub(in crate::pg) fn drop_table(table: &QualifiedName) -> String {
    format!("DROP TABLE {table}")
}

/// Moves a sequence to the greatest value of a column. `$1` is the OID of the sequence. An unused sequence has its
/// first value as `last_value`.
pub(in crate::pg) fn move_sequence(
    table: &QualifiedName,
    column: &Ident,
    sequence: &QualifiedName,
) -> String {
    format!(
        "SELECT pg_catalog.setval($1::pg_catalog.oid::pg_catalog.regclass, most) \
         FROM (SELECT pg_catalog.max({column})::pg_catalog.int8 AS most FROM {table}) filled, {sequence} s \
         WHERE most OPERATOR(pg_catalog.>) s.last_value \
            OR most OPERATOR(pg_catalog.=) s.last_value AND NOT s.is_called"
    )
}
