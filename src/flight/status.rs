//! Turns an [`Error`] into a gRPC status. No other file does.

use std::collections::HashMap;
use std::time::SystemTime;

use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Status};
use tonic_types::pb;

use crate::error::{Context, Error, ErrorKind};
use crate::metrics::{Metrics, RecentError};

/// The length limit of a status message, in bytes. gRPC C-core rejects header blocks beyond 8 to 16 KiB, and they hold
/// the message three times, twice in base64.
const MAX_MESSAGE_BYTES: usize = 1536;
/// The length limit of the hint in the details.
const MAX_HINT_BYTES: usize = 512;

/// Returns a status that pyarrow shows with its details.
///
/// Besides code and message it carries `google.rpc.ErrorInfo` and the trailers that make Arrow's C++ client raise a
/// `FlightError` with these details as `extra_info`. Without `x-arrow-status: 5` (`StatusCode::IOError`) the client
/// turns several codes into plain `ArrowInvalid` or `KeyError` and drops the details
/// (`cpp/src/arrow/flight/transport/grpc/util_internal.cc`).
pub(crate) fn to_status(error: &Error) -> Status {
    let code = code(error.kind());
    let message = message(error);
    let mut trailers = MetadataMap::new();
    trailers.insert("x-arrow-status", MetadataValue::from_static("5"));
    trailers.insert_bin(
        "x-arrow-status-message-bin",
        MetadataValue::from_bytes(message.as_bytes()),
    );
    let details = pb::Status {
        code: code.into(),
        // Clients of pgflight show the place and the hint in their own way. Those of grpc-go show this text alone.
        message: match error.is_in_full() {
            true => message.clone(),
            false => cut(error.report().fact(), MAX_MESSAGE_BYTES),
        },
        details: vec![error_info(error)],
    };
    Status::with_details_and_metadata(
        code,
        message,
        prost::Message::encode_to_vec(&details).into(),
        trailers,
    )
}

/// Logs an error, at level `error` if it is internal, and turns it into a status.
pub(crate) fn log_to_status(metrics: &Metrics, error: &Error, call: &'static str) -> Status {
    let context = error.context();
    let (kind, sqlstate, write_id) = (error.kind().reason(), &context.sqlstate, &context.write_id);
    metrics.count_error(kind);
    metrics.remember_error(recent(error, call));
    let message = message(error);
    if error.kind() == ErrorKind::Internal {
        tracing::error!(call, kind, sqlstate, write_id, "{message}");
    } else {
        tracing::info!(call, kind, sqlstate, write_id, "{message}");
    }
    to_status(error)
}

/// Returns the error as the status page shows it.
fn recent(error: &Error, call: &'static str) -> RecentError {
    let context = error.context().clone();
    RecentError {
        at: SystemTime::now(),
        call,
        kind: error.kind().reason(),
        sqlstate: context.sqlstate.unwrap_or_default(),
        write_id: context.write_id.unwrap_or_default(),
        partition_id: context.partition_id,
        table: context.table.unwrap_or_default(),
        column: context.column.unwrap_or_default(),
    }
}

fn code(kind: ErrorKind) -> Code {
    match kind {
        ErrorKind::InvalidCommand | ErrorKind::SchemaMismatch | ErrorKind::DataRejected => {
            Code::InvalidArgument
        }
        ErrorKind::Unsupported => Code::Unimplemented,
        ErrorKind::NotFound => Code::NotFound,
        ErrorKind::AlreadyExists => Code::AlreadyExists,
        ErrorKind::Conflict => Code::FailedPrecondition,
        ErrorKind::Unauthenticated => Code::Unauthenticated,
        ErrorKind::PermissionDenied => Code::PermissionDenied,
        ErrorKind::Unavailable => Code::Unavailable,
        ErrorKind::Cancelled => Code::Cancelled,
        ErrorKind::Timeout => Code::DeadlineExceeded,
        ErrorKind::PreparedLost => Code::DataLoss,
        ErrorKind::Internal => Code::Internal,
    }
}

fn message(error: &Error) -> String {
    cut(error.report().to_string(), MAX_MESSAGE_BYTES)
}

/// Cuts a text between two characters.
fn cut(mut text: String, max_bytes: usize) -> String {
    if text.len() > max_bytes {
        let mut end = max_bytes;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push('…');
    }
    text
}

fn error_info(error: &Error) -> prost_types::Any {
    let Context {
        table,
        column,
        row,
        constraint,
        sqlstate,
        write_id,
        partition_id,
        decided,
    } = error.context().clone();
    let metadata: HashMap<String, String> = [
        ("table", table),
        ("column", column),
        ("row", row.map(|row| row.to_string())),
        ("constraint", constraint),
        ("sqlstate", sqlstate),
        ("write_id", write_id),
        ("partition", partition_id.map(|id| id.to_string())),
        ("decided", decided.then(|| "true".to_owned())),
        ("retryable", Some(error.kind().is_retryable().to_string())),
        (
            "hint",
            error
                .report()
                .advice()
                .map(|hint| cut(hint, MAX_HINT_BYTES)),
        ),
    ]
    .into_iter()
    .filter_map(|(key, value)| Some((key.to_owned(), value?)))
    .collect();
    let info = pb::ErrorInfo {
        reason: error.kind().reason().to_owned(),
        domain: "pgflight".to_owned(),
        metadata,
    };
    prost_types::Any {
        type_url: "type.googleapis.com/google.rpc.ErrorInfo".to_owned(),
        value: prost::Message::encode_to_vec(&info),
    }
}
