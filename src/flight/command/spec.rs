//! Parses a `WriteSpec`, and rejects options that its mode would ignore.

use std::collections::HashSet;

use super::conversion::{conversion, unknown};
use crate::error::{Error, Result};
use crate::proto::v1;
use crate::write::{
    AppendBy, IfExists, KeyedAction, Mode, OverwriteWith, SchemaEvolution, WriteSpec,
};
use arrow_pgcopy::Ident;
use arrow_pgcopy::table::TableName;

const KEYED_MODES: [v1::Mode; 4] = [
    v1::Mode::Upsert,
    v1::Mode::InsertIfAbsent,
    v1::Mode::UpdateOnly,
    v1::Mode::DeleteByKey,
];

/// The most columns that a list or map of a spec may name: those of a table (PostgreSQL's `MaxHeapAttributeNumber`).
const MAX_COLUMNS: usize = 1600;
/// The length limit of the texts of a spec: types, names and options.
const MAX_TEXT_BYTES: usize = 4096;

/// The enum fields of a spec, parsed.
#[derive(Clone, Copy)]
struct Choices {
    mode: v1::Mode,
    if_exists: v1::IfExists,
    overwrite_with: v1::OverwriteWith,
    publish: v1::Publish,
    schema_evolution: v1::SchemaEvolution,
}

/// Parses a spec into the name of the target (empty: the default) and the rest.
///
/// # Errors
/// [`ErrorKind::InvalidCommand`](crate::error::ErrorKind::InvalidCommand) for a value that is unknown or not valid, and
/// for an option that has no meaning with the mode.
pub(crate) fn write_spec(spec: Option<v1::WriteSpec>) -> Result<(String, WriteSpec)> {
    let spec = spec.ok_or_else(|| {
        Error::invalid_command("the command has no spec").with_hint("send a table and a mode")
    })?;
    check_sizes(&spec)?;
    let choices = Choices::parse(&spec)?;
    check_options(&spec, choices)?;
    check_definition(&spec, choices)?;
    let mode = choices.mode(&spec)?;
    let definition = spec.table_definition.unwrap_or_default();
    let primary_key = if let Mode::Keyed {
        keys,
        create_if_missing: true,
        ..
    } = &mode
    {
        keys.clone()
    } else if definition.primary_key.is_empty() {
        Vec::new()
    } else {
        distinct_names("primary_key", definition.primary_key)?
    };
    let conversions = spec.conversions.into_iter();
    let write_spec = WriteSpec {
        table: TableName::parse(&spec.table)?,
        mode,
        column_types: definition.column_types,
        conversions: conversions
            .map(|(column, requested)| Ok((column, conversion(requested)?)))
            .collect::<Result<_>>()?,
        sync_sequences: spec.sync_sequences,
        schema_evolution: match choices.schema_evolution {
            v1::SchemaEvolution::Unspecified | v1::SchemaEvolution::Refuse => {
                SchemaEvolution::Refuse
            }
            v1::SchemaEvolution::AddColumns => SchemaEvolution::AddColumns,
            v1::SchemaEvolution::Ignore => SchemaEvolution::Ignore,
        },
        primary_key,
        table_options: definition.options.parse()?,
    };
    Ok((spec.target, write_spec))
}

impl Choices {
    fn parse(spec: &v1::WriteSpec) -> Result<Self> {
        Ok(Self {
            if_exists: v1::IfExists::try_from(spec.if_exists)
                .map_err(|_| unknown("if_exists", spec.if_exists))?,
            overwrite_with: v1::OverwriteWith::try_from(spec.overwrite_with)
                .map_err(|_| unknown("overwrite_with", spec.overwrite_with))?,
            mode: v1::Mode::try_from(spec.mode).map_err(|_| unknown("mode", spec.mode))?,
            publish: v1::Publish::try_from(spec.publish)
                .map_err(|_| unknown("publish", spec.publish))?,
            schema_evolution: v1::SchemaEvolution::try_from(spec.schema_evolution)
                .map_err(|_| unknown("schema_evolution", spec.schema_evolution))?,
        })
    }

    fn is_keyed(self) -> bool {
        KEYED_MODES.contains(&self.mode)
    }

    fn mode(self, spec: &v1::WriteSpec) -> Result<Mode> {
        match self.mode {
            v1::Mode::Unspecified => Err(Error::invalid_command("the spec has no mode")
                .with_hint("send a mode, such as MODE_APPEND")),
            v1::Mode::Append => Ok(Mode::Append {
                create_if_missing: spec.create_if_missing,
                publish: match self.publish {
                    v1::Publish::Unspecified => AppendBy::Best,
                    v1::Publish::Staged => AppendBy::Staging,
                    v1::Publish::TwoPhase => AppendBy::TwoPhase,
                    v1::Publish::Direct => AppendBy::Direct,
                },
            }),
            v1::Mode::Create => Ok(Mode::Create {
                if_exists: match self.if_exists {
                    v1::IfExists::Unspecified | v1::IfExists::Fail => IfExists::Fail,
                    v1::IfExists::Append => IfExists::Append,
                    v1::IfExists::Ignore => IfExists::Ignore,
                },
            }),
            v1::Mode::Overwrite => Ok(Mode::Overwrite {
                with: match self.overwrite_with {
                    v1::OverwriteWith::Unspecified | v1::OverwriteWith::Truncate => {
                        OverwriteWith::Truncate
                    }
                    v1::OverwriteWith::Delete => OverwriteWith::Delete,
                    v1::OverwriteWith::Swap => OverwriteWith::Swap,
                },
            }),
            v1::Mode::Upsert => keyed(KeyedAction::Upsert, spec),
            v1::Mode::InsertIfAbsent => keyed(KeyedAction::InsertIfAbsent, spec),
            v1::Mode::UpdateOnly => keyed(KeyedAction::UpdateOnly, spec),
            v1::Mode::DeleteByKey => keyed(KeyedAction::DeleteByKey, spec),
        }
    }
}

/// Rejects a spec with more or longer texts than any table has, since the ledger keeps it.
fn check_sizes(spec: &v1::WriteSpec) -> Result<()> {
    let definition = spec.table_definition.as_ref();
    let primary_key = definition.map_or(&[][..], |definition| &definition.primary_key);
    let types = definition
        .iter()
        .flat_map(|definition| &definition.column_types);
    let lists = [
        ("keys", spec.keys.len()),
        ("primary_key", primary_key.len()),
        ("conversions", spec.conversions.len()),
        ("column_types", types.clone().count()),
    ];
    if let Some((field, count)) = lists.iter().find(|(_, count)| *count > MAX_COLUMNS) {
        return Err(Error::invalid_command(format!(
            "{field} has {count} entries, more than the limit of {MAX_COLUMNS}"
        )));
    }
    let conversions = spec.conversions.iter().flat_map(|(column, requested)| {
        [
            ("conversions", column),
            ("zone", &requested.zone),
            ("nul_replacement", &requested.nul_replacement),
        ]
    });
    let types = types.flat_map(|(column, ty)| [("column_types", column), ("column_types", ty)]);
    let options = definition.map(|definition| ("options", &definition.options));
    let names = [
        ("target", &spec.target),
        ("table", &spec.table),
        ("order_by", &spec.order_by),
    ];
    let keys = spec.keys.iter().map(|key| ("keys", key));
    let primary_key = primary_key.iter().map(|key| ("primary_key", key));
    let mut texts = conversions
        .chain(types)
        .chain(options)
        .chain(names)
        .chain(keys)
        .chain(primary_key);
    match texts.find(|(_, text)| text.len() > MAX_TEXT_BYTES) {
        None => Ok(()),
        Some((field, text)) => Err(Error::invalid_command(format!(
            "a text in {field} has {} bytes, more than the limit of {MAX_TEXT_BYTES}",
            text.len()
        ))),
    }
}

/// Rejects options that have no meaning with the mode.
fn check_options(spec: &v1::WriteSpec, choices: Choices) -> Result<()> {
    let options = [
        (
            "if_exists",
            choices.if_exists != v1::IfExists::Unspecified,
            &[v1::Mode::Create][..],
        ),
        (
            "overwrite_with",
            choices.overwrite_with != v1::OverwriteWith::Unspecified,
            &[v1::Mode::Overwrite],
        ),
        (
            "create_if_missing",
            spec.create_if_missing,
            &[v1::Mode::Append, v1::Mode::Upsert, v1::Mode::InsertIfAbsent],
        ),
        (
            "publish direct or two_phase",
            matches!(choices.publish, v1::Publish::Direct | v1::Publish::TwoPhase),
            &[v1::Mode::Append],
        ),
        ("keys", !spec.keys.is_empty(), &KEYED_MODES),
        ("order_by", !spec.order_by.is_empty(), &KEYED_MODES),
    ];
    for (option, is_set, modes) in options {
        if is_set && !modes.contains(&choices.mode) {
            let names: Vec<&str> = modes.iter().map(v1::Mode::as_str_name).collect();
            return Err(Error::invalid_command(format!(
                "{option} has no meaning with {}",
                choices.mode.as_str_name()
            ))
            .with_hint(format!("leave it out, or use it with {}", names.join(", "))));
        }
    }
    let adds_columns = choices.schema_evolution == v1::SchemaEvolution::AddColumns;
    for (option, is_set) in [
        ("schema_evolution add_columns", adds_columns),
        ("sync_sequences", spec.sync_sequences),
    ] {
        if is_set && choices.mode == v1::Mode::DeleteByKey {
            return Err(Error::invalid_command(format!(
                "{option} has no meaning with MODE_DELETE_BY_KEY"
            ))
            .with_hint("leave it out"));
        }
    }
    Ok(())
}

/// Rejects parts of a table definition that have no meaning with the mode.
fn check_definition(spec: &v1::WriteSpec, choices: Choices) -> Result<()> {
    let creates_tables =
        spec.create_if_missing || matches!(choices.mode, v1::Mode::Create | v1::Mode::Overwrite);
    let (has_primary_key, has_options) = match &spec.table_definition {
        Some(definition) => (
            !definition.primary_key.is_empty(),
            !definition.options.is_empty(),
        ),
        None => (false, false),
    };
    if has_primary_key && (choices.is_keyed() || !creates_tables) {
        let message = if choices.is_keyed() {
            "primary_key has no meaning with a keyed mode, whose keys are the primary key"
        } else {
            "primary_key has no meaning with a mode that creates no table"
        };
        return Err(Error::invalid_command(message).with_hint("leave primary_key out"));
    }
    if choices.publish == v1::Publish::Direct && spec.create_if_missing {
        return Err(
            Error::invalid_command("publish direct needs a table that exists")
                .with_hint("leave create_if_missing out"),
        );
    }
    if has_options && !creates_tables {
        return Err(Error::invalid_command(
            "options of the table definition have no meaning with a mode that creates no table",
        )
        .with_hint("leave the options out"));
    }
    Ok(())
}

fn keyed(action: KeyedAction, spec: &v1::WriteSpec) -> Result<Mode> {
    let keys = distinct_names("keys", spec.keys.clone())?;
    let order_by = (!spec.order_by.is_empty())
        .then(|| Ident::new(spec.order_by.as_str()))
        .transpose()?;
    if order_by.as_ref().is_some_and(|name| keys.contains(name)) {
        return Err(Error::invalid_command("order_by names a key")
            .with_hint("name a column that is not a key"));
    }
    Ok(Mode::Keyed {
        action,
        keys,
        order_by,
        create_if_missing: spec.create_if_missing,
    })
}

fn distinct_names(field: &str, names: Vec<String>) -> Result<Vec<Ident>> {
    let names = names
        .into_iter()
        .map(|name| Ok(Ident::new(name)?))
        .collect::<Result<Vec<_>>>()?;
    let distinct: HashSet<&Ident> = names.iter().collect();
    if names.is_empty() || distinct.len() < names.len() {
        return Err(
            Error::invalid_command(format!("{field} is empty or names a column twice"))
                .with_hint("name the columns that identify a row, each once"),
        );
    }
    Ok(names)
}
