//! The requirements of keyed modes on the data and the table.

use std::borrow::Cow;

use arrow::datatypes::Schema;

use super::changes::check_changes;
use super::evolution::written_schema;
use crate::error::{Error, Result};
use crate::pg::{Keys, Table, Transaction, find_compared, primary_key, unique_keys};
use crate::write::spec::{KeyedAction, Mode, WriteSpec};
use arrow_pgcopy::{EncodePlan, FieldPlan, Ident, Relation};

/// Finds the keys of a keyed write, and how PostgreSQL compares them. A write that names no keys has the table's primary
/// key. Returns `None` in other modes.
///
/// # Errors
/// [`ErrorKind::SchemaMismatch`](crate::error::ErrorKind::SchemaMismatch) when the data or the table lacks a key, when
/// key values cannot be compared, when the write names no keys and the table has no primary key, or when the table lacks
/// the unique index that ON CONFLICT needs;
/// [`ErrorKind::Unsupported`](crate::error::ErrorKind::Unsupported) for a view where ON CONFLICT needs an index.
pub(crate) async fn find_checked_keys(
    transaction: &Transaction,
    spec: &WriteSpec,
    schema: &Schema,
    table: &Table,
    encode: &EncodePlan,
) -> Result<Option<Keys>> {
    let Mode::Keyed {
        action,
        keys,
        order_by,
        changes,
        ..
    } = &spec.mode
    else {
        return Ok(None);
    };
    let newer_by = changes.newer_by.as_ref();
    let (relation, order_by) = (&table.relation, order_by.as_ref().or(newer_by));
    let keys = &*match keys.is_empty() {
        true => Cow::Owned(find_primary_key(transaction, table).await?),
        false => Cow::Borrowed(keys),
    };
    let written = written_schema(spec, schema, relation)?;
    check_columns(&written, relation, *action, keys, order_by)
        .and_then(|()| check_encoded(encode, keys, order_by))
        .and_then(|()| check_changes(changes, &written, relation, keys, encode))
        .map_err(|error| error.with_table(&relation.name))?;
    let found = find_compared(transaction, relation, keys, order_by, newer_by).await?;
    if action.needs_unique_index() {
        found.check_unique_index(transaction, table).await?;
    }
    Ok(Some(found))
}

/// Returns the columns of the primary key.
///
/// # Errors
/// [`ErrorKind::SchemaMismatch`](crate::error::ErrorKind::SchemaMismatch) without one; the hint lists the unique indexes.
async fn find_primary_key(transaction: &Transaction, table: &Table) -> Result<Vec<Ident>> {
    let relation = &table.relation;
    if let Some(key) = primary_key(transaction, relation.oid).await? {
        return Ok(key.columns);
    }
    let unique = unique_keys(transaction, relation.oid).await?;
    let hint = match unique.is_empty() {
        true => "name the keys; the table has no unique index either".to_owned(),
        false => format!(
            "name the keys; the table has unique indexes on ({})",
            unique.join("), (")
        ),
    };
    Err(
        Error::schema_mismatch("the write names no keys, and the table has no primary key")
            .with_hint(hint)
            .with_table(&relation.name),
    )
}

/// Checks that the data and the table have the key columns and the order column.
fn check_columns(
    schema: &Schema,
    relation: &Relation,
    action: KeyedAction,
    keys: &[Ident],
    order_by: Option<&Ident>,
) -> Result<()> {
    if order_by.is_some_and(|name| keys.contains(name)) {
        return Err(Error::schema_mismatch("order_by names a key")
            .with_hint("name a column that is not a key"));
    }
    for name in keys.iter().chain(order_by) {
        let what = if keys.contains(name) {
            "key"
        } else {
            "order_by"
        };
        let lacks = |place: &str| {
            let message = format!("{place} has no such {what} column");
            Err(Error::schema_mismatch(message).with_column(name.as_str()))
        };
        if schema.field_with_name(name.as_str()).is_err() {
            return lacks("the data");
        }
        if !relation.columns.iter().any(|column| column.name == *name) {
            return lacks("the table");
        }
    }
    if action == KeyedAction::UpdateOnly && schema.fields().len() <= keys.len() {
        return Err(Error::schema_mismatch("all columns of the data are keys")
            .with_hint("send a column to update, or name fewer keys"));
    }
    Ok(())
}

/// Rejects keys that PostgreSQL casts only after the rows are merged: two texts can be the same value.
fn check_encoded(plan: &EncodePlan, keys: &[Ident], order_by: Option<&Ident>) -> Result<()> {
    let cast = plan.columns().iter().find(|column| {
        let is_key = keys.iter().chain(order_by).any(|key| *key == column.name);
        is_key && matches!(column.field, FieldPlan::Cast { .. })
    });
    match cast {
        None => Ok(()),
        Some(column) => Err(Error::schema_mismatch(format!(
            "a key or order_by column of Arrow type {} cannot be compared as {} before PostgreSQL casts it",
            column.data_type, column.type_name
        ))
        .with_hint("cast the data before writing")
        .with_column(column.name.as_str())),
    }
}
