//! Deletes the part of a table that staged rows replace.

use crate::error::{Error, Result};
use crate::pg::sql::{self, CheckedCondition, Keys};
use crate::pg::transaction::{Parameter, Transaction};
use arrow_pgcopy::{Ident, QualifiedName, Relation};

/// Deletes the rows for which a condition holds. Returns their number.
///
/// # Errors
/// Any error that PostgreSQL reports.
pub async fn delete_where(
    transaction: &Transaction,
    target: &QualifiedName,
    condition: &CheckedCondition,
) -> Result<u64> {
    transaction
        .execute_on_rows(&sql::delete_where(target, condition), &[])
        .await
        .map_err(|error| error.with_table(target))
}

/// Deletes the rows that have the values of a staged row in the columns of `by`, where NULL equals NULL. Returns their
/// number.
///
/// # Errors
/// Any error that PostgreSQL reports.
pub async fn delete_by(
    transaction: &Transaction,
    (target, staging): (&Relation, &QualifiedName),
    xact_ids: &[String],
    by: &Keys,
) -> Result<u64> {
    let in_target = |error: Error| error.with_table(&target.name);
    let nullable: Vec<&Ident> = by
        .names()
        .filter(|name| {
            let mut columns = target.columns.iter();
            columns.any(|column| column.name == **name && column.nullable)
        })
        .collect();
    let patterns: Vec<Vec<&Ident>> = match nullable.is_empty() {
        true => vec![Vec::new()],
        false => {
            let statement = sql::null_patterns(staging, &nullable);
            let rows = transaction.query(&statement, &[&xact_ids]).await;
            let rows = rows.map_err(in_target)?;
            let of_row = |row: &tokio_postgres::Row| {
                let columns = nullable.iter().enumerate();
                let null = columns.filter(|(index, _)| row.get::<_, bool>(*index));
                null.map(|(_, name)| *name).collect()
            };
            rows.iter().map(of_row).collect()
        }
    };
    let mut count = 0;
    for nulls in patterns {
        let is_compared = nulls.len() < by.names().count();
        let statement = sql::delete_by((&target.name, staging), by, &nulls);
        let deleted = match is_compared {
            true => transaction.execute_on_rows(&statement, &[&xact_ids]).await,
            false => transaction.execute_on_rows(&statement, &[]).await,
        };
        count += deleted.map_err(in_target)?;
    }
    Ok(count)
}

/// Collects the planner's statistics about the columns of a staging table by which rows are deleted. Without them the
/// planner expects so many values that it reads the whole target.
///
/// ANALYZE runs code of a type in the role of the table's owner, as `subtype_diff` of a range. So columns whose type is
/// not built in have no statistics.
///
/// # Errors
/// Any error that PostgreSQL reports.
pub async fn analyze_staged(
    transaction: &Transaction,
    staging: &QualifiedName,
    columns: &[Ident],
) -> Result<()> {
    let names: Vec<&str> = columns.iter().map(Ident::as_str).collect();
    let parameters: [&dyn Parameter; 2] = [&staging.to_string(), &names];
    let rows = transaction.query(BUILT_IN, &parameters).await?;
    let built_in = rows.iter().map(|row| Ident::new(row.get::<_, String>(0)));
    let built_in = built_in.collect::<std::result::Result<Vec<Ident>, _>>()?;
    if built_in.is_empty() {
        return Ok(());
    }
    transaction
        .execute_all_on_rows(&sql::analyze_columns(staging, &built_in))
        .await
}

/// Reads which of these columns of a table have a built-in type: domains are not built in, whatever their base type. The
/// OID of the first object that is not built in is 16384 (`FirstNormalObjectId`, access/transam.h).
const BUILT_IN: &str = "
    SELECT a.attname::pg_catalog.text FROM pg_catalog.pg_attribute a
    WHERE a.attrelid OPERATOR(pg_catalog.=) pg_catalog.to_regclass($1::pg_catalog.text)::pg_catalog.oid
      AND a.attname OPERATOR(pg_catalog.=) ANY ($2::pg_catalog.text[])
      AND a.atttypid OPERATOR(pg_catalog.<) 16384::pg_catalog.oid AND NOT a.attisdropped";
