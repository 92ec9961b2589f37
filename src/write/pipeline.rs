//! One stream: batches are encoded by the plan and handed to the sink, chunk by chunk.

use futures_util::{Stream, StreamExt};

use crate::encode::{BatchEncoder, Chunks, format};
use crate::error::{Error, Result};
use crate::failpoint::{Failpoint, reach};
use crate::metrics::{Activity, Stream as Flow};
use crate::pg::CopySink;
use crate::plan::EncodePlan;
use arrow_array::RecordBatch;
use arrow_schema::ArrowError;
use bytes::Bytes;

/// Bytes of one CopyData message: large enough that per-message costs vanish, small enough that
/// what is buffered between here and the socket stays below a megabyte.
const CHUNK_BYTES: usize = 256 * 1024;

/// What a stream brings after its schema.
#[derive(Debug)]
pub enum StreamMessage {
    /// Rows.
    Batch(RecordBatch),
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

/// What went into the sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Loaded {
    /// Rows that the stream carried.
    pub row_count: u64,
    /// Rows that PostgreSQL counted: fewer when a trigger of the table left some out.
    pub copied_row_count: u64,
    /// Bytes of COPY.
    pub byte_count: u64,
}

/// Encodes a whole stream into the sink and finishes it.
///
/// Dropping the future, or any error, drops the sink, which fails the COPY.
///
/// # Errors
/// What the stream, the encoder or PostgreSQL had to say; [`ErrorKind::InvalidCommand`] when the
/// end record is missing or differs from what arrived.
///
/// [`ErrorKind::InvalidCommand`]: crate::error::ErrorKind::InvalidCommand
pub(super) async fn load<S>(
    plan: &EncodePlan,
    mut messages: S,
    mut sink: CopySink,
    end: EndOfStream,
    stream: &Flow,
) -> Result<Loaded>
where
    S: Stream<Item = Result<StreamMessage>> + Unpin,
{
    sink.send(Bytes::from_static(&format::HEADER)).await?;
    let mut arrived = EndRecord {
        row_count: 0,
        batch_count: 0,
    };
    let mut announced = None;
    let mut chunks = Chunks::new(CHUNK_BYTES);
    reach(Failpoint::AttemptBeforeRows).await;
    // The stream of messages says itself what it waits for.
    stream.enter(Activity::Receive);
    while let Some(message) = messages.next().await {
        match message? {
            _ if announced.is_some() => {
                return Err(Error::invalid_command(
                    "the stream goes on after its end record",
                ));
            }
            StreamMessage::End(record) => announced = Some(record),
            StreamMessage::Batch(batch) if batch.num_rows() == 0 => {}
            StreamMessage::Batch(batch) if batch.num_columns() == 0 => {
                return Err(Error::schema_mismatch(
                    "the data has rows but no columns; select the columns to write",
                ));
            }
            StreamMessage::Batch(batch) => {
                let batch = project(plan, batch)?;
                let first_row = arrived.row_count;
                let encoder = || BatchEncoder::new(plan, &batch, first_row);
                let mut encoder = stream.work(Activity::Encode, encoder)?;
                let row_count = encoder.row_count();
                arrived.row_count += u64::try_from(row_count).unwrap_or(u64::MAX);
                arrived.batch_count += 1;
                let mut encode =
                    || stream.work(Activity::Encode, || encoder.next_chunk(&mut chunks));
                while let Some(chunk) = encode()? {
                    let byte_count = chunk.len();
                    stream.wait(Activity::Send, sink.send(chunk)).await?;
                    stream.sent(byte_count);
                }
                stream.sent_batch(row_count);
                stream.encoded(row_count);
                reach(Failpoint::AttemptMidRows).await;
            }
        }
    }
    stream.enter(Activity::Commit);
    check_end(end, announced, arrived)?;
    reach(Failpoint::AttemptBeforeFinish).await;
    sink.send(Bytes::from_static(&format::TRAILER)).await?;
    let byte_count = sink.byte_count();
    let copied_row_count = sink.finish().await?;
    Ok(Loaded {
        row_count: arrived.row_count,
        copied_row_count,
        byte_count,
    })
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

/// Reads a stream to its end and keeps nothing: a client that is answered while it still sends takes
/// that for a failure.
///
/// # Errors
/// What the stream had to say.
pub(super) async fn discard<S>(mut messages: S) -> Result<()>
where
    S: Stream<Item = Result<StreamMessage>> + Unpin,
{
    while let Some(message) = messages.next().await {
        message?;
    }
    Ok(())
}

fn check_end(end: EndOfStream, announced: Option<EndRecord>, arrived: EndRecord) -> Result<()> {
    match (end, announced) {
        (_, Some(record)) if record == arrived => Ok(()),
        (_, Some(record)) => Err(Error::invalid_command(format!(
            "the end record says {} rows in {} batches, but {} rows in {} batches arrived; nothing of \
             this stream is kept",
            record.row_count, record.batch_count, arrived.row_count, arrived.batch_count
        ))),
        (EndOfStream::IsEnough, None) => Ok(()),
        (EndOfStream::NeedsEndRecord, None) => Err(Error::invalid_command(format!(
            "the stream ended after {} rows without its end record, as it does when the sender fails or \
             is cancelled; nothing of this stream is kept",
            arrived.row_count
        ))),
    }
}
