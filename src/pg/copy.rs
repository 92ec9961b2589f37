//! The sink of a running `COPY … FROM STDIN (FORMAT binary)`.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use futures_util::Sink;
use tokio::sync::watch;
use tokio_postgres::CopyInSink;

use super::connection::{About, Grantee, ServerError, from_postgres};
use super::sql::{self, CheckedCondition};
use super::transaction::Transaction;
use crate::error::{Error, ErrorKind, Result};
use arrow_pgcopy::{Ident, QualifiedName};

/// Sends the bytes of a binary COPY to PostgreSQL.
///
/// Dropping it without [`CopySink::finish`] aborts the COPY, and with it the transaction: PostgreSQL then keeps
/// nothing.
pub struct CopySink {
    sink: Pin<Box<CopyInSink<Bytes>>>,
    first_error: watch::Receiver<Option<ServerError>>,
    stall_timeout: Duration,
    byte_count: u64,
    /// The role that writes the rows.
    role: Option<Ident>,
    /// Whether the COPY fails for rows outside a condition.
    is_guarded: bool,
}

impl CopySink {
    /// Starts a COPY into these columns of a table. A row outside the condition fails it.
    ///
    /// # Errors
    /// Any error that PostgreSQL reports. The transaction is unusable then.
    pub async fn open<'a>(
        transaction: &Transaction,
        table: &QualifiedName,
        columns: impl IntoIterator<Item = &'a Ident>,
        only: Option<&CheckedCondition>,
    ) -> Result<Self> {
        let columns: Vec<&Ident> = columns.into_iter().collect();
        let statement = sql::copy_in(table, columns.iter().copied(), only);
        let connection = transaction.connection()?;
        let first_error = connection.watch_errors();
        // The driver can only copy by a named statement. The name is closed when `prepared` is dropped, with the
        // future below: on the wire after the rows, and before the statement that ends the transaction. Behind a
        // pooler, the next transaction of this connection may run on another server.
        let copying = async {
            let prepared = connection.prepare(&statement).await?;
            connection.client().copy_in(&prepared).await
        };
        let sink = transaction.on_rows(copying).await;
        let sink = sink.map_err(|error| {
            let error = error.with_table(table);
            match transaction.role_in_force() {
                Some(role)
                    if error.kind() == ErrorKind::PermissionDenied && error.hint().is_none() =>
                {
                    error
                        .with_hint("grant the missing privilege")
                        .with_fix_sql(sql::grant_insert(table, &columns, role))
                }
                _ => error,
            }
        })?;
        Ok(Self {
            sink: Box::pin(sink),
            first_error,
            stall_timeout: transaction.stall_timeout(),
            byte_count: 0,
            role: transaction.role_in_force().cloned(),
            is_guarded: only.is_some(),
        })
    }

    /// Waits until there is room for a chunk. PostgreSQL may be a chunk or two behind. Dropping the future changes
    /// nothing.
    ///
    /// # Errors
    /// An error that PostgreSQL reports for a row it has read so far; [`ErrorKind::Unavailable`] when the connection
    /// has ended, and when PostgreSQL took nothing for too long, which none of its own timeouts covers. After an error
    /// the sink is unusable.
    ///
    /// [`ErrorKind::Unavailable`]: crate::error::ErrorKind::Unavailable
    pub async fn ready(&mut self) -> Result<()> {
        let room = poll_fn(|cx| self.sink.as_mut().poll_ready(cx));
        let ready = tokio::select! {
            biased;
            _ = self.first_error.wait_for(Option::is_some) => None,
            ready = tokio::time::timeout(self.stall_timeout, room) => Some(ready),
        };
        match ready {
            Some(Ok(Ok(()))) => Ok(()),
            Some(Ok(Err(error))) => Err(self.explain(&error)),
            Some(Err(_)) => Err(Error::unavailable(format!(
                "PostgreSQL took no rows for {}",
                humantime::format_duration(self.stall_timeout)
            ))
            .with_hint(
                "look for a session that holds a lock and for a full or slow disk, or raise --copy-stall-timeout",
            )),
            None => Err(self.error()),
        }
    }

    /// Waits for PostgreSQL to report an error, or for the connection to end. Returns the error.
    pub async fn wait_error(&mut self) -> Error {
        // The sender was dropped: no more errors can arrive.
        self.first_error.wait_for(Option::is_some).await.ok();
        self.error()
    }

    /// Sends a chunk, after [`CopySink::ready`] has returned.
    ///
    /// # Errors
    /// The error that ended the connection.
    pub fn put(&mut self, chunk: Bytes) -> Result<()> {
        let length = chunk.len();
        let put = self.sink.as_mut().start_send(chunk);
        put.map_err(|error| self.explain(&error))?;
        self.byte_count += u64::try_from(length).unwrap_or(u64::MAX);
        Ok(())
    }

    /// Waits until there is room, and sends a chunk.
    ///
    /// # Errors
    /// The errors of [`CopySink::ready`].
    pub async fn send(&mut self, chunk: Bytes) -> Result<()> {
        self.ready().await?;
        self.put(chunk)
    }

    /// Returns the number of bytes sent so far.
    pub fn byte_count(&self) -> u64 {
        self.byte_count
    }

    /// Ends the COPY and returns the number of rows that PostgreSQL took. Other sessions see nothing before the
    /// transaction commits.
    ///
    /// # Errors
    /// Any error that PostgreSQL reports for one of the rows.
    pub async fn finish(mut self) -> Result<u64> {
        let finished = self.sink.as_mut().finish().await;
        finished.map_err(|error| self.explain(&error))
    }

    /// Converts an error of the driver, which reports "closed" where PostgreSQL reported the reason before.
    fn explain(&self, error: &tokio_postgres::Error) -> Error {
        self.reported_error().unwrap_or_else(|| {
            self.explain_outside(from_postgres(error, About::Rows, self.grantee()))
        })
    }

    fn error(&self) -> Error {
        self.reported_error().unwrap_or_else(|| {
            Error::unavailable("the connection to PostgreSQL has ended").with_hint("try again")
        })
    }

    fn reported_error(&self) -> Option<Error> {
        let first = self.first_error.borrow();
        let error = first.as_ref()?.to_error(About::Rows, self.grantee());
        Some(self.explain_outside(error))
    }

    /// Explains the error of a row outside the condition.
    fn explain_outside(&self, error: Error) -> Error {
        if !self.is_guarded || error.context().sqlstate.as_deref() != Some(sql::OUTSIDE) {
            return error;
        }
        let context = error.context().clone();
        Error::data_rejected("the row is outside replace_where")
            .with_hint("remove such rows before writing, or widen replace_where")
            .with_context(|own| *own = context)
    }

    fn grantee(&self) -> Option<Grantee<'_>> {
        let role = self.role.as_ref()?;
        Some(Grantee {
            role,
            defines: false,
        })
    }
}
