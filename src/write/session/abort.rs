//! Abort: ends a write without publishing its rows.

use super::begin::finish;
use super::outcome::{check_not_a_stream, unsettled};
use super::status::{WriteStatus, unknown};
use crate::error::{Error, Result};
use crate::pg::{
    LOCK_NOT_AVAILABLE, Transaction, WriteState, abort, count_tombstones, ensure_schema, find_write,
};
use crate::write::writer::Writer;

/// The limit of tombstones for each principal: aborted ids that were never begun. A client aborts such an id when it
/// lost the answer to a begin.
const MAX_TOMBSTONES: u32 = 10_000;

/// What to do with an id that was never begun.
#[derive(Clone, Copy)]
enum Unknown {
    /// Record it as aborted.
    Record,
    /// Reject the call.
    Reject,
}

impl Writer {
    /// Ends a write without publishing its rows. The server then rejects its later attempts. A committed write stays
    /// committed, and the status says so. An id that was never begun is recorded as aborted, and a later begin of it
    /// fails.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidCommand`](crate::error::ErrorKind::InvalidCommand) for a write that a server made of a
    /// stream; [`ErrorKind::NotFound`](crate::error::ErrorKind::NotFound) for a write of another principal;
    /// [`ErrorKind::Unavailable`](crate::error::ErrorKind::Unavailable) when it is not known how the write ended, or
    /// when the principal has too many aborted ids that were never begun; any error that PostgreSQL reports.
    pub async fn abort(&self, write_id: &str, reason: &str) -> Result<WriteStatus> {
        check_not_a_stream(write_id)?;
        self.abort_any(write_id, reason).await
    }

    /// Ends a write like [`Writer::abort`], including a write that a server made of a stream. That server calls this,
    /// and so does the command line. The sender of such a stream gets an error: the write has ended.
    ///
    /// # Errors
    /// The errors of [`Writer::abort`], except those about writes that a server made of a stream.
    pub async fn abort_any(&self, write_id: &str, reason: &str) -> Result<WriteStatus> {
        self.end(write_id, reason, Unknown::Record).await
    }

    /// Ends a write like [`Writer::abort_any`], if it was begun.
    ///
    /// # Errors
    /// Those of [`Writer::abort_any`], and [`ErrorKind::NotFound`](crate::error::ErrorKind::NotFound) when the ledger
    /// does not know the id. Nothing is recorded then.
    pub async fn abort_known(&self, write_id: &str, reason: &str) -> Result<WriteStatus> {
        self.end(write_id, reason, Unknown::Reject).await
    }

    async fn end(&self, write_id: &str, reason: &str, unknown_id: Unknown) -> Result<WriteStatus> {
        let transaction = self.begin_control().await?;
        ensure_schema(&transaction).await?;
        let found = find_write(&transaction, write_id).await?;
        match found {
            Some(write) if !self.caller.owns(write.principal.as_deref()) => {
                transaction.rollback().await;
                return Err(unknown().with_write_id(write_id));
            }
            Some(_) => {}
            None if matches!(unknown_id, Unknown::Reject) => {
                transaction.rollback().await;
                let error = Error::not_found("the ledger knows no such write");
                return Err(error.with_write_id(write_id));
            }
            None => {
                let checked = self.check_tombstones(&transaction).await;
                checked.map_err(|error| error.with_write_id(write_id))?;
            }
        }
        let aborted = abort(&transaction, write_id, self.caller.name(), reason).await;
        aborted.map_err(|error| match error.context().sqlstate.as_deref() {
            // A commit holds the row of the write.
            Some(LOCK_NOT_AVAILABLE) => error
                .caused("the write is being committed")
                .with_hint("abort it again")
                .with_write_id(write_id),
            _ => error,
        })?;
        let doubt = finish(transaction).await?;
        let found = self.find_finished(write_id).await;
        let not_known = "it is not known how the write ended";
        let hint = "abort it again";
        let (write, status) = found.map_err(|error| {
            let error = unsettled(error, not_known, hint);
            error.with_write_id(write_id)
        })?;
        if status.state == WriteState::Open {
            let doubt = doubt.unwrap_or_else(|| Error::unavailable("PostgreSQL lost the abort"));
            let doubt = doubt.into_retryable(not_known).with_hint(hint);
            return Err(doubt.with_write_id(write_id));
        }
        self.clean_up(write_id, write.publish).await;
        Ok(status)
    }

    /// Rejects an aborted id that was never begun, if the principal has too many.
    async fn check_tombstones(&self, transaction: &Transaction) -> Result<()> {
        let aborted = count_tombstones(transaction, self.caller.name(), MAX_TOMBSTONES).await?;
        if aborted < MAX_TOMBSTONES.into() {
            return Ok(());
        }
        Err(Error::unavailable(format!(
            "the write was never begun, and the ledger already keeps {MAX_TOMBSTONES} aborted ids that were never begun"
        ))
        .with_hint("leave the write, or abort it again after --retention"))
    }
}
