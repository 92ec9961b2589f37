//! Which table a write goes to, as its mode and the catalog decide.

use std::borrow::Cow;

use arrow::datatypes::Schema;

use super::evolution::{to_add, with_columns, written};
use super::permission::{check_existing, check_new, find_permitted, missing_table};
use super::spec::{
    AppendBy, IfExists, KeyedAction, Mode, OverwriteWith, SchemaEvolution, WriteSpec,
};
use crate::auth::Caller;
use crate::error::{Error, Result};
use crate::pg::{
    LedgerWrite, Publish, TableLock, Transaction, add_primary_key, check_comparable, check_rights,
    check_sequences, check_swappable, check_truncatable, check_unique_index, create_table,
    find_geometry, lock_relation, qualify, staging_relation, two_phase_obstacle,
};
use arrow_pgcopy::schema::{ColumnDefinition, asks_for_geometry, column_definitions};
use arrow_pgcopy::{EncodePlan, FieldPlan, Ident, QualifiedName, Relation};

/// What a write finds.
pub(super) enum Target {
    /// A table that is there, as it will be when it has these columns, and how the rows come into it.
    Existing(Relation, Publish, Vec<ColumnDefinition>),
    /// A table to be made with these columns.
    Missing(Vec<ColumnDefinition>),
    /// A table that is there and is to be left alone.
    LeaveAlone(Relation),
}

/// Looks the table up and decides.
///
/// # Errors
/// [`ErrorKind::PermissionDenied`](crate::error::ErrorKind::PermissionDenied) when the caller may not;
/// [`ErrorKind::NotFound`](crate::error::ErrorKind::NotFound) or
/// [`ErrorKind::AlreadyExists`](crate::error::ErrorKind::AlreadyExists) where the mode does not
/// allow what the catalog says; [`ErrorKind::SchemaMismatch`](crate::error::ErrorKind::SchemaMismatch)
/// when no table can be made from the Arrow schema.
pub(super) async fn find_target(
    transaction: &Transaction,
    caller: &Caller,
    spec: &WriteSpec,
    schema: &Schema,
) -> Result<Target> {
    match find_permitted(transaction, caller, &spec.table).await? {
        Some(relation) => {
            check_existing(caller, spec, &relation.name)?;
            check_rights(transaction, &relation, needed_rights(&spec.mode)).await?;
            existing(transaction, spec, schema, relation).await
        }
        None => missing(transaction, caller, spec, schema).await,
    }
}

async fn existing(
    transaction: &Transaction,
    spec: &WriteSpec,
    schema: &Schema,
    relation: Relation,
) -> Result<Target> {
    let publish = match &spec.mode {
        Mode::Append {
            publish: AppendBy::Direct,
            ..
        } => Publish::Direct,
        Mode::Append { .. } => Publish::Append,
        Mode::Create {
            if_exists: IfExists::Append,
        } => Publish::Append,
        Mode::Create {
            if_exists: IfExists::Ignore,
        } => return Ok(Target::LeaveAlone(relation)),
        Mode::Create {
            if_exists: IfExists::Fail,
        } => {
            return Err(Error::already_exists(format!(
                "table {} is already there; use mode append or overwrite, or create with if_exists append \
                 or ignore",
                relation.name
            ))
            .with_table(&relation.name));
        }
        Mode::Overwrite {
            with: OverwriteWith::Truncate,
        } => Publish::Truncate,
        Mode::Overwrite {
            with: OverwriteWith::Delete,
        } => Publish::Delete,
        Mode::Overwrite {
            with: OverwriteWith::Swap,
        } => Publish::Swap,
        Mode::Keyed { .. } => Publish::Merge,
    };
    if publish == Publish::Swap {
        check_swappable(transaction, &relation).await?;
    }
    if publish == Publish::Truncate {
        check_truncatable(transaction, &relation).await?;
    }
    if spec.sync_sequences {
        check_sequences(transaction, &relation).await?;
    }
    let added = to_add(transaction, spec, schema, &relation).await?;
    let relation = with_columns(transaction, spec, publish, relation, &added).await?;
    check_merge(transaction, spec, schema, &relation).await?;
    Ok(Target::Existing(relation, publish, added))
}

/// Checks that rows can be told apart by their keys, in modes that do so.
///
/// # Errors
/// [`ErrorKind::SchemaMismatch`](crate::error::ErrorKind::SchemaMismatch) with what the data, the table or
/// its indexes lack.
pub(super) async fn check_merge(
    transaction: &Transaction,
    spec: &WriteSpec,
    schema: &Schema,
    relation: &Relation,
) -> Result<()> {
    let Mode::Keyed {
        action,
        keys,
        order_by,
        ..
    } = &spec.mode
    else {
        return Ok(());
    };
    let written = written(spec, schema, relation)?;
    check_keys(&written, relation, *action, keys, order_by.as_ref())?;
    check_keys_are_encoded(&plan(spec, schema, relation)?, keys, order_by.as_ref())?;
    if action.needs_unique_index() {
        check_unique_index(transaction, relation, keys).await?;
    }
    check_comparable(transaction, relation, keys, order_by.as_ref()).await
}

async fn missing(
    transaction: &Transaction,
    caller: &Caller,
    spec: &WriteSpec,
    schema: &Schema,
) -> Result<Target> {
    let makes_it = match spec.mode {
        Mode::Append {
            create_if_missing, ..
        } => create_if_missing,
        Mode::Create { .. } | Mode::Overwrite { .. } => true,
        Mode::Keyed {
            create_if_missing, ..
        } => create_if_missing,
    };
    if !makes_it {
        return Err(missing_table(transaction, caller, &spec.table).await?);
    }
    check_new(caller, spec, &qualify(transaction, &spec.table).await?)?;
    let geometry = match asks_for_geometry(schema) {
        true => find_geometry(transaction).await?,
        false => None,
    };
    let mut columns = column_definitions(schema, &spec.column_types, geometry.as_deref())
        .map_err(|error| Error::from(error).with_table(&spec.table))?;
    for key in &spec.primary_key {
        let column = columns.iter_mut().find(|column| column.name == *key);
        let column = column.ok_or_else(|| {
            Error::schema_mismatch(format!(
                "the column {key} of the primary key is not in the data"
            ))
            .with_table(&spec.table)
        })?;
        column.not_null = true;
    }
    Ok(Target::Missing(columns))
}

/// Makes a table that is missing where rows are merged into it. It is empty, and has its primary key at once.
///
/// # Errors
/// [`ErrorKind::AlreadyExists`](crate::error::ErrorKind::AlreadyExists) when somebody was faster; what
/// PostgreSQL has against columns and keys, or we have against what it would have to cast.
pub(super) async fn make_keyed(
    transaction: &Transaction,
    spec: &WriteSpec,
    schema: &Schema,
    name: &QualifiedName,
    columns: &[ColumnDefinition],
) -> Result<()> {
    create_table(transaction, name, columns, &spec.table_options)
        .await
        .map_err(|error| error.with_table(name))?;
    add_primary_key(transaction, name, &spec.primary_key).await?;
    let relation = staging_relation(transaction, name).await?;
    check_straight(&plan(spec, schema, &relation)?)?;
    check_merge(transaction, spec, schema, &relation).await
}

/// What the commit will do to a table that is there, in the words of GRANT.
fn needed_rights(mode: &Mode) -> &'static [&'static str] {
    match mode {
        Mode::Create {
            if_exists: IfExists::Fail | IfExists::Ignore,
        }
        // The owner may.
        | Mode::Overwrite {
            with: OverwriteWith::Swap,
        } => &[],
        Mode::Append { .. }
        | Mode::Create {
            if_exists: IfExists::Append,
        } => &["INSERT"],
        Mode::Overwrite {
            with: OverwriteWith::Truncate,
        } => &["INSERT", "TRUNCATE"],
        Mode::Overwrite {
            with: OverwriteWith::Delete,
        } => &["INSERT", "DELETE"],
        Mode::Keyed { action, .. } => match action {
            KeyedAction::Upsert => &["SELECT", "INSERT", "UPDATE"],
            KeyedAction::InsertIfAbsent => &["SELECT", "INSERT"],
            KeyedAction::UpdateOnly => &["SELECT", "UPDATE"],
            KeyedAction::DeleteByKey => &["SELECT", "DELETE"],
        },
    }
}

/// The plan of what a write brings against its table. Modes that add no rows need no more columns
/// than they name.
///
/// # Errors
/// As [`EncodePlan::with_conversions`].
pub(super) fn plan(spec: &WriteSpec, schema: &Schema, relation: &Relation) -> Result<EncodePlan> {
    let schema = &*written(spec, schema, relation)?;
    let mut conversions = Cow::Borrowed(&spec.conversions);
    if spec.schema_evolution == SchemaEvolution::Ignore {
        conversions
            .to_mut()
            .retain(|name, _| schema.field_with_name(name).is_ok());
    }
    let planned = |relation: &Relation| -> Result<EncodePlan> {
        Ok(EncodePlan::with_conversions(
            schema,
            relation,
            &conversions,
        )?)
    };
    match &spec.mode {
        Mode::Keyed {
            action: KeyedAction::UpdateOnly | KeyedAction::DeleteByKey,
            ..
        } => {
            let mut named = relation.clone();
            named
                .columns
                .retain(|column| schema.field_with_name(column.name.as_str()).is_ok());
            // Whole, so that the message can name a column that was perhaps meant.
            planned(&named).or_else(|error| planned(relation).and(Err(error)))
        }
        Mode::Keyed { .. } | Mode::Append { .. } | Mode::Create { .. } | Mode::Overwrite { .. } => {
            planned(relation)
        }
    }
}

/// Whether attempts may wait in the table itself rather than in a staging table.
///
/// # Errors
/// As [`plan`]; [`ErrorKind::SchemaMismatch`](crate::error::ErrorKind::SchemaMismatch) when they must
/// and PostgreSQL is to cast a column.
/// [`ErrorKind::Unsupported`](crate::error::ErrorKind::Unsupported) when they must and cannot.
pub(super) async fn is_two_phase(
    transaction: &Transaction,
    spec: &WriteSpec,
    schema: &Schema,
    relation: &Relation,
) -> Result<bool> {
    let Mode::Append { publish, .. } = spec.mode else {
        return Ok(false);
    };
    if publish == AppendBy::Best && plan(spec, schema, relation)?.first_cast().is_some() {
        // What PostgreSQL is to cast must come from staging.
        return Ok(false);
    }
    if publish == AppendBy::TwoPhase {
        check_straight(&plan(spec, schema, relation)?)?;
    }
    match publish {
        AppendBy::Staging | AppendBy::Direct => Ok(false),
        AppendBy::Best => Ok(two_phase_obstacle(transaction, relation).await?.is_none()),
        AppendBy::TwoPhase => match two_phase_obstacle(transaction, relation).await? {
            None => Ok(true),
            Some(obstacle) => Err(Error::unsupported(format!(
                "{} cannot be written by prepared transactions: {obstacle}; publish staged",
                relation.name
            ))
            .with_table(&relation.name)),
        },
    }
}

/// Refuses what PostgreSQL is to cast, where rows are copied straight into what will be the target.
///
/// # Errors
/// [`ErrorKind::SchemaMismatch`](crate::error::ErrorKind::SchemaMismatch), naming the column.
pub(super) fn check_straight(plan: &EncodePlan) -> Result<()> {
    match plan.first_cast() {
        None => Ok(()),
        Some(column) => Err(Error::schema_mismatch(format!(
            "column {} of Arrow type {} is cast to {} by PostgreSQL on the way from a staging table, and this way of writing has none; make the table first and append to it or truncate it, or cast the data before writing",
            column.name, column.data_type, column.type_name
        ))
        .with_column(column.name.as_str())),
    }
}

/// Keys and order must be in the data and in the table.
fn check_keys(
    schema: &Schema,
    relation: &Relation,
    action: KeyedAction,
    keys: &[Ident],
    order_by: Option<&Ident>,
) -> Result<()> {
    let mismatch =
        |message: String| Err(Error::schema_mismatch(message).with_table(&relation.name));
    for name in keys.iter().chain(order_by) {
        let what = if keys.contains(name) {
            "key"
        } else {
            "order_by"
        };
        if schema.field_with_name(name.as_str()).is_err() {
            return mismatch(format!("the {what} column {name} is not in the data"));
        }
        if !relation.columns.iter().any(|column| column.name == *name) {
            return mismatch(format!(
                "table {} has no {what} column {name}",
                relation.name
            ));
        }
    }
    if action == KeyedAction::UpdateOnly && schema.fields().len() <= keys.len() {
        return mismatch("there is nothing to update: all columns of the data are keys".to_owned());
    }
    Ok(())
}

/// Two texts can be one value: keys that PostgreSQL is yet to cast cannot be compared.
fn check_keys_are_encoded(
    plan: &EncodePlan,
    keys: &[Ident],
    order_by: Option<&Ident>,
) -> Result<()> {
    let cast = plan.columns().iter().find(|column| {
        let is_key = keys.iter().chain(order_by).any(|key| *key == column.name);
        is_key && matches!(column.field, FieldPlan::Cast { .. })
    });
    match cast {
        None => Ok(()),
        Some(column) => Err(Error::schema_mismatch(format!(
            "the key or order_by column {} of Arrow type {} cannot be compared as {} before PostgreSQL casts it; cast the data before writing",
            column.name, column.data_type, column.type_name
        ))
        .with_column(column.name.as_str())),
    }
}

/// Locks the target and makes sure that it is still the one that the write was begun with.
pub(super) async fn lock_target(
    transaction: &Transaction,
    write: &LedgerWrite,
    name: &QualifiedName,
    lock: TableLock,
) -> Result<Relation> {
    let relation = lock_relation(transaction, name, lock).await?;
    match Some(relation.oid) == write.target_oid {
        true => Ok(relation),
        false => Err(Error::conflict(format!(
            "table {name} was dropped and made again since the write was begun"
        ))
        .with_table(name)),
    }
}
