//! The loop over one batch: binds the plan to its arrays, then measures and writes block by block.

use std::ops::Range;

use arrow_array::{Array, RecordBatch};
use bytes::Bytes;

use super::bind::{bind, owned};
use super::chunks::Chunks;
use super::column::{AllNull, Column, Policy, u32_size};
use super::convert::convert;
use super::piece::{Piece, Shifted};
use super::problem::{Problem, Rejected};
use super::report::report;
use crate::error::{Error, Result};
use crate::plan::EncodePlan;

/// Bytes of the field count at the start of a tuple.
pub(super) const FIELD_COUNT: usize = 2;

/// Rows of a block, which is measured and then written, column by column. A block is small enough that its values
/// and tuples stay in the processor's first caches. Tests use smaller blocks, so that small batches have several.
pub(super) const BLOCK_ROWS: usize = if cfg!(any(test, fuzzing)) { 16 } else { 256 };

/// Encodes one batch as tuples of binary COPY, without the header and the trailer of the stream.
///
/// All values of a block are checked before any of them is written: writing cannot fail, and never leaves half a
/// row.
///
/// The encoder borrows plan and batch. It does no I/O; dropping it at any point is safe.
pub struct BatchEncoder<'a> {
    plan: &'a EncodePlan,
    batch: &'a RecordBatch,
    columns: Vec<Box<dyn Column + 'a>>,
    /// The rows that the converted columns hold now; all rows if no column is converted.
    piece: Piece,
    /// The rows that they hold next, if these are known.
    ahead: Option<Piece>,
    field_count: [u8; FIELD_COUNT],
    /// Bytes of the field count and of all fields of a constant size.
    constant_size: u32,
    /// Whether all fields have a constant size.
    even: bool,
    row_count: usize,
    /// The batch's first row within its stream, for errors.
    first_row: u64,
    /// Rows that are measured and not yet written.
    pending: Range<usize>,
    /// Bytes of each tuple of the current block, of which `pending` is the end.
    sizes: Vec<u32>,
    /// The position of the next field of each row; kept for its allocation.
    cursors: Vec<usize>,
}

impl<'a> BatchEncoder<'a> {
    /// Binds a plan to a batch whose first row is row `first_row` of the stream, from 0.
    ///
    /// The batch must have the fields of the plan's schema in its order; nullability and metadata may differ.
    /// Whatever is in the slot of a NULL is ignored.
    ///
    /// # Errors
    /// [`ErrorKind::DataRejected`](crate::ErrorKind::DataRejected) for a NULL in a NOT NULL column;
    /// [`ErrorKind::Internal`](crate::ErrorKind::Internal) when the batch has other columns than the plan.
    pub fn new(plan: &'a EncodePlan, batch: &'a RecordBatch, first_row: u64) -> Result<Self> {
        let planned = plan.columns();
        let field_count = check_columns(plan, batch)?;
        let is_converted = planned.iter().any(|column| !column.steps.is_empty());
        let mut encoder = Self {
            plan,
            batch,
            piece: if is_converted {
                Piece::none()
            } else {
                Piece::whole(batch.num_rows())
            },
            ahead: None,
            columns: Vec::with_capacity(planned.len()),
            field_count: field_count.to_be_bytes(),
            constant_size: u32_size(FIELD_COUNT),
            even: !is_converted,
            row_count: batch.num_rows(),
            first_row,
            pending: 0..0,
            sizes: Vec::with_capacity(BLOCK_ROWS),
            cursors: Vec::with_capacity(BLOCK_ROWS),
        };
        for (index, (column, array)) in planned.iter().zip(batch.columns()).enumerate() {
            if !column.nullable {
                find_null(array).map_err(|rejected| encoder.rejected(index, rejected))?;
            }
            if !column.steps.is_empty() {
                // A placeholder until the first piece is converted.
                encoder.columns.push(Box::new(AllNull));
                continue;
            }
            let bound = bind(&column.field, array);
            let bound = bound.map_err(|problem| encoder.rejected(index, problem.at(0)))?;
            encoder.even &= bound.constant_size().is_some();
            encoder.constant_size += bound.constant_size().unwrap_or(0);
            encoder.columns.push(bound);
        }
        Ok(encoder)
    }

    /// Returns the number of rows in the batch.
    pub fn row_count(&self) -> usize {
        self.row_count
    }

    /// Returns the number of rows in the chunks returned so far.
    pub fn given_row_count(&self) -> usize {
        self.pending.start
    }

    /// Returns the bytes of memory that the next call of [`next_chunk`](Self::next_chunk) takes to convert values; 0
    /// if it converts none. Later calls use the same memory, until this returns another number than 0.
    pub fn memory_ahead(&mut self) -> u64 {
        if !self.is_piece_done() {
            return 0;
        }
        let piece = self.piece.next(self.plan, self.batch);
        let memory = piece.memory;
        self.ahead = Some(piece);
        memory
    }

    /// Returns the next chunk: as many whole tuples as fit the target size of `chunks`, or one larger tuple. A chunk
    /// ends early where the next rows must be converted first.
    ///
    /// Returns `None` after the last row.
    ///
    /// # Errors
    /// [`ErrorKind::DataRejected`](crate::ErrorKind::DataRejected) for a value that cannot be converted or written,
    /// with its column, its row within the stream, and the SQLSTATE that PostgreSQL would report. The encoder must not
    /// be used after an error.
    pub fn next_chunk(&mut self, chunks: &mut Chunks) -> Result<Option<Bytes>> {
        self.measure_if_written()?;
        let Some(first) = self.pending_sizes().first() else {
            return Ok(None);
        };
        let mut out = chunks.take(*first as usize);
        // The chunk is larger than the target only if its first row is.
        let room = (*first as usize).max(chunks.target());
        let mut filled = 0;
        loop {
            let (row_count, bytes) = self.fitting(room - filled);
            if row_count == 0 {
                return Ok(Some(chunks.give(out, filled)));
            }
            self.write(row_count, &mut out[filled..filled + bytes]);
            filled += bytes;
            if self.is_piece_done() {
                return Ok(Some(chunks.give(out, filled)));
            }
            self.measure_if_written()?;
        }
    }

    /// Returns whether all rows of the piece are written and the batch has more.
    fn is_piece_done(&self) -> bool {
        let next = self.pending.start;
        self.pending.is_empty() && next == self.piece.rows.end && next < self.row_count
    }

    /// Converts the values of the next piece. The columns of the piece before are dropped first.
    fn convert_next(&mut self) -> Result<()> {
        let ahead = self.ahead.take();
        let piece = ahead.unwrap_or_else(|| self.piece.next(self.plan, self.batch));
        let first = piece.rows.start;
        let columns = self.plan.columns().iter().zip(self.batch.columns());
        let converted = columns
            .enumerate()
            .filter(|(_, (column, _))| !column.steps.is_empty());
        for (index, _) in converted.clone() {
            self.columns[index] = Box::new(AllNull);
        }
        for (index, (column, array)) in converted {
            let policy = Policy::of(&column.field, &column.steps);
            let array = array.slice(first, piece.rows.len());
            let values = convert(&array, &column.steps, policy)
                .map_err(|rejected| self.rejected(index, rejected.after(first)))?;
            let column = owned(&column.field, &values, policy)
                .map_err(|problem| self.rejected(index, problem.at(first)))?;
            self.columns[index] = Box::new(Shifted { column, first });
        }
        self.piece = piece;
        Ok(())
    }

    /// Measures the next block, if the current one is written.
    fn measure_if_written(&mut self) -> Result<()> {
        if !self.pending.is_empty() {
            return Ok(());
        }
        if self.is_piece_done() {
            self.convert_next()?;
        }
        let rows = self.pending.end..self.piece.rows.end.min(self.pending.end + BLOCK_ROWS);
        self.sizes.clear();
        self.sizes.resize(rows.len(), self.constant_size);
        for (index, column) in self.columns.iter_mut().enumerate() {
            column.prepare(rows.clone());
            if let Err(rejected) = column.measure(rows.clone(), &mut self.sizes) {
                return Err(self.rejected(index, rejected));
            }
        }
        self.pending = rows;
        Ok(())
    }

    fn pending_sizes(&self) -> &[u32] {
        &self.sizes[self.sizes.len() - self.pending.len()..]
    }

    /// Returns how many of the pending rows fit, and their bytes.
    fn fitting(&self, room: usize) -> (usize, usize) {
        if self.even {
            let row_bytes = self.constant_size as usize;
            let row_count = self.pending.len().min(room / row_bytes);
            return (row_count, row_count * row_bytes);
        }
        let mut bytes = 0;
        for (row_count, size) in self.pending_sizes().iter().enumerate() {
            if bytes + *size as usize > room {
                return (row_count, bytes);
            }
            bytes += *size as usize;
        }
        (self.pending.len(), bytes)
    }

    /// Writes the first pending rows; `out` has exactly their size.
    fn write(&mut self, row_count: usize, out: &mut [u8]) {
        if self.even {
            self.write_even(out);
        } else {
            self.write_each(row_count, out);
        }
        self.pending.start += row_count;
    }

    /// Writes rows of equal size, in which each field has a fixed position.
    fn write_even(&self, out: &mut [u8]) {
        let row_bytes = self.constant_size as usize;
        for row in out.chunks_exact_mut(row_bytes) {
            row[..FIELD_COUNT].copy_from_slice(&self.field_count);
        }
        let mut at = FIELD_COUNT;
        for column in &self.columns {
            column.write_even(self.pending.start, out, row_bytes, at);
            at += column.constant_size().unwrap_or(0) as usize;
        }
    }

    /// Writes rows of varying size.
    fn write_each(&mut self, row_count: usize, out: &mut [u8]) {
        let written = self.sizes.len() - self.pending.len();
        self.cursors.clear();
        let mut start = 0;
        for size in &self.sizes[written..written + row_count] {
            out[start..start + FIELD_COUNT].copy_from_slice(&self.field_count);
            self.cursors.push(start + FIELD_COUNT);
            start += *size as usize;
        }
        for column in &self.columns {
            column.write(self.pending.start, out, &mut self.cursors);
        }
    }

    #[cold]
    fn rejected(&self, column: usize, Rejected { row, problem }: Rejected) -> Error {
        let row = u64::try_from(row).unwrap_or(u64::MAX);
        report(
            problem,
            &self.plan.columns()[column],
            self.first_row.saturating_add(row),
        )
    }
}

/// Returns the field count of a plan's tuples.
///
/// # Errors
/// [`ErrorKind::Internal`](crate::ErrorKind::Internal) when the batch has other columns than the plan.
pub(super) fn check_columns(plan: &EncodePlan, batch: &RecordBatch) -> Result<i16> {
    let planned = plan.columns();
    let same = planned.len() == batch.num_columns()
        && planned
            .iter()
            .zip(batch.columns())
            .all(|(column, array)| column.data_type.equals_datatype(array.data_type()));
    match (i16::try_from(planned.len()), same) {
        (Ok(field_count), true) => Ok(field_count),
        _ => Err(Error::internal("the batch has other columns than its plan")),
    }
}

/// Rejects the first NULL in a column that must not have any.
fn find_null(array: &dyn Array) -> Result<(), Rejected> {
    match array.logical_nulls().filter(|nulls| nulls.null_count() > 0) {
        None => Ok(()),
        Some(nulls) => {
            let row = nulls.iter().position(|valid| !valid).unwrap_or_default();
            Err(Problem::Null.at(row))
        }
    }
}
