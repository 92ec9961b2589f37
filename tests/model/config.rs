//! The configuration of a search: its streams and calls, the possible failures, and the rule of the protocol that a
//! mutant leaves out.

/// Streams at most; a stream is named by its index.
pub(crate) const STREAMS: usize = 5;
/// Partitions of the one write.
pub(crate) const PARTITIONS: usize = 2;

/// Everything that differs from search to search.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    /// The streams that may begin, each as soon as the write exists.
    pub(crate) streams: Vec<Stream>,
    /// The number of begin calls. The second is a repeated or late one.
    pub(crate) begins: usize,
    /// The commit calls, each with the driver that makes it, or [`STRANGER`].
    pub(crate) commits: Vec<usize>,
    /// The number of retries of a commit or abort call without an answer.
    pub(crate) retries: u8,
    /// The way of the rows into the target at commit.
    pub(crate) publish: Publish,
    /// Whether a client calls abort, at any time.
    pub(crate) abort: bool,
    /// Whether the write may expire, at any time.
    pub(crate) expiry: bool,
    /// The number of crashes of PostgreSQL, which empty the unlogged staging table.
    pub(crate) postgres_crashes: u8,
    /// The number of failovers of PostgreSQL to a standby that lacks the commit.
    pub(crate) failovers: u8,
    /// The number of COMMITs that PostgreSQL answers with the tag ROLLBACK.
    pub(crate) rollbacks: u8,
    /// The number of prepared transactions that a person ends.
    pub(crate) by_hand: u8,
    /// The number of servers that die during a call; no limit when `None`.
    pub(crate) server_crashes: Option<u8>,
    /// The protocol, or a mutant of it.
    pub(crate) rules: Rules,
}

/// The client that makes a commit call without receipts, for a write of another client.
pub(crate) const STRANGER: usize = usize::MAX;

/// One stream of an attempt.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stream {
    pub(crate) partition: usize,
    /// The attempt's id; a stream that is sent again has the id of the first.
    pub(crate) attempt: u8,
    /// The driver whose Spark job runs it.
    pub(crate) driver: usize,
    pub(crate) end: End,
}

/// The end of a stream's rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// All rows of the partition and the end record.
    Whole,
    /// An end record that equals the rows sent, but Spark had more: it fails the task afterwards, and
    /// the driver does not accept the attempt.
    Truncated,
    /// Whole, or cut off: gRPC shows a cancelled call as a clean end of stream, without end record.
    WholeOrCut,
}

/// The effect of C5.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Publish {
    /// Copies rows out of an unlogged table, as most modes do.
    Copy,
    /// Makes the table itself the target, logged, as mode create does.
    Adopt,
    /// Commits the transactions in which the attempts wait in the target, prepared.
    TwoPhase,
}

/// The rules that the mutants break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rules {
    /// A3: only an end record ends a stream.
    pub(crate) needs_end_record: bool,
    /// A4: the fence keeps an attempt out of a write that has ended.
    pub(crate) fence: Fence,
    /// A5: the key of the ledger's table of attempts.
    pub(crate) attempts_are_unique: bool,
    /// C3, C5: the driver's receipts say what is published, not the order of recording.
    pub(crate) drivers_list_decides: bool,
    /// C5: published rows must equal the sum of the receipts.
    pub(crate) counts_are_checked: bool,
    /// C5: a table that is adopted keeps only the rows that were accepted.
    pub(crate) unaccepted_rows_go: bool,
    /// C6, C7: what is accepted is decided and logged before the first prepared transaction is committed.
    pub(crate) decision_comes_first: bool,
    /// Prepared transactions that will not be accepted are rolled back.
    pub(crate) unwanted_are_rolled_back: bool,
    /// … and those of a decided write that were accepted are not.
    pub(crate) accepted_are_kept: bool,
    /// C7, A6: a COMMIT that PostgreSQL answers with ROLLBACK does not count.
    pub(crate) tag_is_read: bool,
    /// A commit without receipts for a write of another client is rejected.
    pub(crate) strangers_are_refused: bool,
    /// Before a call reports the write as committed, it looks up each prepared transaction that is gone.
    pub(crate) gone_are_looked_up: bool,
    /// … and one that another session has committed counts.
    pub(crate) commits_of_others_count: bool,
    /// C5: after `staging_lost` the answer is the state that the abort found.
    pub(crate) lost_staging_reads_ledger: bool,
    /// Cleaning asks the ledger, not its own memory, whether the write has ended.
    pub(crate) cleaning_asks_ledger: bool,
    /// Abort of an unknown id leaves a row.
    pub(crate) tombstone: bool,
    /// Abort decides under the row's lock.
    pub(crate) abort_locks: bool,
}

/// The lock that A4 takes on the write's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fence {
    Share,
    KeyShare,
    Missing,
}

impl Rules {
    pub(crate) const PROTOCOL: Self = Self {
        needs_end_record: true,
        fence: Fence::Share,
        attempts_are_unique: true,
        drivers_list_decides: true,
        counts_are_checked: true,
        unaccepted_rows_go: true,
        decision_comes_first: true,
        unwanted_are_rolled_back: true,
        accepted_are_kept: true,
        tag_is_read: true,
        strangers_are_refused: true,
        gone_are_looked_up: true,
        commits_of_others_count: true,
        lost_staging_reads_ledger: true,
        cleaning_asks_ledger: true,
        tombstone: true,
        abort_locks: true,
    };
}

/// Partition 0: the first attempt is truncated and looks complete, the second is whole.
pub(crate) const TRUNCATED: Stream = stream(0, 0, End::Truncated);
pub(crate) const TRUNCATED_RETRY: Stream = stream(0, 1, End::Whole);
/// Partition 1: an attempt that may be cut off, its speculative twin, and a zombie: the same attempt sent once more, by
/// a client that has abandoned the first stream.
pub(crate) const FIRST: Stream = stream(1, 2, End::WholeOrCut);
pub(crate) const SPECULATIVE: Stream = stream(1, 3, End::Whole);
pub(crate) const ZOMBIE: Stream = stream(1, 2, End::Whole);
/// Partition 0 of a job that is run again.
pub(crate) const RERUN: Stream = stream(0, 4, End::Whole);

const fn stream(partition: usize, attempt: u8, end: End) -> Stream {
    Stream {
        partition,
        attempt,
        driver: 0,
        end,
    }
}

impl Stream {
    /// The same partition, run by the second driver.
    pub(crate) const fn of_second_driver(self) -> Self {
        Self { driver: 1, ..self }
    }
}

impl Config {
    /// One job: two partitions with two attempts each and the zombie; two commit calls on two
    /// servers; no abort.
    pub(crate) fn one_job() -> Self {
        Self {
            streams: vec![TRUNCATED, TRUNCATED_RETRY, FIRST, SPECULATIVE, ZOMBIE],
            begins: 1,
            commits: vec![0, 0],
            retries: 0,
            publish: Publish::Copy,
            abort: false,
            expiry: false,
            postgres_crashes: 0,
            failovers: 0,
            rollbacks: 0,
            by_hand: 0,
            server_crashes: None,
            rules: Rules::PROTOCOL,
        }
    }
}
