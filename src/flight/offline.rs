//! Reads a schema and a spec from files and the command line, as the server reads them from clients.

use std::io::Read;

use arrow::datatypes::Schema;
use serde_json::{Map, Value};

use super::command;
use super::ingress::decode;
use super::ingress::gate::Limits;
use crate::error::{Error, Result};
use crate::proto::v1;
use crate::write::WriteSpec;

/// The bytes that an Arrow IPC file begins with. Zeros and then a stream follow (Arrow columnar format, "IPC File
/// Format").
const FILE_MAGIC: &[u8; 6] = b"ARROW1";
/// A larger schema is rejected in any case.
const MAX_SCHEMA_BYTES: u64 = 16 * 1024 * 1024;

/// Reads the schema at the head of an Arrow IPC file, stream or schema message, with the checks that the server makes
/// for clients. Reads no rows.
///
/// # Errors
/// [`ErrorKind::InvalidCommand`](crate::error::ErrorKind::InvalidCommand) when the source cannot be read or has no
/// Arrow schema.
pub fn read_schema(source: impl Read) -> Result<Schema> {
    let mut bytes = Vec::new();
    source
        .take(MAX_SCHEMA_BYTES)
        .read_to_end(&mut bytes)
        .map_err(|error| Error::invalid_command("cannot read the schema").with_source(error))?;
    let message = match bytes.strip_prefix(FILE_MAGIC) {
        Some(padded) => {
            let padding = padded.iter().take_while(|byte| **byte == 0).count();
            padded.get(padding..).unwrap_or_default()
        }
        None => &bytes,
    };
    // These limits are for batches, and no batch is decoded.
    let limits = Limits {
        max_decoded_bytes: 0,
        max_dictionary_bytes: 0,
    };
    decode::schema(message, limits).map_err(|error| {
        Error::invalid_command("the file does not begin with an Arrow schema")
            .with_hint("name an Arrow IPC file, stream or schema message")
            .with_source(error)
    })
}

/// Reads a spec from the fields of a `WriteSpec` in its JSON form, with the checks that the server makes.
///
/// # Errors
/// [`ErrorKind::InvalidCommand`](crate::error::ErrorKind::InvalidCommand) for unknown fields and values, and for
/// options that have no meaning with the mode.
pub fn write_spec_from_json(fields: Map<String, Value>) -> Result<WriteSpec> {
    let spec: v1::WriteSpec = serde_json::from_value(Value::Object(fields))
        .map_err(|error| Error::invalid_command("cannot read the spec").with_source(error))?;
    match command::write_spec(Some(spec))? {
        (target, spec) if target.is_empty() => Ok(spec),
        _ => Err(Error::invalid_command("the spec names a target")
            .with_hint("name the target with --target")),
    }
}
