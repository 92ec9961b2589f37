//! Parses descriptors and actions into typed, valid commands.

mod conversion;
pub(crate) mod envelope;
mod json;
mod rejects;
mod spec;

use arrow_flight::FlightDescriptor;
use arrow_flight::flight_descriptor::DescriptorType;

use crate::error::{Error, Result};
use crate::proto::v1;
use crate::write::{AttemptId, EndRecord, Named, SinkBatch, WriteSpec};
use arrow_pgcopy::table::TableName;
use envelope::{Envelope, WireForm};
use json::Answers;

pub(crate) use spec::{keyed, write_spec};

/// The length limit of ids, which are keys of the ledger and stand in logs.
const MAX_ID_BYTES: usize = 128;
/// The length limit of a sink id, which becomes a write id with the number of a batch.
const MAX_SINK_BYTES: usize = 100;
/// The part of the reason of an abort that the ledger keeps.
const MAX_REASON_BYTES: usize = 1024;

/// The receipts of a commit. The limit is beyond the partitions of any job. That number of receipts takes 48 MB in memory.
pub(crate) const RECEIPTS: Answers = Answers {
    field: "receipts",
    tag: 2,
    limit: 250_000,
};

/// The command of a DoPut.
#[derive(Debug)]
pub(crate) enum PutCommand {
    /// Append to the table and commit at the end of the stream.
    Table(TableName),
    /// A write of one stream.
    Write(WriteSpec, ResponseOptions),
    /// One attempt of a write of many partitions.
    Attempt(AttemptId, ResponseOptions),
    /// An ingest of Flight SQL: a whole write.
    Ingest(Ingest),
}

/// An ingest of Flight SQL.
#[derive(Debug)]
pub(crate) struct Ingest {
    pub(crate) spec: WriteSpec,
    pub(crate) end: IngestEnd,
    /// The names of the columns, by position, if those of the data do not count.
    pub(crate) columns: Option<Vec<String>>,
}

/// The proof that an ingest is complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IngestEnd {
    /// The number of rows that arrive, if the client announces it.
    pub(crate) rows: Option<u64>,
    /// The caller's id for the write, which then happens once, however often the client sends it.
    pub(crate) write_id: Option<String>,
}

/// The client's wishes about the answers to a stream.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ResponseOptions {
    /// The form of its command and of the answers.
    pub(crate) form: WireForm,
    /// Whether the client waits for a `Ready` before it sends rows.
    pub(crate) announce_ready: bool,
}

/// Parses the descriptor of a DoPut into the name of the target (empty: the default) and the command.
pub(crate) fn put_command(descriptor: Option<FlightDescriptor>) -> Result<(String, PutCommand)> {
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
pub(crate) fn path(descriptor: FlightDescriptor) -> Result<(String, TableName)> {
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
pub(crate) fn end_record(app_metadata: &[u8]) -> Result<EndRecord> {
    let record: v1::EndRecord = Envelope::parse(app_metadata)?.decode()?;
    Ok(EndRecord {
        row_count: record.row_count,
        batch_count: record.batch_count,
    })
}

/// Checks a write id.
pub(crate) fn write_id(id: String) -> Result<String> {
    checked_id("write_id", id)
}

/// Parses the name of a write: an id, or the batch of a streaming query.
pub(crate) fn named(write_id: String, sink: Option<v1::SinkBatch>) -> Result<Named> {
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
        return Err(Error::invalid_command(
            "resume adopts a query, and the command has no query_id",
        )
        .with_hint("name the query, or use another sink_id"));
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
pub(crate) fn driver(id: String) -> Result<Option<String>> {
    if id.is_empty() {
        return Ok(None);
    }
    checked_id("driver", id).map(Some)
}

/// Cuts the reason of an abort to the part that the ledger keeps, and removes NUL characters, which PostgreSQL cannot
/// hold.
pub(crate) fn abort_reason(mut reason: String) -> String {
    let mut end = reason.len().min(MAX_REASON_BYTES);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    reason.truncate(end);
    reason.retain(|letter| letter != '\0');
    reason.shrink_to_fit();
    reason
}

/// Parses a receipt into the attempt and its number of rows.
pub(crate) fn receipt(write_id: &str, receipt: v1::Receipt) -> Result<(AttemptId, u64)> {
    if receipt.write_id != write_id {
        return Err(Error::invalid_command(format!(
            "a receipt is of write {:?}",
            receipt.write_id
        ))
        .with_write_id(write_id));
    }
    Ok((
        attempt_id(receipt.write_id, receipt.partition_id, receipt.attempt_id)?,
        receipt.row_count,
    ))
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
