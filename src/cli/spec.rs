//! The write of a command line, as the fields of the protocol's `WriteSpec` in JSON.

use pgflight::error::{Error, Result};
use serde_json::{Map, Value, json};

/// The modes as `--mode` and as `WriteSpec` name them.
const MODES: [(&str, &str); 7] = [
    ("append", "append"),
    ("create", "create"),
    ("overwrite", "overwrite"),
    ("upsert", "upsert"),
    ("insert_if_absent", "insertIfAbsent"),
    ("update_only", "updateOnly"),
    ("delete_by_key", "deleteByKey"),
];

/// Adds `--to` or `--table`, `--mode` and `--keys` to the fields of `--spec`.
///
/// # Errors
/// [`ErrorKind::InvalidCommand`](pgflight::error::ErrorKind::InvalidCommand) when `--spec` has options of another mode.
pub(super) fn spec_fields(
    mut fields: Map<String, Value>,
    table: String,
    mode: &str,
    keys: Vec<String>,
) -> Result<Map<String, Value>> {
    for (word, field) in MODES {
        if word != mode && fields.contains_key(field) {
            return Err(Error::invalid_command(format!(
                "--spec has options of mode {word}, and the mode is {mode}"
            ))
            .with_hint(format!("add --mode {word}")));
        }
    }
    let field = MODES.iter().find(|(word, _)| *word == mode);
    let (_, field) =
        field.ok_or_else(|| Error::invalid_command(format!("mode {mode} does not exist")))?;
    fields.insert("table".to_owned(), table.into());
    let options = fields.entry(*field).or_insert_with(|| json!({}));
    if let (Value::Object(options), false) = (options, keys.is_empty()) {
        options.insert("keys".to_owned(), keys.into());
    }
    Ok(fields)
}
