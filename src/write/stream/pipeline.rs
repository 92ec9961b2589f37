//! One stream: batches are encoded by the plan and handed on, chunk by chunk.

use futures_util::{Stream, StreamExt};

use super::lanes::{Lane, Lanes, Loaded};
use super::volume::{Meter, Size};
use crate::error::{Error, Result};
use crate::failpoint::{Failpoint, reach};
use crate::metrics::{Activity, Stream as Flow};
use crate::write::budget::{Budget, Share};
use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use arrow_pgcopy::EncodePlan;
use arrow_pgcopy::{BatchEncoder, Chunks};

/// Bytes of one CopyData message: large enough that per-message costs vanish, small enough that
/// what is buffered between here and the socket stays below a megabyte.
pub(crate) const CHUNK_BYTES: usize = 256 * 1024;

/// Memory for conversions that is not taken from the budget, which counts as much for each COPY.
const FREE_BYTES: u64 = 2 << 20;

/// What a stream brings after its schema.
#[derive(Debug)]
pub enum StreamMessage {
    /// Rows, and what they take.
    Batch(RecordBatch, Size),
    /// The sender says that this was all.
    End(EndRecord),
}

/// What the sender says that it sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndRecord {
    /// Rows in all batches.
    pub row_count: u64,
    /// Batches that held rows.
    pub batch_count: u64,
}

/// What makes a stream complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndOfStream {
    /// An end record that equals what arrived. gRPC shows a cancelled call, a sender that failed
    /// and one that was collected as garbage as a clean end of stream, so nothing less is proof.
    NeedsEndRecord,
    /// The end of the stream itself, for clients that cannot say more.
    IsEnough,
}

/// Encodes a whole stream into one COPY and finishes it.
///
/// Dropping the future, or any error, fails the COPY.
///
/// # Errors
/// As [`BatchSource::copy_batches`].
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
    stream.wait(Activity::Commit, lanes.finish_one()).await
}

/// How far a stream was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// To its end, which was right.
    All,
    /// As far as was asked for.
    Part,
}

/// Tells the client that PostgreSQL takes its rows.
pub type ReadySignal = Box<dyn FnOnce() + Send>;

/// What a client sends, and where its progress is reported.
pub struct Incoming<'a, S> {
    /// The messages after the schema.
    pub messages: S,
    /// What makes them complete.
    pub end: EndOfStream,
    /// Its clock and its counts.
    pub stream: &'a Flow,
    /// The source of memory for conversions.
    pub budget: &'a Budget,
    /// Called once PostgreSQL takes rows, and never where they are not needed. None: the client does not wait
    /// for it, and sends its rows at once.
    pub signal_ready: Option<ReadySignal>,
}

impl<S> Incoming<'_, S>
where
    S: Stream<Item = Result<StreamMessage>> + Unpin,
{
    /// Keeps nothing of the stream. A client that waits for Ready has sent no rows, and
    /// is answered at once. Of any other the stream is read to its end: a client that is answered while it still
    /// sends takes that for a failure.
    ///
    /// # Errors
    /// What the stream had to say.
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

/// A stream of batches on its way into COPY.
pub(crate) struct BatchSource<'a, S> {
    plan: &'a EncodePlan,
    incoming: Incoming<'a, S>,
    /// What it may hold.
    meter: Meter,
    arrived: EndRecord,
    announced: Option<EndRecord>,
    chunks: Chunks,
    /// The memory for converted values.
    converting: Option<Share>,
}

impl<'a, S> BatchSource<'a, S>
where
    S: Stream<Item = Result<StreamMessage>> + Unpin,
{
    /// Nothing is read yet.
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

    /// By which it is encoded.
    pub(crate) fn plan(&self) -> &'a EncodePlan {
        self.plan
    }

    /// Encodes the stream into the lanes: to its end, or to the end of the batch with which they have
    /// had so many bytes.
    ///
    /// # Errors
    /// What the stream, the encoder or PostgreSQL had to say; [`ErrorKind::InvalidCommand`] when the
    /// end record is missing or differs from what arrived.
    ///
    /// [`ErrorKind::InvalidCommand`]: crate::error::ErrorKind::InvalidCommand
    pub(crate) async fn copy_batches(
        &mut self,
        lanes: &mut Lanes,
        enough: u64,
    ) -> Result<Progress> {
        reach(Failpoint::AttemptBeforeRows).await;
        // The COPY is open.
        if let Some(signal_ready) = self.incoming.signal_ready.take() {
            signal_ready();
        }
        // The stream of messages says itself what it waits for.
        self.incoming.stream.enter(Activity::Receive);
        while lanes.byte_count() < enough {
            // The client may be slow; a failed COPY ends the stream at once.
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
                    self.copy_batch(lanes, project(self.plan, batch)?, size)
                        .await?;
                    reach(Failpoint::AttemptMidRows).await;
                }
            }
        }
        self.incoming.stream.enter(Activity::Open);
        Ok(Progress::Part)
    }

    async fn copy_batch(
        &mut self,
        lanes: &mut Lanes,
        batch: RecordBatch,
        size: Size,
    ) -> Result<()> {
        let (plan, stream) = (self.plan, self.incoming.stream);
        let first_row = self.arrived.row_count;
        let encoder = || BatchEncoder::new(plan, &batch, first_row);
        let mut encoder = stream.work(Activity::Encode, encoder)?;
        let row_count = encoder.row_count();
        let row = |count: usize| first_row + u64::try_from(count).unwrap_or(u64::MAX);
        self.arrived.row_count = row(row_count);
        self.arrived.batch_count += 1;
        let mut from = first_row;
        loop {
            let ahead = encoder.memory_ahead();
            if ahead > 0 {
                self.converting = None;
                let budget = self.incoming.budget;
                self.converting = take_memory(budget, stream, ahead, size).await?;
            }
            let next = || encoder.next_chunk(&mut self.chunks);
            let Some(chunk) = stream.work(Activity::Encode, next)? else {
                break;
            };
            let to = row(encoder.given_row_count());
            let byte_count = chunk.len();
            self.meter.bytes(byte_count)?;
            stream
                .wait(Activity::Send, lanes.send(chunk, from..to))
                .await?;
            stream.sent(byte_count);
            from = to;
        }
        self.converting = None;
        stream.encoded(row_count);
        stream.sent_batch(row_count);
        Ok(())
    }
}

/// Takes the memory for converted values, unless the message has enough to spare.
async fn take_memory(
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

/// The columns that are planned: all of the batch, unless some are to be left out.
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
    match (end, announced) {
        (_, Some(record)) if record == arrived => Ok(()),
        (_, Some(record)) => Err(Error::invalid_command(format!(
            "the end record says {} rows in {} batches, but {} rows in {} batches arrived; the rows are discarded",
            record.row_count, record.batch_count, arrived.row_count, arrived.batch_count
        ))),
        (EndOfStream::IsEnough, None) => Ok(()),
        (EndOfStream::NeedsEndRecord, None) => Err(Error::invalid_command(format!(
            "the stream ended after {} rows without its end record, as when the client fails; the rows are discarded",
            arrived.row_count
        ))),
    }
}
