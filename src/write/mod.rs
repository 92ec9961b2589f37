//! Writes: from a stream of batches to committed rows, and the protocol for many partitions.

mod budget;
mod calls;
mod check;
mod condition;
mod limits;
mod pipeline;
mod plan;
mod preview;
mod publish;
mod record;
mod reject;
mod session;
mod spec;
mod statements;
mod stream;
mod streaming;
mod stuck;
mod targets;
mod upkeep;
mod writer;

pub use crate::pg::DELETED;
pub use budget::{Budget, BudgetConfig, Share};
pub use check::{Expected, Finding, Verdict};
pub use condition::parse_condition;
pub use limits::{FanOut, VolumeLimits};
pub use pipeline::batches::{EndOfStream, EndRecord, Incoming, ReadySignal, StreamMessage};
pub use pipeline::volume::Size;
pub use preview::{Preview, PreviewedColumn};
pub use reject::rules::{OnDuplicate, RejectRules, RejectValues, Share as RejectShare};
pub use session::begin::Begin;
pub use session::sink::{Named, SinkBatch};
pub use session::status::WriteStatus;
pub use spec::{
    AppendBy, AttemptId, Changes, Conversion, DeleteWhen, EnvelopeKind, Form, IfExists,
    KeyedAction, Mode, Once, Overflow, OverwriteWith, Part, Receipt, Rounding, SchemaEvolution,
    Unit, WriteSpec,
};
pub use statements::Statements;
pub use stream::kept::{KeptTransaction, Written};
pub use stream::whole_table::TableStatement;
pub use targets::Targets;
pub use upkeep::liveness::heartbeat_interval;
pub use upkeep::reaper::{Reaped, ReaperConfig};
pub use writer::{Overview, Writer};

pub use crate::pg::{
    Condition, LedgerWrite, PoolUsage, PreparedTransaction, PreparedTransactions, PrimaryKey,
    Reject, RejectReason, Rejected, RowCounts, Timeouts, Usage, WriteFilter, WriteState,
};
