//! Arrow IPC: files and streams.

use std::io::{self, BufReader, Read};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::ipc::reader::{FileReader, StreamReader};

use super::fault::{arrow_fault, unreadable};
use super::rows::{Batches, Rows};
use super::source::{Source, read_twice};
use crate::error::Result;

type Stream = StreamReader<Watched<BufReader<Box<dyn Read + Send>>>>;

/// An Arrow IPC file, whose batches its end lists.
#[derive(Debug)]
pub(super) struct ArrowFile {
    source: Arc<Source>,
    schema: SchemaRef,
}

/// An Arrow IPC stream.
#[derive(Debug)]
pub(super) struct ArrowStream {
    source: Source,
    schema: SchemaRef,
    /// The batches of a source that can be read once.
    opened: Mutex<Option<Stream>>,
}

impl ArrowFile {
    /// Reads the schema.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidCommand`](crate::error::ErrorKind::InvalidCommand) when the file cannot be read.
    pub(super) fn open(source: Source) -> Result<Self> {
        let source = Arc::new(source.into_plain_file()?);
        let schema = file_reader(&source)?.schema();
        Ok(Self { source, schema })
    }
}

impl Rows for ArrowFile {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn batches(&self) -> Result<Batches> {
        let reader = file_reader(&self.source)?;
        let (source, all) = (Arc::clone(&self.source), reader.num_batches().max(1));
        let mut read = 0;
        let batches = named(self.source.name.clone(), reader);
        Ok(Box::new(batches.inspect(move |_| {
            read += 1;
            let share = u128::from(source.byte_count.unwrap_or(0)) * read / all as u128;
            source.set_bytes_read(u64::try_from(share).unwrap_or(u64::MAX));
        })))
    }
}

impl ArrowStream {
    /// Reads the schema.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidCommand`](crate::error::ErrorKind::InvalidCommand) when the stream cannot be read.
    pub(super) fn open(source: Source) -> Result<Self> {
        let reader = stream_reader(&source)?;
        let schema = reader.schema();
        let opened = (!source.is_repeatable()).then_some(reader);
        Ok(Self {
            source,
            schema,
            opened: Mutex::new(opened),
        })
    }
}

impl Rows for ArrowStream {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn batches(&self) -> Result<Batches> {
        let reader = if self.source.is_repeatable() {
            stream_reader(&self.source)?
        } else {
            let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
            opened.take().ok_or_else(|| read_twice(&self.source.name))?
        };
        let name = self.source.name.clone();
        Ok(Box::new(whole(reader).map(move |batch| {
            batch.map_err(|fault| match fault {
                Fault::Arrow(error) => arrow_fault(&name, &error),
                Fault::Ends(reason, hint) => unreadable(&name, reason).with_hint(hint),
            })
        })))
    }
}

/// Why a batch of a stream cannot be read.
enum Fault {
    Arrow(ArrowError),
    /// The stream ends too early, or the source goes on after it. With a hint.
    Ends(&'static str, &'static str),
}

/// Returns the batches of a stream, and an error after them unless the stream is whole and all of its source. The reader
/// takes any end of its source between two messages for the end of the stream, as the format allows ("IPC Streaming
/// Format"), but so ends a source that was cut off.
fn whole(mut reader: Stream) -> impl Iterator<Item = Result<RecordBatch, Fault>> {
    let mut has_ended = false;
    std::iter::from_fn(move || {
        if has_ended {
            return None;
        }
        if let Some(batch) = reader.next() {
            has_ended = batch.is_err();
            return Some(batch.map_err(Fault::Arrow));
        }
        has_ended = true;
        if reader.get_ref().is_at_end {
            return Some(Err(Fault::Ends(
                "the stream ends without its end mark",
                "send it whole, and close its writer",
            )));
        }
        match reader.get_mut().read(&mut [0]) {
            Ok(0) => None,
            Ok(_) => Some(Err(Fault::Ends(
                "there is more after the end of the stream",
                "load one stream at a time",
            ))),
            Err(error) => Some(Err(Fault::Arrow(error.into()))),
        }
    })
}

/// A source that remembers whether it was read to its end.
#[derive(Debug)]
struct Watched<R> {
    source: R,
    is_at_end: bool,
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(buffer)?;
        self.is_at_end |= count == 0 && !buffer.is_empty();
        Ok(count)
    }
}

fn file_reader(source: &Source) -> Result<FileReader<BufReader<std::fs::File>>> {
    let reader = FileReader::try_new_buffered(source.file()?, None);
    reader.map_err(|error| arrow_fault(&source.name, &error))
}

fn stream_reader(source: &Source) -> Result<Stream> {
    let watched = Watched {
        source: BufReader::new(source.reader()?),
        is_at_end: false,
    };
    let reader = StreamReader::try_new(watched, None);
    reader.map_err(|error| arrow_fault(&source.name, &error))
}

fn named(
    name: String,
    batches: impl Iterator<Item = Result<RecordBatch, ArrowError>>,
) -> impl Iterator<Item = Result<RecordBatch>> {
    batches.map(move |batch| batch.map_err(|error| arrow_fault(&name, &error)))
}
