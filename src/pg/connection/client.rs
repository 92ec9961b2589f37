//! An open connection: the driver's client, the task that drives it, and what the tap read from PostgreSQL.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_postgres::{Client, Statement};

use super::server_error::{Grantee, ServerError};
use super::sqlstate::{About, from_postgres};
use super::tap::{Handshake, Replies, Tap};
use super::tls::Tls;
use crate::error::{Error, Result};

/// Longest time that a dropped connection may take to flush and close. Its task is then aborted.
const FLUSH_GRACE: Duration = Duration::from_secs(2);

/// Limits the time of a reset. DISCARD ALL resets all timeouts before it waits for locks, and the clock of its own
/// statement runs on.
const RESET_LIMIT: &str = "SET statement_timeout = 2000";

/// The tracing target of the driver for PostgreSQL's notices, in which the code of a table may print values of rows.
pub const NOTICES: &str = "tokio_postgres::connection";

/// A connection.
///
/// Dropping it closes it in order. Where PostgreSQL no longer reads, the socket is closed after two seconds. Either
/// way PostgreSQL rolls back the open transaction.
pub(in crate::pg) struct Connection {
    pub(super) client: Client,
    pub(super) task: Option<JoinHandle<()>>,
    pub(super) replies: Replies,
    pub(super) handshake: Arc<Handshake>,
    pub(super) tls: Tls,
    pub(super) checks_client: bool,
    /// Whether there is no pooler, so that no other client uses the session.
    pub(super) is_direct: bool,
    /// Whether the code of a table has run since the session was new.
    pub(super) is_used: AtomicBool,
    pub(super) answer_timeout: Duration,
    /// Whether a statement may have a name that nothing will close.
    pub(super) has_stray_name: AtomicBool,
}

impl Connection {
    /// Returns the driver's client, which runs statements.
    pub(in crate::pg) fn client(&self) -> &Client {
        &self.client
    }

    /// Returns whether PostgreSQL can check, while a statement runs, that its client is still connected.
    pub(in crate::pg) fn checks_client(&self) -> bool {
        self.checks_client
    }

    /// Returns whether a pooler is in between, whose sessions other clients use as well.
    pub(in crate::pg) fn is_pooled(&self) -> bool {
        !self.is_direct
    }

    /// Records that the code of a table runs. It may leave settings, temporary tables, cursors, locks and statements in
    /// the session.
    pub(in crate::pg) fn mark_used(&self) {
        self.is_used.store(true, Ordering::Relaxed);
    }

    /// Resets the session if the code of a table has run in it. The session of a pooler is left alone, since it is not
    /// this connection's. Dropping the future leaves the session used.
    ///
    /// # Errors
    /// Any error of PostgreSQL or of the connection. The session then still has what was left in it, so the connection
    /// must be closed.
    pub(in crate::pg) async fn reset(&self) -> Result<(), tokio_postgres::Error> {
        if self.is_direct && self.is_used.load(Ordering::Relaxed) {
            // What was left may include a timeout, and a table that another session has locked. The driver sends both
            // statements before it waits for an answer.
            let limited = self.client.batch_execute(RESET_LIMIT);
            let discarded = self.client.batch_execute("DISCARD ALL");
            let (limited, discarded) = join(limited, discarded).await;
            limited.and(discarded)?;
            self.is_used.store(false, Ordering::Relaxed);
            self.forget_stray_name();
        }
        Ok(())
    }

    /// Asks PostgreSQL, over a connection of its own, to cancel the running statement. Returns whether it asked: it does not
    /// behind a pooler, whose session may serve another client by then. The request may arrive after the statement has
    /// ended, so this connection must not be used for another one.
    pub(in crate::pg) async fn cancel(&self) -> bool {
        if self.is_pooled() {
            return false;
        }
        let handshake = Arc::new(Handshake::default());
        let tap = Tap::new(Replies::new(), handshake, self.tls.clone());
        let asked = self.client.cancel_token().cancel_query(tap).await;
        if let Err(error) = asked {
            tracing::debug!(%error, "PostgreSQL could not be asked to cancel a statement");
        }
        true
    }

    /// Returns how long PostgreSQL may take to answer a statement that costs it nothing.
    pub(in crate::pg) fn answer_timeout(&self) -> Duration {
        self.answer_timeout
    }

    /// Prepares a named statement. The driver closes the name when the statement is dropped, in order with later
    /// statements of this connection.
    ///
    /// Dropping the future may leave the name behind, see [`Connection::has_stray_name`].
    ///
    /// # Errors
    /// Any error of PostgreSQL or of the connection.
    pub(in crate::pg) async fn prepare(
        &self,
        sql: &str,
    ) -> Result<Statement, tokio_postgres::Error> {
        self.has_stray_name.store(true, Ordering::Relaxed);
        let prepared = self.client.prepare(sql).await;
        self.has_stray_name.store(false, Ordering::Relaxed);
        prepared
    }

    /// Returns whether a statement may have a name that nothing will close, because [`Connection::prepare`] was
    /// dropped.
    pub(in crate::pg) fn has_stray_name(&self) -> bool {
        self.has_stray_name.load(Ordering::Relaxed)
    }

    /// Records that all names are closed.
    pub(in crate::pg) fn forget_stray_name(&self) {
        self.has_stray_name.store(false, Ordering::Relaxed);
    }

    /// Returns the id of the process that answered the login. A pooler invents one.
    pub(in crate::pg) fn process(&self) -> Option<i32> {
        match self.handshake.process.load(Ordering::Relaxed) {
            0 => None,
            process => Some(process),
        }
    }

    /// Forgets earlier errors, and returns a receiver of the first error that PostgreSQL reports from now on.
    pub(in crate::pg) fn watch_errors(&self) -> watch::Receiver<Option<ServerError>> {
        self.replies.first_error.send_replace(None);
        self.replies.first_error.subscribe()
    }

    /// Forgets earlier errors, which the caller has handled.
    pub(in crate::pg) fn forget_error(&self) {
        self.replies.first_error.send_replace(None);
    }

    /// Runs one statement and returns the tag of PostgreSQL's answer, as in `COMMIT`; `None` when no tag came. The
    /// statements `before` run before it, in the same round trip.
    ///
    /// # Errors
    /// Any error of PostgreSQL or of the connection.
    pub(in crate::pg) async fn run(
        &self,
        before: Option<&str>,
        statement: &str,
    ) -> Result<Option<String>, tokio_postgres::Error> {
        self.replies.last_tag.send_replace(None);
        match before {
            // One message, so that nothing of the transaction is left when the first statement fails.
            Some(before) => {
                let both = format!("{before}; {statement}");
                self.client.batch_execute(&both).await?;
            }
            None => self.client.batch_execute(statement).await?,
        }
        Ok(self.replies.last_tag.borrow().clone())
    }

    /// Converts an error of the driver. Where the driver only knows that the connection is closed, the error that
    /// PostgreSQL reported before is returned.
    pub(in crate::pg) fn explain(
        &self,
        error: &tokio_postgres::Error,
        about: About,
        grantee: Option<Grantee<'_>>,
    ) -> Error {
        let reported = match error.as_db_error() {
            Some(_) => None,
            None => self.reported_error(about, grantee),
        };
        reported.unwrap_or_else(|| from_postgres(error, about, grantee))
    }

    fn reported_error(&self, about: About, grantee: Option<Grantee<'_>>) -> Option<Error> {
        let first: Option<ServerError> = self.replies.first_error.borrow().clone();
        first.map(|error| error.to_error(about, grantee))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // The client is dropped after this function. Its task then sends Terminate and ends.
        if let Some(mut task) = self.task.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(async move {
                if tokio::time::timeout(FLUSH_GRACE, &mut task).await.is_err() {
                    task.abort();
                }
            });
        }
    }
}
