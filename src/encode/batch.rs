//! One batch: bind the plan to the arrays, measure every row, then write chunk by chunk.

use std::ops::Range;

use arrow_array::{Array, RecordBatch};
use bytes::Bytes;

use super::bind::bind;
use super::column::{Column, u32_size};
use super::problem::{Problem, Rejected};
use crate::error::{Error, Result};
use crate::plan::EncodePlan;

/// Bytes of the field count that begins a tuple.
const FIELD_COUNT: usize = 2;

/// Turns one batch into tuples of binary COPY, without the header and the trailer of the stream.
///
/// [`new`](Self::new) looks at every value: what PostgreSQL would reject for its own sake is
/// rejected there, so that writing cannot fail and leaves no half row.
pub struct BatchEncoder<'a> {
    columns: Vec<Box<dyn Column + 'a>>,
    field_count: [u8; FIELD_COUNT],
    /// Bytes of each tuple.
    sizes: Vec<u32>,
    byte_count: u64,
    next_row: usize,
    /// Where each row of the chunk goes on; kept for its allocation.
    cursors: Vec<usize>,
}

impl<'a> BatchEncoder<'a> {
    /// Checks and measures a batch whose first row is row `first_row` of the stream.
    ///
    /// The batch must have the plan's fields in the plan's order; nullability and metadata may
    /// differ. What lies in a NULL's slot is not looked at.
    ///
    /// # Errors
    /// [`ErrorKind::DataRejected`](crate::error::ErrorKind::DataRejected) for the first value of
    /// the first column that cannot be written, with the column, the row within the stream and the
    /// SQLSTATE that the server would have answered with.
    /// [`ErrorKind::Internal`](crate::error::ErrorKind::Internal) when the batch is not the plan's.
    pub fn new(plan: &'a EncodePlan, batch: &'a RecordBatch, first_row: u64) -> Result<Self> {
        let planned = plan.columns();
        let same = planned.len() == batch.num_columns()
            && planned
                .iter()
                .zip(batch.columns())
                .all(|(column, array)| column.data_type.equals_datatype(array.data_type()));
        let (Ok(field_count), true) = (i16::try_from(planned.len()), same) else {
            return Err(Error::internal("a batch has other columns than its plan"));
        };
        let mut columns = Vec::with_capacity(planned.len());
        let mut sizes = vec![u32_size(FIELD_COUNT); batch.num_rows()];
        let mut constant = 0;
        for (column, array) in planned.iter().zip(batch.columns()) {
            let rejected = |Rejected { row, problem }: Rejected| {
                let row = u64::try_from(row).unwrap_or(u64::MAX);
                problem.into_error(column, first_row.saturating_add(row))
            };
            if !column.nullable {
                find_null(array).map_err(rejected)?;
            }
            let bound = bind(&column.field, array).map_err(|problem| rejected(problem.at(0)))?;
            bound.measure(&mut sizes).map_err(rejected)?;
            constant += bound.constant_size().unwrap_or(0);
            columns.push(bound);
        }
        let mut byte_count = 0;
        for size in &mut sizes {
            *size += constant;
            byte_count += u64::from(*size);
        }
        Ok(Self {
            columns,
            field_count: field_count.to_be_bytes(),
            sizes,
            byte_count,
            next_row: 0,
            cursors: Vec::new(),
        })
    }

    /// Rows of the batch.
    pub fn row_count(&self) -> usize {
        self.sizes.len()
    }

    /// Bytes of all chunks together.
    pub fn byte_count(&self) -> u64 {
        self.byte_count
    }

    /// The next whole tuples: as many as fit `target` bytes, or one that is larger on its own.
    ///
    /// `None` when every row was given out. The size is exact, nothing is written twice, and the
    /// buffer is the caller's own. 64 KiB to 1 MiB serve PostgreSQL well.
    pub fn next_chunk(&mut self, target: usize) -> Option<Bytes> {
        let (rows, bytes) = self.next_rows(target)?;
        let mut out = vec![0; bytes];
        self.cursors.clear();
        let mut start = 0;
        for size in &self.sizes[rows.clone()] {
            out[start..start + FIELD_COUNT].copy_from_slice(&self.field_count);
            self.cursors.push(start + FIELD_COUNT);
            start += *size as usize;
        }
        for column in &self.columns {
            column.write(rows.start, &mut out, &mut self.cursors);
        }
        self.next_row = rows.end;
        Some(Bytes::from(out))
    }

    /// The rows of the next chunk and their bytes.
    fn next_rows(&self, target: usize) -> Option<(Range<usize>, usize)> {
        let mut sizes = self.sizes[self.next_row..]
            .iter()
            .map(|size| *size as usize);
        let mut bytes = sizes.next()?;
        let mut end = self.next_row + 1;
        for size in sizes {
            if bytes + size > target {
                break;
            }
            bytes += size;
            end += 1;
        }
        Some((self.next_row..end, bytes))
    }
}

/// The first row without a value, in an array that must have one in each.
fn find_null(array: &dyn Array) -> Result<(), Rejected> {
    match array.logical_nulls().filter(|nulls| nulls.null_count() > 0) {
        None => Ok(()),
        Some(nulls) => {
            let row = nulls.iter().position(|valid| !valid).unwrap_or_default();
            Err(Problem::Null.at(row))
        }
    }
}
