//! Checks of the types that a client names for columns that a write creates.

use tokio_postgres::Row;

use super::trust::{holders, trusted, trusted_roles};
use crate::error::{Error, Result};
use crate::pg::transaction::{Parameter, Transaction};
use arrow_pgcopy::schema::ColumnDefinition;
use arrow_pgcopy::{QualifiedName, Relation};

/// Words that CREATE TABLE takes in the place of a type.
const SERIALS: [&str; 6] = [
    "smallserial",
    "serial",
    "bigserial",
    "serial2",
    "serial4",
    "serial8",
];

/// The types that columns without a requested type get. Definitions look for them in pg_catalog first, so no other type
/// can have their names, and they need no look.
const PLAIN: [&str; 15] = [
    "bigint",
    "boolean",
    "bytea",
    "date",
    "double precision",
    "integer",
    "interval",
    "jsonb",
    "numeric",
    "real",
    "smallint",
    "text",
    "time without time zone",
    "timestamp with time zone",
    "timestamp without time zone",
];

/// Limit of the types within all requested types, each counted as often as it is used.
const MAX_TYPES: i64 = 10_000;

/// Replaces the names of requested types by names with schemas, so that they mean the same in every role and under every
/// search_path. Rejects types that would show or do more than the caller may see or do:
///
/// - row types of tables show the columns of tables that the caller has no grant for, or that they exist;
/// - casts to `regclass` and similar types show which names exist;
/// - types of roles that the write does not trust (see `trust.rs`): domains, and ranges with a canonical function, run
///   code, the owner of a composite type can add such a type to it at any time, and the owner of any type can give its
///   name to a domain.
///
/// The same holds for the types within a type. `table` is the table that gets the columns, if it exists. The texts are
/// names of types, as [`column_definitions`](arrow_pgcopy::schema::column_definitions) has checked.
///
/// # Errors
/// [`ErrorKind::SchemaMismatch`](crate::error::ErrorKind::SchemaMismatch) for a missing type, a row type, and more types
/// within types than the server looks at; [`ErrorKind::PermissionDenied`](crate::error::ErrorKind::PermissionDenied) for
/// the others; with the column; any error that PostgreSQL reports.
pub async fn resolve_requested_types(
    transaction: &Transaction,
    columns: &mut [ColumnDefinition],
    table: Option<u32>,
) -> Result<()> {
    let requested: Vec<usize> = (0..columns.len())
        .filter(|index| !is_plain(&columns[*index].sql_type))
        .collect();
    if requested.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = requested
        .iter()
        .map(|i| columns[*i].name.as_str())
        .collect();
    let types: Vec<String> = requested
        .iter()
        .map(|index| without_modifiers(&columns[*index].sql_type))
        .collect();
    let resolved = transaction
        .query_opt_by_definition_path(RESOLVED, &[&types])
        .await?;
    let oids: Vec<u32> = resolved.map(|row| row.get(0)).unwrap_or_default();
    let roles = trusted_roles(transaction)?;
    let parameters: [&dyn Parameter; 5] = [&roles, &table, &names, &oids, &MAX_TYPES];
    if let Some(row) = transaction.query_opt(REJECTED, &parameters).await? {
        return Err(rejected(&row, columns));
    }
    let printed = transaction.query_one(PRINTED, &[&oids]).await?;
    for (index, name) in requested
        .into_iter()
        .zip(printed.get::<_, Vec<Option<String>>>(0))
    {
        if let Some(name) = name {
            let sql_type = &mut columns[index].sql_type;
            *sql_type = with_modifiers_of(sql_type, &name);
        }
    }
    Ok(())
}

/// Checks that the columns of a new table have the very types and collations of the target whose definitions they
/// repeat, before a row runs code of another type.
///
/// # Errors
/// [`ErrorKind::Conflict`](crate::error::ErrorKind::Conflict) with the column.
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

fn rejected(row: &Row, columns: &[ColumnDefinition]) -> Error {
    let column: Option<&str> = row.get(0);
    let Some(column) = column else {
        return Error::schema_mismatch("the requested types consist of too many other types")
            .with_hint("request simpler types, or create the table before writing");
    };
    let error = match row.get::<_, Option<String>>(1) {
        Some(why) => Error::permission_denied(why)
            .with_hint("use another type, or create the column before writing"),
        // One answer for both: a type with the name of a hidden table must look like a missing one.
        None => {
            let named = columns.iter().find(|named| named.name.as_str() == column);
            let sql_type = named.map_or("", |named| &named.sql_type);
            Error::schema_mismatch(format!(
                "the requested type {sql_type} does not exist, or is the row type of a table"
            ))
            .with_hint(VISIBLE)
        }
    };
    error.with_column(column)
}

/// Whether a type is one of those that data without requested types gets, or a word that CREATE TABLE takes in the place
/// of a type.
fn is_plain(sql_type: &str) -> bool {
    let name = without_modifiers(sql_type).to_ascii_lowercase();
    let element = name.strip_suffix("[]").unwrap_or(&name);
    SERIALS.contains(&&*name) || PLAIN.contains(&element)
}

/// Returns a name of a type, which may end in `[]`, with the modifiers of a text such as `geometry(Point,4326)`. Types of
/// users have their modifiers in one place, behind the name.
fn with_modifiers_of(sql_type: &str, name: &str) -> String {
    let bare = without_modifiers(sql_type);
    let pairs = sql_type.bytes().zip(bare.bytes().chain([0]));
    let start = pairs.take_while(|(a, b)| a == b).count();
    let end = start + sql_type.len() - bare.len();
    let modifiers = sql_type.get(start..end).unwrap_or_default();
    match name.strip_suffix("[]") {
        Some(element) => format!("{element}{modifiers}[]"),
        None => format!("{name}{modifiers}"),
    }
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

/// Resolves the names `$1` of types; 0 for one that is missing. A type in a schema that the role may not use must look
/// like a missing one.
const RESOLVED: &str = "
    SELECT pg_catalog.array_agg(
        CASE WHEN pg_catalog.cardinality(part.list) OPERATOR(pg_catalog.>=) 2
                  AND NOT EXISTS (SELECT FROM pg_catalog.pg_namespace n
                                  WHERE n.nspname OPERATOR(pg_catalog.=) part.list[1]
                                    AND pg_catalog.has_schema_privilege(n.oid, 'USAGE'))
             THEN 0::pg_catalog.oid
             ELSE COALESCE(pg_catalog.to_regtype(r.name)::pg_catalog.oid, 0::pg_catalog.oid) END ORDER BY r.number)
    FROM pg_catalog.unnest($1::pg_catalog.text[]) WITH ORDINALITY r(name, number)
    CROSS JOIN LATERAL (
        SELECT CASE WHEN pg_catalog.strpos(r.name, '.') OPERATOR(pg_catalog.>) 0
                    THEN pg_catalog.parse_ident(r.name, false) END) part(list)";

/// Prints the names of the types `$1` that are not built in, with their schemas.
const PRINTED: &str = "
    SELECT pg_catalog.array_agg(
        CASE WHEN t.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid THEN pg_catalog.format_type(t.oid, NULL) END
        ORDER BY t.number)
    FROM pg_catalog.unnest($1::pg_catalog.oid[]) WITH ORDINALITY t(oid, number)";

/// Finds the first type that is rejected, among the types `$4` of columns `$3` and the types within them: its column, and
/// the reason; no reason for one that is missing or a row type; no column if there are more than `$5` types. `$1` and
/// `$2` as in [`trusted`].
///
/// A hidden table's row type must look like a missing type in all of this, so its columns are not counted, and it comes
/// first.
const REJECTED: &str = concat!(
    trusted!(),
    ",
    requested(name, oid) AS (
        SELECT pg_catalog.min(r.name), r.oid
        FROM ROWS FROM (pg_catalog.unnest($3::pg_catalog.text[]), pg_catalog.unnest($4::pg_catalog.oid[]))
             AS r(name, oid)
        GROUP BY r.oid),
    found(name, oid) AS (
        SELECT requested.name, used.oid FROM requested CROSS JOIN LATERAL (
            WITH RECURSIVE used(oid) AS (
                SELECT requested.oid
              UNION ALL
                SELECT part.oid FROM used JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) used.oid
                CROSS JOIN LATERAL (
                    SELECT t.typbasetype WHERE t.typbasetype OPERATOR(pg_catalog.<>) 0::pg_catalog.oid
                  UNION ALL
                    SELECT t.typelem WHERE t.typelem OPERATOR(pg_catalog.<>) 0::pg_catalog.oid
                  UNION ALL
                    SELECT a.atttypid FROM pg_catalog.pg_class c
                    JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) c.oid
                    WHERE c.oid OPERATOR(pg_catalog.=) t.typrelid AND c.relkind OPERATOR(pg_catalog.=) 'c'
                      AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped
                  UNION ALL
                    SELECT r.rngsubtype FROM pg_catalog.pg_range r WHERE r.rngtypid OPERATOR(pg_catalog.=) t.oid
                  UNION ALL
                    -- A multirange depends on its range (RangeCreate, catalog/pg_range.c).
                    SELECT d.refobjid FROM pg_catalog.pg_depend d
                    WHERE t.typtype OPERATOR(pg_catalog.=) 'm'
                      AND d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_type'::pg_catalog.regclass::pg_catalog.oid
                      AND d.objid OPERATOR(pg_catalog.=) t.oid AND d.refclassid OPERATOR(pg_catalog.=) d.classid
                ) part(oid))
            SELECT used.oid FROM used) used
        LIMIT $5::pg_catalog.int8 OPERATOR(pg_catalog.+) 1::pg_catalog.int8)
    SELECT NULL AS name, NULL AS why FROM found HAVING pg_catalog.count(*) OPERATOR(pg_catalog.>) $5::pg_catalog.int8
  UNION ALL
    SELECT found.name, rejected.why
    FROM found LEFT JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) found.oid
    LEFT JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) t.typrelid
    CROSS JOIN LATERAL (SELECT t.oid IS NULL OR (c.relkind OPERATOR(pg_catalog.<>) 'c') IS TRUE, CASE
        WHEN t.oid IS NULL OR c.relkind OPERATOR(pg_catalog.<>) 'c' THEN NULL
        WHEN t.typnamespace OPERATOR(pg_catalog.=) 'pg_catalog'::pg_catalog.regnamespace::pg_catalog.oid
             AND (pg_catalog.starts_with(t.typname, 'reg') OR t.typname OPERATOR(pg_catalog.=) 'aclitem')
            THEN 'the requested type names objects of the database'
        WHEN EXISTS (SELECT FROM (SELECT 'pg_catalog.pg_type'::pg_catalog.regclass::pg_catalog.oid, t.oid, t.typowner,
                                         t.typnamespace) named(class, oid, owner, namespace) ",
    holders!(),
    ")
            THEN 'the requested type, its schema or its extension is owned by a role that the write does not trust'
        END) rejected(is_missing, why)
    WHERE rejected.is_missing OR rejected.why IS NOT NULL
    ORDER BY name NULLS FIRST, why NULLS FIRST LIMIT 1"
);

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

#[cfg(test)]
mod tests {
    use super::with_modifiers_of;

    #[test]
    fn a_name_with_its_schema_keeps_the_modifiers() {
        let check = |sql_type, name, expected: &str| {
            assert_eq!(with_modifiers_of(sql_type, name), expected);
        };
        check("mood", "app.mood", "app.mood");
        check("mood[]", "app.mood[]", "app.mood[]");
        check(
            "geometry(Point,4326)",
            "gis.geometry",
            "gis.geometry(Point,4326)",
        );
        check(
            "geometry(Point,4326)[]",
            "gis.geometry[]",
            "gis.geometry(Point,4326)[]",
        );
        check("\"a (b)\"(1)", "app.\"a (b)\"", "app.\"a (b)\"(1)");
    }
}
