//! SQL about rows: COPY, and INSERT from staging.

use super::condition::CheckedCondition;
use super::list::list;
use arrow_pgcopy::mapping::is_cast;
use arrow_pgcopy::{Column, Ident, QualifiedName, Relation};

/// Copies rows into a table. A row outside the condition fails the COPY.
pub(in crate::pg) fn copy_in<'a>(
    table: &QualifiedName,
    columns: impl IntoIterator<Item = &'a Ident>,
    only: Option<&CheckedCondition>,
) -> String {
    let guard = only.map_or_else(String::new, |only| format!(" WHERE {}", only.guard()));
    // COPY allows no empty list. Without columns there are no rows either.
    match list(columns).as_str() {
        "" => format!("COPY {table} FROM STDIN (FORMAT binary){guard}"),
        columns => format!("COPY {table} ({columns}) FROM STDIN (FORMAT binary){guard}"),
    }
}

/// Deletes the rows of attempts that the commit did not accept. `$1` as in [`publish`].
pub(in crate::pg) fn delete_unaccepted(staging: &QualifiedName) -> String {
    format!("DELETE FROM {staging} WHERE NOT ({IS_ACCEPTED})")
}

/// Inserts the rows of the accepted attempts. `$1` has their transaction ids as text: a row keeps the id of the
/// transaction that wrote it in `xmin` (PostgreSQL manual, 5.6 System Columns).
pub(in crate::pg) fn publish(target: &Relation, staging: &Relation) -> String {
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

/// The column that numbers the rows of [`number_rows`].
const NUMBER: &str = "_pgflight_number";

/// Copies the accepted rows into a temporary table, numbered in the order of the column `place`. `$1` as in [`publish`].
pub(in crate::pg) fn number_rows(name: &Ident, staging: &QualifiedName, place: &Ident) -> String {
    format!(
        "CREATE TEMPORARY TABLE pg_temp.{name} ON COMMIT DROP AS \
         SELECT pg_catalog.row_number() OVER (ORDER BY {place}) AS {NUMBER}, s.* FROM {staging} s WHERE {IS_ACCEPTED}"
    )
}

/// Indexes the numbers of [`number_rows`].
pub(in crate::pg) fn index_numbers(name: &Ident) -> String {
    format!("CREATE UNIQUE INDEX ON pg_temp.{name} ({NUMBER}); ANALYZE pg_temp.{name} ({NUMBER})")
}

/// Inserts the numbered rows from `$1` to before `$2`, in their order.
pub(in crate::pg) fn publish_part(target: &Relation, numbered: &Relation) -> String {
    let names: Vec<&Ident> = numbered.columns.iter().map(|column| &column.name).collect();
    format!(
        "INSERT INTO {} ({}){} SELECT {} FROM {} \
         WHERE {NUMBER} OPERATOR(pg_catalog.>=) $1 AND {NUMBER} OPERATOR(pg_catalog.<) $2 ORDER BY {NUMBER}",
        target.name,
        list(&names),
        overriding(&target.columns, &names),
        list(selected(target, numbered)),
        numbered.name,
    )
}

/// Reads the place of the row with number `$1`, and the values of columns as JSON objects; NULL for no columns.
pub(in crate::pg) fn read_numbered(
    numbered: &QualifiedName,
    place: &Ident,
    keys: &[Ident],
    all: &[Ident],
) -> String {
    let object = |columns: &[Ident]| match columns.is_empty() {
        true => "NULL::pg_catalog.text".to_owned(),
        false => format!(
            "(SELECT pg_catalog.to_jsonb(kept)::pg_catalog.text FROM (SELECT {}) kept)",
            list(columns)
        ),
    };
    format!(
        "SELECT {place}, {}, {} FROM {numbered} WHERE {NUMBER} OPERATOR(pg_catalog.=) $1",
        object(keys),
        object(all)
    )
}

/// Returns the staged columns; those that are staged as text are cast to the types of the target. A type is named
/// without its modifier: a cast would cut a value that is too long, and INSERT rejects it.
pub(super) fn selected(target: &Relation, staging: &Relation) -> Vec<String> {
    let columns = staging.columns.iter().map(|staged| {
        let name = &staged.name;
        match cast_to(target, staged) {
            Some(column) => format!("{name}::{} AS {name}", with_schema(&column.ty.name)),
            None => name.to_string(),
        }
    });
    columns.collect()
}

/// Returns the columns of the target that staged columns are cast to.
pub(in crate::pg) fn casts<'a>(
    target: &'a Relation,
    staging: &'a Relation,
) -> impl Iterator<Item = &'a Column> {
    let columns = staging.columns.iter();
    columns.filter_map(|staged| cast_to(target, staged))
}

/// Returns the column that a staged column is cast to; `None` without a cast.
fn cast_to<'a>(target: &'a Relation, staged: &Column) -> Option<&'a Column> {
    let mut columns = target.columns.iter();
    let column = columns.find(|column| column.name == staged.name)?;
    is_cast(staged, column).then_some(column)
}

pub(in crate::pg) fn count_accepted(staging: &QualifiedName) -> String {
    format!("SELECT pg_catalog.count(*) FROM {staging} WHERE {IS_ACCEPTED}")
}

/// Counts the rows of the accepted attempts, and all rows.
pub(in crate::pg) fn count_accepted_and_all(staging: &QualifiedName) -> String {
    format!(
        "SELECT pg_catalog.count(*) FILTER (WHERE {IS_ACCEPTED}), pg_catalog.count(*) FROM {staging}"
    )
}

/// The condition for rows of accepted attempts. `$1` as in [`publish`].
pub(super) const IS_ACCEPTED: &str =
    "xmin OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.text[]::pg_catalog.xid[])";

/// Returns the name of a type with its schema. With the path of the server's own statements, `format_type` omits the
/// schema only for types of pg_catalog, and prints some of them as keywords.
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
    if KEYWORDS.contains(&element) || element.contains(['.', ' ']) {
        name.to_owned()
    } else {
        format!("pg_catalog.{name}")
    }
}

/// Returns the clause that lets INSERT write a column that is GENERATED ALWAYS AS IDENTITY. COPY needs none.
pub(super) fn overriding(target: &[Column], names: &[&Ident]) -> &'static str {
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
    use super::with_schema;

    #[test]
    fn a_type_is_named_with_its_schema() {
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
