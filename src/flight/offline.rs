//! What clients send, read from the command line and from files instead: a schema, a spec.

use std::io::Read;

use arrow::datatypes::Schema;
use serde_json::{Map, Value};

use super::command;
use super::decode;
use super::gate::Limits;
use crate::error::{Error, Result};
use crate::proto::v1;
use crate::write::WriteSpec;

/// What an Arrow IPC file begins with, padded with zeros as far as its writer likes. A stream follows
/// it (Arrow columnar format, "IPC File Format").
const FILE_MAGIC: &[u8; 6] = b"ARROW1";
/// A schema that is larger is refused anyway; nothing behind it is read.
const MAX_SCHEMA_BYTES: u64 = 16 * 1024 * 1024;

/// Reads the schema at the head of an Arrow IPC file, stream or lone schema message, as the server
/// reads those that come by the network. No rows are read.
///
/// # Errors
/// [`ErrorKind::InvalidCommand`](crate::error::ErrorKind::InvalidCommand) when it cannot be read or
/// has no Arrow schema.
pub fn read_schema(source: impl Read) -> Result<Schema> {
    let mut bytes = Vec::new();
    source
        .take(MAX_SCHEMA_BYTES)
        .read_to_end(&mut bytes)
        .map_err(|error| Error::invalid_command(format!("it cannot be read: {error}")))?;
    let message = match bytes.strip_prefix(FILE_MAGIC) {
        Some(padded) => {
            let padding = padded.iter().take_while(|byte| **byte == 0).count();
            padded.get(padding..).unwrap_or_default()
        }
        None => &bytes,
    };
    // No batch is decoded with these.
    let limits = Limits {
        max_decoded_bytes: 0,
        max_dictionary_bytes: 0,
    };
    decode::schema(message, limits).map_err(|error| {
        Error::invalid_command(format!(
            "no Arrow schema is at its head ({error}); an Arrow IPC file, stream or schema is needed"
        ))
    })
}

/// Reads a spec from the fields of a `WriteSpec` in its JSON form, checked as the server checks it.
///
/// # Errors
/// [`ErrorKind::InvalidCommand`](crate::error::ErrorKind::InvalidCommand) for fields and values that
/// are not known, and for options that the mode has no use for.
pub fn write_spec_from_json(fields: Map<String, Value>) -> Result<WriteSpec> {
    let spec: v1::WriteSpec = serde_json::from_value(Value::Object(fields))
        .map_err(|error| Error::invalid_command(format!("the spec cannot be read: {error}")))?;
    match command::write_spec(Some(spec))? {
        (target, spec) if target.is_empty() => Ok(spec),
        _ => Err(Error::invalid_command(
            "name the target by --target, not in the spec",
        )),
    }
}
