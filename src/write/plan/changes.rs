//! The requirements of the rules by which an upsert applies changes.

use arrow::datatypes::{DataType, Schema};

use crate::error::{Error, Result};
use crate::pg::Table;
use crate::write::spec::{Changes, WriteSpec};
use arrow_pgcopy::schema::ColumnDefinition;
use arrow_pgcopy::{Column, EncodePlan, FieldPlan, Ident, PgType, Relation};

/// The name of the column that says which rows delete, in the SQL of a merge.
const RESERVED: &str = "_pgflight_deletes";
/// The OIDs of the types of a column that is staged and not written (catalog/pg_type.dat).
const BOOL: u32 = 16;
const INT8: u32 = 20;
const TEXT: u32 = 25;

/// Adds the column that says which rows delete to the description of the table, unless the table has a column of that
/// name. The table itself is not changed: the column is only staged. Rows that delete may have NULL anywhere, so no column
/// of the data is NOT NULL until its rows are inserted. The same holds for the columns that order the rows of an envelope.
/// Returns the definitions of the added columns.
///
/// # Errors
/// [`ErrorKind::SchemaMismatch`](crate::error::ErrorKind::SchemaMismatch) when the data lacks the column, or when it can
/// neither be true nor have the values that delete.
pub(crate) fn mark(
    spec: &WriteSpec,
    schema: &Schema,
    table: &mut Table,
) -> Result<Vec<ColumnDefinition>> {
    let Some(delete_when) = spec.mode.delete_when() else {
        return Ok(Vec::new());
    };
    let (name, relation) = (&delete_when.column, &mut table.relation);
    let in_column = |error: Error| error.with_table(&relation.name).with_column(name.as_str());
    if schema.field_with_name(RESERVED).is_ok() {
        return Err(Error::schema_mismatch(
            "the data has a column whose name pgflight uses for rows that delete",
        )
        .with_hint("rename the column of the data")
        .with_table(&relation.name)
        .with_column(RESERVED));
    }
    let field = schema.field_with_name(name.as_str()).map_err(|_| {
        in_column(Error::schema_mismatch(
            "the data has no such delete_when column",
        ))
    })?;
    let found = relation.columns.iter().find(|column| column.name == *name);
    let (oid, sql_type) = match (found, value_type(field.data_type())) {
        (Some(column), _) => (column.ty.oid, ""),
        (None, DataType::Boolean) => (BOOL, "boolean"),
        (None, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View) => (TEXT, "text"),
        (None, other) if other.is_integer() => (INT8, "bigint"),
        (None, _) => (0, ""),
    };
    // Types whose text does not depend on settings: boolean, int8, int2, int4, text, bpchar, varchar.
    let is_valid = match delete_when.values.is_empty() {
        true => oid == BOOL,
        false => [INT8, 21, 23, TEXT, 1042, 1043].contains(&oid),
    };
    if !is_valid {
        return Err(in_column(Error::schema_mismatch(
            "the delete_when column is no boolean, and not a string or an integer with values that delete",
        )
        .with_hint(
            "name a boolean column, or a column of strings or integers with its values that delete",
        )));
    }
    for column in &mut relation.columns {
        column.nullable |= schema.field_with_name(column.name.as_str()).is_ok();
    }
    let mut markers = Vec::new();
    if !sql_type.is_empty() {
        markers.push((name.clone(), oid, sql_type));
    }
    for order in spec.mode.orders_of_envelope()? {
        markers.push((order, INT8, "bigint"));
    }
    let add = |(name, oid, sql_type): (Ident, u32, &str)| {
        let ty = PgType::builtin(oid)
            .ok_or_else(|| Error::internal("the type of a marker is not built in"))?;
        relation.columns.push(Column::new(name.clone(), ty));
        Ok(ColumnDefinition {
            name,
            sql_type: sql_type.to_owned(),
            not_null: false,
        })
    };
    markers.into_iter().map(add).collect()
}

fn value_type(data_type: &DataType) -> &DataType {
    if let DataType::Dictionary(_, value) = data_type {
        return value;
    }
    data_type
}

/// Checks the columns that the rules name.
///
/// # Errors
/// [`ErrorKind::SchemaMismatch`](crate::error::ErrorKind::SchemaMismatch), with the column.
pub(crate) fn check_changes(
    changes: &Changes,
    schema: &Schema,
    relation: &Relation,
    keys: &[Ident],
    encode: &EncodePlan,
) -> Result<()> {
    if let Some(delete_when) = &changes.delete_when
        && keys.contains(&delete_when.column)
    {
        return Err(Error::schema_mismatch("the delete_when column is a key")
            .with_hint("name another column: the key says which row is deleted")
            .with_column(delete_when.column.as_str()));
    }
    let marker = changes.delete_when.as_ref().map(|delete| &delete.column);
    let mismatch = |name: &Ident, message: String| {
        Err(Error::schema_mismatch(message).with_column(name.as_str()))
    };
    let is_in_data = |name: &Ident| schema.field_with_name(name.as_str()).is_ok();
    let mut tables = relation.columns.iter();
    if let Some(tombstone) = &changes.tombstone {
        let column = tables.find(|column| column.name == *tombstone);
        if column.is_none_or(|column| column.ty.oid != BOOL) {
            let message = "the table has no such boolean column, which tombstone names";
            return mismatch(tombstone, message.to_owned());
        }
        if is_in_data(tombstone) && marker != Some(tombstone) {
            let message = "the data has the tombstone column, which the write sets";
            return mismatch(tombstone, message.to_owned());
        }
    }
    let newer_by = changes.newer_by.iter().map(|name| ("newer_by", name));
    let updated = (changes.update_columns.iter()).map(|name| ("update_columns", name));
    let inserted = (changes.insert_columns.iter()).map(|name| ("insert_columns", name));
    for (what, name) in newer_by.chain(updated).chain(inserted) {
        if !is_in_data(name) {
            return mismatch(
                name,
                format!("the data has no such column, which {what} names"),
            );
        }
        if marker == Some(name) || !relation.columns.iter().any(|column| column.name == *name) {
            return mismatch(
                name,
                format!("the table has no such column, which {what} names"),
            );
        }
        if what != "insert_columns" && keys.contains(name) {
            return mismatch(name, format!("{what} names a key"));
        }
    }
    let cast = encode.columns().iter().find(|column| {
        let is_compared = [marker, changes.newer_by.as_ref()].contains(&Some(&column.name));
        is_compared && matches!(column.field, FieldPlan::Cast { .. })
    });
    match cast {
        None => Ok(()),
        Some(column) => mismatch(
            &column.name,
            format!(
                "a newer_by or delete_when column of Arrow type {} cannot be compared as {} before PostgreSQL casts it",
                column.data_type, column.type_name
            ),
        ),
    }
}
