//! Which table a write goes to, as its mode and the catalog decide.

use arrow_schema::Schema;

use super::spec::{IfExists, Mode, OverwriteWith, WriteSpec};
use crate::error::{Error, Result};
use crate::pg::{Publish, Transaction, find_relation, similar_relation};
use crate::plan::ddl::{ColumnDefinition, column_definitions};
use crate::plan::{Relation, TableName};

/// What a write finds.
pub(super) enum Target {
    /// A table that is there, and how the rows come into it.
    Existing(Relation, Publish),
    /// A table to be made with these columns.
    Missing(Vec<ColumnDefinition>),
    /// A table that is there and is to be left alone.
    LeaveAlone(Relation),
}

/// Looks the table up and decides.
///
/// # Errors
/// [`ErrorKind::NotFound`](crate::error::ErrorKind::NotFound) or
/// [`ErrorKind::AlreadyExists`](crate::error::ErrorKind::AlreadyExists) where the mode does not
/// allow what the catalog says; [`ErrorKind::SchemaMismatch`](crate::error::ErrorKind::SchemaMismatch)
/// when no table can be made from the Arrow schema.
pub(super) async fn find_target(
    transaction: &Transaction,
    spec: &WriteSpec,
    schema: &Schema,
) -> Result<Target> {
    let found = find_relation(transaction, &spec.table).await?;
    let publish = match (spec.mode, &found) {
        (
            Mode::Append {
                create_if_missing: false,
            },
            None,
        ) => {
            return Err(missing_table(transaction, &spec.table).await?);
        }
        (
            Mode::Create {
                if_exists: IfExists::Fail,
            },
            Some(relation),
        ) => {
            return Err(Error::already_exists(format!(
                "table {} is already there; use mode append or overwrite, or create with if_exists append \
                 or ignore",
                relation.name
            ))
            .with_table(&relation.name));
        }
        (Mode::Append { .. } | Mode::Create { .. }, _) => Publish::Append,
        (
            Mode::Overwrite {
                with: OverwriteWith::Truncate,
            },
            _,
        ) => Publish::Truncate,
        (
            Mode::Overwrite {
                with: OverwriteWith::Delete,
            },
            _,
        ) => Publish::Delete,
    };
    Ok(match (spec.mode, found) {
        (
            Mode::Create {
                if_exists: IfExists::Ignore,
            },
            Some(relation),
        ) => Target::LeaveAlone(relation),
        (_, Some(relation)) => Target::Existing(relation, publish),
        (_, None) => Target::Missing(
            column_definitions(schema, &spec.column_types)
                .map_err(|error| error.with_table(&spec.table))?,
        ),
    })
}

/// That there is no such table, and which one may have been meant.
///
/// # Errors
/// What PostgreSQL said.
pub(super) async fn missing_table(transaction: &Transaction, table: &TableName) -> Result<Error> {
    let hint = match similar_relation(transaction, table).await? {
        Some(other) => format!("there is {other}; names keep their case"),
        None => "create it first, or use mode create (append makes it with create_if_missing)"
            .to_owned(),
    };
    Ok(Error::not_found(format!("table {table} does not exist; {hint}")).with_table(table))
}
