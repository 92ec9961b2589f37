//! The status of a write of many partitions.

use crate::error::{Error, ErrorKind, Result};
use crate::pg::{LedgerWrite, Rejected, RowCounts, Transaction, WriteState, attempts, find_write};
use crate::write::record::spec_of;
use crate::write::spec::Mode;
use crate::write::writer::Writer;

/// The status of a write, the answer to every call about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteStatus {
    /// The write.
    pub write_id: String,
    /// Its state: open, or how it ended.
    pub state: WriteState,
    /// The table, quoted where SQL needs it; empty for a write that was aborted before it was begun.
    pub table: String,
    /// The mode that it was begun with; `None` if it was aborted before it was begun.
    pub mode: Option<Mode>,
    /// While it is open, the rows of the recorded attempts. After its end, the published rows.
    pub row_count: u64,
    /// Bytes of COPY of the same attempts.
    pub byte_count: u64,
    /// The number of the same attempts.
    pub attempt_count: u32,
    /// After its end, the numbers of rows that it changed.
    pub counts: RowCounts,
    /// The rejected rows of the same attempts, which `row_count` does not include; their reasons after its end.
    pub rejected: Rejected,
    /// The reason that it was aborted, or a remark about its end.
    pub reason: String,
    /// The partitions whose rows are lost, with the number of rows. Empty except in [`WriteState::PreparedLost`].
    pub lost: Vec<(u32, u64)>,
    /// The time of its end by the ledger; empty while it is open.
    pub finished_at: String,
    /// Whether the write existed before this call; only in the answer to begin.
    pub existed: bool,
}

impl WriteStatus {
    /// Returns the status of a write that was just begun.
    pub(crate) fn opened(write_id: &str, table: String, mode: Mode) -> Self {
        Self {
            write_id: write_id.to_owned(),
            state: WriteState::Open,
            table,
            mode: Some(mode),
            row_count: 0,
            byte_count: 0,
            attempt_count: 0,
            counts: RowCounts::default(),
            rejected: Rejected::default(),
            reason: String::new(),
            lost: Vec::new(),
            finished_at: String::new(),
            existed: false,
        }
    }
}

impl Writer {
    /// Returns the status of a write.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when no server on this database has begun or aborted it, or when it belongs to another
    /// principal; any error that PostgreSQL reports.
    pub async fn status(&self, write_id: &str) -> Result<WriteStatus> {
        Ok(self.find_status(write_id).await?.1)
    }

    pub(crate) async fn find_status(&self, write_id: &str) -> Result<(LedgerWrite, WriteStatus)> {
        let transaction = self.begin_look().await?;
        let write = match find_write(&transaction, write_id).await {
            Ok(write) => write
                .filter(|write| self.caller.owns(write.principal.as_deref()))
                .ok_or_else(|| unknown().with_write_id(write_id))?,
            // Without a ledger, no write was ever begun.
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

/// Returns the error about a write that was never begun, or that belongs to another principal.
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
        // A tombstone has no spec.
        mode: spec_of(write).ok().map(|spec| spec.mode),
        row_count: write.row_count,
        byte_count: write.byte_count,
        attempt_count: write.attempt_count,
        counts: write.counts,
        rejected: write.rejected.clone(),
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
            status.rejected.row_count += attempt.rejected_count;
        }
    }
    Ok(status)
}
