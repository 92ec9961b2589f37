//! What a stream can be doing: one thing at a time, so that the times of all add up to its life.

use Activity::{Commit, Decode, Encode, Gate, Memory, Open, Plan, Receive, Send, Turn};

/// What a stream of rows is doing, or waiting for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activity {
    /// Waiting for the client's next message, or putting it together from its frames.
    Receive,
    /// Waiting for memory before a message is taken or decompressed.
    Memory,
    /// Waiting for its turn to copy.
    Turn,
    /// Asking PostgreSQL for a transaction, the table, a lock, the COPY.
    Open,
    /// Planning how columns are encoded.
    Plan,
    /// Looking at where a message's buffers are.
    Gate,
    /// Making a batch of a message.
    Decode,
    /// Making COPY bytes of a batch.
    Encode,
    /// Waiting for PostgreSQL to take COPY bytes.
    Send,
    /// Waiting for PostgreSQL to end the COPY, record the attempt, publish, commit.
    Commit,
}

/// Who keeps a stream from going on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Its client, or the network between.
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

/// All sides, in the order of a stream's way.
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

    /// The stage of the pipeline it belongs to: one of [`STAGES`].
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

    /// Who is waited for meanwhile.
    pub fn side(self) -> Side {
        match self {
            Receive => Side::Client,
            Memory => Side::Memory,
            Turn => Side::Turn,
            Plan | Gate | Decode | Encode => Side::Pgflight,
            Open | Send | Commit => Side::Postgresql,
        }
    }

    /// What a stream does meanwhile, for people: it "waits for its client".
    pub fn words(self) -> &'static str {
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
    /// The value of the label `side`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Memory => "memory",
            Self::Turn => "turn",
            Self::Pgflight => "pgflight",
            Self::Postgresql => "postgresql",
        }
    }

    /// What it means that most time goes here, and what helps. `next` is the side of those that need not wait for
    /// their turn: why it comes late.
    pub fn verdict(self, next: Option<Self>) -> &'static str {
        match self {
            Self::Turn if next == Some(Self::Client) => {
                "Streams mostly wait for their turn to copy, and those that have it mostly wait for their clients: \
                 more turns would help, and so would a job that sends faster."
            }
            Self::Client => {
                "The clients are the slow side: streams mostly wait for rows. Look at the job that sends them, \
                 and at the network."
            }
            Self::Memory => {
                "Memory is the slow side: streams mostly wait for their share. Raise --memory-limit, or send \
                 smaller batches."
            }
            Self::Turn => {
                "Streams mostly wait for their turn to copy. If PostgreSQL can take more at once, raise \
                 --max-copies."
            }
            Self::Pgflight => {
                "pgflight is the slow side: streams mostly wait for rows to be decoded and encoded. Give it \
                 processors, or add replicas."
            }
            Self::Postgresql => {
                "PostgreSQL is the slow side: streams mostly wait for it. Look for locks, triggers, indexes, \
                 the disk, and a pooler in between that has no connection left."
            }
        }
    }
}
