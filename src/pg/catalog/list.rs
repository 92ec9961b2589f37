//! Lists of tables.

use std::collections::HashMap;

use tokio_postgres::Row;

use super::look::qualified_name;
use super::types::{Room, Types, types};
use crate::error::Result;
use crate::pg::transaction::Transaction;
use arrow_pgcopy::{Column, Ident, QualifiedName, Relation};

/// Returns all tables that the current role may INSERT into and that `is_visible` accepts, sorted by name.
///
/// # Errors
/// Any error that PostgreSQL reports.
pub async fn writable_relations(
    transaction: &Transaction,
    is_visible: impl Fn(&QualifiedName) -> bool,
) -> Result<Vec<Relation>> {
    let rows = transaction.query(LIST, &[]).await?;
    // No principal can name a table whose name the server cannot hold.
    let named: Vec<(u32, QualifiedName)> = rows
        .iter()
        .filter_map(|row| {
            let name = qualified_name(row.get(1), row.get(2)).ok()?;
            is_visible(&name).then_some((row.get(0), name))
        })
        .collect();
    relations(transaction, &named).await
}

async fn relations(
    transaction: &Transaction,
    named: &[(u32, QualifiedName)],
) -> Result<Vec<Relation>> {
    let oids: Vec<u32> = named.iter().map(|(oid, _)| *oid).collect();
    let types = types(transaction, &oids).await?;
    let mut rows: HashMap<u32, Vec<Row>> = HashMap::new();
    for row in transaction.query(COLUMNS, &[&oids]).await? {
        rows.entry(row.get(0)).or_default().push(row);
    }
    let mut described = Vec::with_capacity(named.len());
    for (oid, name) in named {
        // A table may have no columns.
        match columns_of(&types, rows.get(oid).map_or(&[], Vec::as_slice)) {
            Ok(columns) => described.push(Relation {
                oid: *oid,
                name: name.clone(),
                columns,
            }),
            // One table that cannot be described must not hide the others.
            Err(error) => tracing::info!(oid, %error, "a table is left out of the list"),
        }
    }
    Ok(described)
}

fn columns_of(types: &Types, rows: &[Row]) -> Result<Vec<Column>> {
    let mut room = Room::default();
    let columns = rows.iter().map(|row| {
        Ok(Column {
            name: Ident::new(row.get::<_, String>(1))?,
            ty: types.resolve(row.get(2), &mut room)?,
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
    SELECT c.oid, n.nspname::pg_catalog.text, c.relname::pg_catalog.text
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
    WHERE c.relkind OPERATOR(pg_catalog.=) ANY (ARRAY['r', 'p']::pg_catalog.\"char\"[]) AND NOT c.relispartition
      AND n.nspname OPERATOR(pg_catalog.<>) ALL (ARRAY['pg_catalog', 'information_schema', 'pg_toast', 'pgflight'])
      AND NOT pg_catalog.starts_with(n.nspname, 'pg_temp_') AND NOT pg_catalog.starts_with(c.relname, '_pgflight_')
      AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')
      AND pg_catalog.has_table_privilege(c.oid, 'INSERT')
    ORDER BY 2, 3";

const COLUMNS: &str = "
    SELECT a.attrelid, a.attname::pg_catalog.text, a.atttypid,
           a.atttypmod,
           a.attnotnull OR t.typnotnull,
           (a.atthasdef AND a.attgenerated OPERATOR(pg_catalog.=) '') OR a.attidentity OPERATOR(pg_catalog.<>) '',
           a.attgenerated OPERATOR(pg_catalog.<>) '', a.attidentity OPERATOR(pg_catalog.=) 'a'
    FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) a.atttypid
    WHERE a.attrelid OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.oid[]) AND a.attnum OPERATOR(pg_catalog.>) 0
      AND NOT a.attisdropped
    ORDER BY a.attrelid, a.attnum";
