//! What the caller may do, asked wherever a write meets its table.

use crate::auth::{Caller, WriteMode};
use crate::error::{Error, Result};
use crate::pg::{LedgerWrite, Table, Transaction, find_table, qualify, similar_relations};
use crate::write::session::record::spec_of;
use crate::write::spec::{IfExists, Mode, SchemaEvolution, WriteSpec};
use arrow_pgcopy::QualifiedName;
use arrow_pgcopy::table::TableName;

/// Finds a table that the caller may know of. One that it may not is as one that is not there.
///
/// # Errors
/// [`ErrorKind::PermissionDenied`](crate::error::ErrorKind::PermissionDenied) for a name under which the
/// caller could not write anything, whether there is a table or not; else as [`find_table`].
pub(crate) async fn find_permitted(
    transaction: &Transaction,
    caller: &Caller,
    table: &TableName,
) -> Result<Option<Table>> {
    if let Some(schema) = &table.schema {
        let name = QualifiedName {
            schema: schema.clone(),
            name: table.name.clone(),
        };
        if !caller.may_see(&name) {
            return Err(caller.denied(table));
        }
    }
    find_table(transaction, table, |name| caller.may_see(name)).await
}

/// That there is no such table, and which one may have been meant.
///
/// # Errors
/// What PostgreSQL said.
pub(crate) async fn missing_table(
    transaction: &Transaction,
    caller: &Caller,
    table: &TableName,
) -> Result<Error> {
    if !caller.may_see(&qualify(transaction, table).await?) {
        return Ok(caller.denied(table));
    }
    let similar = similar_relations(transaction, table).await?;
    let hint = match similar.iter().find(|other| caller.may_see(other)) {
        Some(other) => format!("there is a table {other}; names keep their case"),
        None => "create it first, or let the write make it: mode create, or append with create_if_missing (in Spark: \
                 createTable)"
            .to_owned(),
    };
    Ok(Error::not_found("the table does not exist")
        .with_hint(hint)
        .with_table(table))
}

/// Checks that the caller may write a table that is there, as this spec wants it.
///
/// # Errors
/// [`ErrorKind::PermissionDenied`](crate::error::ErrorKind::PermissionDenied).
pub(crate) fn check_existing(
    caller: &Caller,
    spec: &WriteSpec,
    table: &QualifiedName,
) -> Result<()> {
    caller.check(table, spec.mode.write_mode())?;
    if let Mode::Create {
        if_exists: IfExists::Append,
    } = spec.mode
    {
        caller.check(table, WriteMode::Append)?;
    }
    match spec.schema_evolution {
        SchemaEvolution::AddColumns => caller.check(table, WriteMode::Create),
        SchemaEvolution::Refuse | SchemaEvolution::Ignore => Ok(()),
    }
}

/// Checks that the caller may make a table and then write it.
///
/// # Errors
/// As [`check_existing`].
pub(crate) fn check_new(caller: &Caller, spec: &WriteSpec, table: &QualifiedName) -> Result<()> {
    caller.check(table, WriteMode::Create)?;
    caller.check(table, spec.mode.write_mode())
}

/// Checks again, at each later call of a write, what was checked when it was begun: a grant may have been
/// taken away since.
///
/// # Errors
/// As [`check_existing`].
pub(crate) fn check_still(caller: &Caller, write: &LedgerWrite) -> Result<()> {
    let Some(target) = &write.target else {
        return Ok(());
    };
    let spec = spec_of(write)?;
    match write.target_oid {
        Some(_) => check_existing(caller, &spec, target),
        None => check_new(caller, &spec, target),
    }
}
