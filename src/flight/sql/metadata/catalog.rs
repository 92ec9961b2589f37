//! The lists of catalogs (targets), schemas, tables and keys: only what the caller may write.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow_flight::FlightData;
use arrow_flight::sql::metadata::{GetCatalogsBuilder, GetDbSchemasBuilder, GetTablesBuilder};
use arrow_flight::sql::{
    CommandGetDbSchemas, CommandGetPrimaryKeys, CommandGetTableTypes, CommandGetTables,
};
use futures_util::FutureExt;
use futures_util::stream::BoxStream;

use super::pattern::matches;
use crate::error::{Error, Result};
use crate::flight::listing::{ListSender, listed};
use crate::flight::sql::answer::{sent, unmade};
use crate::write::{Budget, Targets, Writer};
use arrow_pgcopy::schema::to_arrow_schema;
use arrow_pgcopy::table::TableName;
use arrow_pgcopy::{Ident, QualifiedName};

/// The only type of tables, partitioned ones included.
const TABLE: &str = "TABLE";

/// The longest pattern of names. A name has at most 63 bytes.
const MAX_PATTERN_BYTES: usize = 1024;

/// Returns the names of the targets that the caller may use.
pub(in crate::flight::sql) fn catalogs(targets: &Targets) -> Result<RecordBatch> {
    let mut catalogs = GetCatalogsBuilder::new();
    for (target, _) in targets.iter() {
        catalogs.append(target);
    }
    catalogs.build().map_err(unmade)
}

/// Returns the types of tables.
pub(in crate::flight::sql) fn table_types() -> Result<RecordBatch> {
    let mut types = CommandGetTableTypes {}.into_builder();
    types.append(TABLE);
    types.build().map_err(unmade)
}

/// Returns the schemas with tables that the caller may write.
///
/// # Errors
/// The errors of [`Writer::relations`].
pub(in crate::flight::sql) async fn db_schemas(
    targets: &Targets,
    command: CommandGetDbSchemas,
) -> Result<RecordBatch> {
    let pattern = command.db_schema_filter_pattern.clone();
    check_patterns([pattern.as_deref()])?;
    let mut schemas = GetDbSchemasBuilder::new(None::<String>, None::<String>);
    for (target, writer) in chosen(targets, command.catalog.as_deref()) {
        let is_wanted = |name: &QualifiedName| is_match(pattern.as_deref(), name.schema.as_str());
        let names = writer.relations(is_wanted).await?.into_names()?;
        let distinct: BTreeSet<_> = names.into_iter().map(|name| name.schema).collect();
        for schema in distinct {
            schemas.append(&target, schema.as_str());
        }
    }
    schemas.build().map_err(unmade)
}

/// Returns the schema of the answer to [`tables`].
pub(in crate::flight::sql) fn tables_schema(command: &CommandGetTables) -> SchemaRef {
    rows_of(command.include_schema).schema()
}

/// Returns the tables that the caller may write, read while the client takes them.
///
/// # Errors
/// The errors of [`Writer::relations`].
pub(in crate::flight::sql) async fn tables(
    targets: &Targets,
    command: CommandGetTables,
    budget: &Budget,
) -> Result<BoxStream<'static, Result<FlightData>>> {
    check_patterns([
        command.db_schema_filter_pattern.as_deref(),
        command.table_name_filter_pattern.as_deref(),
    ])?;
    let schema = tables_schema(&command);
    let is_any_type = command.table_types.is_empty();
    let chosen = match is_any_type || command.table_types.iter().any(|found| found == TABLE) {
        true => chosen(targets, command.catalog.as_deref()),
        false => Vec::new(),
    };
    let make = |sender: ListSender<RecordBatch>| {
        let sending = async move {
            for (target, writer) in chosen {
                send_tables(&sender, &target, &writer, &command).await?;
            }
            Ok(())
        };
        sending.boxed()
    };
    Ok(sent(schema, listed(budget, make).await?))
}

async fn send_tables(
    sender: &ListSender<RecordBatch>,
    target: &str,
    writer: &Writer,
    command: &CommandGetTables,
) -> Result<()> {
    let is_wanted = |name: &QualifiedName| {
        is_match(
            command.db_schema_filter_pattern.as_deref(),
            name.schema.as_str(),
        ) && is_match(
            command.table_name_filter_pattern.as_deref(),
            name.name.as_str(),
        )
    };
    let mut list = writer.relations(is_wanted).await?;
    if !command.include_schema {
        let names = list.into_names()?;
        let mut rows = rows_of(false);
        for name in names {
            let (schema, name) = (name.schema.as_str(), name.name.as_str());
            rows.append(target, schema, name, TABLE, &Schema::empty())
                .map_err(unmade)?;
        }
        return sender.send(rows.build().map_err(unmade)?).await;
    }
    while let Some(relations) = list.next().await? {
        let mut rows = rows_of(true);
        for relation in relations {
            let (schema, name) = (&relation.name.schema, &relation.name.name);
            let columns = to_arrow_schema(&relation);
            rows.append(target, schema.as_str(), name.as_str(), TABLE, &columns)
                .map_err(unmade)?;
        }
        sender.send(rows.build().map_err(unmade)?).await?;
    }
    Ok(())
}

/// Returns a builder without filters, since the tables were chosen by name.
fn rows_of(include_schema: bool) -> GetTablesBuilder {
    let (none, types) = (None::<String>, Vec::<String>::new());
    GetTablesBuilder::new(none.clone(), none.clone(), none, types, include_schema)
}

/// Returns the schema of the answer to [`primary_keys`] (Arrow's `FlightSql.proto`).
pub(in crate::flight::sql) fn primary_keys_schema() -> SchemaRef {
    let text = |name, nullable| Field::new(name, DataType::Utf8, nullable);
    Arc::new(Schema::new(vec![
        text("catalog_name", true),
        text("db_schema_name", true),
        text("table_name", false),
        text("column_name", false),
        Field::new("key_sequence", DataType::Int32, false),
        text("key_name", true),
    ]))
}

/// Returns the columns of a table's primary key.
///
/// # Errors
/// The errors of [`Targets::find`] and [`Writer::primary_key`].
pub(in crate::flight::sql) async fn primary_keys(
    targets: &Targets,
    command: CommandGetPrimaryKeys,
) -> Result<RecordBatch> {
    let (target, writer) = targets.find(&command.catalog.unwrap_or_default())?;
    let schema = command.db_schema.filter(|schema| !schema.is_empty());
    let table = TableName::from_parts(schema.into_iter().chain([command.table]).collect())?;
    let (table, key) = writer.primary_key(&table).await?;
    let (name, columns) = match key {
        Some(key) => (key.name, key.columns),
        None => Default::default(),
    };
    let same = |text: &str| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(columns.iter().map(|_| text)))
    };
    let numbers = (1..).take(columns.len());
    let arrays: Vec<ArrayRef> = vec![
        same(target),
        same(table.schema.as_str()),
        same(table.name.as_str()),
        Arc::new(StringArray::from_iter_values(
            columns.iter().map(Ident::as_str),
        )),
        Arc::new(Int32Array::from_iter_values(numbers)),
        same(&name),
    ];
    RecordBatch::try_new(primary_keys_schema(), arrays).map_err(unmade)
}

/// Returns the targets of a name, or all without one.
fn chosen(targets: &Targets, catalog: Option<&str>) -> Vec<(String, Writer)> {
    let named = |target: &str| catalog.is_none_or(|catalog| catalog == target);
    let chosen = targets.iter().filter(|(target, _)| named(target));
    chosen
        .map(|(target, writer)| (target.to_owned(), writer))
        .collect()
}

/// Rejects patterns that no name needs, since each name is compared with them.
fn check_patterns<const N: usize>(patterns: [Option<&str>; N]) -> Result<()> {
    let mut given = patterns.into_iter().flatten();
    match given.find(|pattern| pattern.len() > MAX_PATTERN_BYTES) {
        None => Ok(()),
        Some(pattern) => Err(Error::invalid_command(format!(
            "a pattern of names has {} bytes, more than the limit of {MAX_PATTERN_BYTES}",
            pattern.len()
        ))
        .with_hint("name the table, or leave the pattern out")),
    }
}

fn is_match(pattern: Option<&str>, name: &str) -> bool {
    pattern.is_none_or(|pattern| matches(pattern, name))
}
