//! A transaction that owns its connection, and gives it back when it has ended, or closes it.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use deadpool::managed::Object;
use futures_util::future::join;
use tokio::runtime::Handle;
use tokio::sync::OwnedSemaphorePermit;
use tokio_postgres::error::{DbError, Severity};
use tokio_postgres::{Row, SimpleQueryMessage};

use super::access::Access;
use super::connection::{Connection, Connector, NO_ANSWER};
use super::parameter::{Parameter, typed};
use super::roles::{self, Path, Roles, Standing, may_not_act_as};
use super::sqlstate::About;
use super::turns::Turn;
use crate::error::{Error, Result};
use crate::plan::Ident;

/// Undoes, behind a pooler, what the code of a table or another client may have left in the session: what would
/// change how durable a commit is, what rows mean, or which tables code finds. Settings that an application has made
/// up, advisory locks and LISTEN are left to the pooler.
const LEFT_BY_OTHERS: &str = "\
    SET LOCAL synchronous_commit TO DEFAULT; \
    SET LOCAL statement_timeout TO DEFAULT; \
    SET LOCAL TimeZone TO DEFAULT; \
    SET LOCAL row_security TO DEFAULT; \
    SET LOCAL bytea_output TO DEFAULT; \
    SET LOCAL extra_float_digits TO DEFAULT; \
    SET LOCAL check_function_bodies TO DEFAULT; \
    SET LOCAL default_tablespace TO DEFAULT; \
    SET LOCAL default_table_access_method TO DEFAULT; \
    SET LOCAL temp_tablespaces TO DEFAULT; \
    SET LOCAL transform_null_equals TO DEFAULT; \
    DISCARD TEMP; ";

/// How long PostgreSQL may take to roll back, before its connection is closed.
const PATIENCE: Duration = Duration::from_secs(2);

/// An open transaction at READ COMMITTED.
///
/// Dropping it has PostgreSQL roll back whatever was going on, a COPY included, and gives the connection back
/// when that is done: whoever sends what is refused, again and again, would else have PostgreSQL start a
/// process each time, which costs it more than all that is done in it. Where PostgreSQL does not say soon that
/// it has rolled back, the connection is closed, and it does so then.
pub struct Transaction {
    connection: Option<Object<Connector>>,
    stall_timeout: Duration,
    pub(super) roles: Roles,
    pub(super) access: Access,
    standing: Mutex<Standing>,
    /// Passed on after the connection is back in its pool: fields are dropped last.
    turn: Option<Turn>,
    /// Held by a commit, of which there are fewer at a time than connections.
    permit: Option<OwnedSemaphorePermit>,
}

/// How a COMMIT ended.
#[derive(Debug)]
pub enum Outcome {
    /// PostgreSQL said that it is committed.
    Committed,
    /// PostgreSQL refused: nothing is committed.
    RolledBack(Error),
    /// The connection broke before the answer came: committed or not, the ledger or
    /// `pg_xact_status` knows. The error is retryable only if the statement that failed would be.
    Unknown(Error),
}

impl Outcome {
    /// As a result, for calls that can be made again whatever became of this one.
    ///
    /// # Errors
    /// What kept the transaction from being committed;
    /// [`ErrorKind::Unavailable`](crate::error::ErrorKind::Unavailable) when its answer did not come.
    pub fn into_result(self) -> Result<()> {
        match self {
            Self::Committed => Ok(()),
            Self::RolledBack(error) => Err(error),
            Self::Unknown(error) => Err(error.into_retryable(
                "it is not known whether PostgreSQL carried out a COMMIT; ask again",
            )),
        }
    }
}

impl Transaction {
    /// Begins on a connection; the session is named until the end, if [`session_name`](super::sql::session_name)
    /// made a name. `role` is the target's. `lock_timeout` is how long its statements wait for another session's
    /// lock, `stall_timeout` how long a COPY waits for PostgreSQL to take a chunk.
    pub(super) async fn begin(
        connection: Object<Connector>,
        role: Option<&Ident>,
        session: Option<&str>,
        lock_timeout: Duration,
        stall_timeout: Duration,
    ) -> Result<Self> {
        // What was said to whoever had the connection before is not about this transaction.
        drop(connection.listen());
        let mut transaction = Self {
            connection: Some(connection),
            stall_timeout,
            roles: Roles::default(),
            access: Access::ReadWrite,
            standing: Mutex::new(Standing::BEGUN),
            turn: None,
            permit: None,
        };
        // READ COMMITTED is said because a role or database may have another default, under which a
        // commit would not see the attempt it waited for. A frozen server must not hold locks for
        // ever, and neither may a host that vanished without a word. Strings that PostgreSQL casts mean the
        // same in every database.
        let named = match session {
            Some(session) => format!("; SET LOCAL application_name = '{session}'"),
            None => String::new(),
        };
        let connection = transaction.connection()?;
        let patience = connection.patience();
        // A commit whose caller has left ends then, and is not finished first and rolled back afterwards.
        let looks = match connection.looks_for_its_client() {
            true => "SET LOCAL client_connection_check_interval = 5000; ",
            false => "",
        };
        let pooled = if connection.is_pooled() {
            LEFT_BY_OTHERS
        } else {
            ""
        };
        let batch = format!(
            "{}; \
                 {pooled}\
                 SET LOCAL lock_timeout = {}; \
                 SET LOCAL DateStyle = 'ISO, YMD'; \
                 SET LOCAL IntervalStyle = 'postgres'; \
                 SET LOCAL array_nulls = on; \
                 SET LOCAL xmloption = content; \
                 SET LOCAL standard_conforming_strings = on; \
                 SET LOCAL quote_all_identifiers = off; \
                 SET LOCAL idle_in_transaction_session_timeout = 60000; \
                 {looks}\
                 SET LOCAL tcp_keepalives_idle = 10; \
                 SET LOCAL tcp_keepalives_interval = 5; \
                 SET LOCAL tcp_keepalives_count = 3{named}",
            roles::begin(role),
            lock_timeout.as_millis()
        );
        // The driver sends both before it waits for an answer.
        let asked = async {
            let begun = connection.client().simple_query(&batch);
            let (renewed, begun) = join(connection.renew(), begun).await;
            renewed.and(begun)
        };
        let begun = tokio::time::timeout(patience, asked).await.map_err(|_| {
            Error::unavailable(format!(
                "PostgreSQL did not answer BEGIN within {}; {NO_ANSWER}",
                humantime::format_duration(patience)
            ))
        })?;
        let answers =
            begun.map_err(
                |error| match (connection.explain(&error, About::Statement), role) {
                    (error, Some(role)) => may_not_act_as(role, error),
                    (error, None) => error,
                },
            )?;
        transaction.take_roles(&roles::rows(answers), role)?;
        Ok(transaction)
    }

    /// Holds a turn to copy for as long as it lasts.
    pub(super) fn in_turn(mut self, turn: Option<Turn>) -> Self {
        self.turn = turn;
        self
    }

    /// Holds a permit for as long as it lasts.
    pub(super) fn with_permit(mut self, permit: OwnedSemaphorePermit) -> Self {
        self.permit = Some(permit);
        self
    }

    /// Gives its turn to whoever asks, to go on in it.
    pub(super) fn leave_turn(&mut self) -> Option<Turn> {
        self.turn.take()
    }

    pub(super) fn standing(&self) -> Standing {
        *self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn stand(&self, standing: Standing) {
        *self.standing.lock().unwrap_or_else(PoisonError::into_inner) = standing;
    }

    /// Commits and gives the connection back.
    pub async fn commit(self) -> Outcome {
        self.end_with("COMMIT").await
    }

    /// Ends the transaction with a statement that keeps what it did, and gives the connection back.
    pub(super) async fn end_with(mut self, statement: &str) -> Outcome {
        let before = match statement {
            "COMMIT" => self.before_commit(),
            _ => Ok(None),
        };
        let (Some(connection), Ok(before)) = (self.connection.take(), before) else {
            return Outcome::RolledBack(gone());
        };
        match connection.run(before.as_deref(), statement).await {
            Ok(Some(tag)) if is_tag_of(&tag, statement) => Outcome::Committed,
            Ok(Some(tag)) if tag == "ROLLBACK" => Outcome::RolledBack(Error::unavailable(
                "PostgreSQL answered COMMIT with ROLLBACK: a statement of the transaction had failed, or \
                 something between the server and PostgreSQL ended it; nothing of it is kept, try again",
            )),
            Ok(_) => {
                // The connection may be a step behind: the answer may be to another statement.
                drop(Object::take(connection));
                Outcome::Unknown(Error::unavailable(
                    "PostgreSQL gave no answer to COMMIT that the server understands",
                ))
            }
            Err(error) => {
                let refused = error.as_db_error().is_some_and(speaks_of_the_transaction);
                // The code of a table may run in a COMMIT.
                let error = connection.explain(&error, About::Rows);
                drop(Object::take(connection));
                if refused {
                    Outcome::RolledBack(error)
                } else {
                    Outcome::Unknown(error)
                }
            }
        }
    }

    /// Rolls back and gives the connection back. An error here changes nothing: the connection is
    /// closed, which rolls back as well.
    pub async fn rollback(mut self) {
        if let Some(connection) = self.connection.take() {
            roll_back(connection).await;
        }
    }

    /// The id of this transaction, assigned now if it had none (`pg_current_xact_id`).
    ///
    /// # Errors
    /// What PostgreSQL or the connection said.
    pub async fn xact_id(&self) -> Result<String> {
        let row = self
            .query_one(
                "SELECT pg_catalog.pg_current_xact_id()::pg_catalog.text",
                &[],
            )
            .await?;
        Ok(row.get(0))
    }

    /// What PostgreSQL keeps in `xmin` of every row this transaction writes: its id without the epoch.
    ///
    /// # Errors
    /// What PostgreSQL or the connection said.
    pub async fn xmin(&self) -> Result<String> {
        let row = self
            .query_one(
                "SELECT pg_catalog.pg_current_xact_id()::pg_catalog.xid::pg_catalog.text",
                &[],
            )
            .await?;
        Ok(row.get(0))
    }

    /// Makes the statements that follow give up on a lock after a moment.
    ///
    /// # Errors
    /// What PostgreSQL or the connection said.
    pub async fn wait_no_longer_for_locks(&self) -> Result<()> {
        self.execute_all("SET LOCAL lock_timeout = 500").await
    }

    /// As [`Transaction::wait_no_longer_for_locks`], and its COMMIT does not wait for the disk or a standby.
    pub(super) async fn hurry(&self) -> Result<()> {
        self.execute_all("SET LOCAL lock_timeout = 500; SET LOCAL synchronous_commit = off")
            .await
    }

    /// Whether the transaction with this id was committed: `None` while it runs, or when it is too
    /// old to tell. After a failover that lost transactions the id may be another's, so ask soon.
    ///
    /// # Errors
    /// What PostgreSQL or the connection said.
    pub async fn was_committed(&self, xact_id: &str) -> Result<Option<bool>> {
        let row = self
            .query_one(
                "SELECT pg_catalog.pg_xact_status($1::pg_catalog.text::pg_catalog.xid8)",
                &[&xact_id],
            )
            .await?;
        Ok(match row.get::<_, Option<&str>>(0) {
            Some("committed") => Some(true),
            Some("aborted") => Some(false),
            _ => None,
        })
    }

    pub(super) async fn execute_all(&self, sql: &str) -> Result<()> {
        let client = self.connection()?.client();
        self.along(Path::Server, client.batch_execute(sql)).await
    }

    /// Carries out definitions, whose types are named as a caller named them.
    pub(super) async fn define(&self, sql: &str) -> Result<()> {
        let client = self.connection()?.client();
        self.along(Path::Definitions, client.batch_execute(sql))
            .await
    }

    /// As [`Transaction::execute_all`], of statements that run the code of a table.
    pub(super) async fn execute_all_on_rows(&self, sql: &str) -> Result<()> {
        let client = self.connection()?.client();
        self.on_rows(client.batch_execute(sql)).await
    }

    pub(super) async fn execute(&self, sql: &str, parameters: &[&dyn Parameter]) -> Result<u64> {
        let (client, parameters) = (self.connection()?.client(), typed(parameters));
        self.along(Path::Server, client.execute_typed(sql, &parameters))
            .await
    }

    /// As [`Transaction::execute`], of a statement that runs the code of a table.
    pub(super) async fn execute_on_rows(
        &self,
        sql: &str,
        parameters: &[&dyn Parameter],
    ) -> Result<u64> {
        let (client, parameters) = (self.connection()?.client(), typed(parameters));
        self.on_rows(client.execute_typed(sql, &parameters)).await
    }

    pub(super) async fn query(&self, sql: &str, parameters: &[&dyn Parameter]) -> Result<Vec<Row>> {
        let (client, parameters) = (self.connection()?.client(), typed(parameters));
        self.along(Path::Server, client.query_typed(sql, &parameters))
            .await
    }

    /// As [`Transaction::query`], of a statement that runs the code of a table.
    pub(super) async fn query_on_rows(
        &self,
        sql: &str,
        parameters: &[&dyn Parameter],
    ) -> Result<Vec<Row>> {
        let (client, parameters) = (self.connection()?.client(), typed(parameters));
        self.on_rows(client.query_typed(sql, &parameters)).await
    }

    pub(super) async fn query_opt(
        &self,
        sql: &str,
        parameters: &[&dyn Parameter],
    ) -> Result<Option<Row>> {
        let (client, parameters) = (self.connection()?.client(), typed(parameters));
        self.along(Path::Server, client.query_typed_opt(sql, &parameters))
            .await
    }

    /// As [`Transaction::query_opt`], of a statement that asks what the session's path has.
    pub(super) async fn query_opt_by_path(
        &self,
        sql: &str,
        parameters: &[&dyn Parameter],
    ) -> Result<Option<Row>> {
        let (client, parameters) = (self.connection()?.client(), typed(parameters));
        self.along(Path::Session, client.query_typed_opt(sql, &parameters))
            .await
    }

    pub(super) async fn query_one(&self, sql: &str, parameters: &[&dyn Parameter]) -> Result<Row> {
        let (client, parameters) = (self.connection()?.client(), typed(parameters));
        self.along(Path::Server, client.query_typed_one(sql, &parameters))
            .await
    }

    pub(super) fn connection(&self) -> Result<&Connection> {
        Ok(self.connection.as_ref().ok_or_else(gone)?)
    }

    pub(super) fn stall_timeout(&self) -> Duration {
        self.stall_timeout
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else {
            return;
        };
        let held = (self.turn.take(), self.permit.take());
        match Handle::try_current() {
            Ok(runtime) => {
                runtime.spawn(async move {
                    roll_back(connection).await;
                    drop(held);
                });
            }
            // Taken out of the pool, the client closes its connection when it is dropped.
            Err(_) => drop(Object::take(connection)),
        }
    }
}

/// Rolls back and gives the connection back; closes it where that does not work soon.
async fn roll_back(connection: Object<Connector>) {
    // A COPY that was refused before it began, or was left while it began, may be answered once more than the
    // driver expects, and whoever has the connection next would take the answer to what was asked before him
    // for his own. A row can only be the answer to this.
    let forget = match connection.has_stray_name() {
        true => "DEALLOCATE ALL; ",
        false => "",
    };
    // One message, so that a pooler hands all of it to the same server.
    let asked = format!("ROLLBACK; {forget}SELECT 'rolled back'");
    let asked = connection.client().simple_query(&asked);
    let is_row = |answer: &SimpleQueryMessage| matches!(answer, SimpleQueryMessage::Row(_));
    let is_in_step = match tokio::time::timeout(PATIENCE, asked).await {
        Ok(Ok(answers)) => answers.iter().any(is_row),
        Ok(Err(_)) | Err(_) => false,
    };
    connection.forget_stray_name();
    if !is_in_step {
        // Taken out of the pool, the client closes its connection when it is dropped.
        drop(Object::take(connection));
    }
}

/// Whether an error at COMMIT says that the transaction failed. One that ends the session does not,
/// and neither does what a connection pooler says of a server it has lost: poolers use these classes.
fn speaks_of_the_transaction(error: &DbError) -> bool {
    let class = error.code().code().get(..2);
    let of_the_connection = matches!(class, Some("08" | "57" | "58" | "XX"));
    let ends_the_session = matches!(
        error.parsed_severity(),
        Some(Severity::Fatal | Severity::Panic)
    );
    !of_the_connection && !ends_the_session
}

/// Whether a tag says that a statement was carried out: `PREPARE TRANSACTION` of `PREPARE TRANSACTION 'name'`.
fn is_tag_of(tag: &str, statement: &str) -> bool {
    let argument = statement.strip_prefix(tag);
    argument.is_some_and(|argument| argument.is_empty() || argument.starts_with(" '"))
}

fn gone() -> Error {
    Error::internal("the transaction has already ended")
}
