//! Errors about a write that is decided, or may be.
//!
//! After the decision a caller gets the result, [`decided`] or [`prepared_lost`], and no other error. On another error
//! the caller may run the job again, and the rows would be in the table twice.

use super::status::WriteStatus;
use crate::error::Error;
use crate::pg::STREAM_PREFIX;

/// Wraps an error that occurs after the decision. Retryable.
pub(crate) fn decided(error: Error) -> Error {
    error
        .into_retryable("the commit is decided, and some of its rows may not be visible yet")
        .with_hint("commit again to get the result")
        .with_context(|context| context.decided = true)
}

/// Wraps an error that does not show whether the commit was decided. Retryable.
pub(crate) fn not_known(error: Error) -> Error {
    error
        .into_retryable("it is not known whether the write is committed")
        .with_hint("commit again with the same receipts")
}

/// Wraps an error of a call that may have succeeded, with a message and a hint. A retryable error stays as it is.
pub(crate) fn unsettled(error: Error, message: &'static str, hint: &'static str) -> Error {
    if error.kind().is_retryable() {
        return error;
    }
    error.into_retryable(message).with_hint(hint)
}

/// Returns the error about a decided write that lost rows.
pub(crate) fn prepared_lost(status: &WriteStatus) -> Error {
    Error::prepared_lost(status.reason.clone())
    .with_hint(
        "write the lost partitions again with a new write id, or delete the write's rows and run all of it again",
    )
    .with_write_id(&status.write_id)
    .with_table(&status.table)
}

/// Rejects a client's call about a write that a server made of a stream.
///
/// # Errors
/// [`ErrorKind::InvalidCommand`](crate::error::ErrorKind::InvalidCommand) for such a write.
pub(crate) fn check_not_a_stream(write_id: &str) -> Result<(), Error> {
    if !write_id.starts_with(STREAM_PREFIX) {
        return Ok(());
    }
    Err(
        Error::invalid_command("only the server that receives the stream of this write may end it")
            .with_hint("end the stream, or run `pgflight abort`")
            .with_write_id(write_id),
    )
}
