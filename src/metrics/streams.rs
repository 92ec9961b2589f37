//! The finished streams and the errors that the server keeps.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::SystemTime;

use super::activity::Outcome;
use super::stream::{Stream, StreamView};

/// The number of finished streams, and of errors, that are kept.
const MAX_KEPT: usize = 50;

/// A finished stream.
#[derive(Debug, Clone)]
pub struct FinishedStream {
    /// Its state at the end.
    pub stream: StreamView,
    /// Its outcome.
    pub outcome: Outcome,
    /// When it ended.
    pub at: SystemTime,
}

/// An error that a caller got: kinds, names and numbers. It leaves out the message, which may repeat the text of a
/// user's trigger.
#[derive(Debug, Clone)]
pub struct RecentError {
    /// When it happened.
    pub at: SystemTime,
    /// The call: `DoPut`.
    pub call: &'static str,
    /// The kind: `UNAVAILABLE`.
    pub kind: &'static str,
    /// PostgreSQL's SQLSTATE.
    pub sqlstate: String,
    /// The write.
    pub write_id: String,
    /// The table.
    pub table: String,
    /// The column.
    pub column: String,
    /// The partition.
    pub partition_id: Option<u32>,
}

#[derive(Default)]
pub(super) struct StreamRegistry {
    next: u64,
    pub(super) active: BTreeMap<u64, Arc<Stream>>,
    pub(super) finished: VecDeque<FinishedStream>,
    pub(super) recent_errors: VecDeque<RecentError>,
}

impl StreamRegistry {
    /// Adds a stream and returns its number.
    pub(super) fn add(&mut self, stream: Arc<Stream>) -> u64 {
        let number = self.next;
        self.next += 1;
        self.active.insert(number, stream);
        number
    }
}

/// Puts an item first, and drops the last one beyond the limit.
pub(super) fn remember<T>(list: &mut VecDeque<T>, item: T) {
    if list.len() == MAX_KEPT {
        list.pop_back();
    }
    list.push_front(item);
}
