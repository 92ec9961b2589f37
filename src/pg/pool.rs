//! Connections to PostgreSQL: a pool for rows, one for control calls, one for signs of life, and one for the transactions
//! of clients.

use std::sync::Arc;
use std::time::Duration;

use deadpool::Runtime;
use deadpool::managed::{Object, PoolError, TimeoutType};
use futures_util::future::try_join_all;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

use super::connection::{ConnectError, ConnectionConfig, Connector};
use super::copy_turns::{Turn, Turns};
use super::names::session_name;
use super::session::Session;
use super::transaction::{Limits, Transaction};
use crate::error::{Error, ErrorKind, Result};
use crate::metrics::{Activity, Stream};
use arrow_pgcopy::Ident;

/// The sizes of the pools, and their timeouts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolConfig {
    /// Connections that carry rows: the number of COPYs that may run at once.
    pub max_copies: usize,
    /// Connections reserved for begin, commit, abort, status and the catalog.
    pub control_connections: usize,
    /// Connections for the transactions of clients, which keep them between their calls.
    pub max_transactions: usize,
    /// The timeouts.
    pub timeouts: Timeouts,
}

impl PoolConfig {
    /// Returns the number of connections of all pools together.
    pub fn connections(&self) -> usize {
        self.max_copies + self.control_connections + LIVENESS_CONNECTIONS + self.max_transactions
    }
}

/// Connections for signs of life alone. Commits may hold all others for long, and the drivers that wait for them must
/// not seem dead.
const LIVENESS_CONNECTIONS: usize = 1;

/// Control connections that no commit takes, so that begins, aborts and status calls find one.
const WITHOUT_COMMITS: usize = 2;

/// The `lock_timeout` of control calls other than commits.
const CONTROL_LOCK_TIMEOUT: Duration = Duration::from_millis(500);

/// Returns the number of commits that may run at a time.
fn max_commits(config: &PoolConfig) -> usize {
    let connections = config.control_connections.saturating_sub(WITHOUT_COMMITS);
    connections.max(1)
}

/// The timeouts of a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeouts {
    /// Longest time that a stream or an action waits for a free connection.
    pub wait_timeout: Duration,
    /// The `lock_timeout` of streams and commits: how long a statement waits for another session's lock.
    pub lock_timeout: Duration,
    /// Longest time that a COPY waits for PostgreSQL to take a chunk of rows. The server then ends it.
    pub stall_timeout: Duration,
    /// Longest time that a connection may be idle. It is then closed.
    pub idle_timeout: Duration,
    /// Longest time between two calls of a client's transaction. It is then rolled back.
    pub transaction_idle: Duration,
}

/// The SQLSTATE class of a rejected login (PostgreSQL manual, appendix A).
const INVALID_AUTHORIZATION: &str = "28";

type Connections = deadpool::managed::Pool<Connector>;
type WeakConnections = deadpool::managed::WeakPool<Connector>;

/// Connections to one PostgreSQL, opened when needed and reused.
///
/// A connection returns to its pool only after PostgreSQL has confirmed the end of its transaction. Otherwise it is
/// closed, which makes PostgreSQL roll back.
#[derive(Clone)]
pub struct Pool {
    data: Connections,
    turns: Turns,
    control: Connections,
    liveness: Connections,
    transactions: Connections,
    /// A permit for each commit that may run at a time. Commits may wait for locks, and hold control connections.
    commits: Arc<Semaphore>,
    /// The target's role; `None` for the session's own.
    role: Option<Ident>,
    address: String,
    timeouts: watch::Sender<Timeouts>,
}

/// The load of the connections of a database.
#[derive(Debug)]
pub struct Usage {
    /// Number of streams that wait for their turn to copy.
    pub turns_waiting: usize,
    /// The pools for rows, for control calls, for signs of life, and for the transactions of clients.
    pub pools: [PoolUsage; 4],
}

/// The load of the connections of one pool.
#[derive(Debug)]
pub struct PoolUsage {
    /// `data`, `control`, `liveness` or `transactions`.
    pub name: &'static str,
    /// Number of connections in use.
    pub busy: usize,
    /// Number of idle connections.
    pub idle: usize,
    /// The largest number of connections.
    pub limit: usize,
}

/// Closes connections that have been idle for too long, until the pools are dropped. PostgreSQL and poolers have a
/// limited number of them, and one whose network has broken stays open for hours.
async fn close_unused(pools: [WeakConnections; 4], timeouts: watch::Receiver<Timeouts>) {
    loop {
        let idle_timeout = timeouts.borrow().idle_timeout;
        let interval =
            (idle_timeout / 4).clamp(Duration::from_millis(100), Duration::from_secs(30));
        tokio::time::sleep(interval).await;
        for pool in &pools {
            let Some(pool) = pool.upgrade() else { return };
            pool.retain(|_, metrics| metrics.last_used() < idle_timeout);
        }
    }
}

impl Pool {
    /// Creates the pools. Opens no connection yet.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`] when deadpool rejects the sizes.
    pub fn new(connection: &ConnectionConfig, config: &PoolConfig) -> Result<Self> {
        let pool = |size| {
            Connections::builder(Connector::new(connection))
                .max_size(size)
                .wait_timeout(Some(config.timeouts.wait_timeout))
                .runtime(Runtime::Tokio1)
                .build()
                .map_err(|error| {
                    Error::internal("cannot make the connection pool").with_source(error)
                })
        };
        let (data, control) = (pool(config.max_copies)?, pool(config.control_connections)?);
        let liveness = pool(LIVENESS_CONNECTIONS)?;
        let transactions = pool(config.max_transactions)?;
        let (timeouts, seen) = watch::channel(config.timeouts.clone());
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(close_unused(
                [
                    data.weak(),
                    control.weak(),
                    liveness.weak(),
                    transactions.weak(),
                ],
                seen,
            ));
        }
        Ok(Self {
            data,
            turns: Turns::new(config.max_copies),
            commits: Arc::new(Semaphore::new(max_commits(config))),
            control,
            liveness,
            transactions,
            role: connection.role().cloned(),
            address: connection.to_string(),
            timeouts,
        })
    }

    /// Changes the timeouts of transactions that begin from now on.
    pub fn set_timeouts(&self, timeouts: Timeouts) {
        self.timeouts.send_replace(timeouts);
    }

    /// Returns the current load.
    pub fn usage(&self) -> Usage {
        let usage = |name, pool: &Connections| {
            let status = pool.status();
            PoolUsage {
                name,
                busy: status.size.saturating_sub(status.available),
                idle: status.available,
                limit: status.max_size,
            }
        };
        Usage {
            turns_waiting: self.turns.waiting(),
            pools: [
                usage("data", &self.data),
                usage("control", &self.control),
                usage("liveness", &self.liveness),
                usage("transactions", &self.transactions),
            ],
        }
    }

    /// Returns the address of PostgreSQL for messages, without the password.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Begins a transaction for a stream of rows, and names the session after the write and the partition. Waits for a
    /// turn while the largest number of COPYs runs.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when PostgreSQL cannot be reached, no turn was free in time, or PostgreSQL takes no
    /// writes (SQLSTATE 25006); [`ErrorKind::PermissionDenied`] when the login may not use the target's role.
    pub async fn begin_data(&self, write: &str, stream: &Stream) -> Result<Transaction> {
        let turn = self.take_turn(write, stream).await?;
        let session = session_name(write, &stream.partition_id().to_string());
        self.begin(&self.data, Some(turn), Some(&session), Duration::MAX)
            .await
    }

    async fn take_turn(&self, write: &str, stream: &Stream) -> Result<Turn> {
        let began = Instant::now();
        let wait_timeout = self.timeouts.borrow().wait_timeout;
        let turn = tokio::time::timeout(wait_timeout, self.turns.take(write));
        let turn = stream.wait(Activity::Turn, turn).await;
        stream.observe_turn_wait(began.elapsed());
        turn.map_err(|_| {
            Error::unavailable(format!(
                "none of the {} COPYs that may run at once ended within {}",
                self.data.status().max_size,
                humantime::format_duration(wait_timeout)
            ))
            .with_hint("try again later, or raise --max-copies")
        })
    }

    /// Begins a transaction of a client, which may stay open between its calls. It holds no turn to copy.
    ///
    /// # Errors
    /// The errors of [`Pool::begin_data`], except that it waits for no turn.
    pub async fn begin_kept(&self, id: &str) -> Result<Transaction> {
        let session = session_name(id, "transaction");
        let begun = self.begin(&self.transactions, None, Some(&session), Duration::MAX);
        let transaction = begun.await?;
        transaction.keep(&session, self.transaction_idle()).await
    }

    /// Waits for a turn to copy in a client's transaction, which then holds it.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when no turn was free in time.
    pub async fn give_turn(
        &self,
        write: &str,
        stream: &Stream,
        transaction: Transaction,
    ) -> Result<Transaction> {
        let turn = self.take_turn(write, stream).await?;
        Ok(transaction.in_turn(Some(turn)))
    }

    /// Returns the number of transactions that clients of one principal may keep open at a time.
    pub fn max_transactions(&self) -> usize {
        (self.transactions.status().max_size / 2).max(1)
    }

    /// Returns the longest time between two calls of a client's transaction.
    pub fn transaction_idle(&self) -> Duration {
        self.timeouts.borrow().transaction_idle
    }

    /// Begins up to `count` more transactions for a stream of rows, as long as no stream waits for a turn.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when PostgreSQL cannot be reached.
    pub async fn begin_more_data(&self, write: &str, count: usize) -> Result<Vec<Transaction>> {
        let session = session_name(write, "more");
        let turns = std::iter::from_fn(|| self.turns.take_free()).take(count);
        let begun =
            turns.map(|turn| self.begin(&self.data, Some(turn), Some(&session), Duration::MAX));
        try_join_all(begun.collect::<Vec<_>>()).await
    }

    /// Commits a transaction for a stream of rows, and begins the next one in the same turn.
    ///
    /// # Errors
    /// The error of the COMMIT; otherwise as [`Pool::begin_data`].
    pub async fn commit_and_begin(
        &self,
        write: &str,
        mut transaction: Transaction,
    ) -> Result<Transaction> {
        let session = session_name(write, "more");
        let turn = transaction.take_turn();
        transaction.commit().await.into_result()?;
        self.begin(&self.data, turn, Some(&session), Duration::MAX)
            .await
    }

    /// Returns the number of control calls of one principal that may run at a time.
    pub fn max_calls(&self) -> usize {
        (self.control.status().max_size / 2).max(1)
    }

    /// Returns the number of commits of one principal that may run at a time: half of all, since each may wait for locks.
    pub fn max_commits_each(&self) -> usize {
        let connections = self.control.status().max_size;
        (connections.saturating_sub(WITHOUT_COMMITS) / 2).max(1)
    }

    /// Returns the longest time that a call waits for a free connection.
    pub fn wait_timeout(&self) -> Duration {
        self.timeouts.borrow().wait_timeout
    }

    /// Begins a transaction for a control call, which carries no rows. It waits for a lock for half a second at most,
    /// since all callers share the connections.
    ///
    /// # Errors
    /// The errors of [`Pool::begin_data`].
    pub async fn begin_control(&self) -> Result<Transaction> {
        self.begin(&self.control, None, None, CONTROL_LOCK_TIMEOUT)
            .await
    }

    /// Begins a transaction that writes nothing: PostgreSQL may be read-only. It waits for locks as a control call does.
    ///
    /// # Errors
    /// The errors of [`Pool::begin_data`], except when PostgreSQL takes no writes.
    pub async fn begin_read(&self) -> Result<Transaction> {
        self.begin_any(&self.control, None, None, CONTROL_LOCK_TIMEOUT)
            .await
    }

    /// Begins a transaction for signs of life, which waits for no other work. A crash of PostgreSQL may lose the last
    /// of them.
    ///
    /// # Errors
    /// The errors of [`Pool::begin_data`].
    pub async fn begin_liveness(&self) -> Result<Transaction> {
        let transaction = self
            .begin(&self.liveness, None, None, CONTROL_LOCK_TIMEOUT)
            .await?;
        transaction.limit_waiting().await?;
        Ok(transaction)
    }

    /// Begins a control transaction for the end of a write, and names the session after the write.
    ///
    /// # Errors
    /// The errors of [`Pool::begin_data`].
    pub async fn begin_commit(&self, write: &str) -> Result<Transaction> {
        let session = session_name(write, "commit");
        let wait_timeout = self.timeouts.borrow().wait_timeout;
        let permit = Arc::clone(&self.commits).acquire_owned();
        let permit = tokio::time::timeout(wait_timeout, permit).await;
        let Ok(Ok(permit)) = permit else {
            return Err(Error::unavailable("all connections for commits are busy")
                .with_hint("try again later"));
        };
        let transaction = self
            .begin(&self.control, None, Some(&session), Duration::MAX)
            .await?;
        Ok(transaction.with_permit(Some(permit)))
    }

    /// Returns a connection for statements that cannot run in a transaction.
    ///
    /// # Errors
    /// The errors of [`Pool::begin_data`].
    pub async fn session(&self) -> Result<Session> {
        let session = Session {
            connection: self.connection(&self.control).await?,
            ledger_role: self.role.clone(),
        };
        // A trigger of an earlier transaction may have left another role.
        session.execute_all("SET role TO DEFAULT").await?;
        Ok(session)
    }

    async fn begin(
        &self,
        pool: &Connections,
        turn: Option<Turn>,
        session: Option<&str>,
        max_lock_wait: Duration,
    ) -> Result<Transaction> {
        let begun = self.begin_any(pool, turn, session, max_lock_wait);
        let transaction = begun.await?;
        transaction.check_writable()?;
        Ok(transaction)
    }

    async fn begin_any(
        &self,
        pool: &Connections,
        turn: Option<Turn>,
        session: Option<&str>,
        max_lock_wait: Duration,
    ) -> Result<Transaction> {
        let connection = self.connection(pool).await?;
        let limits = {
            let timeouts = self.timeouts.borrow();
            Limits {
                lock_timeout: timeouts.lock_timeout.min(max_lock_wait),
                stall_timeout: timeouts.stall_timeout,
            }
        };
        let (asked, answer_timeout) = (Instant::now(), connection.answer_timeout());
        // Boxed, since the future is large and would be part of every future that begins a transaction.
        let begin = |connection| {
            let role = self.role.as_ref();
            Box::pin(Transaction::begin(connection, role, session, limits))
        };
        let begun = match begin(connection).await {
            // The connection may have died while it was idle. A new one is tried at once.
            Err(error)
                if error.kind() == ErrorKind::Unavailable && asked.elapsed() < answer_timeout =>
            {
                let connection = self.connection(pool).await?;
                begin(connection).await
            }
            begun => begun,
        };
        begun.map(|transaction| transaction.in_turn(turn))
    }

    async fn connection(&self, pool: &Connections) -> Result<Object<Connector>> {
        // Boxed, since the future is large and would be part of every future that awaits it.
        Box::pin(pool.get()).await.map_err(|error| match error {
            PoolError::Timeout(TimeoutType::Wait) => Error::unavailable(format!(
                "all {} connections to PostgreSQL are busy",
                pool.status().max_size
            ))
            .with_hint("try again later"),
            PoolError::Backend(error) => self.not_connected(error),
            error @ (PoolError::Timeout(_)
            | PoolError::Closed
            | PoolError::NoRuntimeSpecified
            | PoolError::PostCreateHook(_)) => Error::unavailable(format!(
                "could not get a connection to PostgreSQL at {}",
                self.address
            ))
            .with_source(error),
        })
    }

    /// The error for a connection that could not be opened.
    fn not_connected(&self, error: ConnectError) -> Error {
        let known = error.to_error();
        let sqlstate = known.context().sqlstate.as_deref().unwrap_or_default();
        let address = &self.address;
        // PostgreSQL rejects the login of the server, not of the client. Its password may be changing right now.
        let (kind, hint) = if sqlstate.starts_with(INVALID_AUTHORIZATION) {
            tracing::error!(
                address,
                sqlstate,
                "PostgreSQL refuses the server's own login"
            );
            let hint = "fix the server's own login: its user, its password or pg_hba.conf";
            (ErrorKind::Unavailable, Some(hint.to_owned()))
        } else {
            (known.kind(), known.hint().map(str::to_owned))
        };
        let message = format!("could not connect to PostgreSQL at {address}");
        let failed = Error::new(kind, message)
            .with_context(|context| *context = known.context().clone())
            .with_source(error);
        match hint {
            Some(hint) => failed.with_hint(hint),
            None => failed,
        }
    }
}
