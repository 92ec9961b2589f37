//! One running `COPY … FROM STDIN (FORMAT binary)`.

use std::pin::Pin;

use bytes::Bytes;
use futures_util::SinkExt;
use tokio_postgres::CopyInSink;

use super::sql;
use super::sqlstate::from_postgres;
use super::transaction::Transaction;
use crate::error::Result;
use crate::plan::{Ident, QualifiedName};

/// Takes the bytes of a binary COPY and hands them to PostgreSQL.
///
/// Dropping it without [`CopySink::finish`] fails the COPY, and with it the transaction: PostgreSQL
/// then keeps nothing.
pub struct CopySink {
    sink: Pin<Box<CopyInSink<Bytes>>>,
    byte_count: u64,
}

impl CopySink {
    /// Starts the COPY into these columns of the table.
    ///
    /// # Errors
    /// What PostgreSQL said; the connection is then of no further use, and dropping the transaction
    /// closes it.
    pub async fn open<'a>(
        transaction: &Transaction,
        table: &QualifiedName,
        columns: impl IntoIterator<Item = &'a Ident>,
    ) -> Result<Self> {
        let statement = sql::copy_in(table, columns);
        let sink = transaction
            .client()?
            .copy_in(&statement)
            .await
            .map_err(|error| from_postgres(&error).with_table(table))?;
        Ok(Self {
            sink: Box::pin(sink),
            byte_count: 0,
        })
    }

    /// Hands over a chunk; waits while PostgreSQL is behind by more than a chunk or two.
    ///
    /// # Errors
    /// That the connection is gone. What PostgreSQL has against the rows themselves comes from
    /// [`CopySink::finish`].
    pub async fn send(&mut self, chunk: Bytes) -> Result<()> {
        let length = chunk.len();
        self.sink
            .feed(chunk)
            .await
            .map_err(|error| from_postgres(&error))?;
        self.byte_count += u64::try_from(length).unwrap_or(u64::MAX);
        Ok(())
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
        self.sink
            .as_mut()
            .finish()
            .await
            .map_err(|error| from_postgres(&error))
    }
}
