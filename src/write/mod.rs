//! Writes: from a stream of batches to committed rows, and the protocol for many partitions.

mod attempt;
mod budget;
mod check;
mod chosen;
mod commit;
mod evolution;
mod fan_out;
mod keyed;
mod lanes;
mod liveness;
mod outcome;
mod permission;
mod pipeline;
mod plan;
mod preview;
mod publish;
mod reaper;
mod record;
mod sequences;
mod session;
mod single;
mod sink;
mod spec;
mod target;
mod targets;
mod two_phase;
mod volume;
mod writer;

pub use budget::{Budget, BudgetConfig, Share};
pub use check::{Expected, Finding, Verdict};
pub use fan_out::FanOut;
pub use liveness::heartbeat_interval;
pub use pipeline::{EndOfStream, EndRecord, Incoming, ReadySignal, StreamMessage};
pub use preview::{Preview, PreviewedColumn};
pub use reaper::{Reaped, ReaperConfig};
pub use session::{Begin, WriteStatus};
pub use sink::{Named, SinkBatch};
pub use spec::{
    AppendBy, AttemptId, Conversion, Form, IfExists, KeyedAction, Mode, Overflow, OverwriteWith,
    Receipt, Rounding, SchemaEvolution, Unit, WriteSpec,
};
pub use targets::Targets;
pub use volume::{Size, VolumeLimits};
pub use writer::{Overview, Writer};

pub use crate::pg::{
    LedgerWrite, PoolUsage, PreparedTransaction, PreparedTransactions, Timeouts, Usage, WriteState,
};
