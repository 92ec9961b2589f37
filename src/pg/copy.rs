//! One running `COPY … FROM STDIN (FORMAT binary)`.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use futures_util::Sink;
use tokio::sync::watch;
use tokio_postgres::CopyInSink;

use super::sql;
use super::sqlstate::{About, Told, from_postgres};
use super::transaction::Transaction;
use crate::error::{Error, Result};
use crate::plan::{Ident, QualifiedName};

/// Takes the bytes of a binary COPY and hands them to PostgreSQL.
///
/// Dropping it without [`CopySink::finish`] fails the COPY, and with it the transaction: PostgreSQL
/// then keeps nothing.
pub struct CopySink {
    sink: Pin<Box<CopyInSink<Bytes>>>,
    heard: watch::Receiver<Option<Told>>,
    stall_timeout: Duration,
    byte_count: u64,
}

impl CopySink {
    /// Starts the COPY into these columns of the table.
    ///
    /// # Errors
    /// What PostgreSQL said; the transaction is then of no further use.
    pub async fn open<'a>(
        transaction: &Transaction,
        table: &QualifiedName,
        columns: impl IntoIterator<Item = &'a Ident>,
    ) -> Result<Self> {
        let statement = sql::copy_in(table, columns);
        let connection = transaction.connection()?;
        let heard = connection.listen();
        // The driver's one way to copy takes a statement with a name. The name is closed when `prepared` is
        // dropped, with the future below: on the wire after the rows, and before what ends the transaction.
        // Behind a pooler the next transaction of this connection may be on another server.
        let copying = async {
            let prepared = connection.prepare(&statement).await?;
            connection.client().copy_in(&prepared).await
        };
        let sink = transaction.on_rows(copying).await;
        let sink = sink.map_err(|error| error.with_table(table))?;
        Ok(Self {
            sink: Box::pin(sink),
            heard,
            stall_timeout: transaction.stall_timeout(),
            byte_count: 0,
        })
    }

    /// Waits while PostgreSQL is behind by more than a chunk or two. Dropping the future changes nothing.
    ///
    /// # Errors
    /// What PostgreSQL has against any row it has read so far; that the connection is gone; that
    /// PostgreSQL took nothing for too long ([`ErrorKind::Unavailable`]): none of its own timeouts
    /// looks at a COPY. After an error the sink is of no further use.
    ///
    /// [`ErrorKind::Unavailable`]: crate::error::ErrorKind::Unavailable
    pub async fn ready(&mut self) -> Result<()> {
        let room = poll_fn(|cx| self.sink.as_mut().poll_ready(cx));
        let ready = tokio::select! {
            biased;
            _ = self.heard.wait_for(Option::is_some) => None,
            ready = tokio::time::timeout(self.stall_timeout, room) => Some(ready),
        };
        match ready {
            Some(Ok(Ok(()))) => Ok(()),
            Some(Ok(Err(error))) => Err(self.explain(&error)),
            Some(Err(_)) => Err(Error::unavailable(format!(
                "PostgreSQL has taken nothing for {}: somebody holds a lock, its disk is full or slow, or \
                 --copy-stall-timeout is too short; nothing of this stream is kept",
                humantime::format_duration(self.stall_timeout)
            ))),
            None => Err(self.why()),
        }
    }

    /// Completes when PostgreSQL has something against a row, or the connection is gone, and says so.
    pub async fn failed(&mut self) -> Error {
        // An error here is that nobody can say anything any more.
        self.heard.wait_for(Option::is_some).await.ok();
        self.why()
    }

    /// Hands over a chunk, for which there is room since [`CopySink::ready`].
    ///
    /// # Errors
    /// That the connection is gone, and why.
    pub fn put(&mut self, chunk: Bytes) -> Result<()> {
        let length = chunk.len();
        let put = self.sink.as_mut().start_send(chunk);
        put.map_err(|error| self.explain(&error))?;
        self.byte_count += u64::try_from(length).unwrap_or(u64::MAX);
        Ok(())
    }

    /// Hands over a chunk once there is room.
    ///
    /// # Errors
    /// As [`CopySink::ready`].
    pub async fn send(&mut self, chunk: Bytes) -> Result<()> {
        self.ready().await?;
        self.put(chunk)
    }

    /// Bytes handed over so far.
    pub fn byte_count(&self) -> u64 {
        self.byte_count
    }

    /// Ends the COPY and returns the number of rows PostgreSQL took. Nothing is visible to others
    /// before the transaction commits.
    ///
    /// # Errors
    /// What PostgreSQL has against any of the rows.
    pub async fn finish(mut self) -> Result<u64> {
        let finished = self.sink.as_mut().finish().await;
        finished.map_err(|error| self.explain(&error))
    }

    /// The driver says "closed" where PostgreSQL said why.
    fn explain(&self, error: &tokio_postgres::Error) -> Error {
        self.told()
            .unwrap_or_else(|| from_postgres(error, About::Rows))
    }

    fn why(&self) -> Error {
        let ended = || Error::unavailable("the connection to PostgreSQL has ended; try again");
        self.told().unwrap_or_else(ended)
    }

    fn told(&self) -> Option<Error> {
        let heard = self.heard.borrow();
        heard.as_ref().map(|told| told.to_error(About::Rows))
    }
}
