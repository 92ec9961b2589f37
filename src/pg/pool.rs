//! Connections to PostgreSQL: some for data, a few kept back so that control never waits behind it.

use std::sync::Arc;
use std::time::Duration;

use deadpool::Runtime;
use deadpool::managed::{Object, PoolError, TimeoutType};
use futures_util::FutureExt;
use futures_util::future::try_join_all;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;
use tokio_postgres::Row;

use super::connect::ConnectionConfig;
use super::connection::Connector;
use super::parameter::{Parameter, typed};
use super::roles::{Path, rows};
use super::sql;
use super::sqlstate::{About, from_postgres};
use super::transaction::Transaction;
use super::turns::{Turn, Turns};
use crate::error::{Error, ErrorKind, Result, chain};
use crate::metrics::{self, Activity, Stream};
use crate::plan::Ident;

/// How many connections, and how long things may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolConfig {
    /// Connections that carry rows: at most so many COPYs run at once.
    pub max_copies: usize,
    /// Connections kept back for begin, commit, abort, status and the catalog.
    pub control_connections: usize,
    /// How long things may take.
    pub timeouts: Timeouts,
}

impl PoolConfig {
    /// How many connections there may be in all.
    pub fn connections(&self) -> usize {
        self.max_copies + self.control_connections + LIVENESS_CONNECTIONS
    }
}

/// Connections of control that no commit takes, so that begins, aborts and status find one.
const WITHOUT_COMMITS: usize = 2;

fn commits(config: &PoolConfig) -> usize {
    config
        .control_connections
        .saturating_sub(WITHOUT_COMMITS)
        .max(1)
}

/// Connections for signs of life alone: commits may hold all others for as long as they take, and the drivers
/// that wait for them must not seem dead meanwhile.
const LIVENESS_CONNECTIONS: usize = 1;

/// How long things may take in a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeouts {
    /// How long a stream or action waits for a free connection.
    pub wait_timeout: Duration,
    /// `lock_timeout` of every transaction: how long a statement waits for somebody else's lock.
    pub lock_timeout: Duration,
    /// How long a COPY waits for PostgreSQL to take a chunk of rows before it is ended.
    pub stall_timeout: Duration,
    /// How long a connection lies unused before it is closed.
    pub idle_timeout: Duration,
}

/// The class of a login that is refused (PostgreSQL manual, appendix A).
const INVALID_AUTHORIZATION: &str = "28";

type Connections = deadpool::managed::Pool<Connector>;
type WeakConnections = deadpool::managed::WeakPool<Connector>;

/// Connections to one PostgreSQL, made when needed and used again.
///
/// A connection goes back only after PostgreSQL has said that the transaction on it is over; where it does not,
/// the connection is closed, which makes PostgreSQL roll back.
#[derive(Clone)]
pub struct Pool {
    data: Connections,
    turns: Turns,
    control: Connections,
    liveness: Connections,
    /// A permit for each commit that may run at a time: they may wait for locks, and hold connections of control.
    commits: Arc<Semaphore>,
    /// The target's; the session's own where none.
    role: Option<Ident>,
    address: String,
    timeouts: watch::Sender<Timeouts>,
}

/// How busy the connections are.
#[derive(Debug)]
pub struct Usage {
    /// Streams that wait for their turn to copy.
    pub turns_waiting: usize,
    /// The pools: for rows, for control calls, and for signs of life.
    pub pools: [PoolUsage; 3],
}

/// How busy the connections of a pool are.
#[derive(Debug)]
pub struct PoolUsage {
    /// `data`, `control` or `liveness`.
    pub name: &'static str,
    /// Connections in use.
    pub busy: usize,
    /// Connections that lie ready.
    pub idle: usize,
    /// Connections that there may be.
    pub limit: usize,
}

/// One connection, each statement its own transaction, in the session's own role. Goes back to the pool when
/// dropped.
pub struct Session {
    connection: Object<Connector>,
    ledger_role: Option<Ident>,
}

impl Session {
    /// The process of PostgreSQL, as the answer to the login names it.
    pub(super) fn process(&self) -> Option<i32> {
        self.connection.process()
    }

    pub(super) async fn execute_all(&self, sql: &str) -> Result<()> {
        let done = self.connection.client().batch_execute(sql).await;
        done.map_err(|error| from_postgres(&error, About::Statement))
    }

    pub(super) async fn query(&self, sql: &str, parameters: &[&dyn Parameter]) -> Result<Vec<Row>> {
        let client = self.connection.client();
        let rows = client.query_typed(sql, &typed(parameters)).await;
        rows.map_err(|error| from_postgres(&error, About::Statement))
    }

    /// The first column of the rows of a SELECT, which reads the ledger in the role that owns it. The setting
    /// `pgflight.session_role` is the session's own role meanwhile.
    ///
    /// All of it is one message without a prepared statement, and so one transaction, of which nothing outlives
    /// the answer, whatever becomes of it.
    pub(super) async fn names(&self, select: &str) -> Result<Vec<String>> {
        let role = match &self.ledger_role {
            Some(role) => format!("{}; ", sql::set_role(role)),
            None => String::new(),
        };
        let statements = format!(
            "{}; SELECT pg_catalog.set_config('pgflight.session_role', current_user, true); {role}SELECT '', name \
             FROM ({select}) names(name)",
            Path::Server.statement()
        );
        let answers = self.connection.client().simple_query(&statements).await;
        let rows = rows(answers.map_err(|error| from_postgres(&error, About::Statement))?);
        let names = rows.iter().filter(|row| row.len() > 1);
        Ok(names
            .filter_map(|row| row.get(1).map(str::to_owned))
            .collect())
    }
}

/// Closes connections that were not used for as long as they may lie there, until the pools are gone. PostgreSQL
/// and poolers have a limited number of them, and one whose network broke meanwhile is there for hours.
async fn close_unused(pools: [WeakConnections; 3], timeouts: watch::Receiver<Timeouts>) {
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
    /// Makes the pool; connects to nothing yet.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`](crate::error::ErrorKind::Internal) when the numbers make no pool.
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
        let (timeouts, seen) = watch::channel(config.timeouts.clone());
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(close_unused(
                [data.weak(), control.weak(), liveness.weak()],
                seen,
            ));
        }
        Ok(Self {
            data,
            turns: Turns::new(config.max_copies),
            commits: Arc::new(Semaphore::new(commits(config))),
            control,
            liveness,
            role: connection.role().cloned(),
            address: connection.to_string(),
            timeouts,
        })
    }

    /// Changes how long things may take, for transactions that begin from now on.
    pub fn set_timeouts(&self, timeouts: Timeouts) {
        self.timeouts.send_replace(timeouts);
    }

    /// How busy the connections are.
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
            ],
        }
    }

    /// Where PostgreSQL is, for messages to people; no password.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Starts a transaction for a stream of rows of a write, and names the session after both; waits its
    /// turn while as many COPYs run as may.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](crate::error::ErrorKind::Unavailable) when PostgreSQL is out of
    /// reach, its turn did not come in time, or PostgreSQL takes no writes (SQLSTATE 25006);
    /// [`ErrorKind::PermissionDenied`](crate::error::ErrorKind::PermissionDenied) when the target's role is not
    /// to be had.
    pub async fn begin_data(&self, write: &str, stream: &Stream) -> Result<Transaction> {
        let began = Instant::now();
        let wait_timeout = self.timeouts.borrow().wait_timeout;
        let turn = tokio::time::timeout(wait_timeout, self.turns.take(write));
        let turn = stream.wait(Activity::Turn, turn).await;
        metrics::observe_turn_wait(began.elapsed());
        let turn = turn.map_err(|_| {
            Error::unavailable(format!(
                "all {} COPYs that may run at once are running, and none ended within {}; try again later \
                 or raise --max-copies",
                self.data.status().max_size,
                humantime::format_duration(wait_timeout)
            ))
        })?;
        let session = sql::session_name(write, &stream.partition_id().to_string());
        self.begin(&self.data, Some(turn), Some(&session)).await
    }

    /// Starts more transactions for a stream of rows: as many as asked for, as far as nobody waits for
    /// his turn to copy.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](crate::error::ErrorKind::Unavailable) when PostgreSQL is out of reach.
    pub async fn begin_more_data(&self, write: &str, count: usize) -> Result<Vec<Transaction>> {
        let session = sql::session_name(write, "more");
        let turns = std::iter::from_fn(|| self.turns.take_free()).take(count);
        let begun = turns.map(|turn| self.begin(&self.data, Some(turn), Some(&session)));
        try_join_all(begun.collect::<Vec<_>>()).await
    }

    /// Commits a transaction for a stream of rows and starts the next, which takes its turn over.
    ///
    /// # Errors
    /// What kept the one from being committed, or its answer from coming; else as [`Pool::begin_data`].
    pub async fn commit_and_begin(
        &self,
        write: &str,
        mut transaction: Transaction,
    ) -> Result<Transaction> {
        let session = sql::session_name(write, "more");
        let turn = transaction.leave_turn();
        transaction.commit().await.into_result()?;
        self.begin(&self.data, turn, Some(&session)).await
    }

    /// Starts a transaction for anything that carries no rows.
    ///
    /// # Errors
    /// As [`Pool::begin_data`].
    pub async fn begin_control(&self) -> Result<Transaction> {
        self.begin(&self.control, None, None).await
    }

    /// As [`Pool::begin_control`], for what writes nothing: PostgreSQL may be read-only.
    ///
    /// # Errors
    /// As [`Pool::begin_data`], but for a PostgreSQL that takes no writes.
    pub async fn begin_look(&self) -> Result<Transaction> {
        self.begin_any(&self.control, None, None).await
    }

    /// Starts a transaction for signs of life, which waits for no other work. A crash of PostgreSQL may
    /// lose the last of them.
    ///
    /// # Errors
    /// As [`Pool::begin_data`].
    pub async fn begin_liveness(&self) -> Result<Transaction> {
        let transaction = self.begin(&self.liveness, None, None).await?;
        transaction.hurry().await?;
        Ok(transaction)
    }

    /// As [`Pool::begin_control`], for the end of a write, which may take long.
    ///
    /// # Errors
    /// As [`Pool::begin_data`].
    pub async fn begin_commit(&self, write: &str) -> Result<Transaction> {
        let session = sql::session_name(write, "commit");
        let wait_timeout = self.timeouts.borrow().wait_timeout;
        let permit = Arc::clone(&self.commits).acquire_owned();
        let permit = tokio::time::timeout(wait_timeout, permit).await;
        let Ok(Ok(permit)) = permit else {
            return Err(Error::unavailable(
                "as many commits as may run at a time wait for PostgreSQL; try again later",
            ));
        };
        let transaction = self.begin(&self.control, None, Some(&session)).await?;
        Ok(transaction.with_permit(permit))
    }

    /// A connection without a transaction, for the statements that none may hold.
    ///
    /// # Errors
    /// As [`Pool::begin_data`].
    pub async fn session(&self) -> Result<Session> {
        let session = Session {
            connection: self.connection(&self.control).await?,
            ledger_role: self.role.clone(),
        };
        // A trigger of a transaction before may have left another.
        session.execute_all("SET role TO DEFAULT").await?;
        Ok(session)
    }

    async fn begin(
        &self,
        pool: &Connections,
        turn: Option<Turn>,
        session: Option<&str>,
    ) -> Result<Transaction> {
        let transaction = self.begin_any(pool, turn, session).await?;
        transaction.check_writable()?;
        Ok(transaction)
    }

    async fn begin_any(
        &self,
        pool: &Connections,
        turn: Option<Turn>,
        session: Option<&str>,
    ) -> Result<Transaction> {
        let connection = self.connection(pool).await?;
        let (lock_timeout, stall_timeout) = {
            let timeouts = self.timeouts.borrow();
            (timeouts.lock_timeout, timeouts.stall_timeout)
        };
        let (asked, patience) = (Instant::now(), connection.patience());
        let begin = |connection| {
            let role = self.role.as_ref();
            // Apart, as connecting is: every future that begins a transaction would have its room.
            Transaction::begin(connection, role, session, lock_timeout, stall_timeout).boxed()
        };
        let begun = begin(connection).await;
        let begun = match begun {
            // A connection of the pool may have died while it lay idle; a new one then serves as well.
            Err(error) if error.kind() == ErrorKind::Unavailable && asked.elapsed() < patience => {
                let connection = self.connection(pool).await?;
                begin(connection).await
            }
            begun => begun,
        };
        begun.map(|transaction| transaction.in_turn(turn))
    }

    async fn connection(&self, pool: &Connections) -> Result<Object<Connector>> {
        // Apart: connecting takes much room, and every future that comes to it would have it.
        Box::pin(pool.get()).await.map_err(|error| match error {
            PoolError::Timeout(TimeoutType::Wait) => Error::unavailable(format!(
                "all {} connections to PostgreSQL are busy; try again later",
                pool.status().max_size
            )),
            PoolError::Backend(error) => {
                let known = error.to_error();
                let sqlstate = known.context().sqlstate.as_deref().unwrap_or_default();
                let address = &self.address;
                let what = format!(
                    "cannot connect to PostgreSQL at {address}: {}",
                    chain(&error)
                );
                // It is the server that has no right to be there, and not its caller: a password is being
                // changed, perhaps.
                let refused = match sqlstate.starts_with(INVALID_AUTHORIZATION) {
                    true => {
                        tracing::error!(
                            address,
                            sqlstate,
                            "PostgreSQL refuses the server's own login"
                        );
                        Error::unavailable(format!(
                            "{what}; this is the server's own login, which its operator has to mend"
                        ))
                    }
                    false => Error::new(known.kind(), what),
                };
                refused.with_context(|context| *context = known.context().clone())
            }
            error @ (PoolError::Timeout(_)
            | PoolError::Closed
            | PoolError::NoRuntimeSpecified
            | PoolError::PostCreateHook(_)) => {
                Error::unavailable(format!("no connection to PostgreSQL at {}", self.address))
                    .with_source(error)
            }
        })
    }
}
