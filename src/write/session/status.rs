//! Where a write of many partitions stands.

use super::record::spec_of;
use crate::error::{Error, ErrorKind, Result};
use crate::pg::{LedgerWrite, Transaction, WriteState, attempts, find_write};
use crate::write::spec::Mode;
use crate::write::writer::Writer;

/// Where a write stands, as every call about it answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteStatus {
    /// The write.
    pub write_id: String,
    /// Open, or how it ended.
    pub state: WriteState,
    /// The table, quoted where SQL needs it; empty for a write that was aborted before it was begun.
    pub table: String,
    /// The mode it was begun with, unless it was aborted before it was begun.
    pub mode: Option<Mode>,
    /// Open: rows of the recorded attempts. Ended: rows published.
    pub row_count: u64,
    /// Bytes of COPY, counted as the rows are.
    pub byte_count: u64,
    /// Attempts, counted as the rows are.
    pub attempt_count: u32,
    /// Why it was aborted, or what was special about its end.
    pub reason: String,
    /// The partitions whose rows are lost, with how many; only of [`WriteState::PreparedLost`].
    pub lost: Vec<(u32, u64)>,
    /// When it ended, as the ledger says it; empty while it is open.
    pub finished_at: String,
    /// Answer to begin: the write was there before this call.
    pub existed: bool,
}

impl WriteStatus {
    /// The status of a write that was just begun.
    pub(crate) fn opened(write_id: &str, table: String, mode: Mode) -> Self {
        Self {
            write_id: write_id.to_owned(),
            state: WriteState::Open,
            table,
            mode: Some(mode),
            row_count: 0,
            byte_count: 0,
            attempt_count: 0,
            reason: String::new(),
            lost: Vec::new(),
            finished_at: String::new(),
            existed: false,
        }
    }
}

impl Writer {
    /// Where a write stands.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when no server on this database has heard of it.
    pub async fn status(&self, write_id: &str) -> Result<WriteStatus> {
        Ok(self.find_status(write_id).await?.1)
    }

    pub(crate) async fn find_status(&self, write_id: &str) -> Result<(LedgerWrite, WriteStatus)> {
        let transaction = self.pool.begin_read().await?;
        let write = match find_write(&transaction, write_id).await {
            Ok(write) => write
                .filter(|write| self.caller.owns(write.principal.as_deref()))
                .ok_or_else(|| unknown().with_write_id(write_id))?,
            // Without a ledger no write was ever begun.
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(unknown().with_write_id(write_id));
            }
            Err(error) => return Err(error),
        };
        let status = status_of(&transaction, &write).await?;
        transaction.rollback().await;
        Ok((write, status))
    }
}

/// The error about a write that was never begun, or that belongs to another principal.
pub(crate) fn unknown() -> Error {
    Error::not_found("no such write was begun").with_hint("begin it first")
}

async fn status_of(transaction: &Transaction, write: &LedgerWrite) -> Result<WriteStatus> {
    let mut status = WriteStatus {
        write_id: write.write_id.clone(),
        state: write.state,
        table: write
            .target
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        // A tombstone has none.
        mode: spec_of(write).ok().map(|spec| spec.mode),
        row_count: write.row_count,
        byte_count: write.byte_count,
        attempt_count: write.attempt_count,
        reason: write.reason.clone(),
        lost: Vec::new(),
        finished_at: write.finished_at.clone(),
        existed: false,
    };
    if write.state == WriteState::PreparedLost {
        let attempts = attempts(transaction, &write.write_id).await?;
        let lost = attempts.iter().filter(|attempt| attempt.lost);
        status.lost = lost
            .map(|attempt| (attempt.partition_id, attempt.row_count))
            .collect();
        status.lost.sort_unstable();
    }
    if write.state == WriteState::Open {
        for attempt in attempts(transaction, &write.write_id).await? {
            status.row_count += attempt.row_count;
            status.byte_count += attempt.byte_count;
            status.attempt_count += 1;
        }
    }
    Ok(status)
}
