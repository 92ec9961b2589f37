//! Writes: from a stream of batches to committed rows, and the protocol for many partitions.

mod budget;
mod check;
mod plan;
mod publish;
mod session;
mod spec;
mod stream;
mod targets;
mod upkeep;
mod writer;

pub use budget::{Budget, BudgetConfig, Share};
pub use check::{Expected, Finding, Verdict};
pub use plan::preview::{Preview, PreviewedColumn};
pub use session::begin::Begin;
pub use session::sink::{Named, SinkBatch};
pub use session::status::WriteStatus;
pub use spec::{
    AppendBy, AttemptId, Conversion, Form, IfExists, KeyedAction, Mode, Overflow, OverwriteWith,
    Receipt, Rounding, SchemaEvolution, Unit, WriteSpec,
};
pub use stream::fan_out::FanOut;
pub use stream::pipeline::{EndOfStream, EndRecord, Incoming, ReadySignal, StreamMessage};
pub use stream::volume::{Size, VolumeLimits};
pub use targets::Targets;
pub use upkeep::liveness::heartbeat_interval;
pub use upkeep::reaper::{Reaped, ReaperConfig};
pub use writer::{Overview, Writer};

pub use crate::pg::{
    LedgerWrite, PoolUsage, PreparedTransaction, PreparedTransactions, Timeouts, Usage, WriteState,
};
