//! A transaction that owns its connection, and how it begins.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use deadpool::managed::Object;
use futures_util::future::join;
use tokio::sync::OwnedSemaphorePermit;
use tokio_postgres::{SimpleQueryMessage, SimpleQueryRow};

use super::access::Access;
use super::leftovers;
use super::roles::{self, Roles, State, may_not_act_as, not_in_force};
use crate::error::{Error, Result};
use crate::pg::connection::{About, Connection, Connector, NO_ANSWER_HINT};
use crate::pg::copy_turns::Turn;
use arrow_pgcopy::Ident;

pub(super) const COMMIT: &str = "COMMIT";

/// An open transaction at READ COMMITTED.
///
/// Dropping it makes PostgreSQL roll back, a running COPY included, and then returns the connection to its pool. The
/// connection is kept because a client that sends rejected data again and again would otherwise make PostgreSQL start
/// a process each time, which costs more than the rest of the work. If PostgreSQL does not confirm the rollback within
/// two seconds, the connection is closed, which rolls back as well.
pub struct Transaction {
    pub(super) connection: Option<Object<Connector>>,
    limits: Limits,
    pub(super) roles: Roles,
    access: Access,
    state: Mutex<State>,
    /// The versions of the schemas in which it has locked a table: the `xmin` of their rows in `pg_namespace`.
    schemas: Mutex<BTreeMap<Ident, String>>,
    /// Passed on after the connection is back in its pool: fields are dropped last.
    pub(super) turn: Option<Turn>,
    /// The settings that its later statements get again. Only a client's transaction has them.
    settings: Option<String>,
    /// Held by a commit. Fewer commits may run at a time than there are connections.
    pub(super) permits: Vec<OwnedSemaphorePermit>,
}

/// The timeouts of a transaction.
#[derive(Debug, Clone, Copy)]
pub(in crate::pg) struct Limits {
    /// Longest time that its statements wait for another session's lock.
    pub(in crate::pg) lock_timeout: Duration,
    /// Longest time that a COPY waits for PostgreSQL to take a chunk.
    pub(in crate::pg) stall_timeout: Duration,
}

impl Transaction {
    /// Begins a transaction on a connection, in the target's `role` if it has one.
    ///
    /// `session` names the session until the end. It comes from [`session_name`](crate::pg::names::session_name).
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](crate::error::ErrorKind::Unavailable) when PostgreSQL does not answer in time;
    /// [`ErrorKind::PermissionDenied`](crate::error::ErrorKind::PermissionDenied) when the login may not use the role.
    pub(in crate::pg) async fn begin(
        connection: Object<Connector>,
        role: Option<&Ident>,
        session: Option<&str>,
        limits: Limits,
    ) -> Result<Self> {
        // Errors of the transaction before do not concern this one.
        drop(connection.watch_errors());
        let mut transaction = Self {
            connection: Some(connection),
            limits,
            roles: Roles::default(),
            access: Access::ReadWrite,
            state: Mutex::new(State::BEGUN),
            schemas: Mutex::default(),
            turn: None,
            settings: None,
            permits: Vec::new(),
        };
        let batch = begin_batch(
            role,
            session,
            limits.lock_timeout,
            transaction.connection()?,
        );
        let answers = transaction.ask(&batch, role).await?;
        transaction.read_begin(&roles::rows(answers), role)?;
        Ok(transaction)
    }

    /// Sends the statements that begin the transaction, after those that reset the session of a direct connection.
    async fn ask(&mut self, batch: &str, role: Option<&Ident>) -> Result<Vec<SimpleQueryMessage>> {
        let connection = self.connection()?;
        let answer_timeout = connection.answer_timeout();
        // The driver sends both before it waits for an answer.
        let begun = connection.client().simple_query(batch);
        let asked = join(connection.reset(), begun);
        let (reset, begun) = tokio::time::timeout(answer_timeout, asked)
            .await
            .map_err(|_| {
                Error::unavailable(format!(
                    "PostgreSQL did not answer BEGIN within {}",
                    humantime::format_duration(answer_timeout)
                ))
                .with_hint(NO_ANSWER_HINT)
            })?;
        if let Err(error) = reset {
            let error = connection.explain(&error, About::Statement, None);
            // A client that is taken out of the pool closes its connection when it is dropped.
            drop(self.connection.take().map(Object::take));
            return Err(Error::unavailable(
                "PostgreSQL could not reset the session that another write had used",
            )
            .with_hint("try again: the connection is closed")
            .with_source(error));
        }
        let connection = self.connection()?;
        begun.map_err(|error| {
            let error = connection.explain(&error, About::Statement, None);
            match role {
                Some(role) => may_not_act_as(role, error),
                None => error,
            }
        })
    }

    /// Reads the roles and the access mode from the answers to [`roles::begin`].
    ///
    /// # Errors
    /// [`ErrorKind::PermissionDenied`](crate::error::ErrorKind::PermissionDenied) when another role than `role` is in
    /// force.
    fn read_begin(&mut self, answers: &[SimpleQueryRow], role: Option<&Ident>) -> Result<()> {
        let name = |row: &SimpleQueryRow| Ident::new(row.get(0).unwrap_or_default());
        let (Some(first), Some(last)) = (answers.first(), answers.last()) else {
            return Err(Error::internal("PostgreSQL did not return its role"));
        };
        let found = name(last)?;
        self.access = Access::from_settings(first.get(1), first.get(2));
        let checked = match role {
            Some(role) if *role != found => Err(not_in_force(role, found.as_str())),
            _ => Ok(()),
        };
        self.roles.set_login(name(first)?, found);
        checked
    }

    /// Holds a turn to copy until the connection is back in its pool.
    pub(in crate::pg) fn in_turn(mut self, turn: Option<Turn>) -> Self {
        self.turn = turn;
        self
    }

    /// Holds a permit until the transaction ends.
    pub(crate) fn with_permit(mut self, permit: Option<OwnedSemaphorePermit>) -> Self {
        self.permits.extend(permit);
        self
    }

    /// Passes the turn on, and keeps the transaction.
    pub fn without_turn(mut self) -> Self {
        self.turn = None;
        self
    }

    /// Takes the turn out, for the next transaction of the stream.
    pub(in crate::pg) fn take_turn(&mut self) -> Option<Turn> {
        self.turn.take()
    }

    /// Makes it the transaction of a client, which may be idle for this time before PostgreSQL ends the session, and a
    /// minute longer.
    ///
    /// # Errors
    /// Any error that PostgreSQL reports.
    pub(in crate::pg) async fn keep(mut self, session: &str, idle: Duration) -> Result<Self> {
        let idle = (idle + Duration::from_secs(60)).as_millis();
        // The setting has 32 bits.
        let idle = i32::try_from(idle).unwrap_or(i32::MAX);
        let idle = format!("SET LOCAL idle_in_transaction_session_timeout = {idle}");
        self.execute_all(&idle).await?;
        let (connection, lock_timeout) = (self.connection()?, self.limits.lock_timeout);
        let settings = settings(Some(session), lock_timeout, connection);
        self.settings = Some(format!("{settings}; {idle}"));
        Ok(self)
    }

    /// Returns the settings that a client's transaction gets again.
    pub(super) fn settings(&self) -> Option<&str> {
        self.settings.as_deref()
    }

    /// Rejects a PostgreSQL that takes no writes.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](crate::error::ErrorKind::Unavailable) with SQLSTATE 25006.
    pub(in crate::pg) fn check_writable(&self) -> Result<()> {
        self.access.check_writable()
    }

    /// Rejects a standby.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](crate::error::ErrorKind::Unavailable) with SQLSTATE 25006.
    pub(crate) fn check_primary(&self) -> Result<()> {
        self.access.check_primary()
    }

    /// Records the version of a schema when a table of it is locked. The first one counts.
    pub(in crate::pg) fn note_schema(&self, schema: &Ident, version: &str) {
        let mut schemas = self.schemas.lock().unwrap_or_else(PoisonError::into_inner);
        let version = || version.to_owned();
        schemas.entry(schema.clone()).or_insert_with(version);
    }

    /// Returns whether the version of a schema differs from the one that was recorded.
    pub(in crate::pg) fn has_changed_schema(&self, schema: &Ident, version: &str) -> bool {
        let schemas = self.schemas.lock().unwrap_or_else(PoisonError::into_inner);
        schemas.get(schema).is_some_and(|noted| noted != version)
    }

    pub(super) fn state(&self) -> State {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_state(&self, state: State) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }

    pub(in crate::pg) fn connection(&self) -> Result<&Connection> {
        Ok(self.connection.as_ref().ok_or_else(ended)?)
    }

    pub(in crate::pg) fn stall_timeout(&self) -> Duration {
        self.limits.stall_timeout
    }

    pub(super) fn lock_timeout(&self) -> Duration {
        self.limits.lock_timeout
    }
}

/// Builds the statements that begin a transaction.
fn begin_batch(
    role: Option<&Ident>,
    session: Option<&str>,
    lock_timeout: Duration,
    connection: &Connection,
) -> String {
    let reset = match connection.is_pooled() {
        true => leftovers::before_begin(),
        false => String::new(),
    };
    let settings = settings(session, lock_timeout, connection);
    format!("{reset}{}; {settings}", roles::begin(role))
}

/// Builds the statements that set what holds in every transaction.
fn settings(session: Option<&str>, lock_timeout: Duration, connection: &Connection) -> String {
    // The settings make strings that PostgreSQL casts mean the same in every database. A frozen server, or a host that
    // vanished, must not hold locks for ever. Compiling a query about a large catalog takes longer than running it.
    let named = match session {
        Some(session) => format!("; SET LOCAL application_name = '{session}'"),
        None => String::new(),
    };
    // Ends a commit whose client has left at once, instead of finishing it and rolling it back afterwards.
    let check_client = if connection.checks_client() {
        "SET LOCAL client_connection_check_interval = 5000; "
    } else {
        ""
    };
    format!(
        "SET LOCAL lock_timeout = {}; \
         SET LOCAL DateStyle = 'ISO, YMD'; \
         SET LOCAL IntervalStyle = 'postgres'; \
         SET LOCAL array_nulls = on; \
         SET LOCAL xmloption = content; \
         SET LOCAL jit = off; \
         SET LOCAL standard_conforming_strings = on; \
         SET LOCAL quote_all_identifiers = off; \
         SET LOCAL idle_in_transaction_session_timeout = 60000; \
         {check_client}\
         SET LOCAL tcp_keepalives_idle = 10; \
         SET LOCAL tcp_keepalives_interval = 5; \
         SET LOCAL tcp_keepalives_count = 3{named}",
        lock_timeout.as_millis()
    )
}

/// The error for the use of a transaction that has ended.
pub(super) fn ended() -> Error {
    Error::internal("the transaction has already ended")
}
