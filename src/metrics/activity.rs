//! The activities of a stream and its outcome. A stream does one activity at a time, so their times add up to its
//! lifetime.

use Activity::{Commit, Decode, Encode, Gate, Memory, Open, Plan, Receive, Send, Turn};

/// The work that a stream does, or what it waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activity {
    /// Waits for the client's next message, or assembles it from frames.
    Receive,
    /// Waits for memory before it receives or decompresses a message.
    Memory,
    /// Waits for its turn to copy.
    Turn,
    /// Waits for PostgreSQL to begin a transaction, look up the table, lock it and begin the COPY.
    Open,
    /// Plans how columns are encoded.
    Plan,
    /// Checks a message's buffers.
    Gate,
    /// Decodes a message into a batch.
    Decode,
    /// Encodes a batch into COPY bytes.
    Encode,
    /// Waits for PostgreSQL to take COPY bytes.
    Send,
    /// Waits for PostgreSQL to end the COPY, record the attempt, publish and commit.
    Commit,
}

/// The side that a stream waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The client, or the network.
    Client,
    /// Other streams, which hold the memory.
    Memory,
    /// Other streams, which copy.
    Turn,
    /// pgflight's own work.
    Pgflight,
    /// PostgreSQL.
    Postgresql,
}

/// All sides, in the order in which a stream meets them.
pub const SIDES: [Side; 5] = [
    Side::Client,
    Side::Memory,
    Side::Turn,
    Side::Pgflight,
    Side::Postgresql,
];

/// The values of the label `stage`, and the names of the spans.
pub const STAGES: [&str; 9] = [
    "turn", "open", "plan", "meter", "gate", "decode", "encode", "send", "commit",
];

impl Activity {
    /// All activities.
    pub const ALL: [Self; 10] = [
        Receive, Memory, Turn, Open, Plan, Gate, Decode, Encode, Send, Commit,
    ];

    /// Returns the stage of the pipeline: one of [`STAGES`].
    pub fn stage(self) -> &'static str {
        match self {
            Receive | Memory => "meter",
            Turn => "turn",
            Open => "open",
            Plan => "plan",
            Gate => "gate",
            Decode => "decode",
            Encode => "encode",
            Send => "send",
            Commit => "commit",
        }
    }

    /// Returns the side that the stream waits for.
    pub fn side(self) -> Side {
        match self {
            Receive => Side::Client,
            Memory => Side::Memory,
            Turn => Side::Turn,
            Plan | Gate | Decode | Encode => Side::Pgflight,
            Open | Send | Commit => Side::Postgresql,
        }
    }

    /// Returns a description that follows "the stream": "waits for its client".
    pub fn description(self) -> &'static str {
        match self {
            Receive => "waits for its client",
            Memory => "waits for memory",
            Turn => "waits for its turn",
            Open => "waits for PostgreSQL to open the table",
            Plan => "is planned",
            Gate | Decode => "is decoded",
            Encode => "is encoded",
            Send => "waits for PostgreSQL to take rows",
            Commit => "waits for PostgreSQL to commit",
        }
    }
}

impl Side {
    /// Returns the value of the label `side`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Memory => "memory",
            Self::Turn => "turn",
            Self::Pgflight => "pgflight",
            Self::Postgresql => "postgresql",
        }
    }

    /// Explains that streams mostly wait for this side, and what helps. `next` is the side that the copying streams
    /// mostly wait for.
    pub fn verdict(self, next: Option<Self>) -> &'static str {
        match self {
            Self::Turn if next == Some(Self::Client) => {
                "Streams mostly wait for their turn to copy, and copying streams mostly wait for their clients. \
                 Raise --max-copies, or make the job send faster."
            }
            Self::Client => {
                "The clients are slow: streams mostly wait for rows. Check the job that sends them, and the \
                 network."
            }
            Self::Memory => {
                "Memory is short: streams mostly wait for their share. Raise --memory-limit, or send smaller \
                 batches."
            }
            Self::Turn => {
                "Streams mostly wait for their turn to copy. If PostgreSQL can take more streams at a time, raise \
                 --max-copies."
            }
            Self::Pgflight => {
                "pgflight is slow: streams mostly wait while rows are decoded and encoded. Give it more \
                 processors, or add replicas."
            }
            Self::Postgresql => {
                "PostgreSQL is slow: streams mostly wait for it. Check locks, triggers, indexes, the disk, and \
                 whether a pooler in between has run out of connections."
            }
        }
    }
}

/// The outcome of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Its rows are staged or committed.
    Succeeded,
    /// Its client got an error.
    Failed,
    /// Its client disconnected before the answer.
    Disconnected,
}

impl Outcome {
    /// Returns the value of the label `outcome`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Disconnected => "disconnected",
        }
    }
}
