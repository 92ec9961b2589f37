//! Encodes the batches of a stream, and sends the rows on, chunk by chunk.

use std::sync::Arc;

use futures_util::{Stream, StreamExt};

use super::envelope::Envelope;
use super::lanes::{CHUNK_BYTES, Lane, Lanes, Loaded};
use super::runs::Runs;
use super::volume::{Meter, Size};
use crate::error::{Error, Result};
use crate::failpoint::{Failpoint, reach};
use crate::metrics::{Activity, Stream as Flow};
use crate::write::budget::{Budget, Share};
use crate::write::reject::collected::Rejects;
use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use arrow_pgcopy::{BatchEncoder, Chunks, EncodePlan, Ident};

/// Bytes of conversion memory that are not taken from the budget. The budget reserves as much for each COPY.
const FREE_BYTES: u64 = 2 << 20;

/// A message of a stream after its schema.
#[derive(Debug)]
pub enum StreamMessage {
    /// Rows, and their size.
    Batch(RecordBatch, Size),
    /// The client's record of the end.
    End(EndRecord),
}

/// The client's totals of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndRecord {
    /// Number of rows in all batches.
    pub row_count: u64,
    /// Number of batches with rows.
    pub batch_count: u64,
}

/// The proof that a stream is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndOfStream {
    /// An end record that equals what arrived. gRPC shows a failed sender and a garbage-collected one as a clean end of
    /// stream, so it is the only proof.
    NeedsEndRecord,
    /// The end of the stream itself, for clients that cannot send an end record.
    IsEnough,
    /// The number of rows, which the client sent before them.
    HasRows(u64),
}

impl EndOfStream {
    /// Checks a stream that has ended without an end record, or with one that equals what arrived.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidCommand`](crate::error::ErrorKind::InvalidCommand) when the proof is missing or wrong.
    pub(crate) fn check(self, announced: Option<EndRecord>, row_count: u64) -> Result<()> {
        match (self, announced) {
            (Self::HasRows(rows), _) if rows != row_count => Err(Error::invalid_command(format!(
                "the client announced {rows} rows, and {row_count} arrived; the rows are discarded"
            ))
            .with_hint("announce the number of rows of all batches, and send them all")),
            (Self::IsEnough | Self::HasRows(_), _) | (Self::NeedsEndRecord, Some(_)) => Ok(()),
            (Self::NeedsEndRecord, None) => Err(Error::invalid_command(format!(
                "the stream ended after {row_count} rows without its end record, as when the client fails; the rows are discarded"
            ))),
        }
    }
}

/// Encodes a whole stream into one COPY and finishes it.
///
/// Any error fails the COPY, and so does dropping the future.
///
/// # Errors
/// The errors of [`BatchSource::copy_batches`].
pub(crate) async fn load<S>(
    plan: &EncodePlan,
    incoming: Incoming<'_, S>,
    meter: Meter,
    lane: Lane,
) -> Result<Loaded>
where
    S: Stream<Item = Result<StreamMessage>> + Unpin,
{
    let stream = incoming.stream;
    let mut lanes = Lanes::one(lane);
    let mut source = BatchSource::new(plan, incoming, meter);
    source.copy_batches(&mut lanes, u64::MAX).await?;
    let finishing = lanes.finish_one();
    let loaded = stream.wait(Activity::Commit, finishing).await?;
    source.check_account(&loaded).await?;
    Ok(loaded)
}

/// The extent to which a stream was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// The stream ended, and its end was valid.
    All,
    /// The lanes have received the requested number of bytes, and the stream may continue.
    Part,
}

/// Signals the client that PostgreSQL takes its rows.
pub type ReadySignal = Box<dyn FnOnce() + Send>;

/// The messages of a client, and the receiver of their progress.
pub struct Incoming<'a, S> {
    /// The messages after the schema.
    pub messages: S,
    /// The proof that they are complete.
    pub end: EndOfStream,
    /// The clock and the counts of the stream.
    pub stream: &'a Flow,
    /// The memory for conversions.
    pub budget: &'a Budget,
    /// The signal that PostgreSQL takes rows. It is sent only if the rows are needed. `None` if the client sends its
    /// rows at once.
    pub signal_ready: Option<ReadySignal>,
    /// The envelope that the rows come in. The write finds it.
    pub envelope: Option<Arc<Envelope>>,
    /// The rejected rows, if rows are rejected. The write begins with none.
    pub(crate) rejects: Option<&'a mut Rejects>,
}

impl<'a, S> Incoming<'a, S>
where
    S: Stream<Item = Result<StreamMessage>> + Unpin,
{
    /// Sets the keys of the write, by which the changes of an envelope are applied.
    pub(crate) fn keyed_by<'k>(self, names: impl Iterator<Item = &'k Ident>) -> Self {
        let envelope = self.envelope.as_deref().cloned();
        let envelope = envelope.map(|envelope| Arc::new(envelope.keyed_by(names)));
        Self { envelope, ..self }
    }

    /// Separates the rejected rows from the rest, so that the caller can lend them again.
    pub(crate) fn lend_rejects(mut self) -> (Self, Option<&'a mut Rejects>) {
        let rejects = self.rejects.take();
        (self, rejects)
    }

    /// Discards the stream. A client that waits for Ready has sent no rows, so it gets its answer at once. Any other
    /// stream is read to its end: a client that gets an answer while it still sends treats it as a failure.
    ///
    /// # Errors
    /// Any error of the stream.
    pub(crate) async fn drain(mut self) -> Result<()> {
        if self.signal_ready.is_some() {
            return Ok(());
        }
        self.stream.enter(Activity::Receive);
        while let Some(message) = self.messages.next().await {
            message?;
        }
        Ok(())
    }
}

/// A stream of batches, to be encoded into COPY.
pub(crate) struct BatchSource<'a, S> {
    pub(super) plan: &'a EncodePlan,
    pub(super) incoming: Incoming<'a, S>,
    /// The limits of the stream.
    meter: Meter,
    pub(super) arrived: EndRecord,
    announced: Option<EndRecord>,
    chunks: Chunks,
    /// The memory for converted values.
    converting: Option<Share>,
}

impl<'a, S> BatchSource<'a, S>
where
    S: Stream<Item = Result<StreamMessage>> + Unpin,
{
    /// Creates the source. Reads nothing yet.
    pub(crate) fn new(plan: &'a EncodePlan, incoming: Incoming<'a, S>, meter: Meter) -> Self {
        Self {
            plan,
            incoming,
            meter,
            arrived: EndRecord {
                row_count: 0,
                batch_count: 0,
            },
            announced: None,
            chunks: Chunks::new(CHUNK_BYTES),
            converting: None,
        }
    }

    /// Returns the plan that encodes the batches.
    pub(crate) fn plan(&self) -> &'a EncodePlan {
        self.plan
    }

    /// Encodes the stream into the lanes, until its end, or until the end of the batch at which the lanes have received
    /// `enough` bytes.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidCommand`] when the end record is missing or differs from what arrived; otherwise any error
    /// of the stream, of the encoder or of PostgreSQL.
    ///
    /// [`ErrorKind::InvalidCommand`]: crate::error::ErrorKind::InvalidCommand
    pub(crate) async fn copy_batches(
        &mut self,
        lanes: &mut Lanes,
        enough: u64,
    ) -> Result<Progress> {
        reach(Failpoint::AttemptBeforeRows).await;
        // The COPY is open now.
        if let Some(signal_ready) = self.incoming.signal_ready.take() {
            signal_ready();
        }
        // The message stream itself reports what it waits for.
        self.incoming.stream.enter(Activity::Receive);
        while lanes.byte_count() < enough {
            // The client may be slow, but a failed COPY ends the stream at once.
            let message = tokio::select! {
                biased;
                error = lanes.failed() => return Err(error),
                message = self.incoming.messages.next() => message,
            };
            let Some(message) = message else {
                self.incoming.stream.enter(Activity::Commit);
                check_end(self.incoming.end, self.announced, self.arrived)?;
                reach(Failpoint::AttemptBeforeFinish).await;
                return Ok(Progress::All);
            };
            match message? {
                _ if self.announced.is_some() => {
                    return Err(Error::invalid_command(
                        "the stream continues after its end record",
                    ));
                }
                StreamMessage::End(record) => self.announced = Some(record),
                StreamMessage::Batch(batch, _) if batch.num_rows() == 0 => {}
                StreamMessage::Batch(batch, _) if batch.num_columns() == 0 => {
                    return Err(Error::schema_mismatch("the data has rows but no columns")
                        .with_hint("select the columns to write"));
                }
                StreamMessage::Batch(batch, size) => {
                    self.meter.batch(batch.num_rows(), size)?;
                    self.copy_rows(lanes, batch, size).await?;
                    self.arrived.batch_count += 1;
                    reach(Failpoint::AttemptMidRows).await;
                }
            }
        }
        self.incoming.stream.enter(Activity::Open);
        Ok(Progress::Part)
    }

    /// Encodes a batch, piece by piece if its rows come in an envelope.
    async fn copy_rows(&mut self, lanes: &mut Lanes, batch: RecordBatch, size: Size) -> Result<()> {
        let Some(envelope) = &self.incoming.envelope else {
            let batch = self.with_places(batch)?;
            return self
                .copy_batch(lanes, project(self.plan, batch)?, size)
                .await;
        };
        let mut pieces = envelope.pieces(batch, self.arrived.row_count);
        let stream = self.incoming.stream;
        while let Some(piece) = stream.work(Activity::Encode, || pieces.next())? {
            self.copy_batch(lanes, project(self.plan, piece)?, size)
                .await?;
        }
        Ok(())
    }

    async fn copy_batch(
        &mut self,
        lanes: &mut Lanes,
        batch: RecordBatch,
        size: Size,
    ) -> Result<()> {
        let first_row = self.arrived.row_count;
        let row_count = batch.num_rows();
        let row = |index: usize| first_row + u64::try_from(index).unwrap_or(u64::MAX);
        self.arrived.row_count = row(row_count);
        let rows = Runs::consecutive(first_row..row(row_count));
        let Some(Unencoded { given, error }) = self
            .copy_part(lanes, &batch, rows, (first_row, size))
            .await?
        else {
            return Ok(());
        };
        let mut next = given;
        let mut error = Some(error);
        while next < row_count {
            let rest = batch.slice(next, row_count - next);
            let part = self.reject(&rest, row(next), size, error.take()).await?;
            let rows = Runs::without(row(next)..row(next + part.end), part.rejected);
            let left = self
                .copy_part(lanes, &part.kept, rows, (row(next), size))
                .await?;
            if let Some(Unencoded { error, .. }) = left {
                return Err(error);
            }
            next += part.end;
        }
        Ok(())
    }

    /// Copies these rows of the stream. Returns the error of the encoder if rows can be rejected.
    async fn copy_part(
        &mut self,
        lanes: &mut Lanes,
        batch: &RecordBatch,
        mut rows: Runs,
        (first_row, size): (u64, Size),
    ) -> Result<Option<Unencoded>> {
        let (plan, stream) = (self.plan, self.incoming.stream);
        let mut given = 0;
        let unencoded = |error: arrow_pgcopy::Error, given: usize, can_reject: bool| {
            let is_rejected = error.kind() == arrow_pgcopy::ErrorKind::DataRejected;
            let error = Error::from(error);
            match is_rejected && can_reject {
                true => Ok(Some(Unencoded { given, error })),
                false => Err(error),
            }
        };
        let can_reject = self.incoming.rejects.is_some();
        let encoder = || BatchEncoder::new(plan, batch, first_row);
        let mut encoder = match stream.work(Activity::Encode, encoder) {
            Ok(encoder) => encoder,
            Err(error) => return unencoded(error, given, can_reject),
        };
        loop {
            let ahead = encoder.memory_ahead();
            if ahead > 0 {
                self.converting = None;
                let budget = self.incoming.budget;
                self.converting = take_memory(budget, stream, ahead, size).await?;
            }
            let next = || encoder.next_chunk(&mut self.chunks);
            let chunk = match stream.work(Activity::Encode, next) {
                Ok(Some(chunk)) => chunk,
                Ok(None) => break,
                Err(error) => {
                    self.converting = None;
                    stream.encoded(given);
                    stream.sent_batch(given);
                    return unencoded(error, given, can_reject);
                }
            };
            let sent = encoder.given_row_count() - given;
            given += sent;
            let byte_count = chunk.len();
            self.meter.bytes(byte_count)?;
            stream
                .wait(Activity::Send, lanes.send(chunk, &rows.take(sent)))
                .await?;
            stream.sent(byte_count);
        }
        self.converting = None;
        stream.encoded(given);
        stream.sent_batch(given);
        Ok(None)
    }
}

/// A batch that cannot be encoded as a whole.
struct Unencoded {
    /// Number of rows before the error that were sent.
    given: usize,
    error: Error,
}

/// Takes memory for converted values, unless the message has enough spare memory.
pub(super) async fn take_memory(
    budget: &Budget,
    stream: &Flow,
    byte_count: u64,
    size: Size,
) -> Result<Option<Share>> {
    let more = byte_count.saturating_sub(size.spare);
    let most = budget.max_decompressed_bytes();
    if byte_count <= FREE_BYTES || more == 0 {
        return Ok(None);
    }
    if more > most {
        return Err(Error::invalid_command(format!(
            "the conversion of one row needs {more} bytes of memory, more than the limit of {most}"
        ))
        .with_hint("raise --memory-limit, or convert such long values before sending"));
    }
    if size.is_held {
        return budget.decompressed_too(more).map(Some);
    }
    let waiting = budget.decompressed(more);
    Ok(stream.wait(Activity::Memory, waiting).await)
}

/// Returns the planned columns of a batch: all of its columns, unless some are left out.
fn project(plan: &EncodePlan, batch: RecordBatch) -> Result<RecordBatch> {
    if plan.columns().len() == batch.num_columns() {
        return Ok(batch);
    }
    let schema = batch.schema_ref();
    let names = plan.column_names();
    let indices: Result<Vec<usize>, ArrowError> =
        names.map(|name| schema.index_of(name.as_str())).collect();
    indices
        .and_then(|indices| batch.project(&indices))
        .map_err(|error| Error::internal("a batch lacks a column of its plan").with_source(error))
}

fn check_end(end: EndOfStream, announced: Option<EndRecord>, arrived: EndRecord) -> Result<()> {
    match announced {
        Some(record) if record != arrived => Err(Error::invalid_command(format!(
            "the end record says {} rows in {} batches, but {} rows in {} batches arrived; the rows are discarded",
            record.row_count, record.batch_count, arrived.row_count, arrived.batch_count
        ))),
        announced => end.check(announced, arrived.row_count),
    }
}
