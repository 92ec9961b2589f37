//! A write of one stream that its client may repeat: it has an id, and happens once.

use arrow::datatypes::Schema;
use futures_util::Stream;

use super::begin::Begin;
use super::repeated::{discard, stored};
use super::sink::Named;
use crate::error::{Error, Result};
use crate::metrics::Activity;
use crate::pg::WriteState;
use crate::write::pipeline::batches::{EndOfStream, Incoming, StreamMessage};
use crate::write::spec::{AttemptId, Once, Receipt, WriteSpec};
use crate::write::writer::Writer;

impl Writer {
    /// Writes a stream of a known number of rows as a whole, once: a repetition with the same id returns the same receipt, and its
    /// rows are discarded. It is a write of one partition in the ledger, so its id is the ledger's. A call that
    /// fails leaves the write open, for the next call with its id. Dropping the future may leave the outcome open, and
    /// another call returns it.
    ///
    /// # Errors
    /// The errors of [`Writer::begin`], [`Writer::write_attempt`] and [`Writer::commit`];
    /// [`ErrorKind::InvalidCommand`](crate::error::ErrorKind::InvalidCommand) when another number of rows arrives;
    /// [`ErrorKind::AlreadyExists`](crate::error::ErrorKind::AlreadyExists) when the id was used for another number of
    /// rows; [`ErrorKind::Unavailable`](crate::error::ErrorKind::Unavailable) when another call with the id is first.
    pub async fn write_once<S>(
        &self,
        once: &Once,
        spec: &WriteSpec,
        schema: &Schema,
        incoming: Incoming<'_, S>,
    ) -> Result<Receipt>
    where
        S: Stream<Item = Result<StreamMessage>> + Unpin,
    {
        let write_id = once.write_id.as_str();
        let rows = once.rows.ok_or_else(|| {
            Error::invalid_command("a write that happens once announces its number of rows")
        })?;
        let begin = Begin {
            named: &Named::Id(write_id.to_owned()),
            spec,
            schema,
            driver: None,
        };
        // Boxed, since the futures are large.
        let beginning = Box::pin(self.begin(&begin));
        let begun = incoming.stream.wait(Activity::Open, beginning).await?;
        let located = |error: Error| error.with_write_id(write_id);
        if begun.state == WriteState::Committed {
            let discarded = discard(incoming, Some(rows), begun);
            return discarded.await.map_err(located);
        }
        let id = AttemptId {
            write_id: write_id.to_owned(),
            partition_id: 0,
            attempt_id: uuid::Uuid::new_v4().to_string(),
        };
        let incoming = Incoming {
            end: EndOfStream::HasRows(rows),
            ..incoming
        };
        let received = Box::pin(self.write_attempt(&id, schema, incoming)).await;
        let receipt = match received {
            Ok(receipt) => receipt,
            Err(error) => return Err(self.why_not_staged(write_id, error).await),
        };
        let accepted = [(id, receipt.row_count)];
        let committed = Box::pin(self.commit(write_id, &accepted, false)).await?;
        stored(committed, rows)
    }

    /// Returns the error of a stream that failed: that another call of the same write was first, or else the given
    /// error.
    async fn why_not_staged(&self, write_id: &str, error: Error) -> Error {
        match self.status(write_id).await {
            Ok(status) if status.state.is_decided() => error
                .into_retryable("another call with the same write id was committed first")
                .with_hint("send the ingest again for its answer")
                .with_write_id(write_id),
            Ok(_) | Err(_) => error,
        }
    }
}
