//! Lists of tables, read in parts: a database may have more tables, and wider ones, than the server's memory holds.

use std::cmp::Reverse;
use std::collections::HashMap;

use tokio_postgres::Row;

use super::look::qualified_name;
use super::types::{Room, Types, types};
use crate::error::{ErrorKind, Result};
use crate::pg::transaction::Transaction;
use arrow_pgcopy::{Column, Ident, QualifiedName, Relation};

/// The limit of tables in a list.
pub const MAX_LISTED: usize = 10_000;
/// Number of names that are read at a time.
const PAGE_ROWS: i64 = 1000;
/// The most tables and columns that are described at a time. A table has at most 1,600 columns.
const BATCH_TABLES: usize = 100;
const BATCH_COLUMNS: usize = 1600;

/// A table of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedTable {
    oid: u32,
    name: QualifiedName,
    column_count: usize,
}

impl ListedTable {
    /// Returns its name.
    pub fn into_name(self) -> QualifiedName {
        self.name
    }
}

/// Returns the tables that the current role may INSERT into and that `is_visible` accepts, sorted by name, the
/// first at the end, and whether these are all. Of more than [`MAX_LISTED`], the oldest are returned.
///
/// # Errors
/// Any error that PostgreSQL reports.
pub async fn writable_tables(
    transaction: &Transaction,
    is_visible: impl Fn(&QualifiedName) -> bool,
) -> Result<(Vec<ListedTable>, bool)> {
    let mut tables = Vec::new();
    let mut last = 0_u32;
    let mut are_all = false;
    while !are_all && tables.len() <= MAX_LISTED {
        let rows = transaction.query(LIST, &[&last, &PAGE_ROWS]).await?;
        last = rows.last().map_or(last, |row| row.get(0));
        are_all = rows.is_empty();
        // No principal can name a table whose name the server cannot hold.
        tables.extend(rows.iter().filter_map(|row| {
            let name = qualified_name(row.get(1), row.get(2)).ok()?;
            is_visible(&name).then_some(ListedTable {
                oid: row.get(0),
                name,
                column_count: usize::try_from(row.get::<_, i16>(3)).unwrap_or_default(),
            })
        }));
    }
    are_all &= tables.len() <= MAX_LISTED;
    tables.truncate(MAX_LISTED);
    tables.sort_by_cached_key(|table: &ListedTable| {
        let QualifiedName { schema, name } = &table.name;
        Reverse((schema.as_str().to_owned(), name.as_str().to_owned()))
    });
    Ok((tables, are_all))
}

/// Returns the number of tables, at the end of a list, that can be described at once.
pub fn count_at_once(tables: &[ListedTable]) -> usize {
    let mut columns = 0;
    let fit = tables.iter().rev().take(BATCH_TABLES).take_while(|table| {
        columns += table.column_count;
        columns <= BATCH_COLUMNS
    });
    fit.count().max(tables.len().min(1))
}

/// Describes tables, without those that were dropped. Returns `None` if their types together are more than one table
/// may have: the caller describes them one by one. One table that cannot be described is left out.
///
/// # Errors
/// Any error that PostgreSQL reports.
pub async fn describe_tables(
    transaction: &Transaction,
    tables: &[ListedTable],
) -> Result<Option<Vec<Relation>>> {
    let oids: Vec<u32> = tables.iter().map(|table| table.oid).collect();
    let types = types(transaction, &oids).await?;
    let mut rows: HashMap<u32, Vec<Row>> = HashMap::new();
    for row in transaction.query(COLUMNS, &[&oids]).await? {
        rows.entry(row.get(0)).or_default().push(row);
    }
    let mut room = Room::default();
    let mut described = Vec::with_capacity(tables.len());
    for ListedTable { oid, name, .. } in tables.iter().rev() {
        let Some(rows) = rows.get(oid) else {
            continue;
        };
        match columns_of(&types, rows, &mut room) {
            Ok(columns) => described.push(Relation {
                oid: *oid,
                name: name.clone(),
                columns,
            }),
            Err(error) if error.kind() == ErrorKind::Unsupported && tables.len() > 1 => {
                return Ok(None);
            }
            // One table that cannot be described must not hide the others.
            Err(error) => {
                tracing::info!(oid, error = %error.report(), "a table is left out of the list")
            }
        }
    }
    Ok(Some(described))
}

fn columns_of(types: &Types, rows: &[Row], room: &mut Room) -> Result<Vec<Column>> {
    // A table without columns has one row, without a name.
    let rows = rows
        .iter()
        .filter(|row| row.get::<_, Option<&str>>(1).is_some());
    let columns = rows.map(|row| {
        Ok(Column {
            name: Ident::new(row.get::<_, String>(1))?,
            ty: types.resolve(row.get(2), room)?,
            typmod: row.get(3),
            nullable: !row.get::<_, bool>(4),
            has_default: row.get(5),
            generated: row.get(6),
            identity_always: row.get(7),
        })
    });
    columns.collect()
}

const LIST: &str = "
    SELECT c.oid, n.nspname::pg_catalog.text, c.relname::pg_catalog.text, c.relnatts
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
    WHERE c.relkind OPERATOR(pg_catalog.=) ANY (ARRAY['r', 'p']::pg_catalog.\"char\"[]) AND NOT c.relispartition
      AND n.nspname OPERATOR(pg_catalog.<>) ALL (ARRAY['pg_catalog', 'information_schema', 'pg_toast', 'pgflight'])
      AND NOT pg_catalog.starts_with(n.nspname, 'pg_temp_') AND NOT pg_catalog.starts_with(c.relname, '_pgflight_')
      AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')
      AND pg_catalog.has_table_privilege(c.oid, 'INSERT')
      AND c.oid OPERATOR(pg_catalog.>) $1::pg_catalog.oid
    ORDER BY c.oid LIMIT $2::pg_catalog.int8";

/// The second condition on `attrelid` lets PostgreSQL use the index. Without it, each part of a list would read all
/// attributes of the database.
const COLUMNS: &str = "
    SELECT c.oid, a.attname::pg_catalog.text, a.atttypid,
           a.atttypmod,
           a.attnotnull OR t.typnotnull,
           (a.atthasdef AND a.attgenerated OPERATOR(pg_catalog.=) '') OR a.attidentity OPERATOR(pg_catalog.<>) '',
           a.attgenerated OPERATOR(pg_catalog.<>) '', a.attidentity OPERATOR(pg_catalog.=) 'a'
    FROM pg_catalog.pg_class c
    LEFT JOIN (pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) a.atttypid)
           ON a.attrelid OPERATOR(pg_catalog.=) c.oid AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped
          AND a.attrelid OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.oid[])
    WHERE c.oid OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.oid[])
    ORDER BY c.oid, a.attnum";
