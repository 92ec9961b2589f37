//! `[limits]`: the limits of the process and of its streams. A target can override some of them.

use std::time::Duration;

use clap::Args;
use serde::Deserialize;

use crate::auth::Volume;
use crate::config::value::{Count, Number, Size, Time, impl_or, required};
use crate::error::Result;
use crate::flight::CallLimits;
use crate::pg::{PoolConfig, Timeouts};
use crate::write::{BudgetConfig, FanOut, VolumeLimits};

/// Connections besides those that carry rows: for begin, commit, abort, status, the catalog and the reaper.
pub(super) const CONTROL_CONNECTIONS: usize = 8;

/// The options of limits.
#[derive(Debug, Clone, Default, Args, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct LimitOptions {
    /// COPYs that run in PostgreSQL at a time. More streams wait, and writes take turns. A few connections are added for
    /// commits and other control calls.
    #[arg(
        long,
        env = "PGFLIGHT_MAX_COPIES",
        value_name = "N",
        default_value = "16"
    )]
    pub(in crate::config) max_copies: Option<Count<1000>>,

    /// Connections for one stream that fills a new table (mode create, and mode overwrite by swap or of a missing table),
    /// as long as no other stream waits for them. With 1 the rows keep their order.
    #[arg(long, env = "PGFLIGHT_FAN_OUT", value_name = "N", default_value = "1")]
    pub(in crate::config) fan_out: Option<Count<64>>,

    /// Bytes of COPY after which a stream takes more connections.
    #[arg(
        long,
        env = "PGFLIGHT_FAN_OUT_AFTER",
        value_name = "SIZE",
        default_value = "8MiB"
    )]
    pub(in crate::config) fan_out_after: Option<Size>,

    /// Time that a stream waits for its turn to copy. After it the client gets a retryable error.
    #[arg(
        long,
        env = "PGFLIGHT_COPY_WAIT",
        value_name = "TIME",
        default_value = "10m"
    )]
    pub(in crate::config) copy_wait: Option<Time>,

    /// Time that a stream waits for PostgreSQL to take more of its rows before the server ends it. PostgreSQL's own
    /// timeouts do not apply to a COPY.
    #[arg(
        long,
        env = "PGFLIGHT_COPY_STALL_TIMEOUT",
        value_name = "TIME",
        default_value = "5m"
    )]
    pub(in crate::config) copy_stall_timeout: Option<Time>,

    /// Transactions of Flight SQL clients with work in them, each with a connection to PostgreSQL of its own. A principal
    /// may have half of them.
    #[arg(
        long,
        env = "PGFLIGHT_MAX_TRANSACTIONS",
        value_name = "N",
        default_value = "8"
    )]
    pub(in crate::config) max_transactions: Option<Count<1000>>,

    /// Time between two calls of such a transaction after which the server rolls it back.
    #[arg(
        long,
        env = "PGFLIGHT_TRANSACTION_IDLE_TIMEOUT",
        value_name = "TIME",
        default_value = "1m"
    )]
    pub(in crate::config) transaction_idle_timeout: Option<Time>,

    /// Time after which an idle connection to PostgreSQL is closed.
    #[arg(
        long,
        env = "PGFLIGHT_POOL_IDLE_TIMEOUT",
        value_name = "TIME",
        default_value = "5m"
    )]
    pub(in crate::config) pool_idle_timeout: Option<Time>,

    /// The time that a statement waits for a lock; on the command line an option of the connection.
    #[arg(skip)]
    pub(in crate::config) lock_timeout: Option<Time>,

    /// Size limit of a gRPC message. The Python client splits its batches to fit.
    #[arg(
        long,
        env = "PGFLIGHT_MAX_MESSAGE_SIZE",
        value_name = "SIZE",
        default_value = "64MiB"
    )]
    pub(in crate::config) max_message_size: Option<Size>,

    /// Memory limit of the process. Streams wait for their share; commits and other control calls have a share of their
    /// own.
    #[arg(
        long,
        env = "PGFLIGHT_MEMORY_LIMIT",
        value_name = "SIZE",
        default_value = "1GiB"
    )]
    pub(in crate::config) memory_limit: Option<Size>,

    /// Rows of one stream. A stream with more is rejected and rolled back. No limit by default.
    #[arg(long, env = "PGFLIGHT_MAX_ROWS_PER_STREAM", value_name = "N")]
    pub(in crate::config) max_rows_per_stream: Option<Number>,

    /// Bytes of COPY of one stream. A stream with more is rejected and rolled back. No limit by default.
    #[arg(long, env = "PGFLIGHT_MAX_BYTES_PER_STREAM", value_name = "SIZE")]
    pub(in crate::config) max_bytes_per_stream: Option<Size>,

    /// Rows of all recorded streams of one write. A stream beyond it is rejected. No limit by default.
    #[arg(long, env = "PGFLIGHT_MAX_ROWS_PER_WRITE", value_name = "N")]
    pub(in crate::config) max_rows_per_write: Option<Number>,

    /// Bytes of COPY of all recorded streams of one write. A stream beyond it is rejected. No limit by default.
    #[arg(long, env = "PGFLIGHT_MAX_BYTES_PER_WRITE", value_name = "SIZE")]
    pub(in crate::config) max_bytes_per_write: Option<Size>,

    /// Bytes of COPY that a stream may become for each byte of Arrow data, beyond the first GiB. Dictionaries make this
    /// ratio large, since keys that refer to a long value take few bytes.
    #[arg(
        long,
        env = "PGFLIGHT_MAX_EXPANSION",
        value_name = "N",
        default_value = "1000"
    )]
    pub(in crate::config) max_expansion: Option<Count<{ u16::MAX }>>,

    /// Time for the sender of a stream to send one message. Waits for a turn or for PostgreSQL do not count.
    #[arg(
        long,
        env = "PGFLIGHT_IDLE_TIMEOUT",
        value_name = "TIME",
        default_value = "15m"
    )]
    pub(in crate::config) idle_timeout: Option<Time>,

    /// Time for a whole stream.
    #[arg(
        long,
        env = "PGFLIGHT_STREAM_TIMEOUT",
        value_name = "TIME",
        default_value = "24h"
    )]
    pub(in crate::config) stream_timeout: Option<Time>,

    /// Client connections in all. The server closes further ones at once.
    #[arg(
        long,
        env = "PGFLIGHT_MAX_CONNECTIONS",
        value_name = "N",
        default_value = "1024"
    )]
    pub(in crate::config) max_connections: Option<Count<{ u16::MAX }>>,

    /// Client connections from one address.
    #[arg(
        long,
        env = "PGFLIGHT_MAX_CONNECTIONS_PER_PEER",
        value_name = "N",
        default_value = "512"
    )]
    pub(in crate::config) max_connections_per_peer: Option<Count<{ u16::MAX }>>,
}

impl_or!(LimitOptions {
    max_copies,
    fan_out,
    fan_out_after,
    copy_wait,
    copy_stall_timeout,
    max_transactions,
    transaction_idle_timeout,
    pool_idle_timeout,
    lock_timeout,
    max_message_size,
    memory_limit,
    max_rows_per_stream,
    max_bytes_per_stream,
    max_rows_per_write,
    max_bytes_per_write,
    max_expansion,
    idle_timeout,
    stream_timeout,
    max_connections,
    max_connections_per_peer,
});

impl LimitOptions {
    /// Builds the limits of calls and connections.
    pub(super) fn call_limits(
        &self,
        drain_timeout: Duration,
        heartbeat_interval: Duration,
    ) -> Result<CallLimits> {
        let per_peer = self.max_connections_per_peer;
        Ok(CallLimits {
            idle_timeout: required(self.idle_timeout, "idle_timeout")?.0,
            stream_timeout: required(self.stream_timeout, "stream_timeout")?.0,
            stream_wait: required(self.copy_wait, "copy_wait")?.0,
            max_connections: required(self.max_connections, "max_connections")?.0.into(),
            max_connections_per_peer: required(per_peer, "max_connections_per_peer")?.0.into(),
            drain_timeout,
            heartbeat_interval,
        })
    }

    /// Builds the memory budget for the COPYs of all targets.
    pub(in crate::config) fn budget(&self, max_copies: u64) -> Result<BudgetConfig> {
        let max_message_size = required(self.max_message_size, "max_message_size")?;
        Ok(BudgetConfig {
            memory_limit: required(self.memory_limit, "memory_limit")?.0.as_u64(),
            max_message_bytes: max_message_size.0.as_u64(),
            max_copies,
            max_connections: required(self.max_connections, "max_connections")?.0.into(),
        })
    }

    pub(in crate::config) fn fan_out(&self) -> Result<FanOut> {
        Ok(FanOut {
            lanes: required(self.fan_out, "fan_out")?.0.into(),
            after_bytes: required(self.fan_out_after, "fan_out_after")?.0.as_u64(),
        })
    }

    /// Builds the pool of a target.
    pub(super) fn pool(&self) -> Result<PoolConfig> {
        Ok(PoolConfig {
            max_copies: required(self.max_copies, "max_copies")?.0.into(),
            control_connections: CONTROL_CONNECTIONS,
            max_transactions: required(self.max_transactions, "max_transactions")?
                .0
                .into(),
            timeouts: Timeouts {
                wait_timeout: required(self.copy_wait, "copy_wait")?.0,
                lock_timeout: required(self.lock_timeout, "lock_timeout")?.0,
                stall_timeout: required(self.copy_stall_timeout, "copy_stall_timeout")?.0,
                idle_timeout: required(self.pool_idle_timeout, "pool_idle_timeout")?.0,
                transaction_idle: required(
                    self.transaction_idle_timeout,
                    "transaction_idle_timeout",
                )?
                .0,
            },
        })
    }

    /// Builds the volume limits of a target.
    pub(super) fn volume(&self) -> Result<VolumeLimits> {
        let bytes = |size: Option<Size>| size.map(|size| size.0.as_u64());
        Ok(VolumeLimits {
            most: Volume {
                max_rows_per_stream: self.max_rows_per_stream.map(|rows| rows.0),
                max_bytes_per_stream: bytes(self.max_bytes_per_stream),
                max_rows_per_write: self.max_rows_per_write.map(|rows| rows.0),
                max_bytes_per_write: bytes(self.max_bytes_per_write),
            },
            max_expansion: required(self.max_expansion, "max_expansion")?.0.into(),
        })
    }
}
