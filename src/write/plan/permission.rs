//! The caller's permissions, checked wherever a write looks up its table.

use crate::auth::{Caller, WriteMode};
use crate::error::{Error, Result};
use crate::pg::{LedgerWrite, Table, Transaction, find_table, qualify, similar_relations};
use crate::write::record::spec_of;
use crate::write::spec::{IfExists, Mode, SchemaEvolution, WriteSpec};
use arrow_pgcopy::QualifiedName;
use arrow_pgcopy::table::TableName;

/// Finds a table that the caller may see. Returns `None` for a table that it may not see.
///
/// # Errors
/// [`ErrorKind::PermissionDenied`](crate::error::ErrorKind::PermissionDenied) for a name that the caller may not write
/// in any mode, whether or not the table exists; otherwise the errors of [`find_table`].
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

/// Returns the error for a missing table. Its hint has a similar name, if there is one. A name that the caller may not
/// see gets [`Caller::denied`].
///
/// # Errors
/// Any error that PostgreSQL reports.
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
                 createTable; in ADBC: create_append)"
            .to_owned(),
    };
    Ok(Error::not_found("the table does not exist")
        .with_hint(hint)
        .with_table(table))
}

/// Checks that the caller may write an existing table in the way that the spec asks for.
///
/// # Errors
/// [`ErrorKind::PermissionDenied`](crate::error::ErrorKind::PermissionDenied) when a grant is missing.
pub(crate) fn check_existing(
    caller: &Caller,
    spec: &WriteSpec,
    table: &QualifiedName,
) -> Result<()> {
    caller.check(table, spec.mode.write_mode())?;
    check_statements(caller, spec, table)?;
    if let Mode::Create {
        if_exists: IfExists::Append,
    } = spec.mode
    {
        caller.check(table, WriteMode::Append)?;
    }
    if spec.mode.delete_when().is_some() {
        caller.check(table, WriteMode::DeleteByKey)?;
    }
    match spec.schema_evolution {
        SchemaEvolution::AddColumns => caller.check(table, WriteMode::Create),
        SchemaEvolution::Refuse | SchemaEvolution::Ignore => Ok(()),
    }
}

/// Checks that the caller may create a table and then write it.
///
/// # Errors
/// The errors of [`check_existing`].
pub(crate) fn check_new(caller: &Caller, spec: &WriteSpec, table: &QualifiedName) -> Result<()> {
    caller.check(table, WriteMode::Create)?;
    caller.check(table, spec.mode.write_mode())?;
    check_statements(caller, spec, table)
}

/// Checks that the caller may run the statements that the spec names around rows of the table.
fn check_statements(caller: &Caller, spec: &WriteSpec, table: &QualifiedName) -> Result<()> {
    let mut names = spec.before.iter().chain(&spec.after);
    names.try_for_each(|name| caller.check_statement(table, name))
}

/// Checks the permissions again at each later call of a write: a grant may have been removed since begin.
///
/// # Errors
/// The errors of [`check_existing`].
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
