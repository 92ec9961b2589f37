//! The end of a transaction: it commits, or it rolls back.

use std::time::Duration;

use deadpool::managed::Object;
use tokio::runtime::Handle;
use tokio_postgres::SimpleQueryMessage;
use tokio_postgres::error::{DbError, Severity};

use super::lifecycle::{COMMIT, Transaction, ended};
use crate::error::{Error, Result};
use crate::pg::connection::{About, Connection, Connector};

/// Longest time that PostgreSQL may take to roll back. The connection is then closed.
const ROLLBACK_TIMEOUT: Duration = Duration::from_secs(2);

/// The time after which PostgreSQL is asked to cancel the statement that a rollback waits for. PostgreSQL 13 would go on
/// with it, and wait for its locks, without its client.
const CANCEL_AFTER: Duration = Duration::from_millis(200);

/// The outcome of a COMMIT.
#[derive(Debug)]
pub enum Outcome {
    /// PostgreSQL reported that it is committed.
    Committed,
    /// PostgreSQL reported an error: nothing is committed.
    RolledBack(Error),
    /// The connection broke before the answer came. The ledger or `pg_xact_status` has the outcome. The error is
    /// retryable only if the failed statement is.
    Unknown(Error),
}

impl Outcome {
    /// Converts it to a result, for calls that can be repeated whatever the outcome was.
    ///
    /// # Errors
    /// The error that prevented the commit; [`ErrorKind::Unavailable`](crate::error::ErrorKind::Unavailable) when the
    /// outcome is unknown.
    pub fn into_result(self) -> Result<()> {
        match self {
            Self::Committed => Ok(()),
            Self::RolledBack(error) => Err(error),
            Self::Unknown(error) => Err(error
                .into_retryable("it is not known whether PostgreSQL committed the transaction")
                .with_hint("try again")),
        }
    }
}

impl Transaction {
    /// Commits and returns the connection to its pool.
    pub async fn commit(self) -> Outcome {
        self.end_with(COMMIT).await
    }

    /// Ends the transaction with a statement that keeps its changes, and returns the connection to its pool.
    pub(in crate::pg) async fn end_with(mut self, statement: &str) -> Outcome {
        let before = if statement == COMMIT {
            self.before_commit()
        } else {
            Ok(None)
        };
        let (Some(connection), Ok(before)) = (self.connection.take(), before) else {
            return Outcome::RolledBack(ended());
        };
        match connection.run(before.as_deref(), statement).await {
            Ok(Some(tag)) if is_tag_of(&tag, statement) => Outcome::Committed,
            Ok(Some(tag)) if tag == "ROLLBACK" => Outcome::RolledBack(
                Error::unavailable(
                    "PostgreSQL answered COMMIT with ROLLBACK: a statement of the transaction had failed, or \
                     something between the server and PostgreSQL ended it",
                )
                .with_hint("try again: nothing of the transaction is kept"),
            ),
            Ok(_) => {
                // The connection may be a step behind: the answer may belong to another statement.
                drop(Object::take(connection));
                Outcome::Unknown(Error::unavailable(
                    "PostgreSQL gave no answer to COMMIT that the server understands",
                ))
            }
            Err(error) => {
                let is_rejected = error.as_db_error().is_some_and(is_about_the_transaction);
                // A COMMIT may run the code of a table.
                let error = connection.explain(&error, About::Rows, None);
                drop(Object::take(connection));
                if is_rejected {
                    Outcome::RolledBack(error)
                } else {
                    Outcome::Unknown(error)
                }
            }
        }
    }

    /// Rolls back and returns the connection to its pool. If that fails, the connection is closed, which rolls back as
    /// well.
    pub async fn rollback(mut self) {
        if let Some(connection) = self.connection.take() {
            roll_back(connection).await;
        }
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else {
            return;
        };
        let held = (self.turn.take(), std::mem::take(&mut self.permits));
        match Handle::try_current() {
            Ok(runtime) => {
                runtime.spawn(async move {
                    roll_back(connection).await;
                    drop(held);
                });
            }
            // A client that is taken out of the pool closes its connection when it is dropped.
            Err(_) => drop(Object::take(connection)),
        }
    }
}

/// Rolls back and returns the connection to its pool. Closes it if PostgreSQL does not confirm in time.
async fn roll_back(connection: Object<Connector>) {
    let is_in_step = is_rolled_back(&connection).await;
    connection.forget_stray_name();
    if !is_in_step {
        // A client that is taken out of the pool closes its connection when it is dropped.
        drop(Object::take(connection));
    }
}

/// Rolls back. Returns whether the connection can be used again.
async fn is_rolled_back(connection: &Connection) -> bool {
    // A COPY that was rejected or dropped before it began may have one more reply than the driver expects. The next
    // user of the connection would then read a leftover reply as its own. Only this statement returns a row.
    let close_names = if connection.has_stray_name() {
        "DEALLOCATE ALL; "
    } else {
        ""
    };
    // One message, so that a pooler hands all of it to the same server.
    let batch = format!("ROLLBACK; {close_names}SELECT 'rolled back'");
    let asked = connection.client().simple_query(&batch);
    tokio::pin!(asked);
    let mut was_cancelled = false;
    let mut answer = tokio::time::timeout(CANCEL_AFTER, &mut asked).await;
    if answer.is_err() {
        let asked = async {
            was_cancelled = connection.cancel().await;
            asked.await
        };
        answer = tokio::time::timeout(ROLLBACK_TIMEOUT, asked).await;
    }
    let is_row = |answer: &SimpleQueryMessage| matches!(answer, SimpleQueryMessage::Row(_));
    match answer {
        // The request may still arrive, and would cancel the next statement.
        Ok(Ok(answers)) => !was_cancelled && answers.iter().any(is_row),
        Ok(Err(_)) | Err(_) => false,
    }
}

/// Returns whether an error at COMMIT means that the transaction failed. An error that ends the session does not, and
/// neither does the error of a pooler that lost its server: poolers use these classes.
fn is_about_the_transaction(error: &DbError) -> bool {
    let class = error.code().code().get(..2);
    let is_about_the_connection = matches!(class, Some("08" | "57" | "58" | "XX"));
    let ends_the_session = matches!(
        error.parsed_severity(),
        Some(Severity::Fatal | Severity::Panic)
    );
    !is_about_the_connection && !ends_the_session
}

/// Returns whether a tag confirms a statement, as `PREPARE TRANSACTION` confirms `PREPARE TRANSACTION 'name'`.
fn is_tag_of(tag: &str, statement: &str) -> bool {
    let argument = statement.strip_prefix(tag);
    argument.is_some_and(|argument| argument.is_empty() || argument.starts_with(" '"))
}
