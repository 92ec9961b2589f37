//! Reads the ledger for the monitor, at most once every few seconds.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use crate::error::ErrorKind;
use crate::write::{LedgerWrite, PreparedTransactions, WriteState, Writer};

/// The age up to which an answer is reused.
const FRESH: Duration = Duration::from_secs(2);
/// The time for PostgreSQL to answer.
const TIMEOUT: Duration = Duration::from_secs(3);
/// The number of writes that are shown.
const SHOWN: u32 = 30;

/// The content of a target's ledger at a moment.
pub(super) struct Snapshot {
    /// Whether PostgreSQL answered, even with an error.
    pub(super) is_reachable: bool,
    /// The kind of the error.
    pub(super) problem: Option<&'static str>,
    /// The writes that began last.
    pub(super) writes: Vec<LedgerWrite>,
    /// The number of writes by state.
    pub(super) counts: Vec<(WriteState, u64)>,
    /// The prepared transactions of pgflight.
    pub(super) prepared: PreparedTransactions,
}

/// Reads the writes of a target, including those of other servers.
pub(super) struct Ledger {
    writer: Writer,
    /// Locked while PostgreSQL is queried, so that concurrent requests share the answer.
    last: Mutex<Option<(Instant, Arc<Snapshot>)>>,
}

impl Ledger {
    pub(super) fn new(writer: Writer) -> Self {
        let last = Mutex::new(None);
        Self { writer, last }
    }

    pub(super) async fn snapshot(&self) -> Arc<Snapshot> {
        let mut last = self.last.lock().await;
        if let Some((at, snapshot)) = &*last
            && at.elapsed() < FRESH
        {
            return Arc::clone(snapshot);
        }
        let snapshot = match timeout(TIMEOUT, self.writer.overview(SHOWN)).await {
            Ok(Ok(overview)) => Snapshot {
                is_reachable: true,
                problem: None,
                writes: overview.writes,
                counts: overview.counts,
                prepared: overview.prepared,
            },
            Ok(Err(error)) => Snapshot {
                is_reachable: error.kind() != ErrorKind::Unavailable,
                problem: Some(error.kind().reason()),
                writes: Vec::new(),
                counts: Vec::new(),
                prepared: PreparedTransactions::default(),
            },
            Err(_) => Snapshot {
                is_reachable: false,
                problem: Some(ErrorKind::Timeout.reason()),
                writes: Vec::new(),
                counts: Vec::new(),
                prepared: PreparedTransactions::default(),
            },
        };
        let snapshot = Arc::new(snapshot);
        *last = Some((Instant::now(), Arc::clone(&snapshot)));
        snapshot
    }
}
