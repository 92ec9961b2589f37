//! Recognises the commands of Flight SQL, and reads the bodies of its actions.

use arrow_flight::FlightDescriptor;
use arrow_flight::flight_descriptor::DescriptorType;
use arrow_flight::sql::{Any, Command, ProstMessageExt};
use prost::Message;

use crate::error::{Error, Result};

/// The types of all commands begin with this.
pub(super) const TYPE_PREFIX: &str = "type.googleapis.com/arrow.flight.protocol.sql.";

/// Parses the command of a descriptor; `None` if it is not one of Flight SQL.
///
/// # Errors
/// [`ErrorKind::InvalidCommand`](crate::error::ErrorKind::InvalidCommand) for a command with fields that cannot be
/// read.
pub(crate) fn command(descriptor: Option<&FlightDescriptor>) -> Result<Option<Command>> {
    match descriptor {
        Some(descriptor) if descriptor.r#type == i32::from(DescriptorType::Cmd) => {
            from_bytes(&descriptor.cmd)
        }
        _ => Ok(None),
    }
}

/// Parses a command, as [`command`] does.
pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Option<Command>> {
    let any = Any::decode(bytes).ok();
    let Some(any) = any.filter(|any| any.type_url.starts_with(TYPE_PREFIX)) else {
        return Ok(None);
    };
    Command::try_from(any).map(Some).map_err(|error| {
        Error::invalid_command("cannot read the command of Flight SQL").with_source(error)
    })
}

/// Returns the name of a command without its package.
pub(super) fn name(command: &Command) -> &str {
    let url = command.type_url();
    url.strip_prefix(TYPE_PREFIX).unwrap_or(url)
}

/// Reads the body of an action: a message in an `Any`.
///
/// # Errors
/// [`ErrorKind::InvalidCommand`](crate::error::ErrorKind::InvalidCommand) for any other body.
pub(super) fn unpack<T: ProstMessageExt + Default>(body: &[u8]) -> Result<T> {
    let any: Any = decode(body)?;
    match any.unpack() {
        Ok(Some(message)) => Ok(message),
        Ok(None) | Err(_) => Err(unreadable()),
    }
}

/// Reads the body of an action that is a message alone.
///
/// # Errors
/// The errors of [`unpack`].
pub(super) fn decode<T: Message + Default>(body: &[u8]) -> Result<T> {
    T::decode(body).map_err(|error| unreadable().with_source(error))
}

fn unreadable() -> Error {
    Error::invalid_command("cannot read the body of the action")
}
