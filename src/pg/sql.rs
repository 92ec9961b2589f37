//! Every SQL text that holds a name: built here alone, from checked names.

use std::fmt::Display;

use super::catalog::TableLock;
use super::equality::Equality;
use super::merge::{KeyedAction, Merge};
use crate::plan::ddl::ColumnDefinition;
use crate::plan::{Column, Ident, QualifiedName, Relation, TableOptions, is_cast};

/// A list of names, quoted: `a, "B"`.
fn list<T: Display>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    items.join(", ")
}

/// What PostgreSQL keeps of a name of a session: NAMEDATALEN less one.
const MAX_SESSION_NAME: usize = 63;

/// Characters of a write id that the names of all its sessions hold, if it has as many.
const SHARED_NAME: usize = 40;

/// The name of a session in `pg_stat_activity`: `pgflight <write> <part>`, fit to stand between quotes. A
/// long write id is cut, so that what tells its sessions apart is not.
pub(super) fn session_name(write: &str, part: &str) -> String {
    let room = MAX_SESSION_NAME.saturating_sub("pgflight  ".len() + part.len());
    let write: String = plain(write).take(room).collect();
    format!("pgflight {write} {part}")
}

/// What the names of all sessions of a write begin with.
pub(super) fn session_prefix(write: &str) -> String {
    let end = if write.chars().count() > SHARED_NAME {
        ""
    } else {
        " "
    };
    let write: String = plain(write).take(SHARED_NAME).collect();
    format!("pgflight {write}{end}")
}

fn plain(write: &str) -> impl Iterator<Item = char> {
    let is_plain = |c: &char| matches!(c, ' '..='~') && !matches!(c, '\'' | '\\');
    write
        .chars()
        .map(move |c| if is_plain(&c) { c } else { '?' })
}

pub(super) fn lock_table(table: &QualifiedName, lock: TableLock) -> String {
    let mode = match lock {
        TableLock::Insert => "ROW EXCLUSIVE",
        TableLock::Keep => "SHARE UPDATE EXCLUSIVE",
        TableLock::Replace => "SHARE ROW EXCLUSIVE",
        TableLock::Truncate => "ACCESS EXCLUSIVE",
    };
    format!("LOCK TABLE ONLY {table} IN {mode} MODE")
}

/// Stops ALTER and DROP, and nothing else.
pub(super) fn lock_for_reading(table: &QualifiedName) -> String {
    format!("LOCK TABLE ONLY {table} IN ACCESS SHARE MODE")
}

pub(super) fn copy_in<'a>(
    table: &QualifiedName,
    columns: impl IntoIterator<Item = &'a Ident>,
) -> String {
    // COPY knows no empty list; without columns there are no rows either.
    match list(columns).as_str() {
        "" => format!("COPY {table} FROM STDIN (FORMAT binary)"),
        columns => format!("COPY {table} ({columns}) FROM STDIN (FORMAT binary)"),
    }
}

pub(super) fn truncate(table: &QualifiedName) -> String {
    format!("TRUNCATE TABLE {table}")
}

pub(super) fn delete_all(table: &QualifiedName) -> String {
    format!("DELETE FROM {table}")
}

pub(super) fn create_table(
    table: &QualifiedName,
    columns: &[ColumnDefinition],
    options: &TableOptions,
) -> String {
    let columns = list(columns.iter().map(column_definition));
    match options.is_empty() {
        true => format!("CREATE TABLE {table} ({columns})"),
        false => format!("CREATE TABLE {table} ({columns}) {options}"),
    }
}

pub(super) fn add_columns(table: &QualifiedName, columns: &[ColumnDefinition]) -> Option<String> {
    let columns: Vec<String> = columns
        .iter()
        .map(|column| format!("ADD COLUMN IF NOT EXISTS {}", column_definition(column)))
        .collect();
    (!columns.is_empty()).then(|| format!("ALTER TABLE {table} {}", columns.join(", ")))
}

pub(super) fn add_primary_key(table: &QualifiedName, keys: &[Ident]) -> Option<String> {
    (!keys.is_empty()).then(|| format!("ALTER TABLE {table} ADD PRIMARY KEY ({})", list(keys)))
}

/// A primary key that is made and taken back.
pub(super) fn try_primary_key(table: &QualifiedName, keys: &[Ident]) -> String {
    format!(
        "ALTER TABLE {table} ADD CONSTRAINT tried PRIMARY KEY ({}); ALTER TABLE {table} DROP CONSTRAINT tried",
        list(keys)
    )
}

/// Rows of a write that has yet to be published: no WAL, no vacuum that would come too late anyway.
pub(super) fn create_staging(table: &QualifiedName, columns: &[ColumnDefinition]) -> String {
    format!(
        "CREATE UNLOGGED TABLE {table} ({}) \
         WITH (autovacuum_enabled = false, toast.autovacuum_enabled = false)",
        list(columns.iter().map(column_definition))
    )
}

/// Rows of a write of one stream that cannot go straight into its table.
pub(super) fn create_temporary(table: &Ident, columns: &[ColumnDefinition]) -> String {
    format!(
        "CREATE TEMPORARY TABLE pg_temp.{table} ({}) ON COMMIT DROP",
        list(columns.iter().map(column_definition))
    )
}

fn column_definition(column: &ColumnDefinition) -> String {
    let not_null = if column.not_null { " NOT NULL" } else { "" };
    format!("{} {}{not_null}", column.name, column.sql_type)
}

pub(super) fn rename_table(table: &QualifiedName, name: &Ident) -> String {
    format!("ALTER TABLE {table} RENAME TO {name}")
}

/// Statistics for the planner, before anybody asks.
pub(super) fn analyze(table: &QualifiedName) -> String {
    format!("ANALYZE {table}")
}

/// The rows of attempts that were recorded and not accepted: `$1` as in [`publish`].
pub(super) fn delete_unaccepted(staging: &QualifiedName) -> String {
    format!("DELETE FROM {staging} WHERE NOT ({IS_ACCEPTED})")
}

pub(super) fn set_role(role: &Ident) -> String {
    format!("SET LOCAL ROLE {role}")
}

pub(super) fn grant_schema(schema: &Ident, role: &Ident) -> String {
    format!("GRANT USAGE ON SCHEMA {schema} TO {role}")
}

pub(super) fn grant_fill(table: &QualifiedName, role: &Ident) -> String {
    format!("GRANT SELECT, INSERT ON {table} TO {role}")
}

/// Drops a staging table with all that depends on it.
pub(super) fn drop_table_and_views(table: &QualifiedName) -> String {
    format!("DROP TABLE IF EXISTS {table} CASCADE")
}

pub(super) fn drop_table(table: &QualifiedName) -> String {
    format!("DROP TABLE IF EXISTS {table}")
}

/// The rows of the accepted attempts: `$1` are their transaction ids as text. A row keeps the id of
/// the transaction that wrote it in `xmin` (PostgreSQL manual, 5.6 System Columns).
pub(super) fn publish(target: &Relation, staging: &Relation) -> String {
    let names: Vec<&Ident> = staging.columns.iter().map(|column| &column.name).collect();
    let columns = list(&names);
    format!(
        "INSERT INTO {} ({columns}){} SELECT {} FROM {} WHERE {IS_ACCEPTED}",
        target.name,
        overriding(&target.columns, &names),
        list(selected(target, staging)),
        staging.name,
    )
}

/// The staged columns, those that wait as text cast to the types of the target. A type is named without its
/// modifier, which a cast would meet by cutting, and INSERT by rejecting.
fn selected(target: &Relation, staging: &Relation) -> Vec<String> {
    let columns = staging.columns.iter().map(|staged| {
        let name = &staged.name;
        match cast_to(target, staged) {
            Some(column) => format!("{name}::{} AS {name}", with_schema(&column.ty.name)),
            None => name.to_string(),
        }
    });
    columns.collect()
}

/// What is cast on the way from staging, for messages to people: `doc::tsvector`.
pub(super) fn casts(target: &Relation, staging: &Relation) -> Vec<String> {
    let columns = staging.columns.iter();
    let cast = columns.filter_map(|staged| {
        let column = cast_to(target, staged)?;
        Some(format!("{}::{}", column.name, column.ty.name))
    });
    cast.collect()
}

/// The column that a staged one is cast to, if it is.
fn cast_to<'a>(target: &'a Relation, staged: &Column) -> Option<&'a Column> {
    let mut columns = target.columns.iter();
    let column = columns.find(|column| column.name == staged.name)?;
    is_cast(staged, column).then_some(column)
}

pub(super) fn count_accepted(staging: &QualifiedName) -> String {
    format!("SELECT pg_catalog.count(*) FROM {staging} WHERE {IS_ACCEPTED}")
}

/// Rows of the accepted attempts, and all that are there.
pub(super) fn count_accepted_and_all(staging: &QualifiedName) -> String {
    format!(
        "SELECT pg_catalog.count(*) FILTER (WHERE {IS_ACCEPTED}), pg_catalog.count(*) FROM {staging}"
    )
}

/// `$1` as in [`publish`].
const IS_ACCEPTED: &str =
    "xmin OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.text[]::pg_catalog.xid[])";

pub(super) fn count_null_keys(staging: &QualifiedName, keys: &[Ident]) -> String {
    let is_null = keys
        .iter()
        .map(|key| format!("{key} IS NULL"))
        .collect::<Vec<_>>()
        .join(" OR ");
    format!("SELECT pg_catalog.count(*) FROM {staging} WHERE {IS_ACCEPTED} AND ({is_null})")
}

pub(super) fn count_doubled_keys(staging: &QualifiedName, keys: &[Ident]) -> String {
    let keys = list(keys);
    format!(
        "SELECT pg_catalog.count(*) FROM \
         (SELECT FROM {staging} WHERE {IS_ACCEPTED} GROUP BY {keys} \
          HAVING pg_catalog.count(*) OPERATOR(pg_catalog.>) 1) doubled"
    )
}

/// Compares keys of no row at all, which PostgreSQL refuses when it cannot compare them.
pub(super) fn compare_nothing(
    table: &QualifiedName,
    keys: &[Ident],
    order_by: Option<&Ident>,
) -> String {
    let keys = list(keys);
    let (also, order) = match order_by {
        Some(order_by) => (format!(", {order_by}"), format!(" ORDER BY {order_by}")),
        None => (String::new(), String::new()),
    };
    format!("SELECT FROM {table} WHERE false GROUP BY {keys}{also}{order}")
}

/// One statement of a keyed mode. Rows are taken in the order of their keys, so that two writes that
/// meet wait for each other instead of deadlocking, as far as the planner keeps the order. `equalities` tell for
/// each key when it is the same.
pub(super) fn merge(merge: &Merge<'_>, equalities: &[Equality]) -> String {
    let (target, keys) = (&merge.target.name, list(merge.keys));
    let names: Vec<&Ident> = merge
        .staging
        .columns
        .iter()
        .map(|column| &column.name)
        .collect();
    let others: Vec<&&Ident> = names
        .iter()
        .filter(|name| !merge.keys.contains(name))
        .collect();
    let columns = list(&names);
    let (distinct, newest_first) = match merge.order_by {
        Some(order_by) => (
            format!("DISTINCT ON ({keys}) "),
            format!(", {order_by} DESC NULLS LAST"),
        ),
        None => (String::new(), String::new()),
    };
    let rows = format!(
        "SELECT {distinct}{} FROM {} WHERE {IS_ACCEPTED} ORDER BY {keys}{newest_first}",
        list(selected(merge.target, merge.staging)),
        merge.staging.name,
    );
    let same_keys = equalities
        .iter()
        .map(|equality| equality.between("t", "s"))
        .collect::<Vec<_>>()
        .join(" AND ");
    let assign = |from: &str| {
        let assignments: Vec<String> = others
            .iter()
            .map(|name| format!("{name} = {from}.{name}"))
            .collect();
        assignments.join(", ")
    };
    match merge.action {
        KeyedAction::Upsert | KeyedAction::InsertIfAbsent => {
            let on_conflict = if merge.action == KeyedAction::Upsert && !others.is_empty() {
                format!("DO UPDATE SET {}", assign("EXCLUDED"))
            } else {
                "DO NOTHING".to_owned()
            };
            let overriding = overriding(&merge.target.columns, &names);
            format!(
                "INSERT INTO {target} ({columns}){overriding} {rows} ON CONFLICT ({keys}) {on_conflict}"
            )
        }
        KeyedAction::UpdateOnly => {
            format!(
                "UPDATE {target} t SET {} FROM ({rows}) s WHERE {same_keys}",
                assign("s")
            )
        }
        KeyedAction::DeleteByKey => {
            format!("DELETE FROM {target} t USING ({rows}) s WHERE {same_keys}")
        }
    }
}

/// `$1` is the sequence's OID. A sequence that was never asked has its first value as its last.
pub(super) fn move_sequence(
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

/// The name of a type as every path reads it. `format_type` leaves the schema out for types of pg_catalog alone,
/// given the path of the server's own statements, and prints some of them as keywords.
fn with_schema(name: &str) -> String {
    const KEYWORDS: [&str; 9] = [
        "bigint",
        "bit",
        "boolean",
        "character",
        "integer",
        "interval",
        "numeric",
        "real",
        "smallint",
    ];
    let element = name.trim_end_matches("[]");
    match KEYWORDS.contains(&element) || element.contains(['.', ' ']) {
        true => name.to_owned(),
        false => format!("pg_catalog.{name}"),
    }
}

/// INSERT writes a column that is GENERATED ALWAYS AS IDENTITY only when it is told to; COPY always.
fn overriding(target: &[Column], names: &[&Ident]) -> &'static str {
    let identity = target
        .iter()
        .any(|column| column.identity_always && names.contains(&&column.name));
    if identity {
        " OVERRIDING SYSTEM VALUE"
    } else {
        ""
    }
}

#[cfg(test)]
mod tests {
    use super::{session_name, session_prefix, with_schema};

    #[test]
    fn all_sessions_of_a_write_begin_alike_however_long_its_id() {
        for length in [1, 30, 40, 41, 44, 128] {
            let write = "é".repeat(length);
            for part in ["0", "4294967295", "more", "commit"] {
                let name = session_name(&write, part);
                assert!(name.len() <= 63, "{name}");
                assert!(name.starts_with(&session_prefix(&write)), "{name}");
            }
        }
        assert!(!session_name("ab", "1").starts_with(&session_prefix("a")));
    }

    #[test]
    fn a_type_is_named_so_that_no_path_changes_it() {
        let check = |printed, expected| assert_eq!(with_schema(printed), expected);
        check("tsvector", "pg_catalog.tsvector");
        check("\"char\"", "pg_catalog.\"char\"");
        check("tsquery[]", "pg_catalog.tsquery[]");
        check("integer[]", "integer[]");
        check("timestamp without time zone", "timestamp without time zone");
        check("character varying", "character varying");
        check("public.hstore", "public.hstore");
        check("\"My types\".\"Mood\"[]", "\"My types\".\"Mood\"[]");
    }
}
