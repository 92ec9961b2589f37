//! Parses a `WriteSpec`.

use std::collections::{BTreeMap, HashSet};

use super::conversion::{conversion, unknown};
use super::rejects::reject_rules;
use crate::error::{Error, Result};
use crate::proto::v1;
use crate::proto::v1::write_spec::Mode as ModeOptions;
use crate::write::{
    AppendBy, Changes, DELETED, DeleteWhen, EnvelopeKind, IfExists, KeyedAction, Mode,
    OverwriteWith, Part, SchemaEvolution, WriteSpec, parse_condition,
};
use arrow_pgcopy::Ident;
use arrow_pgcopy::table::{TableName, TableOptions};

/// The most columns that a list or map of a spec may name: those of a table (PostgreSQL's `MaxHeapAttributeNumber`).
const MAX_COLUMNS: usize = 1600;
/// The length limit of the texts of a spec: types, names and options.
const MAX_TEXT_BYTES: usize = 4096;

/// Parses a spec into the name of the target (empty: the default) and the rest.
///
/// # Errors
/// [`ErrorKind::InvalidCommand`](crate::error::ErrorKind::InvalidCommand) for a value that is unknown or not valid.
pub(crate) fn write_spec(spec: Option<v1::WriteSpec>) -> Result<(String, WriteSpec)> {
    let spec = spec.ok_or_else(|| {
        Error::invalid_command("the command has no spec").with_hint("send a table and a mode")
    })?;
    let rejects = reject_rules(&spec)?.map(Box::new);
    let mode = spec.mode.ok_or_else(|| {
        Error::invalid_command("the spec has no mode").with_hint("send one, such as append")
    })?;
    check_maps(&spec.column_types, &spec.conversions)?;
    check_texts(&[("target", &spec.target), ("table", &spec.table)])?;
    let parsed = parse_mode(mode)?;
    let conversions = spec.conversions.into_iter();
    let write_spec = WriteSpec {
        table: TableName::parse(&spec.table)?,
        mode: parsed.mode,
        column_types: spec.column_types,
        conversions: conversions
            .map(|(column, requested)| Ok((column, conversion(requested)?)))
            .collect::<Result<_>>()?,
        sync_sequences: parsed.sync_sequences,
        schema_evolution: parsed.schema_evolution,
        primary_key: parsed.primary_key,
        table_options: parsed.table_options,
        before: statements("before", spec.before)?,
        after: statements("after", spec.after)?,
        rejects,
    };
    check_visible_at_once(&write_spec)?;
    Ok((spec.target, write_spec))
}

/// Checks the names of statements around the rows.
fn statements(field: &str, names: Vec<String>) -> Result<Vec<String>> {
    check_count(field, names.len())?;
    for name in &names {
        check_texts(&[(field, name)])?;
    }
    let distinct: HashSet<&String> = names.iter().collect();
    if distinct.len() < names.len() {
        return Err(
            Error::invalid_command(format!("{field} names a statement twice"))
                .with_hint("name each statement once"),
        );
    }
    Ok(names)
}

/// Rejects statements around rows that become visible outside the transaction in which the statements run.
fn check_visible_at_once(spec: &WriteSpec) -> Result<()> {
    let has_statements = !spec.before.is_empty() || !spec.after.is_empty();
    let how = match spec.mode {
        Mode::Append {
            publish: AppendBy::Direct,
            ..
        } => "direct",
        Mode::Append {
            publish: AppendBy::TwoPhase,
            ..
        } => "two_phase",
        Mode::Append { .. }
        | Mode::Create { .. }
        | Mode::Overwrite { .. }
        | Mode::Replace { .. }
        | Mode::Keyed { .. } => return Ok(()),
    };
    match has_statements {
        false => Ok(()),
        true => Err(Error::invalid_command(format!(
            "statements run in the transaction that publishes the rows, and publish {how} has none"
        ))
        .with_hint("publish staged, or name no statements in before and after")),
    }
}

/// A mode, and what the fields of its options become.
struct Parsed {
    mode: Mode,
    primary_key: Vec<Ident>,
    table_options: TableOptions,
    schema_evolution: SchemaEvolution,
    sync_sequences: bool,
}

fn parse_mode(mode: ModeOptions) -> Result<Parsed> {
    match mode {
        ModeOptions::Append(options) => {
            let publish = v1::Publish::try_from(options.publish)
                .map_err(|_| unknown("publish", options.publish))?;
            let mode = Mode::Append {
                create_if_missing: options.create_if_missing.is_some(),
                publish: match publish {
                    v1::Publish::Unspecified => AppendBy::Best,
                    v1::Publish::Staged => AppendBy::Staging,
                    v1::Publish::TwoPhase => AppendBy::TwoPhase,
                    v1::Publish::Direct => AppendBy::Direct,
                },
            };
            if publish == v1::Publish::Direct && options.create_if_missing.is_some() {
                return Err(
                    Error::invalid_command("publish direct needs a table that exists")
                        .with_hint("leave create_if_missing out"),
                );
            }
            Parsed::new(mode, options.schema_evolution, options.sync_sequences)?
                .with_table(options.create_if_missing)
        }
        ModeOptions::Create(options) => {
            let if_exists = v1::IfExists::try_from(options.if_exists)
                .map_err(|_| unknown("if_exists", options.if_exists))?;
            let mode = Mode::Create {
                if_exists: match if_exists {
                    v1::IfExists::Unspecified | v1::IfExists::Fail => IfExists::Fail,
                    v1::IfExists::Append => IfExists::Append,
                    v1::IfExists::Ignore => IfExists::Ignore,
                },
            };
            Parsed::new(mode, options.schema_evolution, options.sync_sequences)?
                .with_table(options.new_table)
        }
        ModeOptions::Overwrite(options)
            if !options.replace_by.is_empty() || !options.replace_where.is_empty() =>
        {
            let mode = replace(&options)?;
            Parsed::new(mode, options.schema_evolution, options.sync_sequences)
        }
        ModeOptions::Overwrite(options) => {
            let with = v1::OverwriteWith::try_from(options.with)
                .map_err(|_| unknown("with", options.with))?;
            let mode = Mode::Overwrite {
                with: match with {
                    v1::OverwriteWith::Unspecified | v1::OverwriteWith::Truncate => {
                        OverwriteWith::Truncate
                    }
                    v1::OverwriteWith::Delete => OverwriteWith::Delete,
                    v1::OverwriteWith::Swap => OverwriteWith::Swap,
                },
            };
            Parsed::new(mode, options.schema_evolution, options.sync_sequences)?
                .with_table(options.new_table)
        }
        ModeOptions::Upsert(options) => {
            let changes = changes(&options)?;
            let create = options.create_if_missing;
            let mode = keyed(
                KeyedAction::Upsert,
                options.keys,
                &options.order_by,
                create.is_some(),
            )?;
            let mode = with_changes(mode, changes)?;
            Parsed::new(mode, options.schema_evolution, options.sync_sequences)?
                .with_keyed_table(create)
        }
        ModeOptions::InsertIfAbsent(options) => {
            let create = options.create_if_missing;
            let mode = keyed(
                KeyedAction::InsertIfAbsent,
                options.keys,
                &options.order_by,
                create.is_some(),
            )?;
            Parsed::new(mode, options.schema_evolution, options.sync_sequences)?
                .with_keyed_table(create)
        }
        ModeOptions::UpdateOnly(options) => {
            let action = KeyedAction::UpdateOnly;
            let mode = keyed(action, options.keys, &options.order_by, false)?;
            Parsed::new(mode, options.schema_evolution, options.sync_sequences)
        }
        ModeOptions::DeleteByKey(options) => {
            let action = KeyedAction::DeleteByKey;
            let mode = keyed(action, options.keys, &options.order_by, false)?;
            let evolution = match options.ignore_unknown_columns {
                true => v1::SchemaEvolution::Ignore,
                false => v1::SchemaEvolution::Refuse,
            };
            Parsed::new(mode, evolution.into(), false)
        }
    }
}

impl Parsed {
    fn new(mode: Mode, schema_evolution: i32, sync_sequences: bool) -> Result<Self> {
        let evolution = v1::SchemaEvolution::try_from(schema_evolution)
            .map_err(|_| unknown("schema_evolution", schema_evolution))?;
        Ok(Self {
            mode,
            primary_key: Vec::new(),
            table_options: TableOptions::default(),
            schema_evolution: match evolution {
                v1::SchemaEvolution::Unspecified | v1::SchemaEvolution::Refuse => {
                    SchemaEvolution::Refuse
                }
                v1::SchemaEvolution::AddColumns => SchemaEvolution::AddColumns,
                v1::SchemaEvolution::Ignore => SchemaEvolution::Ignore,
            },
            sync_sequences,
        })
    }

    fn with_table(mut self, table: Option<v1::NewTable>) -> Result<Self> {
        let table = table.unwrap_or_default();
        if !table.primary_key.is_empty() {
            self.primary_key = distinct_names("primary_key", table.primary_key)?;
        }
        self.with_table_options(&table.options)
    }

    /// The keys are the primary key of a new table.
    fn with_keyed_table(mut self, table: Option<v1::NewKeyedTable>) -> Result<Self> {
        if let (Some(_), Mode::Keyed { keys, .. }) = (&table, &self.mode) {
            self.primary_key.clone_from(keys);
        }
        self.with_table_options(&table.unwrap_or_default().options)
    }

    fn with_table_options(mut self, options: &str) -> Result<Self> {
        check_texts(&[("options", options)])?;
        self.table_options = options.parse()?;
        Ok(self)
    }
}

/// Parses an overwrite of a part.
fn replace(options: &v1::Overwrite) -> Result<Mode> {
    let (by, condition) = (&options.replace_by, &options.replace_where);
    let conflict = |what: &str| {
        Err(
            Error::invalid_command(format!("an overwrite of a part has no {what}")).with_hint(
                format!("leave {what} out, or leave replace_by and replace_where out"),
            ),
        )
    };
    if !by.is_empty() && !condition.is_empty() {
        return Err(
            Error::invalid_command("replace_by and replace_where contradict each other")
                .with_hint("leave one of them out"),
        );
    }
    if options.with != i32::from(v1::OverwriteWith::Unspecified) {
        return conflict("with");
    }
    if options
        .new_table
        .as_ref()
        .is_some_and(|table| *table != v1::NewTable::default())
    {
        return conflict("new_table");
    }
    Ok(Mode::Replace {
        part: match by.is_empty() {
            true => Part::Where(parse_condition(condition)?),
            false => Part::By(distinct_names("replace_by", by.clone())?),
        },
    })
}

/// Parses the rules by which an upsert applies changes.
fn changes(options: &v1::Upsert) -> Result<Changes> {
    let name = |field: &str, text: &str| {
        check_texts(&[(field, text)])?;
        match text.is_empty() {
            true => Ok(None),
            false => Ok::<_, Error>(Some(Ident::new(text)?)),
        }
    };
    let delete_when = match &options.delete_when {
        None => None,
        Some(delete_when) => {
            check_count("delete_when", delete_when.values.len())?;
            for value in &delete_when.values {
                check_texts(&[("delete_when", value)])?;
            }
            let column = name("delete_when", &delete_when.column)?;
            let column = column.ok_or_else(|| {
                Error::invalid_command("delete_when names no column")
                    .with_hint("name the column of the data that says which rows delete")
            })?;
            Some(DeleteWhen {
                column,
                values: delete_when.values.clone(),
            })
        }
    };
    let envelope = v1::Envelope::try_from(options.envelope)
        .map_err(|_| unknown("envelope", options.envelope))?;
    let (envelope, delete_when) = match (envelope, delete_when) {
        (v1::Envelope::Unspecified, delete_when) => (None, delete_when),
        (v1::Envelope::Debezium, None) if options.order_by.is_empty() => {
            let by_op = DeleteWhen {
                column: Ident::new(DELETED)?,
                values: Vec::new(),
            };
            (Some(EnvelopeKind::Debezium), Some(by_op))
        }
        (v1::Envelope::Debezium, _) => {
            return Err(Error::invalid_command(
                "delete_when and order_by have no meaning with an envelope, which says both",
            )
            .with_hint("leave them out"));
        }
    };
    Ok(Changes {
        envelope,
        delete_when,
        newer_by: name("newer_by", &options.newer_by)?,
        tombstone: name("tombstone", &options.tombstone)?,
        update_columns: distinct_names("update_columns", options.update_columns.clone())?,
        insert_columns: distinct_names("insert_columns", options.insert_columns.clone())?,
    })
}

/// Adds the rules to an upsert, and rejects rules that contradict each other.
fn with_changes(mut mode: Mode, rules: Changes) -> Result<Mode> {
    if rules.tombstone.is_some() && (rules.delete_when.is_none() || rules.newer_by.is_none()) {
        return Err(Error::invalid_command(
            "a tombstone is named, and not both delete_when and newer_by",
        )
        .with_hint("name delete_when and newer_by too, or leave tombstone out"));
    }
    let mut updated = rules.update_columns.iter();
    let is_inserted =
        |name: &Ident| rules.insert_columns.is_empty() || rules.insert_columns.contains(name);
    if let Some(name) = updated.find(|name| !is_inserted(name)) {
        return Err(Error::invalid_command(
            "update_columns names a column that insert_columns lacks",
        )
        .with_hint("add it to insert_columns")
        .with_column(name.as_str()));
    }
    if let Mode::Keyed {
        create_if_missing,
        changes,
        ..
    } = &mut mode
    {
        if *create_if_missing && rules.delete_when.is_some() {
            return Err(
                Error::invalid_command("delete_when needs a table that exists")
                    .with_hint("leave create_if_missing out"),
            );
        }
        **changes = rules;
    }
    Ok(mode)
}

/// Returns a keyed mode. An empty `order_by` is none.
///
/// # Errors
/// [`ErrorKind::InvalidCommand`](crate::error::ErrorKind::InvalidCommand) for names that are not valid or come twice.
pub(crate) fn keyed(
    action: KeyedAction,
    keys: Vec<String>,
    order_by: &str,
    create_if_missing: bool,
) -> Result<Mode> {
    check_texts(&[("order_by", order_by)])?;
    let keys = match keys.is_empty() {
        true if create_if_missing => {
            return Err(
                Error::invalid_command("a table is to be created, and no keys are named")
                    .with_hint("name the keys, which become its primary key"),
            );
        }
        true => Vec::new(),
        false => distinct_names("keys", keys)?,
    };
    let order_by = (!order_by.is_empty())
        .then(|| Ident::new(order_by))
        .transpose()?;
    if order_by.as_ref().is_some_and(|name| keys.contains(name)) {
        return Err(Error::invalid_command("order_by names a key")
            .with_hint("name a column that is not a key"));
    }
    Ok(Mode::Keyed {
        action,
        keys,
        order_by,
        create_if_missing,
        changes: Box::default(),
    })
}

/// Rejects maps with more or longer texts than any table has, since the ledger keeps them.
fn check_maps(
    column_types: &BTreeMap<String, String>,
    conversions: &BTreeMap<String, v1::Conversion>,
) -> Result<()> {
    check_count("column_types", column_types.len())?;
    check_count("conversions", conversions.len())?;
    for (column, sql_type) in column_types {
        check_texts(&[("column_types", column), ("column_types", sql_type)])?;
    }
    for (column, requested) in conversions {
        check_texts(&[
            ("conversions", column),
            ("zone", &requested.zone),
            ("nul_replacement", &requested.nul_replacement),
        ])?;
    }
    Ok(())
}

fn check_count(field: &str, count: usize) -> Result<()> {
    if count <= MAX_COLUMNS {
        return Ok(());
    }
    Err(Error::invalid_command(format!(
        "{field} has {count} entries, more than the limit of {MAX_COLUMNS}"
    )))
}

fn check_texts(texts: &[(&str, &str)]) -> Result<()> {
    match texts.iter().find(|(_, text)| text.len() > MAX_TEXT_BYTES) {
        None => Ok(()),
        Some((field, text)) => Err(Error::invalid_command(format!(
            "a text in {field} has {} bytes, more than the limit of {MAX_TEXT_BYTES}",
            text.len()
        ))),
    }
}

fn distinct_names(field: &str, names: Vec<String>) -> Result<Vec<Ident>> {
    check_count(field, names.len())?;
    for name in &names {
        check_texts(&[(field, name)])?;
    }
    let names = names
        .into_iter()
        .map(|name| Ok(Ident::new(name)?))
        .collect::<Result<Vec<_>>>()?;
    let distinct: HashSet<&Ident> = names.iter().collect();
    if distinct.len() < names.len() {
        return Err(
            Error::invalid_command(format!("{field} names a column twice"))
                .with_hint("name each column once"),
        );
    }
    Ok(names)
}
