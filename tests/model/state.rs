//! The state of the world: what PostgreSQL has committed, and how far every call has come.
//!
//! Locks are not stored: a transaction holds what its step implies, until it ends.

use crate::config::{Config, Fence, PARTITIONS, STREAMS};

/// A set of streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Streams(u8);

impl Streams {
    pub(crate) fn add(&mut self, stream: usize) {
        self.0 |= 1 << stream;
    }
    pub(crate) fn remove(&mut self, stream: usize) {
        self.0 &= !(1 << stream);
    }
    pub(crate) fn has(self, stream: usize) -> bool {
        self.0 & (1 << stream) != 0
    }
    pub(crate) fn iter(self) -> impl Iterator<Item = usize> {
        (0..STREAMS).filter(move |&stream| self.has(stream))
    }
    pub(crate) fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
    pub(crate) fn is_subset_of(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct State {
    // The data that is committed in PostgreSQL.
    /// `pgflight.write`: the row of the one write.
    pub(crate) write: Write,
    /// `pgflight.attempt`: the streams that are recorded. Logged, so it survives a crash.
    pub(crate) ledger: Streams,
    /// Whether the staging table is there.
    pub(crate) staging: bool,
    /// The streams whose rows are in it. Unlogged, so a crash empties it.
    pub(crate) staged: Streams,
    /// The streams whose transactions are prepared: their rows are in the target, invisible, and survive
    /// a crash.
    pub(crate) prepared: Streams,
    /// `pgflight.attempt.accepted`: the streams that are to be committed.
    pub(crate) decided: Streams,
    /// The number of times that the rows of each stream are visible in the target.
    pub(crate) target: [u8; STREAMS],

    // The progress of the calls, on any server.
    pub(crate) begins: [Begin; 2],
    pub(crate) attempts: [Attempt; STREAMS],
    pub(crate) commits: [Commit; 2],
    pub(crate) abort: Abort,
    pub(crate) expiry: Expiry,

    // The clients' knowledge: for each driver, the accepted receipt of each partition.
    pub(crate) accepted: [[Option<usize>; PARTITIONS]; 2],

    // The faults that may still happen.
    pub(crate) postgres_crashes: u8,
    pub(crate) failovers: u8,
    pub(crate) rollbacks: u8,
    pub(crate) by_hand: u8,
    pub(crate) server_crashes: Option<u8>,

    // The memory of the properties.
    /// The first end of the write.
    pub(crate) first_end: Option<Write>,
    /// Whether an attempt was recorded after that.
    pub(crate) recorded_late: bool,
    /// The stream of each partition that was recorded first; only for the mutant that publishes by this order.
    pub(crate) first_recorded: [Option<usize>; PARTITIONS],
    /// The prepared transactions that a person has committed; only for the mutant that does not count them.
    pub(crate) committed_by_hand: Streams,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Write {
    Absent,
    Open,
    /// Decided; some prepared transactions are still to be committed.
    Committing,
    Committed,
    Aborted,
    /// Decided, and prepared transactions that were accepted had been rolled back by hand.
    PreparedLost,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Begin {
    Idle,
    /// Row and staging table are made, not committed.
    Inserted,
    Done,
    Refused,
    Failed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Attempt {
    pub(crate) step: AttemptStep,
    /// The rows are a part, since the client was cancelled.
    pub(crate) cut: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum AttemptStep {
    Idle,
    /// A0 is done.
    Admitted,
    /// A2: rows go into the staging table, invisible.
    Copying,
    /// A3: the COPY is finished.
    Finished,
    /// In two phases: prepared. A transaction of its own makes the record.
    Prepared,
    /// A4: the fence is held.
    Fenced,
    /// A5: the ledger row is inserted, not committed.
    Inserted,
    /// A6: committed, the reply is under way.
    Recorded,
    /// The fence rejected it; rolled back, and the ledger is to be read again.
    ShutOut,
    /// Something failed; rolled back, and the ledger is to be read again.
    RolledBack,
    /// The reply was lost.
    Lost,
    /// The client has the receipt of this stream's or its twin's record.
    Receipt(usize),
    /// The client learned that the write has ended.
    Refused,
    /// The client got no answer, or a retryable error.
    Failed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Commit {
    pub(crate) step: CommitStep,
    pub(crate) retries: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum CommitStep {
    Idle,
    /// C2: the row is locked and open.
    Locked,
    /// C3: the receipts agree with the ledger.
    Checked,
    /// C4, where the table is adopted: the streams into it are ended.
    CopiesEnded,
    /// C5: these rows are in the target, invisible.
    Published(Streams),
    /// C6: the row says committed, invisible.
    Updated(Streams),
    /// C5 found rows missing; rolled back, and the write is to be aborted.
    StagingLost,
    /// … which is done, but not committed.
    AbortingLost(Upsert),
    Replying(Answer),
    Lost(Answer),
    Answered(Answer),
    Failed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Answer {
    Committed,
    Aborted,
    /// Aborted, since staged rows are gone.
    StagingLost,
    /// Open again: a failover has lost the commit.
    Open,
    /// The receipts do not agree with the ledger; the write stays open.
    Differs,
    /// The caller has no receipts.
    Refused,
    /// It was decided, and rows are lost.
    PreparedLost,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Abort {
    pub(crate) step: AbortStep,
    pub(crate) retries: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum AbortStep {
    Idle,
    /// Only in the mutant without the lock: the state that the row had when it was read.
    Looked(Write),
    /// The row is locked and changed, not committed.
    Upserted(Upsert),
    Replying,
    Lost,
    Answered(Answer),
    Failed,
}

/// The effect of an abort's statement once it has the row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Upsert {
    Tombstone,
    End,
    Nothing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Expiry {
    Idle,
    Updated,
    Done,
}

/// The row locks of PostgreSQL (manual, 13.3.2), weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum RowLock {
    KeyShare,
    Share,
    /// The lock of an UPDATE that does not change the key, including ON CONFLICT DO UPDATE.
    NoKeyUpdate,
    Update,
}

impl RowLock {
    fn conflicts_with(self, other: Self) -> bool {
        // The table of the manual: a lock conflicts with all from this one on.
        other
            >= match self {
                Self::KeyShare => Self::Update,
                Self::Share => Self::NoKeyUpdate,
                Self::NoKeyUpdate => Self::Share,
                Self::Update => Self::KeyShare,
            }
    }
}

/// A transaction that locks the row, by the call it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Call {
    Attempt(usize),
    Commit(usize),
    Abort,
    Expiry,
}

impl Attempt {
    /// Whether its transaction is open and holds a lock on the staging table.
    pub(crate) fn has_copied(self) -> bool {
        use AttemptStep::{Copying, Fenced, Finished, Inserted};
        matches!(self.step, Copying | Finished | Fenced | Inserted)
    }

    /// Whether a server is working on it.
    pub(crate) fn is_served(self) -> bool {
        use AttemptStep::{Prepared, ShutOut};
        self.has_copied() || matches!(self.step, Prepared | ShutOut)
    }
}

impl State {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            write: Write::Absent,
            ledger: Streams::default(),
            staging: false,
            staged: Streams::default(),
            prepared: Streams::default(),
            decided: Streams::default(),
            target: [0; STREAMS],
            begins: [Begin::Idle; 2],
            attempts: [Attempt {
                step: AttemptStep::Idle,
                cut: false,
            }; STREAMS],
            commits: [Commit {
                step: CommitStep::Idle,
                retries: config.retries,
            }; 2],
            abort: Abort {
                step: AbortStep::Idle,
                retries: config.retries,
            },
            expiry: Expiry::Idle,
            accepted: [[None; PARTITIONS]; 2],
            postgres_crashes: config.postgres_crashes,
            failovers: config.failovers,
            rollbacks: config.rollbacks,
            by_hand: config.by_hand,
            server_crashes: config.server_crashes,
            first_end: None,
            recorded_late: false,
            first_recorded: [None; PARTITIONS],
            committed_by_hand: Streams::default(),
        }
    }

    /// Whether a transaction can have this lock on the write's row now; otherwise it waits. After the wait, READ
    /// COMMITTED uses the row as it is then.
    pub(crate) fn can_lock_row(&self, config: &Config, call: Call, lock: RowLock) -> bool {
        self.row_locks(config)
            .all(|(holder, held)| holder == call || !lock.conflicts_with(held))
    }

    fn row_locks(&self, config: &Config) -> impl Iterator<Item = (Call, RowLock)> {
        let fence = match config.rules.fence {
            Fence::Share => Some(RowLock::Share),
            Fence::KeyShare => Some(RowLock::KeyShare),
            Fence::Missing => None,
        };
        let attempts = (0..STREAMS).filter_map(move |number| {
            use AttemptStep::{Fenced, Inserted};
            matches!(self.attempts[number].step, Fenced | Inserted)
                .then_some((Call::Attempt(number), fence?))
        });
        let commits = (0..2).filter_map(|number| {
            use CommitStep::{AbortingLost, Checked, CopiesEnded, Locked, Published, Updated};
            let lock = match self.commits[number].step {
                Locked | Checked | CopiesEnded | Published(_) | Updated(_) => RowLock::Update,
                AbortingLost(_) => RowLock::NoKeyUpdate,
                _ => return None,
            };
            Some((Call::Commit(number), lock))
        });
        let abort = matches!(self.abort.step, AbortStep::Upserted(_));
        let expiry = self.expiry == Expiry::Updated;
        attempts
            .chain(commits)
            .chain(abort.then_some((Call::Abort, RowLock::NoKeyUpdate)))
            .chain(expiry.then_some((Call::Expiry, RowLock::Update)))
    }

    /// Whether another transaction has inserted the write's row and not ended: an insert waits for it,
    /// a select does not see the row.
    pub(crate) fn row_is_being_inserted(&self) -> bool {
        self.begins.contains(&Begin::Inserted)
            || self.abort.step == AbortStep::Upserted(Upsert::Tombstone)
            || self
                .commits
                .iter()
                .any(|commit| commit.step == CommitStep::AbortingLost(Upsert::Tombstone))
    }

    /// Whether an open transaction has used the staging table: DROP waits for it.
    pub(crate) fn staging_is_in_use(&self) -> bool {
        use CommitStep::{Published, Updated};
        let read = self
            .commits
            .iter()
            .any(|commit| matches!(commit.step, Published(_) | Updated(_)));
        read || self.attempts.iter().any(|attempt| attempt.has_copied())
    }

    /// Whether a stream has a next step that needs no lock; a short cut for [`crate::properties`].
    pub(crate) fn attempt_goes_on(&self, stream: usize) -> bool {
        use AttemptStep::{Admitted, Copying, Inserted, Lost, Recorded, RolledBack, ShutOut};
        matches!(
            self.attempts[stream].step,
            Admitted | Copying | Inserted | Recorded | ShutOut | RolledBack | Lost
        )
    }

    /// The committed record of an attempt's id, by whichever stream made it.
    pub(crate) fn record_of(&self, config: &Config, stream: usize) -> Option<usize> {
        let id = config.streams[stream].attempt;
        self.ledger
            .iter()
            .find(|&other| config.streams[other].attempt == id)
    }

    /// A COMMIT that ends the write.
    pub(crate) fn end(&mut self, write: Write) {
        self.write = write;
        self.first_end.get_or_insert(write);
    }

    /// A COMMIT that decides which prepared transactions are to be committed.
    pub(crate) fn decide(&mut self, accepted: Streams) {
        self.write = Write::Committing;
        self.decided = accepted;
        self.first_end.get_or_insert(Write::Committed);
    }

    /// COMMIT PREPARED.
    pub(crate) fn commit_prepared(&mut self, stream: usize) {
        self.prepared.remove(stream);
        self.target[stream] += 1;
    }

    /// The staging table is dropped, or is the target from now on.
    pub(crate) fn drop_staging(&mut self) {
        self.staging = false;
        self.staged = Streams::default();
    }

    pub(crate) fn has_ended(&self) -> bool {
        matches!(
            self.write,
            Write::Committing | Write::Committed | Write::Aborted | Write::PreparedLost
        )
    }

    /// Whether a server may die now.
    pub(crate) fn server_can_die(&self) -> bool {
        self.server_crashes != Some(0)
    }

    pub(crate) fn server_died(&mut self) {
        self.server_crashes = self.server_crashes.map(|left| left - 1);
    }
}
