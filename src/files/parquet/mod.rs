//! Parquet, as its writers mean it: pandas, Spark, Hive and others.

mod calendar;
mod int96;
mod leaves;
mod meaning;

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};

use self::calendar::Calendar;
use self::int96::Int96Check;
use self::meaning::Meaning;
use super::fault::{arrow_fault, parquet_fault};
use super::rows::{BATCH_ROWS, Batches, Rows};
use super::source::Source;
use crate::error::{Error, Result};

/// A Parquet file.
#[derive(Debug)]
pub(super) struct Parquet {
    source: Arc<Source>,
    metadata: ArrowReaderMetadata,
    calendar: Calendar,
    /// The columns of type INT96, by their place among all leaves of the schema.
    int96: Vec<usize>,
}

impl Parquet {
    /// Reads the metadata at the file's end.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidCommand`](crate::error::ErrorKind::InvalidCommand) when it cannot be read, and when a column
    /// has a type that cannot be read without a loss.
    pub(super) fn open(source: Source) -> Result<Self> {
        let source = source.into_plain_file()?;
        let fault = |error| parquet_fault(&source.name, &error);
        let load = |options| ArrowReaderMetadata::load(&source.file()?, options).map_err(fault);
        let mut metadata = load(ArrowReaderOptions::new())?;
        let Meaning { schema, int96 } = Meaning::of(&source.name, &metadata)?;
        if &schema != metadata.schema() {
            metadata = load(ArrowReaderOptions::new().with_schema(schema))?;
        }
        let calendar = Calendar::of(metadata.metadata().file_metadata());
        Ok(Self {
            source: Arc::new(source),
            metadata,
            calendar,
            int96,
        })
    }
}

impl Rows for Parquet {
    fn schema(&self) -> SchemaRef {
        Arc::clone(self.metadata.schema())
    }

    fn batches(&self) -> Result<Batches> {
        let source = Arc::clone(&self.source);
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(
            source.file()?,
            self.metadata.clone(),
        );
        let reader = builder.with_batch_size(BATCH_ROWS).build();
        let mut reader = reader.map_err(|error| parquet_fault(&source.name, &error))?;
        let mut check = match &*self.int96 {
            [] => None,
            leaves => Some(Int96Check::new(&source, leaves)?),
        };
        let rows = self.metadata.metadata().file_metadata().num_rows();
        let rows = u64::try_from(rows).unwrap_or(0).max(1);
        let (calendar, mut row) = (self.calendar.clone(), 0);
        let batches = std::iter::from_fn(move || {
            let batch = reader.next()?;
            let batch = batch.map_err(|error| arrow_fault(&source.name, &error));
            let batch = batch.and_then(|batch| {
                let checked = match &mut check {
                    Some(check) => check.check(&batch),
                    None => Ok(()),
                };
                let rebased = checked.and_then(|()| calendar.rebase(batch));
                // Rows are counted within the file.
                rebased
                    .map_err(|error| {
                        error.with_context(|context| {
                            context.row = context.row.map(|own| own + row);
                        })
                    })
                    .map_err(|error| error.caused(format!("cannot read {}", source.name)))
            });
            row += u64::try_from(batch.as_ref().map_or(0, RecordBatch::num_rows)).unwrap_or(0);
            // The reader jumps between columns, so the share of rows is the better measure.
            let share = u128::from(source.byte_count.unwrap_or(0)) * u128::from(row);
            source.set_bytes_read(u64::try_from(share / u128::from(rows)).unwrap_or(u64::MAX));
            Some(batch)
        });
        Ok(Box::new(batches))
    }
}

/// The error for a value that cannot be read without a change.
fn value_fault(column: &str, row: Option<usize>, reason: &'static str) -> Error {
    let error = Error::data_rejected(reason).with_column(column);
    match row {
        Some(row) => error.with_row(u64::try_from(row).unwrap_or(u64::MAX)),
        None => error,
    }
}
