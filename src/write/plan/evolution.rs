//! Columns of the data that the table lacks. The spec says whether they are rejected, added to the table or left out.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};

use arrow::datatypes::{FieldRef, Schema};

use crate::error::{Error, Result};
use crate::pg::{
    Publish, Table, Transaction, create_temporary, find_geometry, resolve_requested_types,
    staging_relation,
};
use crate::write::spec::{AppendBy, Mode, SchemaEvolution, WriteSpec};
use arrow_pgcopy::schema::{ColumnDefinition, asks_for_geometry, column_definitions};
use arrow_pgcopy::{EncodePlan, FieldPlan, Relation};

/// The names of a table's columns.
struct Names<'a> {
    /// All of them, in lower case.
    folded: HashSet<String>,
    generated: HashSet<&'a str>,
}

impl<'a> Names<'a> {
    fn of(relation: &'a Relation) -> Self {
        let columns = relation.columns.iter();
        let generated = columns.clone().filter(|column| column.generated);
        Self {
            folded: columns.map(|c| c.name.as_str().to_lowercase()).collect(),
            generated: generated.map(|column| column.name.as_str()).collect(),
        }
    }

    /// Returns whether the table lacks a column for a field. A name that differs only in case from a column's is not
    /// lacking: it is more likely a mistake than a new column, and the plan rejects it.
    fn lack(&self, field: &FieldRef) -> bool {
        !self.folded.contains(&field.name().to_lowercase())
    }

    /// Returns whether a field is left out under [`SchemaEvolution::Ignore`]: the table lacks its column, or PostgreSQL
    /// generates it.
    fn ignore(&self, field: &FieldRef) -> bool {
        self.generated.contains(field.name().as_str()) || self.lack(field)
    }
}

/// Returns the fields that are written: all of them, except those that [`SchemaEvolution::Ignore`] leaves out.
///
/// # Errors
/// [`ErrorKind::SchemaMismatch`](crate::error::ErrorKind::SchemaMismatch) when no field would be left.
pub(crate) fn written_schema<'a>(
    spec: &WriteSpec,
    schema: &'a Schema,
    relation: &Relation,
) -> Result<Cow<'a, Schema>> {
    if spec.schema_evolution != SchemaEvolution::Ignore {
        return Ok(Cow::Borrowed(schema));
    }
    let names = Names::of(relation);
    let fields = schema.fields().iter();
    let kept: Vec<FieldRef> = fields
        .filter(|field| !names.ignore(field))
        .cloned()
        .collect();
    if kept.is_empty() && !schema.fields().is_empty() {
        return Err(
            Error::schema_mismatch("the table has none of the columns of the data")
                .with_table(&relation.name),
        );
    }
    Ok(Cow::Owned(Schema::new(kept)))
}

/// Returns the names of the fields that are left out.
pub(crate) fn ignored_fields<'a>(
    spec: &WriteSpec,
    schema: &'a Schema,
    relation: &Relation,
) -> HashSet<&'a str> {
    match spec.schema_evolution {
        SchemaEvolution::Refuse | SchemaEvolution::AddColumns => HashSet::new(),
        SchemaEvolution::Ignore => {
            let names = Names::of(relation);
            let fields = schema.fields().iter();
            let ignored = fields.filter(|field| names.ignore(field));
            ignored.map(|field| field.name().as_str()).collect()
        }
    }
}

/// Returns the columns that the write adds to the table. They are nullable, since the table may have rows already.
///
/// # Errors
/// The errors of [`column_definitions`]; any error that PostgreSQL reports.
pub(crate) async fn columns_to_add(
    transaction: &Transaction,
    spec: &WriteSpec,
    schema: &Schema,
    relation: &Relation,
) -> Result<Vec<ColumnDefinition>> {
    if spec.schema_evolution != SchemaEvolution::AddColumns {
        return Ok(Vec::new());
    }
    let names = Names::of(relation);
    let fields = schema.fields().iter();
    let fields: Vec<FieldRef> = fields.filter(|field| names.lack(field)).cloned().collect();
    let new = Schema::new(fields);
    let types = spec.column_types.iter();
    let types: BTreeMap<String, String> = types
        .filter(|(name, _)| new.field_with_name(name).is_ok())
        .map(|(name, sql_type)| (name.clone(), sql_type.clone()))
        .collect();
    let geometry = match asks_for_geometry(&new) {
        true => find_geometry(transaction).await?,
        false => None,
    };
    let mut columns = column_definitions(&new, &types, geometry.as_deref())
        .map_err(|error| Error::from(error).with_table(&relation.name))?;
    let resolved = resolve_requested_types(transaction, &mut columns, Some(relation.oid)).await;
    resolved.map_err(|error| error.with_table(&relation.name))?;
    for column in &mut columns {
        column.not_null = false;
    }
    Ok(columns)
}

/// Adds the new columns to the description of a table. The table itself is neither locked nor changed.
///
/// # Errors
/// [`ErrorKind::PermissionDenied`](crate::error::ErrorKind::PermissionDenied) when the server's role does not own the
/// table; [`ErrorKind::Unsupported`](crate::error::ErrorKind::Unsupported) for a view, or when columns cannot be added
/// in the transaction that publishes the rows.
pub(crate) async fn extend_relation(
    transaction: &Transaction,
    spec: &WriteSpec,
    publish: Publish,
    table: &mut Table,
    added: &[ColumnDefinition],
) -> Result<()> {
    let Some(first) = added.first() else {
        return Ok(());
    };
    let two_phase = matches!(
        spec.mode,
        Mode::Append {
            publish: AppendBy::TwoPhase,
            ..
        }
    );
    if two_phase || matches!(publish, Publish::Direct | Publish::Swap) {
        return Err(Error::unsupported(
            "the table has no such column, and this write cannot add it together with the rows",
        )
        .with_hint("publish staged, overwrite with truncate or delete, or add the column first")
        .with_column(first.name.as_str())
        .with_table(&table.relation.name));
    }
    table.check_owned("add columns")?;
    // A temporary table, which no other session sees, makes PostgreSQL resolve the types.
    let temporary = create_temporary(transaction, added).await?;
    let likeness = staging_relation(transaction, &temporary.name).await?;
    table.relation.columns.extend(likeness.columns);
    Ok(())
}

/// Rejects staged strings for a new column of a type that PostgreSQL casts them to. The commit takes the types of new
/// columns from the staging table, where such strings are text.
///
/// # Errors
/// [`ErrorKind::SchemaMismatch`](crate::error::ErrorKind::SchemaMismatch), with the column.
pub(crate) fn check_not_cast(plan: &EncodePlan, added: &[ColumnDefinition]) -> Result<()> {
    let mut columns = plan.columns().iter();
    let cast = columns.find(|column| {
        let is_new = added.iter().any(|new| new.name == column.name);
        is_new && matches!(column.field, FieldPlan::Cast { .. })
    });
    match cast {
        None => Ok(()),
        Some(column) => Err(Error::schema_mismatch(format!(
            "the column would be added as {}, to which PostgreSQL casts its strings",
            column.type_name
        ))
        .with_hint("add the column first")
        .with_column(column.name.as_str())),
    }
}
