//! Connections to PostgreSQL: some for data, a few kept back so that control never waits behind it.

use std::time::Duration;

use deadpool::Runtime;
use deadpool::managed::{Object, PoolError, TimeoutType};

use super::connect::ConnectionConfig;
use super::connection::Connector;
use super::sqlstate::from_postgres;
use super::transaction::Transaction;
use crate::error::{Error, ErrorKind, Result, chain};

/// How many connections, and how long to wait for one.
#[derive(Debug, Clone)]
pub struct PoolConfig {
    /// Connections that carry rows: at most so many COPYs run at once.
    pub data_connections: usize,
    /// Connections kept back for begin, commit, abort, status and the catalog.
    pub control_connections: usize,
    /// How long a stream or action waits for a free connection.
    pub wait_timeout: Duration,
    /// `lock_timeout` of every transaction: how long a statement waits for somebody else's lock.
    pub lock_timeout: Duration,
    /// How long a COPY waits for PostgreSQL to take a chunk of rows before it is ended.
    pub stall_timeout: Duration,
}

type Connections = deadpool::managed::Pool<Connector>;

/// Connections to one PostgreSQL, made when needed and used again.
///
/// A connection goes back only after a transaction on it ended well; any error, and any drop of a
/// [`Transaction`] before its end, closes it, which makes PostgreSQL roll back.
#[derive(Clone)]
pub struct Pool {
    data: Connections,
    control: Connections,
    address: String,
    lock_timeout: Duration,
    stall_timeout: Duration,
}

impl Pool {
    /// Makes the pool; connects to nothing yet.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`](crate::error::ErrorKind::Internal) when the numbers make no pool.
    pub fn new(connection: &ConnectionConfig, config: &PoolConfig) -> Result<Self> {
        let pool = |size| {
            Connections::builder(Connector::new(connection.inner()))
                .max_size(size)
                .wait_timeout(Some(config.wait_timeout))
                .runtime(Runtime::Tokio1)
                .build()
                .map_err(|error| {
                    Error::internal("cannot make the connection pool").with_source(error)
                })
        };
        Ok(Self {
            data: pool(config.data_connections)?,
            control: pool(config.control_connections)?,
            address: connection.to_string(),
            lock_timeout: config.lock_timeout,
            stall_timeout: config.stall_timeout,
        })
    }

    /// Where PostgreSQL is, for messages to people; no password.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Starts a transaction for a stream of rows; waits while all data connections are busy.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](crate::error::ErrorKind::Unavailable) when PostgreSQL is out of
    /// reach or no connection became free in time.
    pub async fn begin_data(&self) -> Result<Transaction> {
        self.begin(&self.data).await
    }

    /// Starts a transaction for anything that carries no rows.
    ///
    /// # Errors
    /// As [`Pool::begin_data`].
    pub async fn begin_control(&self) -> Result<Transaction> {
        self.begin(&self.control).await
    }

    async fn begin(&self, pool: &Connections) -> Result<Transaction> {
        // A connection of the pool may have died while it lay idle; a new one then serves as well.
        match self.begin_on(self.connection(pool).await?).await {
            Err(error) if error.kind() == ErrorKind::Unavailable => {
                self.begin_on(self.connection(pool).await?).await
            }
            begun => begun,
        }
    }

    async fn begin_on(&self, connection: Object<Connector>) -> Result<Transaction> {
        Transaction::begin(connection, self.lock_timeout, self.stall_timeout).await
    }

    async fn connection(&self, pool: &Connections) -> Result<Object<Connector>> {
        pool.get().await.map_err(|error| match error {
            PoolError::Timeout(TimeoutType::Wait) => Error::unavailable(format!(
                "all {} connections to PostgreSQL are busy; try again later or raise --max-connections",
                pool.status().max_size
            )),
            PoolError::Backend(error) => {
                let known = from_postgres(&error);
                Error::new(
                    known.kind(),
                    format!("cannot connect to PostgreSQL at {}: {}", self.address, chain(&error)),
                )
                .with_context(|context| *context = known.context().clone())
            }
            error @ (PoolError::Timeout(_) | PoolError::Closed | PoolError::NoRuntimeSpecified | PoolError::PostCreateHook(_)) => {
                Error::unavailable(format!("no connection to PostgreSQL at {}", self.address)).with_source(error)
            }
        })
    }
}
