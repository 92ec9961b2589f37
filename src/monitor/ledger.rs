//! What the ledger says, asked for at most every few seconds however many snapshot.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use crate::error::ErrorKind;
use crate::write::{LedgerWrite, PreparedTransactions, WriteState, Writer};

/// How old an answer may be.
const FRESH: Duration = Duration::from_secs(2);
/// How long PostgreSQL may take.
const TIMEOUT: Duration = Duration::from_secs(3);
/// Writes that are shown.
const SHOWN: u32 = 30;

/// What was read.
pub(super) struct Snapshot {
    /// Whether PostgreSQL answered, be it with an error.
    pub(super) is_reachable: bool,
    /// What kind of error it was.
    pub(super) problem: Option<&'static str>,
    /// The writes that were begun last.
    pub(super) writes: Vec<LedgerWrite>,
    /// How many there are.
    pub(super) counts: Vec<(WriteState, u64)>,
    /// What waits as prepared transactions.
    pub(super) prepared: PreparedTransactions,
}

/// Asks PostgreSQL about all writes, those of other servers included.
pub(super) struct Ledger {
    writer: Writer,
    /// Locked while PostgreSQL is asked: who comes meanwhile gets the same answer.
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
