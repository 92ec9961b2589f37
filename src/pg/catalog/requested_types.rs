//! Checks of the types that a client names for columns that a write creates.

use std::collections::BTreeMap;

use tokio_postgres::Row;

use crate::error::{Error, ErrorKind, Result};
use crate::pg::transaction::{Parameter, Transaction};
use arrow_pgcopy::schema::ColumnDefinition;
use arrow_pgcopy::{Ident, QualifiedName, Relation};

/// Words that CREATE TABLE takes in the place of a type.
const SERIALS: [&str; 6] = [
    "smallserial",
    "serial",
    "bigserial",
    "serial2",
    "serial4",
    "serial8",
];

/// Rejects requested types that would show or do more than the caller may see or do:
///
/// - row types of tables show the columns of tables that the caller has no grant for, or that they exist;
/// - casts to `regclass` and similar types show which names exist;
/// - domains, and ranges with a canonical function, run the code of their owner. The owner of a composite type can add
///   such a type to it at any time. The owner must be the role in force, the login, the target's role, a superuser, the
///   owner of the database, or an extension.
///
/// The same holds for the types within a type. The texts are names of types, as
/// [`column_definitions`](arrow_pgcopy::schema::column_definitions) has checked.
///
/// # Errors
/// [`ErrorKind::SchemaMismatch`](crate::error::ErrorKind::SchemaMismatch) for a missing type and a row type,
/// [`ErrorKind::PermissionDenied`](crate::error::ErrorKind::PermissionDenied) for the others, with the column; any
/// error that PostgreSQL reports.
pub async fn check_requested_types(
    transaction: &Transaction,
    column_types: &BTreeMap<String, String>,
) -> Result<()> {
    if column_types.is_empty() {
        return Ok(());
    }
    let (columns, types): (Vec<&str>, Vec<String>) = column_types
        .iter()
        .filter(|(_, sql_type)| !SERIALS.contains(&sql_type.to_ascii_lowercase().as_str()))
        .map(|(column, sql_type)| (column.as_str(), without_modifiers(sql_type)))
        .unzip();
    let roles = trusted_roles(transaction)?;
    let found = transaction
        .query_opt_by_definition_path(REJECTED, &[&columns, &types, &roles])
        .await;
    let found = match found {
        // `to_regtype` says that a schema is hidden.
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            return Err(Error::schema_mismatch(
                "a requested type does not exist, or is the row type of a table",
            )
            .with_hint(VISIBLE));
        }
        found => found?,
    };
    match found {
        Some(row) => Err(rejected(&row, column_types)),
        None => Ok(()),
    }
}

/// Checks the types of columns that this transaction has made. Between [`check_requested_types`] and CREATE TABLE, their
/// owners may rename them, so that a name means another type.
///
/// # Errors
/// Those of [`check_requested_types`].
pub async fn check_made_types(
    transaction: &Transaction,
    table: &QualifiedName,
    columns: &[ColumnDefinition],
) -> Result<()> {
    let parameters: [&dyn Parameter; 2] = [&table.schema.as_str(), &table.name.as_str()];
    let row = transaction.query_one(MADE, &parameters).await?;
    if !row.get::<_, bool>(1) {
        return Ok(());
    }
    let oid: u32 = row.get(0);
    let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    let roles = trusted_roles(transaction)?;
    let found = transaction
        .query_opt(REJECTED_IN, &[&oid, &names, &roles])
        .await?;
    match found {
        Some(row) => Err(rejected(&row, &BTreeMap::new()).with_table(table)),
        None => Ok(()),
    }
}

/// Checks that the columns of a new table have the very types and collations of the target whose definitions they
/// repeat, before a row runs code of another type.
///
/// # Errors
/// [`ErrorKind::Conflict`] with the column.
pub async fn check_copied_types(
    transaction: &Transaction,
    copy: &QualifiedName,
    target: &Relation,
) -> Result<()> {
    let parameters: [&dyn Parameter; 3] = [&copy.schema.as_str(), &copy.name.as_str(), &target.oid];
    match transaction.query_opt(OTHER_TYPE, &parameters).await? {
        Some(row) => Err(Error::conflict(
            "another session gave the name of the column's type or collation to another one",
        )
        .with_hint("run the job again: nothing is kept")
        .with_table(&target.name)
        .with_column(row.get::<_, &str>(0))),
        None => Ok(()),
    }
}

const VISIBLE: &str = "name a type that the writer can see";

/// The roles whose types a write may use, beside the current role and the login.
fn trusted_roles(transaction: &Transaction) -> Result<Vec<&str>> {
    let mut roles = vec![transaction.ledger_role()?.as_str()];
    roles.extend(transaction.role().map(Ident::as_str));
    Ok(roles)
}

fn rejected(row: &Row, column_types: &BTreeMap<String, String>) -> Error {
    let column: &str = row.get(0);
    let error = match row.get::<_, Option<String>>(1) {
        Some(why) => Error::permission_denied(why)
            .with_hint("use another type, or create the table before writing"),
        // One answer for both: a type with the name of a hidden table must look like a missing one.
        None => Error::schema_mismatch(match column_types.get(column) {
            Some(name) => {
                format!("the requested type {name} does not exist, or is the row type of a table")
            }
            None => "the requested type does not exist, or is the row type of a table".to_owned(),
        })
        .with_hint(VISIBLE),
    };
    error.with_column(column)
}

/// Returns the name of a type without modifiers such as `(10,2)`, which some versions of `to_regtype` reject with an
/// error.
fn without_modifiers(sql_type: &str) -> String {
    let (mut is_quoted, mut depth) = (false, 0_usize);
    let mut name = String::with_capacity(sql_type.len());
    for c in sql_type.chars() {
        match c {
            '"' => is_quoted = !is_quoted,
            '(' if !is_quoted => depth += 1,
            _ => {}
        }
        if depth == 0 {
            name.push(c);
        }
        if c == ')' && !is_quoted {
            depth = depth.saturating_sub(1);
        }
    }
    name
}

/// Returns the query for the first type that is rejected: its column, and the reason; no reason for one that is missing
/// or a row type. The argument reads columns and the OIDs of their types. `$3` are roles whose types may run code, beside
/// the current one and the login.
macro_rules! rejected {
    ($types:literal) => {
        concat!(
            "
    WITH RECURSIVE used(name, oid) AS (
",
            $types,
            "      UNION
        SELECT used.name, part.oid FROM used JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) used.oid
        CROSS JOIN LATERAL (
            SELECT t.typbasetype WHERE t.typbasetype OPERATOR(pg_catalog.<>) 0::pg_catalog.oid
          UNION ALL
            SELECT t.typelem WHERE t.typelem OPERATOR(pg_catalog.<>) 0::pg_catalog.oid
          UNION ALL
            SELECT a.atttypid FROM pg_catalog.pg_attribute a
            WHERE a.attrelid OPERATOR(pg_catalog.=) t.typrelid AND a.attnum OPERATOR(pg_catalog.>) 0
              AND NOT a.attisdropped
          UNION ALL
            SELECT r.rngsubtype FROM pg_catalog.pg_range r WHERE r.rngtypid OPERATOR(pg_catalog.=) t.oid
          UNION ALL
            SELECT r.rngtypid FROM pg_catalog.pg_range r
            WHERE t.typtype OPERATOR(pg_catalog.=) 'm'
              AND pg_catalog.jsonb_extract_path_text(pg_catalog.to_jsonb(r), 'rngmultitypid')
                  OPERATOR(pg_catalog.=) t.oid::pg_catalog.text
        ) part(oid))
    SELECT rejected.name, rejected.why
    FROM used LEFT JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) used.oid
    LEFT JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) t.typnamespace
    LEFT JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) t.typrelid
    LEFT JOIN pg_catalog.pg_range r ON r.rngtypid OPERATOR(pg_catalog.=) t.oid
    CROSS JOIN LATERAL (SELECT used.name, t.oid IS NULL OR (c.relkind OPERATOR(pg_catalog.<>) 'c') IS TRUE, CASE
        WHEN t.oid IS NULL OR c.relkind OPERATOR(pg_catalog.<>) 'c' THEN NULL
        WHEN n.nspname OPERATOR(pg_catalog.=) 'pg_catalog' AND pg_catalog.starts_with(t.typname, 'reg')
            THEN 'the requested type names objects of the database'
        WHEN (t.typtype OPERATOR(pg_catalog.=) 'c' OR t.typtype OPERATOR(pg_catalog.=) 'd'
              OR r.rngcanonical::pg_catalog.oid OPERATOR(pg_catalog.<>) 0::pg_catalog.oid)
             AND n.nspname OPERATOR(pg_catalog.<>) 'pg_catalog'
             AND NOT EXISTS (SELECT FROM pg_catalog.pg_roles o
                             WHERE o.oid OPERATOR(pg_catalog.=) t.typowner
                               AND (o.rolsuper OR o.rolname OPERATOR(pg_catalog.=) current_user
                                    OR o.rolname OPERATOR(pg_catalog.=) session_user
                                    OR o.rolname OPERATOR(pg_catalog.=) ANY ($3::pg_catalog.text[])))
             AND NOT EXISTS (SELECT FROM pg_catalog.pg_database d
                             WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()
                               AND d.datdba OPERATOR(pg_catalog.=) t.typowner)
             AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                             WHERE d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_type'::pg_catalog.regclass::pg_catalog.oid
                               AND d.objid OPERATOR(pg_catalog.=) t.oid AND d.deptype OPERATOR(pg_catalog.=) 'e')
            THEN 'the requested type runs code of a role that is neither the writer nor an administrator'
        END) rejected(name, is_missing, why)
    WHERE rejected.is_missing OR rejected.why IS NOT NULL
    ORDER BY rejected.name LIMIT 1"
        )
    };
}

/// Resolves the names of types, `$2`, of columns, `$1`.
const REJECTED: &str = rejected!(
    "        SELECT r.name, pg_catalog.to_regtype(r.sql_type)::pg_catalog.oid
        FROM ROWS FROM (pg_catalog.unnest($1::pg_catalog.text[]), pg_catalog.unnest($2::pg_catalog.text[]))
             AS r(name, sql_type)
"
);

/// Reads the types that columns `$2` of table `$1` have.
const REJECTED_IN: &str = rejected!(
    "        SELECT a.attname::pg_catalog.text, a.atttypid FROM pg_catalog.pg_attribute a
        WHERE a.attrelid OPERATOR(pg_catalog.=) $1::pg_catalog.oid AND a.attnum OPERATOR(pg_catalog.>) 0
          AND a.attname OPERATOR(pg_catalog.=) ANY ($2::pg_catalog.text[]) AND NOT a.attisdropped
"
);

/// Reads the OID of a table, and whether some of its columns have types or collations that are not built in: those have
/// OIDs below 16384 (`FirstNormalObjectId`, access/transam.h), and their names cannot be taken by others.
const MADE: &str = "
    SELECT c.oid,
           EXISTS (SELECT FROM pg_catalog.pg_attribute a
                   WHERE a.attrelid OPERATOR(pg_catalog.=) c.oid AND a.attnum OPERATOR(pg_catalog.>) 0
                     AND a.atttypid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid)
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
    WHERE n.nspname OPERATOR(pg_catalog.=) $1::pg_catalog.text AND c.relname OPERATOR(pg_catalog.=) $2::pg_catalog.text";

/// Finds a column of the table named `$1`.`$2` whose type or collation is not that of the column in table `$3`. Built-in
/// types are text in place of a type that PostgreSQL casts.
const OTHER_TYPE: &str = "
    SELECT s.attname::pg_catalog.text
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
    JOIN pg_catalog.pg_attribute s ON s.attrelid OPERATOR(pg_catalog.=) c.oid AND s.attnum OPERATOR(pg_catalog.>) 0
    JOIN pg_catalog.pg_attribute t ON t.attrelid OPERATOR(pg_catalog.=) $3::pg_catalog.oid
     AND t.attname OPERATOR(pg_catalog.=) s.attname AND NOT t.attisdropped
    WHERE n.nspname OPERATOR(pg_catalog.=) $1::pg_catalog.text AND c.relname OPERATOR(pg_catalog.=) $2::pg_catalog.text
      AND (s.atttypid OPERATOR(pg_catalog.<>) t.atttypid AND s.atttypid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
           OR s.attcollation OPERATOR(pg_catalog.<>) t.attcollation
              AND s.attcollation OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid)
    LIMIT 1";
