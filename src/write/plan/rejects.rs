//! Whether a write can reject rows, and which columns identify a rejected row.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};

use super::permission::find_permitted;
use crate::auth::{Caller, WriteMode};
use crate::error::{Error, Result};
use crate::pg::{Publish, ROW, Table, Transaction, kinds_of_table, primary_key};
use crate::write::reject::rules::{
    LATER_KINDS, OnDuplicate, RejectRules, RejectValues, not_served, unserved,
};
use crate::write::spec::{Changes, Mode, Part, WriteSpec};
use arrow_pgcopy::schema::ColumnDefinition;
use arrow_pgcopy::{Column, Ident, PgType, Relation};

/// Checks that a write can reject rows as its spec says. Does nothing for other writes.
///
/// # Errors
/// The errors of [`RejectRules::check_names`] and [`find_reject_table`];
/// [`ErrorKind::Unsupported`](crate::error::ErrorKind::Unsupported) for rows in an envelope.
pub(crate) async fn check_rejects(
    transaction: &Transaction,
    caller: &Caller,
    spec: &WriteSpec,
) -> Result<()> {
    let Some(rules) = &spec.rejects else {
        return Ok(());
    };
    rules.check_names()?;
    if spec.mode.changes().is_some_and(Changes::has_envelope) {
        return Err(
            Error::unsupported("rows in an envelope cannot be rejected yet")
                .with_hint("leave on_error out"),
        );
    }
    find_reject_table(transaction, caller, rules)
        .await
        .map(drop)
}

/// Whether a method inserts staged rows, so that PostgreSQL can be asked which of them it rejects.
fn is_staged(publish: Publish) -> bool {
    match publish {
        Publish::Append | Publish::Truncate | Publish::Delete => true,
        Publish::TwoPhase
        | Publish::Replace
        | Publish::Merge
        | Publish::Swap
        | Publish::Create
        | Publish::Direct
        | Publish::Nothing => false,
    }
}

/// Checks that a write to a table can reject all rows that its rules reject, and adds the column that says where a staged
/// row was in its stream, if PostgreSQL may reject rows. Returns its definition.
///
/// # Errors
/// [`ErrorKind::Unsupported`](crate::error::ErrorKind::Unsupported) with a kind that cannot be rejected;
/// [`ErrorKind::SchemaMismatch`](crate::error::ErrorKind::SchemaMismatch) when the data or the table has the column; any
/// error that PostgreSQL reports.
pub(crate) async fn mark_places(
    transaction: &Transaction,
    spec: &WriteSpec,
    schema: &Schema,
    publish: Publish,
    table: &mut Table,
) -> Result<Option<ColumnDefinition>> {
    let Some(rules) = &spec.rejects else {
        return Ok(None);
    };
    check_name(schema, &table.relation)?;
    let of_mode = match &spec.mode {
        Mode::Keyed { .. } => Some("duplicate"),
        Mode::Replace {
            part: Part::Where(_),
        } => Some("outside"),
        Mode::Append { .. }
        | Mode::Create { .. }
        | Mode::Overwrite { .. }
        | Mode::Replace { part: Part::By(_) } => None,
    };
    let relation = &mut table.relation;
    let raised = kinds_of_table(transaction, relation.oid).await?;
    let may_raise =
        |kind: &str| raised.iter().any(|raised| raised == kind) || of_mode == Some(kind);
    let is_staged = is_staged(publish) && !table.is_view;
    let unserved = unserved(is_staged);
    let refused = match rules.kinds.is_empty() {
        true => unserved.iter().copied().find(|kind| may_raise(kind)),
        false => rules.first_named(unserved.iter().copied()),
    };
    let in_table = |error: Error| error.with_table(&relation.name);
    if let Some(kind) = refused {
        return Err(in_table(not_served(kind, "by this write yet")));
    }
    let is_raised = LATER_KINDS
        .iter()
        .any(|kind| rules.reject(kind) && may_raise(kind));
    if !is_staged || !is_raised {
        return Ok(None);
    }
    if may_raise("deferred") {
        return Err(in_table(not_served(
            "foreign_key or unique",
            "if a constraint is deferred or a foreign key refers to its own table",
        )));
    }
    if may_raise("unique") && rules.on_duplicate == OnDuplicate::RejectAll {
        return Err(in_table(Error::unsupported(
            "on_duplicate reject_all is not served yet",
        )));
    }
    let name = Ident::new(ROW)?;
    let ty = PgType::builtin(INT8).ok_or_else(|| Error::internal("int8 is not built in"))?;
    relation.columns.push(Column::new(name.clone(), ty));
    Ok(Some(ColumnDefinition {
        name,
        sql_type: "bigint".to_owned(),
        not_null: false,
    }))
}

/// Rejects a column with the name of the column of the places of rows.
fn check_name(schema: &Schema, relation: &Relation) -> Result<()> {
    let mut columns = relation.columns.iter();
    let is_in_table = columns.any(|column| column.name.as_str() == ROW);
    if !is_in_table && schema.field_with_name(ROW).is_err() {
        return Ok(());
    }
    Err(Error::schema_mismatch(
        "the table or the data has a column whose name pgflight uses for the places of rows",
    )
    .with_table(&relation.name)
    .with_column(ROW))
}

/// The OID of int8 (catalog/pg_type.dat).
const INT8: u32 = 20;

/// Returns the schema with the column of the places of rows, if the staging table has it.
pub(crate) fn with_places<'a>(
    spec: &WriteSpec,
    schema: Cow<'a, Schema>,
    relation: &Relation,
) -> Cow<'a, Schema> {
    let mut columns = relation.columns.iter();
    if spec.rejects.is_none() || !columns.any(|column| column.name.as_str() == ROW) {
        return schema;
    }
    let mut fields = schema.fields().to_vec();
    fields.push(Arc::new(Field::new(ROW, DataType::Int64, false)));
    Cow::Owned(Schema::new(fields))
}

/// Finds the caller's table for rejected rows; `None` if they go to the ledger's.
///
/// # Errors
/// [`ErrorKind::NotFound`](crate::error::ErrorKind::NotFound) without the table, or if the caller may not see it;
/// [`ErrorKind::PermissionDenied`](crate::error::ErrorKind::PermissionDenied) when a grant or privilege is missing;
/// [`ErrorKind::SchemaMismatch`](crate::error::ErrorKind::SchemaMismatch) when it lacks a column; any error that
/// PostgreSQL reports.
pub(crate) async fn find_reject_table(
    transaction: &Transaction,
    caller: &Caller,
    rules: &RejectRules,
) -> Result<Option<Table>> {
    let Some(name) = &rules.table else {
        return Ok(None);
    };
    let Some(table) = find_permitted(transaction, caller, name).await? else {
        return Err(
            Error::not_found("the table for rejected rows does not exist")
                .with_hint("create it first: CREATE TABLE … (LIKE pgflight.reject)")
                .with_table(name),
        );
    };
    let relation = &table.relation;
    caller.check(&relation.name, WriteMode::Append)?;
    table.check_privileges(&["INSERT"])?;
    let mut columns = crate::pg::REJECT_COLUMNS.iter();
    let lacking = columns.find(|name| {
        let mut columns = relation.columns.iter();
        !columns.any(|column| column.name.as_str() == **name)
    });
    match lacking {
        None => Ok(Some(table)),
        Some(column) => Err(
            Error::schema_mismatch("the table for rejected rows lacks a column")
                .with_hint("make it like pgflight.reject")
                .with_table(&relation.name)
                .with_column(*column),
        ),
    }
}

/// Returns the columns that identify a rejected row: the keys of the mode, or else the primary key of the table.
///
/// # Errors
/// Any error that PostgreSQL reports.
pub(crate) async fn key_columns(
    transaction: &Transaction,
    spec: &WriteSpec,
    rules: &RejectRules,
    table_oid: Option<u32>,
) -> Result<Vec<Ident>> {
    if rules.values == RejectValues::None {
        return Ok(Vec::new());
    }
    if let Mode::Keyed { keys, .. } = &spec.mode
        && !keys.is_empty()
    {
        return Ok(keys.clone());
    }
    match table_oid {
        None => Ok(spec.primary_key.clone()),
        Some(oid) => {
            let key = primary_key(transaction, oid).await?;
            Ok(key.map(|key| key.columns).unwrap_or_default())
        }
    }
}
