//! Turns a status of the server into an error.

use tonic::{Code, Status};
use tonic_types::{StatusExt, pb};

use crate::error::{Context, Error, ErrorKind};

/// Reads the server's error: kind, fact, place and hint from the details, or else what the status has.
pub(super) fn from_status(status: &Status) -> Error {
    let Some(info) = status.get_details_error_info() else {
        return without_details(status);
    };
    let Some(kind) = ErrorKind::from_reason(&info.reason) else {
        return without_details(status);
    };
    let details =
        <pb::Status as prost::Message>::decode(status.details()).map(|details| details.message);
    let fact = details.ok().filter(|fact| !fact.is_empty());
    let mut metadata = info.metadata;
    let mut take = |key: &str| metadata.remove(key);
    let hint = take("hint");
    let context = Context {
        table: take("table"),
        column: take("column"),
        row: take("row").and_then(|row| row.parse().ok()),
        constraint: take("constraint"),
        sqlstate: take("sqlstate"),
        write_id: take("write_id"),
        partition_id: take("partition").and_then(|id| id.parse().ok()),
        decided: take("decided").is_some(),
    };
    let error = Error::new(kind, fact.unwrap_or_else(|| status.message().to_owned()))
        .with_context(|own| *own = context);
    match hint {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}

/// The error of a status that pgflight did not make, but a proxy, the network or the gRPC library.
fn without_details(status: &Status) -> Error {
    let is_transport = matches!(
        status.code(),
        Code::Unavailable | Code::Unknown | Code::Internal | Code::Cancelled
    );
    if is_transport {
        return Error::unavailable(format!(
            "the connection to the server broke or is not gRPC: {}",
            status.message()
        ))
        .with_hint("check that both sides use TLS, or neither does");
    }
    Error::internal(status.message().to_owned())
}
