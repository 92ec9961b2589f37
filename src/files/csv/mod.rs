//! CSV, and text like it, as PostgreSQL's `COPY` reads it.

mod batches;
mod columns;
mod dialect;
mod encoding;
mod records;
mod split;

use std::sync::{Arc, Mutex, PoisonError};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use encoding_rs::Encoding;

use self::batches::CsvBatches;
use self::columns::Columns;
pub use self::dialect::{Dialect, Unnamed};
use self::records::{Records, fault_of, records};
use self::split::Characters;
use super::compressed::uncompressed_name;
use super::rows::{Batches, Rows};
use super::source::{Source, read_twice};
use crate::error::Result;
use crate::files::text::until_error;

/// A CSV file.
#[derive(Debug)]
pub(super) struct Csv {
    source: Source,
    dialect: Dialect,
    characters: Characters,
    encoding: Option<&'static Encoding>,
    columns: Columns,
    schema: SchemaRef,
    /// The records after the header of a source that can be read once.
    opened: Mutex<Option<Records>>,
}

impl Csv {
    /// Reads the names of the columns.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidCommand`](crate::error::ErrorKind::InvalidCommand) when the header cannot be read, and when
    /// it does not name each column once.
    pub(super) fn open(source: Source, dialect: Dialect) -> Result<Self> {
        let quote = dialect.quote;
        let characters = Characters {
            delimiter: dialect.delimiter_for(uncompressed_name(&source.name)),
            quote,
            escape: quote.and(dialect.escape.or(quote)),
            comment: dialect.comment,
        };
        let encoding = encoding::encoding(dialect.encoding.as_deref())?;
        let mut records = records(&source, &dialect, characters, encoding)?;
        let columns = Columns::read(&source.name, &dialect, &mut records)?;
        let text = |name: &String| Field::new(name, DataType::Utf8, true);
        let schema = Arc::new(Schema::new(
            columns.names.iter().map(text).collect::<Vec<_>>(),
        ));
        let opened = (!source.is_repeatable()).then_some(records);
        Ok(Self {
            source,
            dialect,
            characters,
            encoding,
            columns,
            schema,
            opened: Mutex::new(opened),
        })
    }

    /// Returns the records after the header.
    fn records(&self) -> Result<Records> {
        if !self.source.is_repeatable() {
            let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
            return opened.take().ok_or_else(|| read_twice(&self.source.name));
        }
        let (dialect, encoding) = (&self.dialect, self.encoding);
        let mut records = records(&self.source, dialect, self.characters, encoding)?;
        if dialect.header {
            records
                .next()
                .map_err(|fault| fault_of(&self.source.name, &fault, None))?;
        }
        Ok(records)
    }
}

impl Rows for Csv {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn batches(&self) -> Result<Batches> {
        let mut batches = CsvBatches {
            name: self.source.name.clone(),
            records: self.records()?,
            columns: self.columns.clone(),
            schema: self.schema(),
            nulls: self.dialect.nulls.clone(),
        };
        Ok(until_error(move || batches.batch()))
    }

    fn line_of(&self, row: u64) -> Option<u64> {
        if !self.source.is_repeatable() {
            return None;
        }
        let mut records = self.records().ok()?;
        for _ in 0..row {
            records.next().ok()?;
        }
        records.next().ok()?.map(|record| record.line)
    }
}
