//! Ingests of a transaction that the server knows only by their headers.
//!
//! A client may cancel an ingest and commit at once. The server may read neither a row nor the command of that ingest, but
//! has seen that it arrived.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The ingests that have arrived in a transaction and are not read.
#[derive(Debug, Default)]
pub(super) struct Arrivals(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    unread: usize,
    /// Whether one of them ended before it was read.
    has_lost: bool,
}

impl Arrivals {
    /// Counts an ingest as unread, until [`Arrival::settle`].
    pub(super) fn add(self: &Arc<Self>) -> Arrival {
        self.counts().unread += 1;
        Arrival {
            arrivals: Arc::clone(self),
            is_read: false,
        }
    }

    /// Returns whether an ingest ended before it was read.
    pub(super) fn has_lost(&self) -> bool {
        self.counts().has_lost
    }

    /// Returns whether all ingests that have arrived were read.
    pub(super) fn are_read(&self) -> bool {
        let counts = self.counts();
        counts.unread == 0 && !counts.has_lost
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An ingest that is not read. Dropping it makes the transaction fail.
pub(crate) struct Arrival {
    arrivals: Arc<Arrivals>,
    is_read: bool,
}

impl Arrival {
    /// Ends it without harm: its command was read, and the transaction knows of it, or has nothing to do with it.
    pub(crate) fn settle(mut self) {
        self.is_read = true;
    }
}

impl Drop for Arrival {
    fn drop(&mut self) {
        let mut counts = self.arrivals.counts();
        counts.unread -= 1;
        counts.has_lost |= !self.is_read;
    }
}
