//! Recognises the commands of Flight SQL.

use arrow_flight::FlightDescriptor;
use arrow_flight::flight_descriptor::DescriptorType;
use arrow_flight::sql::{Any, Command};
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
