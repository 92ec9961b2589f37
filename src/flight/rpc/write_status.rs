//! Encodes the status of a write.

use bytes::Bytes;

use super::server_info::ServerInfo;
use crate::error::Result;
use crate::flight::command::envelope::{self, WireForm};
use crate::proto::v1;
use crate::write::{KeyedAction, Mode, RejectReason, RowCounts, WriteState, WriteStatus};

/// Encodes the status of a write in the form of the request.
pub(super) fn encode(status: WriteStatus, info: ServerInfo, form: WireForm) -> Result<Bytes> {
    let state = match status.state {
        WriteState::Open => v1::WriteState::Open,
        WriteState::Committing => v1::WriteState::Committing,
        WriteState::Committed => v1::WriteState::Committed,
        WriteState::Aborted => v1::WriteState::Aborted,
        WriteState::PreparedLost => v1::WriteState::PreparedLost,
    };
    let mode = match status.mode {
        Some(Mode::Append { .. }) => v1::Mode::Append,
        Some(Mode::Create { .. }) => v1::Mode::Create,
        Some(Mode::Overwrite { .. } | Mode::Replace { .. }) => v1::Mode::Overwrite,
        Some(Mode::Keyed { action, .. }) => match action {
            KeyedAction::Upsert => v1::Mode::Upsert,
            KeyedAction::InsertIfAbsent => v1::Mode::InsertIfAbsent,
            KeyedAction::UpdateOnly => v1::Mode::UpdateOnly,
            KeyedAction::DeleteByKey => v1::Mode::DeleteByKey,
        },
        None => v1::Mode::Unspecified,
    };
    let answer = v1::WriteStatus {
        write_id: status.write_id,
        state: state.into(),
        table: status.table,
        mode: mode.into(),
        row_count: status.row_count,
        byte_count: status.byte_count,
        attempt_count: status.attempt_count,
        reason: status.reason,
        max_message_bytes: info.max_message_bytes,
        heartbeat_seconds: info.heartbeat_seconds,
        finished_at: rfc3339(&status.finished_at),
        existed: status.existed,
        lost: status
            .lost
            .into_iter()
            .map(|(partition_id, row_count)| v1::LostPartition {
                partition_id,
                row_count,
            })
            .collect(),
        counts: row_counts(status.counts),
        rejected_count: status.rejected.row_count,
        reject_reasons: reject_reasons(status.rejected.reasons),
    };
    envelope::encode(&answer, form)
}

/// Returns the numbers of changed rows as the protocol has them; `None` without any.
pub(super) fn row_counts(counts: RowCounts) -> Option<v1::RowCounts> {
    let RowCounts {
        inserted,
        updated,
        deleted,
        replaced,
        ignored,
    } = counts;
    let found = v1::RowCounts {
        inserted,
        updated,
        deleted,
        replaced,
        ignored,
    };
    (counts != RowCounts::default()).then_some(found)
}

/// Returns the reasons for which rows were rejected as the protocol has them.
pub(super) fn reject_reasons(reasons: Vec<RejectReason>) -> Vec<v1::RejectReason> {
    let reasons = reasons.into_iter().map(|reason| v1::RejectReason {
        kind: reason.kind,
        column: reason.column,
        constraint: reason.constraint,
        row_count: reason.row_count,
    });
    reasons.collect()
}

/// Turns a time of the ledger, which has a blank between date and time, into RFC 3339.
fn rfc3339(time: &str) -> String {
    time.replacen(' ', "T", 1)
}
