//! Parses descriptors and actions into typed, valid commands.

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

/// The length limit of ids, which are keys of the ledger and stand in logs.
const MAX_ID_BYTES: usize = 128;
/// The length limit of a sink id, which becomes a write id with the number of a batch.
const MAX_SINK_BYTES: usize = 100;

/// The command of a DoPut.
#[derive(Debug)]
pub(super) enum PutCommand {
    /// Append to the table and commit at the end of the stream.
    Table(TableName),
    /// A write of one stream.
    Write(WriteSpec, ResponseOptions),
    /// One attempt of a write of many partitions.
    Attempt(AttemptId, ResponseOptions),
}

/// How the client of a stream wants to be answered.
#[derive(Debug, Clone, Copy)]
pub(super) struct ResponseOptions {
    /// The form of its command and of the answers.
    pub(super) form: WireForm,
    /// Whether the client waits for a `Ready` before it sends rows.
    pub(super) announce_ready: bool,
}

/// Parses the descriptor of a DoPut into the name of the target (empty: the default) and the command.
pub(super) fn put_command(descriptor: Option<FlightDescriptor>) -> Result<(String, PutCommand)> {
    let Some(descriptor) = descriptor else {
        return Err(
            Error::invalid_command("the first message of the stream has no descriptor")
                .with_hint("send a path [\"schema\", \"table\"] or a command"),
        );
    };
    if descriptor.r#type != i32::from(DescriptorType::Cmd) {
        let (target, table) = path(descriptor)?;
        return Ok((target, PutCommand::Table(table)));
    }
    let envelope = Envelope::parse(&descriptor.cmd)?;
    let form = envelope.form();
    if envelope.is::<v1::WriteCommand>() {
        let command: v1::WriteCommand = envelope.decode()?;
        let options = ResponseOptions {
            form,
            announce_ready: command.announce_ready,
        };
        let (target, spec) = write_spec(command.spec)?;
        Ok((target, PutCommand::Write(spec, options)))
    } else if envelope.is::<v1::AttemptCommand>() {
        let command: v1::AttemptCommand = envelope.decode()?;
        let options = ResponseOptions {
            form,
            announce_ready: command.announce_ready,
        };
        let id = attempt_id(command.write_id, command.partition_id, command.attempt_id)?;
        Ok((command.target, PutCommand::Attempt(id, options)))
    } else {
        Err(
            Error::invalid_command(format!("{} does not begin a stream", envelope.name()))
                .with_hint("send a WriteCommand or an AttemptCommand"),
        )
    }
}

/// Parses a path descriptor into the name of the target (empty: the default) and the table.
pub(super) fn path(descriptor: FlightDescriptor) -> Result<(String, TableName)> {
    if descriptor.r#type != i32::from(DescriptorType::Path) {
        return Err(
            Error::invalid_command("the descriptor names no table").with_hint(
                "send a path [\"table\"], [\"schema\", \"table\"] or [\"target\", \"schema\", \"table\"]",
            ),
        );
    }
    let mut parts = descriptor.path;
    // A table has at most two parts, so the first of three is the target, and the schema may be empty.
    let mut target = String::new();
    if parts.len() == 3 {
        target = parts.remove(0);
        parts.retain(|part| !part.is_empty());
    }
    Ok((target, TableName::from_parts(parts)?))
}

/// Parses an end record from the metadata of a message without rows.
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

/// Parses the name of a write: an id, or the batch of a streaming query.
pub(super) fn named(write_id: String, sink: Option<v1::SinkBatch>) -> Result<Named> {
    let Some(sink) = sink else {
        return Ok(Named::Id(self::write_id(write_id)?));
    };
    if !write_id.is_empty() {
        return Err(
            Error::invalid_command("the command has both write_id and sink")
                .with_hint("leave write_id empty: the server names the write of a batch"),
        );
    }
    let sink_id = sink.sink_id;
    if sink_id.is_empty() || sink_id.len() > MAX_SINK_BYTES || sink_id.contains('\0') {
        return Err(Error::invalid_command(format!(
            "sink_id must have 1 to {MAX_SINK_BYTES} bytes and no NUL"
        )));
    }
    if sink.query_id.is_empty() && sink.resume {
        return Err(
            Error::invalid_command("resume adopts a query, and the command has no query_id")
                .with_hint("name the query, or use another sink_id"),
        );
    }
    let query_id = if sink.query_id.is_empty() {
        String::new()
    } else {
        checked_id("query_id", sink.query_id)?
    };
    let batch_id = i64::try_from(sink.batch_id)
        .map_err(|_| Error::invalid_command("batch_id is larger than a bigint"))?;
    Ok(Named::Batch(SinkBatch {
        sink_id,
        query_id,
        batch_id,
        resume: sink.resume,
    }))
}

/// Parses the id of a driver; an empty id is `None`.
pub(super) fn driver(id: String) -> Result<Option<String>> {
    if id.is_empty() {
        return Ok(None);
    }
    checked_id("driver", id).map(Some)
}

/// Parses a receipt into the attempt and its number of rows.
pub(super) fn receipt(write_id: &str, receipt: v1::Receipt) -> Result<(AttemptId, u64)> {
    if receipt.write_id != write_id {
        return Err(
            Error::invalid_command(format!("a receipt is of write {:?}", receipt.write_id))
                .with_write_id(write_id),
        );
    }
    Ok((
        attempt_id(receipt.write_id, receipt.partition_id, receipt.attempt_id)?,
        receipt.row_count,
    ))
}

/// Parses a spec into the name of the target (empty: the default) and the rest. Rejects an option that the mode would
/// ignore.
pub(super) fn write_spec(spec: Option<v1::WriteSpec>) -> Result<(String, WriteSpec)> {
    let spec = spec.ok_or_else(|| {
        Error::invalid_command("the command has no spec").with_hint("send a table and a mode")
    })?;
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
                "{option} has no meaning with {}",
                wire_mode.as_str_name()
            ))
            .with_hint(format!(
                "leave it out, or use it with {}",
                names.join(", ")
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
        let message = if is_keyed {
            "primary_key has no meaning with a keyed mode, whose keys are the primary key"
        } else {
            "primary_key has no meaning with a mode that creates no table"
        };
        return Err(Error::invalid_command(message).with_hint("leave primary_key out"));
    }
    if publish == v1::Publish::Direct && spec.create_if_missing {
        return Err(
            Error::invalid_command("publish direct needs a table that exists")
                .with_hint("leave create_if_missing out"),
        );
    }
    if !definition.options.is_empty() && !makes_tables {
        return Err(Error::invalid_command(
            "options of the table definition have no meaning with a mode that creates no table",
        )
        .with_hint("leave the options out"));
    }
    let mode = match wire_mode {
        v1::Mode::Unspecified => {
            return Err(Error::invalid_command("the spec has no mode")
                .with_hint("send a mode, such as MODE_APPEND"));
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
        return Err(
            Error::invalid_command("nul_replacement has no meaning without nul replace")
                .with_hint("set nul to NUL_REPLACE, or leave nul_replacement out"),
        );
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
        .map(Ident::new)
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
    Error::invalid_command(format!("{field} has the unknown value {value}"))
}
