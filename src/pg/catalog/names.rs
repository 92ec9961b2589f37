//! Names: similar ones, the schema of a new table, PostGIS's type.

use super::look::{check_for_data, qualified_name};
use crate::error::{Error, Result};
use crate::pg::transaction::Transaction;
use arrow_pgcopy::table::TableName;
use arrow_pgcopy::{Ident, QualifiedName};

/// Returns tables whose names differ only in case, and tables with the same name in another schema; the nearest first.
///
/// # Errors
/// Any error that PostgreSQL reports.
pub async fn similar_relations(
    transaction: &Transaction,
    table: &TableName,
) -> Result<Vec<QualifiedName>> {
    let schema = table.schema.as_ref().map(Ident::as_str);
    let rows = transaction
        .query(SIMILAR, &[&schema, &table.name.as_str()])
        .await?;
    rows.iter()
        .map(|row| qualified_name(row.get(0), row.get(1)))
        .collect()
}

/// Returns the schema that CREATE TABLE uses for a name without one.
///
/// # Errors
/// [`ErrorKind::NotFound`](crate::error::ErrorKind::NotFound) when the search_path has none.
async fn current_schema(transaction: &Transaction) -> Result<Ident> {
    let row = transaction
        .query_opt_by_path("SELECT pg_catalog.current_schema()::pg_catalog.text", &[])
        .await?;
    match row.and_then(|row| row.get::<_, Option<String>>(0)) {
        Some(schema) => Ok(Ident::new(schema)?),
        None => Err(
            Error::not_found("the search_path has no schema that exists")
                .with_hint("name the table as schema.table"),
        ),
    }
}

const SIMILAR: &str = "
    SELECT n.nspname::pg_catalog.text, c.relname::pg_catalog.text
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
    WHERE pg_catalog.lower(c.relname) OPERATOR(pg_catalog.=) pg_catalog.lower($2::pg_catalog.text)
      AND c.relkind OPERATOR(pg_catalog.=) ANY (ARRAY['r', 'p']::pg_catalog.\"char\"[])
      AND n.nspname OPERATOR(pg_catalog.<>) ALL (ARRAY['pg_catalog', 'information_schema', 'pg_toast', 'pgflight'])
    ORDER BY pg_catalog.lower(n.nspname) OPERATOR(pg_catalog.=) pg_catalog.lower($1::pg_catalog.text)
             DESC NULLS LAST, 1, 2 LIMIT 100";

/// Returns the name of PostGIS's type `geometry`, with its schema, if the database has the extension. Types of that
/// name outside the extension do not count.
///
/// # Errors
/// Any error that PostgreSQL reports.
pub async fn find_geometry(transaction: &Transaction) -> Result<Option<String>> {
    let row = transaction.query_opt(GEOMETRY, &[]).await?;
    Ok(row.map(|row| row.get(0)))
}

const GEOMETRY: &str = "
    SELECT pg_catalog.format('%I.%I', n.nspname, t.typname)
    FROM pg_catalog.pg_extension e
    JOIN pg_catalog.pg_depend d ON d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_extension'::pg_catalog.regclass
     AND d.refobjid OPERATOR(pg_catalog.=) e.oid AND d.deptype OPERATOR(pg_catalog.=) 'e'
     AND d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_type'::pg_catalog.regclass
    JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) d.objid
    JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) t.typnamespace
    WHERE e.extname OPERATOR(pg_catalog.=) 'postgis' AND t.typname OPERATOR(pg_catalog.=) 'geometry'
      AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')";

/// Returns the full name of a new table.
///
/// # Errors
/// [`ErrorKind::NotFound`](crate::error::ErrorKind::NotFound) when no schema was named and the
/// search_path has none; [`ErrorKind::PermissionDenied`](crate::error::ErrorKind::PermissionDenied) in the schemas of
/// the system and of pgflight.
pub async fn qualify(transaction: &Transaction, table: &TableName) -> Result<QualifiedName> {
    let schema: Ident = match &table.schema {
        Some(schema) => schema.clone(),
        None => current_schema(transaction).await?,
    };
    let name = QualifiedName {
        schema,
        name: table.name.clone(),
    };
    check_for_data(&name)?;
    Ok(name)
}
