//! Reads files of rows (Parquet, Arrow IPC and CSV) as batches, and reports the progress.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::reader::{FileReader, StreamReader};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::error::{Error, Result, chain};

const BATCH_ROWS: usize = 8192;
/// The bytes that Parquet and Arrow IPC files begin with. Arrow streams begin with a marker before a length.
const PARQUET_MAGIC: &[u8] = b"PAR1";
const ARROW_MAGIC: &[u8] = b"ARROW1";
const ARROW_STREAM: &[u8] = &[0xff; 4];

/// The format of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Parquet,
    ArrowFile,
    ArrowStream,
    Csv { delimiter: u8 },
}

/// A file of rows with its schema.
#[derive(Debug, Clone)]
pub struct RowFile {
    /// Its path.
    pub path: PathBuf,
    /// Its columns. Those of CSV are text, which the server encodes for the type of the table's column.
    pub schema: SchemaRef,
    /// Its size in bytes.
    pub byte_count: u64,
    format: Format,
}

/// The batches of a file.
pub type Batches = Box<dyn Iterator<Item = Result<RecordBatch>> + Send>;

impl RowFile {
    /// Reads the head of a file, whose first bytes say its format. A file that is neither Parquet nor Arrow is CSV with a
    /// line of names and the separator `delimiter`, unless its name says otherwise.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidCommand`](crate::error::ErrorKind::InvalidCommand), with the path, when the file cannot be
    /// read.
    pub fn open(path: &Path, delimiter: u8) -> Result<Self> {
        let read = || -> Result<Self, ArrowError> {
            let mut file = File::open(path)?;
            let byte_count = file.metadata()?.len();
            if byte_count == 0 {
                return Err(ArrowError::ParseError("the file is empty".to_owned()));
            }
            let mut head = Vec::new();
            file.by_ref().take(8).read_to_end(&mut head)?;
            file.seek(SeekFrom::Start(0))?;
            let format = if head.starts_with(PARQUET_MAGIC) {
                Format::Parquet
            } else if head.starts_with(ARROW_MAGIC) {
                Format::ArrowFile
            } else if head.starts_with(ARROW_STREAM) {
                Format::ArrowStream
            } else if let Some(name) = other_format(path) {
                return Err(ArrowError::ParseError(format!(
                    "the file is not {name}, as its name says"
                )));
            } else {
                Format::Csv { delimiter }
            };
            Ok(Self {
                path: path.to_owned(),
                schema: schema(file, format)?,
                byte_count,
                format,
            })
        };
        read().map_err(|error| unreadable(path, &error))
    }

    /// Reads the batches. `done` holds the number of bytes read so far.
    ///
    /// # Errors
    /// The errors of [`RowFile::open`], here and among the batches.
    pub fn read(&self, done: Arc<AtomicU64>) -> Result<Batches> {
        let path = self.path.clone();
        let batches = self
            .batches(done)
            .map_err(|error| unreadable(&path, &error))?;
        Ok(Box::new(batches.map(move |batch| {
            batch.map_err(|error| unreadable(&path, &error))
        })))
    }

    fn batches(
        &self,
        done: Arc<AtomicU64>,
    ) -> Result<Box<dyn Iterator<Item = Result<RecordBatch, ArrowError>> + Send>, ArrowError> {
        let file = File::open(&self.path)?;
        if self.format == Format::Parquet {
            let builder = ParquetRecordBatchReaderBuilder::try_new(file)?;
            let rows = u64::try_from(builder.metadata().file_metadata().num_rows()).unwrap_or(0);
            let batches = builder.with_batch_size(BATCH_ROWS).build()?;
            let (all, mut read) = (self.byte_count, 0);
            // The reader jumps between columns, so the share of rows is the better measure.
            return Ok(Box::new(batches.inspect(move |batch| {
                let count = batch.as_ref().map_or(0, RecordBatch::num_rows);
                read += u64::try_from(count).unwrap_or(u64::MAX);
                let share = u128::from(all) * u128::from(read) / u128::from(rows.max(1));
                done.store(u64::try_from(share).unwrap_or(all), Ordering::Relaxed);
            })));
        }
        let file = BufReader::new(Watched { file, done });
        Ok(match self.format {
            Format::ArrowFile => Box::new(FileReader::try_new(file, None)?),
            Format::ArrowStream => Box::new(StreamReader::try_new(file, None)?),
            Format::Csv { delimiter } => Box::new(
                arrow::csv::ReaderBuilder::new(Arc::clone(&self.schema))
                    .with_header(true)
                    .with_delimiter(delimiter)
                    .with_batch_size(BATCH_ROWS)
                    .build_buffered(file)?,
            ),
            Format::Parquet => Box::new(std::iter::empty()),
        })
    }
}

/// Returns the format, other than CSV, that the name of a file says.
fn other_format(path: &Path) -> Option<&'static str> {
    let extension = path.extension()?.to_str()?.to_ascii_lowercase();
    match extension.as_str() {
        "parquet" => Some("Parquet"),
        "arrow" | "arrows" | "feather" | "ipc" => Some("Arrow IPC"),
        _ => None,
    }
}

fn schema(file: File, format: Format) -> Result<SchemaRef, ArrowError> {
    let file = BufReader::new(file);
    Ok(match format {
        Format::Parquet => {
            let builder = ParquetRecordBatchReaderBuilder::try_new(file.into_inner())?;
            Arc::clone(builder.schema())
        }
        Format::ArrowFile => FileReader::try_new(file, None)?.schema(),
        Format::ArrowStream => StreamReader::try_new(file, None)?.schema(),
        Format::Csv { delimiter } => {
            let format = arrow::csv::reader::Format::default();
            let format = format.with_header(true).with_delimiter(delimiter);
            let (named, _) = format.infer_schema(file, Some(0))?;
            let text = |field: &Arc<Field>| Field::new(field.name(), DataType::Utf8, true);
            Arc::new(Schema::new(
                named.fields().iter().map(text).collect::<Vec<_>>(),
            ))
        }
    })
}

/// The error for a file that cannot be read. It leaves out the CSV reader's message, which may hold values.
fn unreadable(path: &Path, error: &ArrowError) -> Error {
    let path = path.display();
    if matches!(error, ArrowError::CsvError(_)) {
        return Error::invalid_command(format!("cannot read {path} as CSV")).with_hint(
            "begin the file with a line of names, and give each line the same number of fields",
        );
    }
    Error::invalid_command(format!("cannot read {path}: {}", chain(error)))
}

/// A file that counts the bytes read.
struct Watched {
    file: File,
    done: Arc<AtomicU64>,
}

impl Read for Watched {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        let read = u64::try_from(count).unwrap_or(0);
        self.done.fetch_add(read, Ordering::Relaxed);
        Ok(count)
    }
}

impl Seek for Watched {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        let position = self.file.seek(position)?;
        self.done.store(position, Ordering::Relaxed);
        Ok(position)
    }
}
