//! Reads other people's files as batches: Parquet, Arrow IPC, CSV and JSON lines, compressed or not.
//!
//! [`find_files`] says which files the arguments of a load name, and [`open_files`] opens them as one table.

mod compressed;
mod csv;
mod fault;
mod format;
mod found;
mod hive;
mod ipc;
mod json;
mod parquet;
mod rows;
mod source;
mod text;
mod union;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use ::arrow::datatypes::SchemaRef;

pub use self::csv::{Dialect, Unnamed};
pub use self::format::Format;
pub use self::found::find_files;
pub use self::rows::Batches;

use self::csv::Csv;
use self::format::Layout;
use self::hive::{HiveColumn, hive_columns};
use self::ipc::{ArrowFile, ArrowStream};
use self::json::JsonLines;
use self::parquet::Parquet;
use self::rows::Rows;
use self::source::Source;
use self::union::{Union, conformed};
use crate::error::Result;

/// How files are read.
#[derive(Debug, Clone, Default)]
pub struct ReadOptions {
    /// The format of all files; `None` if each says its own.
    pub format: Option<Format>,
    /// The form of those that are CSV.
    pub csv: Dialect,
    /// Whether the folders' names are names only, and `day=2026-01-01` is no column.
    pub no_hive: bool,
}

/// A file of rows, as a part of one table.
#[derive(Debug, Clone)]
pub struct RowFile {
    /// Its path, or `standard input`.
    pub name: String,
    /// The columns of all files. Those of CSV, JSON and folders are text, which the server encodes for the type of the
    /// table's column.
    pub schema: SchemaRef,
    /// Its size in bytes, as it is stored; `None` for standard input and pipes.
    pub byte_count: Option<u64>,
    /// The number of bytes read so far.
    pub bytes_read: Arc<AtomicU64>,
    rows: Arc<dyn Rows>,
    folders: Vec<HiveColumn>,
}

/// Opens files and reads their columns. The first bytes of each say its compression and its format.
///
/// # Errors
/// [`ErrorKind::InvalidCommand`](crate::error::ErrorKind::InvalidCommand), with the file's name, when a file cannot be
/// read, and when the columns of two files cannot be in one table.
pub fn open_files(paths: &[PathBuf], options: &ReadOptions) -> Result<Vec<RowFile>> {
    let (mut union, mut files) = (Union::default(), Vec::new());
    for path in paths {
        let file = open(path, options)?;
        union.add(&file.name, &file.schema, &file.folders)?;
        files.push(file);
    }
    let schema = Arc::new(union.schema());
    for file in &mut files {
        file.schema = Arc::clone(&schema);
    }
    Ok(files)
}

fn open(path: &Path, options: &ReadOptions) -> Result<RowFile> {
    let bytes_read = Arc::new(AtomicU64::new(0));
    let source = Source::open(path, Arc::clone(&bytes_read))?;
    let (name, byte_count) = (source.name.clone(), source.byte_count);
    let rows: Arc<dyn Rows> = match Layout::of(&source, options.format)? {
        Layout::Parquet => Arc::new(Parquet::open(source)?),
        Layout::ArrowFile => Arc::new(ArrowFile::open(source)?),
        Layout::ArrowStream => Arc::new(ArrowStream::open(source)?),
        Layout::Csv => Arc::new(Csv::open(source, options.csv.clone())?),
        Layout::Json => Arc::new(JsonLines::open(source)?),
    };
    let folders = if options.no_hive {
        Vec::new()
    } else {
        hive_columns(path)?
    };
    Ok(RowFile {
        name,
        schema: rows.schema(),
        byte_count,
        bytes_read,
        rows,
        folders,
    })
}

impl RowFile {
    /// Reads the batches, with the columns of all files. Standard input and pipes can be read once.
    ///
    /// # Errors
    /// The errors of [`open_files`], here and among the batches; in text, with line and column.
    /// [`ErrorKind::DataRejected`](crate::error::ErrorKind::DataRejected) for a value of Parquet that cannot be read
    /// without a change.
    pub fn read(&self) -> Result<Batches> {
        let file = self.clone();
        let batches = self.rows.batches()?;
        Ok(Box::new(batches.map(move |batch| {
            conformed(&file.name, &batch?, &file.folders, &file.schema)
        })))
    }

    /// Returns the line in which a row begins; both are counted from 1 and 0. `None` for formats without lines, and for
    /// standard input and pipes.
    pub fn line_of(&self, row: u64) -> Option<u64> {
        self.rows.line_of(row)
    }
}
