//! Whole tables: made, emptied, named in full.

use super::catalog::{check_for_data, current_schema};
use super::sql;
use super::transaction::Transaction;
use crate::error::{Error, Result};
use arrow_pgcopy::schema::ColumnDefinition;
use arrow_pgcopy::table::{TableName, TableOptions};
use arrow_pgcopy::{Ident, QualifiedName, Relation};

/// Makes a table.
///
/// # Errors
/// [`ErrorKind::AlreadyExists`](crate::error::ErrorKind::AlreadyExists) when it is there, else
/// what PostgreSQL said.
pub async fn create_table(
    transaction: &Transaction,
    table: &QualifiedName,
    columns: &[ColumnDefinition],
    options: &TableOptions,
) -> Result<()> {
    transaction
        .define(&sql::create_table(table, columns, options))
        .await
        .map_err(|error| match error.context().sqlstate.clone() {
            // What it has against a type, a modifier or an option is nobody's row.
            Some(sqlstate)
                if sqlstate.starts_with("22") || ["42601", "42P16"].contains(&&*sqlstate) =>
            {
                Error::schema_mismatch(format!("the table cannot be made as asked for: {error}"))
                    .with_context(|context| context.sqlstate = Some(sqlstate))
            }
            _ => error,
        })
}

/// Drops a table, if it is there.
///
/// # Errors
/// What PostgreSQL said.
pub async fn drop_table(transaction: &Transaction, table: &QualifiedName) -> Result<()> {
    transaction.define(&sql::drop_table(table)).await
}

/// The SQL that [`create_table`] runs.
pub fn create_table_statement(
    table: &QualifiedName,
    columns: &[ColumnDefinition],
    options: &TableOptions,
) -> String {
    sql::create_table(table, columns, options)
}

/// Adds columns to a table; those that somebody else has added in the meantime stay as they are.
/// Locks everybody out until the transaction ends, unless there are none to add.
///
/// # Errors
/// What PostgreSQL said: the server's role does not own the table.
pub async fn add_columns(
    transaction: &Transaction,
    table: &QualifiedName,
    columns: &[ColumnDefinition],
) -> Result<()> {
    let Some(statement) = sql::add_columns(table, columns) else {
        return Ok(());
    };
    transaction
        .define(&statement)
        .await
        .map_err(|error| error.with_table(table))
}

/// The SQL that [`add_columns`] runs; none when there are no columns.
pub fn add_columns_statement(
    table: &QualifiedName,
    columns: &[ColumnDefinition],
) -> Option<String> {
    sql::add_columns(table, columns)
}

/// Gives a filled table its primary key; none when there are no columns to it.
///
/// # Errors
/// What PostgreSQL has against the rows, or against the types of the columns.
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

/// The SQL that [`add_primary_key`] runs; none when there are no columns to it.
pub fn add_primary_key_statement(table: &QualifiedName, keys: &[Ident]) -> Option<String> {
    sql::add_primary_key(table, keys)
}

/// Checks on an empty table that its columns can be a primary key, which it has only when it is full:
/// until then it also holds rows of attempts that nobody will accept.
///
/// # Errors
/// What PostgreSQL has against the types of the columns.
pub async fn check_primary_key(
    transaction: &Transaction,
    table: &QualifiedName,
    keys: &[Ident],
) -> Result<()> {
    if keys.is_empty() {
        return Ok(());
    }
    transaction.define(&sql::try_primary_key(table, keys)).await
}

/// Columns of a staging table that its target lacks, with their types and NOT NULL. Without a target: all.
///
/// # Errors
/// What PostgreSQL said.
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

/// Checks that the server's role owns a table, as it must to change it.
///
/// # Errors
/// [`ErrorKind::Unsupported`](crate::error::ErrorKind::Unsupported) for a view;
/// [`ErrorKind::PermissionDenied`](crate::error::ErrorKind::PermissionDenied), with what it was to do.
pub async fn check_owned(transaction: &Transaction, relation: &Relation, what: &str) -> Result<()> {
    let owns = "
        SELECT pg_catalog.pg_has_role(relowner, 'USAGE'), relkind OPERATOR(pg_catalog.=) 'v'
        FROM pg_catalog.pg_class WHERE oid OPERATOR(pg_catalog.=) $1";
    let row = transaction.query_opt(owns, &[&relation.oid]).await?;
    let (is_owned, is_view) = row.map_or((false, false), |row| (row.get(0), row.get(1)));
    if is_view {
        return Err(
            Error::unsupported(format!("{} is a view: nobody can {what}", relation.name))
                .with_table(&relation.name),
        );
    }
    if is_owned {
        return Ok(());
    }
    Err(Error::permission_denied(format!(
        "only the owner of {} can {what}; let the server's role be a member of that role",
        relation.name
    ))
    .with_table(&relation.name))
}

/// Checks that a table can be emptied by [`truncate`], as a view cannot.
///
/// # Errors
/// [`ErrorKind::Unsupported`](crate::error::ErrorKind::Unsupported) with what can be done.
pub async fn check_truncatable(transaction: &Transaction, relation: &Relation) -> Result<()> {
    let is_view = "
        SELECT EXISTS (SELECT FROM pg_catalog.pg_class
                       WHERE oid OPERATOR(pg_catalog.=) $1 AND relkind OPERATOR(pg_catalog.=) 'v')";
    let row = transaction.query_one(is_view, &[&relation.oid]).await?;
    match row.get(0) {
        false => Ok(()),
        true => Err(Error::unsupported(format!(
            "{} is a view: nobody can truncate it; overwrite with delete",
            relation.name
        ))
        .with_table(&relation.name)),
    }
}

/// Removes all rows and keeps the table, its grants, indexes and views. Locks everybody out
/// until the transaction ends.
///
/// # Errors
/// What PostgreSQL said: no right to, or a foreign key that points here.
pub async fn truncate(transaction: &Transaction, table: &QualifiedName) -> Result<()> {
    transaction
        .execute_all_on_rows(&sql::truncate(table))
        .await
        .map_err(|error| error.with_table(table))
}

/// Removes all rows without locking readers out.
///
/// # Errors
/// What PostgreSQL said.
pub async fn delete_all(transaction: &Transaction, table: &QualifiedName) -> Result<()> {
    transaction
        .execute_all_on_rows(&sql::delete_all(table))
        .await
        .map_err(|error| error.with_table(table))
}

/// The full name that a new table would get.
///
/// # Errors
/// [`ErrorKind::NotFound`](crate::error::ErrorKind::NotFound) when no schema was named and the
/// search_path has none; [`ErrorKind::PermissionDenied`](crate::error::ErrorKind::PermissionDenied) where
/// nobody may make tables.
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
