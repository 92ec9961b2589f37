//! What a caller hears of a write that is decided, or of which it is not known whether it is.
//!
//! After the decision a caller hears the result, [`decided`] or [`prepared_lost`], and nothing else: a caller that hears
//! of a failure may run the job again, and then the rows are there twice.

use super::session::WriteStatus;
use crate::error::Error;
use crate::pg::STREAM_PREFIX;

/// An error that came after the decision.
pub(super) fn decided(error: Error) -> Error {
    let message =
        "the commit is decided, and not all of its rows are known to be visible yet; ask again";
    error
        .into_retryable(message)
        .with_context(|context| context.decided = true)
}

/// An error that leaves open whether the commit was decided.
pub(super) fn not_known(error: Error) -> Error {
    error.into_retryable(
        "it is not known whether the write is committed; ask again with the same receipts",
    )
}

/// An error of a call that may have done its work, and can be made again.
pub(super) fn unsettled(error: Error, message: &'static str) -> Error {
    match error.kind().is_retryable() {
        true => error,
        false => error.into_retryable(message),
    }
}

/// The end of a decided write whose rows are not all there.
pub(super) fn prepared_lost(status: &WriteStatus) -> Error {
    Error::prepared_lost(format!(
        "{}; write the lost partitions again with a new write id, or remove the rows that are there first",
        status.reason
    ))
    .with_write_id(&status.write_id)
    .with_table(&status.table)
}

/// Refuses what clients ask for about a write that a server made of a stream.
///
/// # Errors
/// [`ErrorKind::InvalidCommand`](crate::error::ErrorKind::InvalidCommand) for such a write.
pub(super) fn check_not_a_stream(write_id: &str) -> Result<(), Error> {
    match write_id.starts_with(STREAM_PREFIX) {
        false => Ok(()),
        true => Err(Error::invalid_command(format!(
            "write {write_id:?} is a stream over several connections, and the server that receives it ends it; to \
             stop it, end the stream or run `pgflight abort`"
        ))
        .with_write_id(write_id)),
    }
}
