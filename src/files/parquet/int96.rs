//! Times of type INT96, which Spark, Hive and Impala write: nanoseconds of a day and the day.
//!
//! They are read as microseconds. A finer fraction would be lost in silence, so this reads each once more, as
//! nanoseconds. These wrap around outside 1677 to 2262, and the difference between both is right nevertheless.

use std::fs::File;

use arrow::array::cast::AsArray;
use arrow::array::{Array, RecordBatch};
use arrow::datatypes::{DataType, TimeUnit, TimestampMicrosecondType, TimestampNanosecondType};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};

use super::leaves::leaves_of;
use super::value_fault;
use crate::error::{Error, Result};
use crate::files::fault::{arrow_fault, parquet_fault};
use crate::files::rows::BATCH_ROWS;
use crate::files::source::Source;

/// The second reading of these columns, in step with the first.
pub(super) struct Int96Check {
    name: String,
    nanoseconds: ParquetRecordBatchReader,
    leaves: Vec<usize>,
}

impl Int96Check {
    /// Opens a file for its leaves of type INT96.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidCommand`](crate::error::ErrorKind::InvalidCommand) when it cannot be read.
    pub(super) fn new(source: &Source, leaves: &[usize]) -> Result<Self> {
        let open = |file: File| {
            // Arrow's own schema may name another unit.
            let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
            let builder = ParquetRecordBatchReaderBuilder::try_new_with_options(file, options)?;
            let mask = ProjectionMask::leaves(builder.parquet_schema(), leaves.iter().copied());
            builder
                .with_projection(mask)
                .with_batch_size(BATCH_ROWS)
                .build()
        };
        Ok(Self {
            name: source.name.clone(),
            nanoseconds: open(source.file()?)
                .map_err(|error| parquet_fault(&source.name, &error))?,
            leaves: leaves.to_vec(),
        })
    }

    /// Checks the next batch of the file.
    ///
    /// # Errors
    /// [`ErrorKind::DataRejected`](crate::error::ErrorKind::DataRejected) for a time with a finer fraction than a
    /// microsecond.
    pub(super) fn check(&mut self, batch: &RecordBatch) -> Result<()> {
        let again = match self.nanoseconds.next() {
            Some(again) => again.map_err(|error| arrow_fault(&self.name, &error))?,
            None => return Err(out_of_step()),
        };
        let all = leaves_of(batch);
        let exact = leaves_of(&again);
        if exact.len() != self.leaves.len() {
            return Err(out_of_step());
        }
        for (place, exact) in self.leaves.iter().zip(exact) {
            let read = all.get(*place).ok_or_else(out_of_step)?;
            let is_micros = matches!(
                read.values.data_type(),
                DataType::Timestamp(TimeUnit::Microsecond, _)
            );
            let micros = read.values.as_primitive_opt::<TimestampMicrosecondType>();
            let nanos = exact.values.as_primitive_opt::<TimestampNanosecondType>();
            let (Some(micros), Some(nanos)) = (micros, nanos) else {
                return Err(out_of_step());
            };
            if !is_micros || micros.len() != nanos.len() {
                return Err(out_of_step());
            }
            let finer = micros.iter().zip(nanos).position(|pair| match pair {
                (Some(micros), Some(nanos)) => nanos != micros.wrapping_mul(1000),
                _ => false,
            });
            if let Some(row) = finer {
                let reason = "a time of type INT96 is finer than a microsecond";
                return Err(value_fault(&read.column, read.is_column.then_some(row), reason)
                    .with_hint("round the times, or write them as TIMESTAMP of nanoseconds and use the conversion `rounding`"));
            }
        }
        Ok(())
    }
}

fn out_of_step() -> Error {
    Error::internal("two readings of a Parquet file differ")
}
