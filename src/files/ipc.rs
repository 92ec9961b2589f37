//! Arrow IPC: files and streams.

use std::io::BufReader;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::ipc::reader::{FileReader, StreamReader};

use super::fault::arrow_fault;
use super::rows::{Batches, Rows};
use super::source::{Source, read_twice};
use crate::error::Result;

type Stream = StreamReader<BufReader<Box<dyn std::io::Read + Send>>>;

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
        Ok(Box::new(named(self.source.name.clone(), reader)))
    }
}

fn file_reader(source: &Source) -> Result<FileReader<BufReader<std::fs::File>>> {
    let reader = FileReader::try_new_buffered(source.file()?, None);
    reader.map_err(|error| arrow_fault(&source.name, &error))
}

fn stream_reader(source: &Source) -> Result<Stream> {
    let reader = StreamReader::try_new(BufReader::new(source.reader()?), None);
    reader.map_err(|error| arrow_fault(&source.name, &error))
}

fn named(
    name: String,
    batches: impl Iterator<Item = Result<RecordBatch, ArrowError>>,
) -> impl Iterator<Item = Result<RecordBatch>> {
    batches.map(move |batch| batch.map_err(|error| arrow_fault(&name, &error)))
}
