//! The headers of an ingest: what Flight SQL has no field for. ADBC sends those that its user sets as
//! `adbc.flight.sql.rpc.call_header.NAME`.

use tonic::metadata::{KeyAndValueRef, MetadataMap};

use crate::error::{Error, Result};
use crate::flight::command::{self, IngestEnd};
use crate::write::{AppendBy, IfExists, KeyedAction, Mode, WriteSpec};

const PREFIX: &str = "x-pgflight-";
/// The headers without the prefix.
const NAMES: [&str; 5] = ["write-id", "rows", "mode", "keys", "order-by"];

/// The headers of a call that are meant for the server: names without the prefix, and values. A value that is not text
/// is `None`.
#[derive(Debug, Default)]
pub(crate) struct Headers(Vec<(String, Option<String>)>);

impl Headers {
    /// Takes the headers from those of a call.
    pub(crate) fn of(metadata: &MetadataMap) -> Self {
        let found = metadata.iter().filter_map(|header| match header {
            KeyAndValueRef::Ascii(name, value) => {
                let name = name.as_str().strip_prefix(PREFIX)?.to_owned();
                Some((name, value.to_str().ok().map(str::to_owned)))
            }
            KeyAndValueRef::Binary(name, _) => {
                Some((name.as_str().strip_prefix(PREFIX)?.to_owned(), None))
            }
        });
        Self(found.collect())
    }

    /// Rejects headers with a command that has its own fields for them.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidCommand`](crate::error::ErrorKind::InvalidCommand) with the first header.
    pub(crate) fn reject(&self) -> Result<()> {
        let Some((name, _)) = self.0.first() else {
            return Ok(());
        };
        Err(Error::invalid_command(format!(
            "the header {PREFIX}{name} is only for an ingest of Flight SQL"
        ))
        .with_hint("leave the header out, and use the fields of the command"))
    }

    /// Rejects a statement that removes rows, if the call has a write id. An ingest that runs again with this id writes
    /// nothing, while the statement would remove the rows of its first run.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidCommand`](crate::error::ErrorKind::InvalidCommand).
    pub(super) fn check_removal(&self, statement: &str) -> Result<()> {
        if self.value("write-id").is_none() {
            return Ok(());
        }
        Err(Error::invalid_command(format!(
            "the call has the header {PREFIX}write-id, and {statement} would remove the rows of the first run when the job runs \
             again"
        ))
        .with_hint("replace the rows by an ingest in mode replace, or leave the header out"))
    }

    /// Applies the headers to an ingest, and returns the proof of its end. In a client's transaction, the commit is the
    /// proof.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidCommand`](crate::error::ErrorKind::InvalidCommand) for a header that is unknown, comes twice,
    /// or does not fit the others or the ingest.
    pub(super) fn apply(&self, spec: &mut WriteSpec, in_transaction: bool) -> Result<IngestEnd> {
        for (number, (name, value)) in self.0.iter().enumerate() {
            let problem = if !NAMES.contains(&name.as_str()) {
                "is unknown"
            } else if self.0.iter().take(number).any(|(other, _)| other == name) {
                "comes twice"
            } else if value.as_deref().is_none_or(|value| value.trim().is_empty()) {
                "has no text"
            } else {
                continue;
            };
            let error = Error::invalid_command(format!("the header {PREFIX}{name} {problem}"));
            let known = NAMES.map(|name| format!("{PREFIX}{name}")).join(", ");
            return Err(error.with_hint(format!("send each of these once, or none: {known}")));
        }
        self.apply_mode(spec)?;
        let rows = self.value("rows").map(|rows| {
            rows.parse().map_err(|_| {
                Error::invalid_command(format!("the header {PREFIX}rows is not a number of rows"))
                    .with_hint("send the number of rows of all batches")
            })
        });
        let rows = rows.transpose()?;
        let write_id = match self.value("write-id") {
            Some(write_id) => Some(command::write_id(write_id.to_owned())?),
            None => None,
        };
        if write_id.is_some() && rows.is_none() && !in_transaction {
            return Err(Error::invalid_command(format!(
                "the header {PREFIX}write-id comes without {PREFIX}rows, and outside a transaction"
            ))
            .with_hint(
                "send the number of rows too, or turn autocommit off: a stream that was cut off could look complete",
            ));
        }
        Ok(IngestEnd { rows, write_id })
    }

    fn apply_mode(&self, spec: &mut WriteSpec) -> Result<()> {
        let Some(name) = self.value("mode") else {
            let other = ["keys", "order-by"];
            return match other.iter().find(|name| self.value(name).is_some()) {
                None => Ok(()),
                Some(name) => Err(Error::invalid_command(format!(
                    "the header {PREFIX}{name} comes without {PREFIX}mode"
                ))
                .with_hint(format!("set {PREFIX}mode to a keyed mode, such as upsert"))),
            };
        };
        let action = match name {
            "upsert" => KeyedAction::Upsert,
            "insert_if_absent" => KeyedAction::InsertIfAbsent,
            "update_only" => KeyedAction::UpdateOnly,
            "delete_by_key" => KeyedAction::DeleteByKey,
            other => {
                return Err(Error::invalid_command(format!(
                    "the header {PREFIX}mode has the unknown value {other:?}"
                ))
                .with_hint(
                    "send upsert, insert_if_absent, update_only or delete_by_key; for another mode, \
                     use that of the ingest",
                ));
            }
        };
        let can_create = matches!(action, KeyedAction::Upsert | KeyedAction::InsertIfAbsent);
        let creates = match spec.mode {
            Mode::Append {
                create_if_missing: false,
                publish: AppendBy::Best,
            } => false,
            Mode::Create {
                if_exists: IfExists::Append,
            } if can_create => true,
            Mode::Append { .. }
            | Mode::Create { .. }
            | Mode::Overwrite { .. }
            | Mode::Replace { .. }
            | Mode::Keyed { .. } => {
                let modes = if can_create {
                    "append or create_append"
                } else {
                    "append"
                };
                return Err(Error::invalid_command(format!(
                    "the header {PREFIX}mode does not go with the mode of the ingest"
                ))
                .with_hint(format!("ingest with mode {modes}")));
            }
        };
        let keys = self.value("keys").unwrap_or_default().split(',');
        let keys: Vec<String> = keys.map(|key| key.trim().to_owned()).collect();
        let order_by = self.value("order-by").unwrap_or_default().trim();
        if self.value("keys").is_none() {
            return Err(Error::invalid_command(format!(
                "the header {PREFIX}mode comes without {PREFIX}keys"
            ))
            .with_hint("name the columns that identify a row, with commas between them"));
        }
        spec.mode = command::keyed(action, keys, order_by, creates)?;
        if let (true, Mode::Keyed { keys, .. }) = (creates, &spec.mode) {
            spec.primary_key.clone_from(keys);
        }
        Ok(())
    }

    fn value(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(found, _)| found == name);
        found.and_then(|(_, value)| value.as_deref())
    }
}
