//! The part of a table that an overwrite replaces.

use arrow::datatypes::Schema;

use super::evolution::written_schema;
use crate::error::{Error, Result};
use crate::pg::{
    CheckedCondition, Keys, Table, Transaction, check_literals, checks_rows, find_condition,
    find_keys,
};
use crate::write::spec::{Mode, Part, WriteSpec};
use arrow_pgcopy::schema::ColumnDefinition;
use arrow_pgcopy::{EncodePlan, FieldPlan, Ident, Relation};

/// The part that a write replaces, checked against the table.
pub(crate) enum CheckedPart {
    /// The rows with the values that the data has in these columns.
    By(Keys),
    /// The rows for which a condition holds.
    Where(CheckedCondition),
}

impl Part {
    /// Returns the option and the columns that it names.
    fn columns(&self) -> (&'static str, Vec<&Ident>) {
        match self {
            Self::By(columns) => ("replace_by", columns.iter().collect()),
            Self::Where(condition) => {
                let terms = condition.terms().into_iter();
                ("replace_where", terms.map(|(column, _)| column).collect())
            }
        }
    }
}

/// Checks the part that a write replaces. Returns `None` in modes that replace no part. After an error that PostgreSQL
/// reports, the transaction is unusable.
///
/// # Errors
/// [`ErrorKind::SchemaMismatch`](crate::error::ErrorKind::SchemaMismatch) when the data or the table lacks a column of
/// the part, when its values cannot be compared, or when a value of the condition is none of its column; any error that
/// PostgreSQL reports.
pub(crate) async fn find_checked_part(
    transaction: &Transaction,
    spec: &WriteSpec,
    schema: &Schema,
    (table, added): (&Table, &[ColumnDefinition]),
    encode: &EncodePlan,
) -> Result<Option<CheckedPart>> {
    let Mode::Replace { part } = &spec.mode else {
        return Ok(None);
    };
    let relation = &table.relation;
    if table.is_view && !checks_rows(transaction, relation).await? {
        return Err(Error::unsupported(
            "the view may hide rows that are written through it, and they would not be replaced the next time",
        )
        .with_hint("make the view WITH CASCADED CHECK OPTION, or write to the table behind it")
        .with_table(&relation.name));
    }
    let written = written_schema(spec, schema, relation)?;
    check_columns(part, &written, (relation, added), encode)
        .map_err(|error| error.with_table(&relation.name))?;
    if let Part::Where(condition) = part {
        check_literals(transaction, relation, condition).await?;
    }
    find_part(transaction, relation, part).await.map(Some)
}

/// Finds how PostgreSQL compares the columns of a part.
///
/// # Errors
/// The errors of [`find_keys`] and [`find_condition`].
pub(crate) async fn find_part(
    transaction: &Transaction,
    target: &Relation,
    part: &Part,
) -> Result<CheckedPart> {
    Ok(match part {
        Part::By(columns) => CheckedPart::By(find_keys(transaction, target, columns, None).await?),
        Part::Where(condition) => {
            CheckedPart::Where(find_condition(transaction, target, condition).await?)
        }
    })
}

/// Returns the condition that the rows of a write must meet; `None` without one. `columns` describes a staging table, or
/// the target itself.
///
/// # Errors
/// The errors of [`find_condition`].
pub(crate) async fn find_guard(
    transaction: &Transaction,
    spec: &WriteSpec,
    target: &Relation,
) -> Result<Option<CheckedCondition>> {
    match &spec.mode {
        Mode::Replace {
            part: Part::Where(condition),
        } => find_condition(transaction, target, condition)
            .await
            .map(Some),
        Mode::Replace { part: Part::By(_) }
        | Mode::Append { .. }
        | Mode::Create { .. }
        | Mode::Overwrite { .. }
        | Mode::Keyed { .. } => Ok(None),
    }
}

/// Checks that the data and the table have the columns, and that PostgreSQL can compare their values before the rows are
/// in the table.
fn check_columns(
    part: &Part,
    schema: &Schema,
    (relation, added): (&Relation, &[ColumnDefinition]),
    encode: &EncodePlan,
) -> Result<()> {
    let (what, columns) = part.columns();
    for name in columns {
        let lacks = |place: &str| {
            let message = format!("{place} has no such column, which {what} names");
            Err(Error::schema_mismatch(message).with_column(name.as_str()))
        };
        let is_added = added.iter().any(|column| column.name == *name);
        if is_added || !relation.columns.iter().any(|column| column.name == *name) {
            return lacks("the table");
        }
        if schema.field_with_name(name.as_str()).is_err() {
            return lacks("the data");
        }
        let mut columns = encode.columns().iter();
        if let Some(column) = columns.find(|column| column.name == *name)
            && matches!(column.field, FieldPlan::Cast { .. })
        {
            return Err(Error::schema_mismatch(format!(
                "a column of {what} of Arrow type {} cannot be compared as {} before PostgreSQL casts it",
                column.data_type, column.type_name
            ))
            .with_hint("cast the data before writing")
            .with_column(name.as_str()));
        }
    }
    Ok(())
}
