//! From what arrives in descriptors and actions to typed commands: parsed once, valid from then on.

use std::collections::HashSet;

use arrow_flight::FlightDescriptor;
use arrow_flight::flight_descriptor::DescriptorType;

use super::envelope::{Envelope, WireForm};
use crate::error::{Error, Result};
use crate::plan::{Ident, TableName};
use crate::proto::v1;
use crate::write::{
    AppendBy, AttemptId, Conversion, EndRecord, Form, IfExists, KeyedAction, Mode, Named, Overflow,
    OverwriteWith, Rounding, SchemaEvolution, SinkBatch, Unit, WriteSpec,
};

/// Ids are keys of the ledger and stand in logs: long enough for any job's name, no longer.
const MAX_ID_BYTES: usize = 128;
/// With the number of a batch it is an id.
const MAX_SINK_BYTES: usize = 100;
/// Names of columns in a list or map of a spec: as many as a table of PostgreSQL can have (`MaxHeapAttributeNumber`).
const MAX_COLUMNS: usize = 1600;
/// What a spec says in a text: types, names, options.
const MAX_TEXT_BYTES: usize = 4096;
/// Of the reason of an abort, as much as the ledger keeps.
const MAX_REASON_BYTES: usize = 1024;

/// What a DoPut is to do.
#[derive(Debug)]
pub(super) enum PutCommand {
    /// Append to this table and commit at the end of the stream.
    Table(TableName),
    /// A whole write.
    Write(WriteSpec, Answering),
    /// One attempt of a write that was begun.
    Attempt(AttemptId, Answering),
}

/// What the client of a stream wants to be answered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Answering {
    /// The form of its command, and so of the answers.
    pub(super) form: WireForm,
    /// Whether it waits for a `Ready` before it sends rows.
    pub(super) announce_ready: bool,
}

/// Reads the descriptor of a DoPut: the target it names, empty for none, and what it is to do there.
pub(super) fn put_command(descriptor: Option<FlightDescriptor>) -> Result<(String, PutCommand)> {
    let Some(descriptor) = descriptor else {
        return Err(Error::invalid_command(
            "the first message of the stream has no descriptor; give a path [\"schema\", \"table\"] or a command",
        ));
    };
    if descriptor.r#type != i32::from(DescriptorType::Cmd) {
        let (target, table) = path(descriptor)?;
        return Ok((target, PutCommand::Table(table)));
    }
    let envelope = Envelope::parse(&descriptor.cmd)?;
    let form = envelope.form();
    if envelope.is::<v1::WriteCommand>() {
        let command: v1::WriteCommand = envelope.decode()?;
        let answering = Answering {
            form,
            announce_ready: command.announce_ready,
        };
        let (target, spec) = write_spec(command.spec)?;
        Ok((target, PutCommand::Write(spec, answering)))
    } else if envelope.is::<v1::AttemptCommand>() {
        let command: v1::AttemptCommand = envelope.decode()?;
        let answering = Answering {
            form,
            announce_ready: command.announce_ready,
        };
        let id = attempt_id(command.write_id, command.partition_id, command.attempt_id)?;
        Ok((command.target, PutCommand::Attempt(id, answering)))
    } else {
        Err(Error::invalid_command(format!(
            "{} does not begin a stream; a WriteCommand or an AttemptCommand does",
            envelope.name()
        )))
    }
}

/// Reads a descriptor that can only name a table: the target it names, empty for none, and the table.
pub(super) fn path(descriptor: FlightDescriptor) -> Result<(String, TableName)> {
    if descriptor.r#type != i32::from(DescriptorType::Path) {
        return Err(Error::invalid_command(
            "the descriptor names no table; give a path [\"table\"], [\"schema\", \"table\"] or \
             [\"target\", \"schema\", \"table\"]",
        ));
    }
    let mut parts = descriptor.path;
    // A table has two parts at most, so that a third can only be the target. Then the schema has its place
    // also where it is not said.
    let mut target = String::new();
    if parts.len() == 3 {
        target = parts.remove(0);
        parts.retain(|part| !part.is_empty());
    }
    Ok((target, TableName::from_parts(parts)?))
}

/// Reads an end record from the metadata of a message without rows.
pub(super) fn end_record(app_metadata: &[u8]) -> Result<EndRecord> {
    let record: v1::EndRecord = Envelope::parse(app_metadata)?.decode()?;
    Ok(EndRecord {
        row_count: record.row_count,
        batch_count: record.batch_count,
    })
}

/// Checks a write id.
pub(super) fn write_id(id: String) -> Result<String> {
    checked_id("write_id", id)
}

/// Reads how a write is named: by an id, or by the batch of a streaming query that it is.
pub(super) fn named(write_id: String, sink: Option<v1::SinkBatch>) -> Result<Named> {
    let Some(sink) = sink else {
        return Ok(Named::Id(self::write_id(write_id)?));
    };
    if !write_id.is_empty() {
        return Err(Error::invalid_command(
            "the command has both write_id and sink; the server names the write of a batch: leave write_id empty",
        ));
    }
    let sink_id = sink.sink_id;
    if sink_id.is_empty() || sink_id.len() > MAX_SINK_BYTES || sink_id.contains('\0') {
        return Err(Error::invalid_command(format!(
            "sink_id must have 1 to {MAX_SINK_BYTES} bytes and no NUL"
        )));
    }
    let query_id = match sink.query_id.is_empty() {
        true if sink.resume => {
            return Err(Error::invalid_command(
                "resume adopts a query, and the command has no query_id; name the query, or use another sink_id",
            ));
        }
        true => String::new(),
        false => checked_id("query_id", sink.query_id)?,
    };
    let batch_id = i64::try_from(sink.batch_id).map_err(|_| {
        Error::invalid_command("batch_id is too large for a batch of a streaming query")
    })?;
    Ok(Named::Batch(SinkBatch {
        sink_id,
        query_id,
        batch_id,
        resume: sink.resume,
    }))
}

/// Reads the id of a driver; none where it is empty.
pub(super) fn driver(id: String) -> Result<Option<String>> {
    match id.is_empty() {
        true => Ok(None),
        false => checked_id("driver", id).map(Some),
    }
}

/// Cuts the reason of an abort to what the ledger keeps of it, without what PostgreSQL cannot hold.
pub(super) fn reason(mut reason: String) -> String {
    let mut end = reason.len().min(MAX_REASON_BYTES);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    reason.truncate(end);
    reason.retain(|letter| letter != '\0');
    reason.shrink_to_fit();
    reason
}

/// Reads what a receipt says about its attempt: which one, and its rows.
pub(super) fn receipt(write_id: &str, receipt: v1::Receipt) -> Result<(AttemptId, u64)> {
    if receipt.write_id != write_id {
        return Err(Error::invalid_command(format!(
            "a receipt of write {:?} was given to commit write {write_id:?}",
            receipt.write_id
        )));
    }
    Ok((
        attempt_id(receipt.write_id, receipt.partition_id, receipt.attempt_id)?,
        receipt.row_count,
    ))
}

/// Reads where rows go and how: the target, empty for none, and the rest. Refuses an option that the mode
/// would ignore.
pub(super) fn write_spec(spec: Option<v1::WriteSpec>) -> Result<(String, WriteSpec)> {
    let spec = spec.ok_or_else(|| {
        Error::invalid_command("the command has no spec: table and mode are missing")
    })?;
    check_sizes(&spec)?;
    let if_exists =
        v1::IfExists::try_from(spec.if_exists).map_err(|_| unknown("if_exists", spec.if_exists))?;
    let overwrite_with = v1::OverwriteWith::try_from(spec.overwrite_with)
        .map_err(|_| unknown("overwrite_with", spec.overwrite_with))?;
    let wire_mode = v1::Mode::try_from(spec.mode).map_err(|_| unknown("mode", spec.mode))?;
    let publish =
        v1::Publish::try_from(spec.publish).map_err(|_| unknown("publish", spec.publish))?;
    let needed_by = [
        (
            "if_exists",
            if_exists != v1::IfExists::Unspecified,
            &[v1::Mode::Create][..],
        ),
        (
            "overwrite_with",
            overwrite_with != v1::OverwriteWith::Unspecified,
            &[v1::Mode::Overwrite],
        ),
        (
            "create_if_missing",
            spec.create_if_missing,
            &[v1::Mode::Append, v1::Mode::Upsert, v1::Mode::InsertIfAbsent],
        ),
        (
            "publish direct or two_phase",
            matches!(publish, v1::Publish::Direct | v1::Publish::TwoPhase),
            &[v1::Mode::Append],
        ),
        ("keys", !spec.keys.is_empty(), &KEYED_MODES),
        ("order_by", !spec.order_by.is_empty(), &KEYED_MODES),
    ];
    for (option, is_set, modes) in needed_by {
        if is_set && !modes.contains(&wire_mode) {
            let names: Vec<&str> = modes.iter().map(v1::Mode::as_str_name).collect();
            return Err(Error::invalid_command(format!(
                "{option} goes with {} and has no meaning with {}",
                names.join(", "),
                wire_mode.as_str_name()
            )));
        }
    }
    let schema_evolution = v1::SchemaEvolution::try_from(spec.schema_evolution)
        .map_err(|_| unknown("schema_evolution", spec.schema_evolution))?;
    if schema_evolution == v1::SchemaEvolution::AddColumns && wire_mode == v1::Mode::DeleteByKey {
        return Err(Error::invalid_command(
            "schema_evolution add_columns has no meaning with MODE_DELETE_BY_KEY",
        ));
    }
    if spec.sync_sequences && wire_mode == v1::Mode::DeleteByKey {
        return Err(Error::invalid_command(
            "sync_sequences has no meaning with MODE_DELETE_BY_KEY",
        ));
    }
    let definition = spec.table_definition.clone().unwrap_or_default();
    let makes_tables =
        spec.create_if_missing || [v1::Mode::Create, v1::Mode::Overwrite].contains(&wire_mode);
    let is_keyed = KEYED_MODES.contains(&wire_mode);
    if !definition.primary_key.is_empty() && (is_keyed || !makes_tables) {
        return Err(Error::invalid_command(match is_keyed {
            true => {
                "the keys are the primary key of a table that this mode makes: leave primary_key out"
            }
            false => "primary_key says how a table is made, and this mode makes none",
        }));
    }
    if publish == v1::Publish::Direct && spec.create_if_missing {
        return Err(Error::invalid_command(
            "publish direct needs a table that exists: leave create_if_missing out",
        ));
    }
    if !definition.options.is_empty() && !makes_tables {
        return Err(Error::invalid_command(
            "options of the table definition say how a table is made, and this mode makes none",
        ));
    }
    let mode = match wire_mode {
        v1::Mode::Unspecified => {
            return Err(Error::invalid_command(
                "the spec has no mode, such as MODE_APPEND",
            ));
        }
        v1::Mode::Append => Mode::Append {
            create_if_missing: spec.create_if_missing,
            publish: match publish {
                v1::Publish::Unspecified => AppendBy::Best,
                v1::Publish::Staged => AppendBy::Staging,
                v1::Publish::TwoPhase => AppendBy::TwoPhase,
                v1::Publish::Direct => AppendBy::Direct,
            },
        },
        v1::Mode::Create => Mode::Create {
            if_exists: match if_exists {
                v1::IfExists::Unspecified | v1::IfExists::Fail => IfExists::Fail,
                v1::IfExists::Append => IfExists::Append,
                v1::IfExists::Ignore => IfExists::Ignore,
            },
        },
        v1::Mode::Overwrite => Mode::Overwrite {
            with: match overwrite_with {
                v1::OverwriteWith::Unspecified | v1::OverwriteWith::Truncate => {
                    OverwriteWith::Truncate
                }
                v1::OverwriteWith::Delete => OverwriteWith::Delete,
                v1::OverwriteWith::Swap => OverwriteWith::Swap,
            },
        },
        v1::Mode::Upsert => keyed(KeyedAction::Upsert, &spec)?,
        v1::Mode::InsertIfAbsent => keyed(KeyedAction::InsertIfAbsent, &spec)?,
        v1::Mode::UpdateOnly => keyed(KeyedAction::UpdateOnly, &spec)?,
        v1::Mode::DeleteByKey => keyed(KeyedAction::DeleteByKey, &spec)?,
    };
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
    let write_spec = WriteSpec {
        table: TableName::parse(&spec.table)?,
        mode,
        column_types: definition.column_types,
        conversions: spec
            .conversions
            .into_iter()
            .map(|(column, asked)| Ok((column, conversion(asked)?)))
            .collect::<Result<_>>()?,
        sync_sequences: spec.sync_sequences,
        schema_evolution: match schema_evolution {
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

/// Refuses a spec with more, or longer, than any table has: it is kept in the ledger.
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
            "{field} has {count} entries; a table has at most {MAX_COLUMNS} columns"
        )));
    }
    let conversions = spec.conversions.iter().flat_map(|(column, asked)| {
        [
            ("conversions", column),
            ("zone", &asked.zone),
            ("nul_replacement", &asked.nul_replacement),
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
            "{field} has a text of {} bytes; at most {MAX_TEXT_BYTES} are taken",
            text.len()
        ))),
    }
}

fn conversion(asked: v1::Conversion) -> Result<Conversion> {
    let rounding =
        v1::Rounding::try_from(asked.rounding).map_err(|_| unknown("rounding", asked.rounding))?;
    let nul = v1::Nul::try_from(asked.nul).map_err(|_| unknown("nul", asked.nul))?;
    let overflow =
        v1::Overflow::try_from(asked.overflow).map_err(|_| unknown("overflow", asked.overflow))?;
    let too_long =
        v1::TooLong::try_from(asked.too_long).map_err(|_| unknown("too_long", asked.too_long))?;
    let form = v1::Form::try_from(asked.form).map_err(|_| unknown("form", asked.form))?;
    let unit = v1::Unit::try_from(asked.unit).map_err(|_| unknown("unit", asked.unit))?;
    if !asked.nul_replacement.is_empty() && nul != v1::Nul::Replace {
        return Err(Error::invalid_command(
            "nul_replacement goes with nul replace",
        ));
    }
    Ok(Conversion {
        rounding: match rounding {
            v1::Rounding::Unspecified | v1::Rounding::Reject => None,
            v1::Rounding::Floor => Some(Rounding::Floor),
            v1::Rounding::Nearest => Some(Rounding::Nearest),
        },
        zone: (!asked.zone.is_empty()).then_some(asked.zone),
        nul: match nul {
            v1::Nul::Unspecified | v1::Nul::Reject => None,
            v1::Nul::Remove => Some(String::new()),
            v1::Nul::Replace if asked.nul_replacement.is_empty() => Some("\u{fffd}".to_owned()),
            v1::Nul::Replace => Some(asked.nul_replacement),
        },
        overflow: match overflow {
            v1::Overflow::Unspecified | v1::Overflow::Reject => None,
            v1::Overflow::Clamp => Some(Overflow::Clamp),
            v1::Overflow::Null => Some(Overflow::Null),
            v1::Overflow::Infinity => Some(Overflow::Infinity),
        },
        infinity_sentinels: asked.infinity_sentinels,
        truncate: too_long == v1::TooLong::Truncate,
        form: match form {
            v1::Form::Unspecified => None,
            v1::Form::Text => Some(Form::Text),
            v1::Form::Number => Some(Form::Number),
            v1::Form::Part => Some(Form::Part),
            v1::Form::Utf8 => Some(Form::Utf8),
            v1::Form::Utf8Lossy => Some(Form::Utf8Lossy),
            v1::Form::Hex => Some(Form::Hex),
            v1::Form::Base64 => Some(Form::Base64),
            v1::Form::Address => Some(Form::Address),
        },
        unit: match unit {
            v1::Unit::Unspecified => None,
            v1::Unit::Days => Some(Unit::Days),
            v1::Unit::Seconds => Some(Unit::Seconds),
            v1::Unit::Milliseconds => Some(Unit::Milliseconds),
            v1::Unit::Microseconds => Some(Unit::Microseconds),
            v1::Unit::Nanoseconds => Some(Unit::Nanoseconds),
        },
        srid: (asked.srid != 0).then_some(asked.srid),
    })
}

const KEYED_MODES: [v1::Mode; 4] = [
    v1::Mode::Upsert,
    v1::Mode::InsertIfAbsent,
    v1::Mode::UpdateOnly,
    v1::Mode::DeleteByKey,
];

fn keyed(action: KeyedAction, spec: &v1::WriteSpec) -> Result<Mode> {
    let keys = distinct_names("keys", spec.keys.clone())?;
    let order_by = (!spec.order_by.is_empty())
        .then(|| Ident::new(spec.order_by.as_str()))
        .transpose()?;
    if order_by
        .as_ref()
        .is_some_and(|order_by| keys.contains(order_by))
    {
        return Err(Error::invalid_command(
            "order_by must name a column that is not a key",
        ));
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
        .map(Ident::new)
        .collect::<Result<Vec<_>>>()?;
    let distinct: HashSet<&Ident> = names.iter().collect();
    if names.is_empty() || distinct.len() < names.len() {
        return Err(Error::invalid_command(format!(
            "{field} must name the columns that identify a row, each once"
        )));
    }
    Ok(names)
}

fn attempt_id(write_id: String, partition_id: u32, attempt_id: String) -> Result<AttemptId> {
    Ok(AttemptId {
        write_id: checked_id("write_id", write_id)?,
        partition_id,
        attempt_id: checked_id("attempt_id", attempt_id)?,
    })
}

fn checked_id(field: &str, id: String) -> Result<String> {
    if id.is_empty() || id.len() > MAX_ID_BYTES || id.contains('\0') {
        return Err(Error::invalid_command(format!(
            "{field} must have 1 to {MAX_ID_BYTES} bytes and no NUL"
        )));
    }
    Ok(id)
}

fn unknown(field: &str, value: i32) -> Error {
    Error::invalid_command(format!(
        "{field} has a value that this server does not know: {value}"
    ))
}
