//! Abort: a write ends, and nothing of it is published.

use super::begin::finish;
use super::outcome::{check_not_a_stream, unsettled};
use super::status::{WriteStatus, unknown};
use crate::error::{Error, Result};
use crate::pg::{Transaction, WriteState, abort, count_tombstones, ensure_schema, find_write};
use crate::write::writer::Writer;

/// The limit of aborted ids that were never begun, for each principal. Such an id is aborted where the answer to a begin
/// was lost.
const MAX_TOMBSTONES: u32 = 10_000;

impl Writer {
    /// Ends a write without publishing anything; its later attempts are refused. A write that is
    /// already committed stays committed, and the status says so. An id that was never begun can no
    /// longer be.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidCommand`](crate::error::ErrorKind::InvalidCommand) for a write that a server made of a stream; [`ErrorKind::Unavailable`](crate::error::ErrorKind::Unavailable) when it
    /// is not known how the write ended, or when too many ids are aborted that were never begun; else what PostgreSQL
    /// said.
    pub async fn abort(&self, write_id: &str, reason: &str) -> Result<WriteStatus> {
        check_not_a_stream(write_id)?;
        self.abort_any(write_id, reason).await
    }

    /// As [`Writer::abort`], also of a write that a server made of a stream: for that server, and for people. The
    /// sender of the stream gets an error: the write has ended.
    ///
    /// # Errors
    /// As [`Writer::abort`].
    pub async fn abort_any(&self, write_id: &str, reason: &str) -> Result<WriteStatus> {
        let transaction = self.pool.begin_control().await?;
        ensure_schema(&transaction).await?;
        let found = find_write(&transaction, write_id).await?;
        match found {
            Some(write) if !self.caller.owns(write.principal.as_deref()) => {
                transaction.rollback().await;
                return Err(unknown().with_write_id(write_id));
            }
            Some(_) => {}
            None => {
                let checked = self.check_tombstones(&transaction).await;
                checked.map_err(|error| error.with_write_id(write_id))?;
            }
        }
        abort(&transaction, write_id, self.caller.name(), reason).await?;
        let doubt = finish(transaction).await?;
        let found = async {
            self.finish_commit(write_id).await?;
            self.status(write_id).await
        };
        let not_known = "it is not known how the write ended";
        let hint = "abort it again";
        let status = found.await.map_err(|error| {
            let error = unsettled(error, not_known, hint);
            error.with_write_id(write_id)
        })?;
        if status.state == WriteState::Open {
            let doubt = doubt.unwrap_or_else(|| Error::unavailable("PostgreSQL lost the abort"));
            let doubt = doubt.into_retryable(not_known).with_hint(hint);
            return Err(doubt.with_write_id(write_id));
        }
        self.clean_up(write_id).await;
        Ok(status)
    }

    /// Rejects one more aborted id that was never begun, if there are too many.
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
