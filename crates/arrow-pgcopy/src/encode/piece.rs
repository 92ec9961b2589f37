//! Pieces of a batch: conversions run on some rows at a time, so that converted values of a whole column are never in
//! memory at once.

use std::ops::Range;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::DataType;

use super::column::{BoxedColumn, Column, run_values};
use super::problem::{Problem, Rejected};
use crate::conversion::{Form, Step};
use crate::plan::{ColumnPlan, EncodePlan};

/// The most bytes of values in a piece, unless it is a single row. Tests use smaller pieces, so that small batches have
/// several.
const PIECE_BYTES: u64 = if cfg!(any(test, fuzzing)) {
    4 << 10
} else {
    256 << 10
};
/// Bytes that any value takes while it is converted: a number as text, and the bookkeeping of its row.
const VALUE_BYTES: u64 = 64;
/// Copies of a converted value in memory: the array and the encoded field.
const COPIES: u64 = 2;

/// The rows of a batch that are converted together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) rows: Range<usize>,
    /// Bytes of memory that converting and encoding them takes.
    pub(super) memory: u64,
}

impl Piece {
    /// Returns all rows, for a batch without conversions.
    pub(super) fn whole(row_count: usize) -> Self {
        Self {
            rows: 0..row_count,
            memory: 0,
        }
    }

    /// Returns the empty piece before the first row.
    pub(super) fn none() -> Self {
        Self::whole(0)
    }

    /// Returns the next piece. It has at least one row, if there is one.
    pub(super) fn next(&self, plan: &EncodePlan, batch: &RecordBatch) -> Self {
        let start = self.rows.end;
        let left = batch.num_rows() - start;
        let converted = || {
            let columns = plan.columns().iter().zip(batch.columns());
            columns.filter(|(column, _)| !column.steps.is_empty())
        };
        let weigh = |count: usize| {
            let weights = converted().map(|(_, array)| weight(array, start..start + count));
            weights.fold(0, u64::saturating_add)
        };
        // Rows resemble those before them.
        let most = usize::try_from(PIECE_BYTES / VALUE_BYTES).unwrap_or(usize::MAX);
        let guess = match self.rows.len() {
            0 => most,
            rows => most.min(rows.saturating_mul(2)),
        };
        let mut count = guess.min(left);
        while count > 1 && weigh(count) > PIECE_BYTES {
            count /= 2;
        }
        let rows = start..start + count;
        let memory = converted().map(|(column, array)| memory(column, weight(array, rows.clone())));
        let memory = memory.fold(0, u64::saturating_add);
        Self { rows, memory }
    }
}

/// Returns the bytes of memory that converting values of `weight` bytes takes.
fn memory(column: &ColumnPlan, weight: u64) -> u64 {
    use DataType as D;
    let grown = column.steps.iter().map(growth);
    let grown = grown.fold(weight, u64::saturating_mul);
    // Values of other layouts, and values that rows share, are copied first.
    let is_read_in_place = matches!(
        column.data_type,
        D::Utf8 | D::LargeUtf8 | D::Binary | D::LargeBinary
    );
    let copied = if is_read_in_place { 0 } else { weight };
    grown.saturating_mul(COPIES).saturating_add(copied)
}

/// Returns the factor by which a step makes a value longer, at most. [`VALUE_BYTES`] covers numbers and times.
fn growth(step: &Step) -> u64 {
    match step {
        Step::Nul { replacement } => u64::try_from(replacement.len()).unwrap_or(u64::MAX).max(1),
        // U+FFFD has three bytes.
        Step::Decode(Form::Utf8Lossy) => 3,
        Step::Decode(Form::Hex | Form::Base64) => 2,
        // The shortest date has eight characters, and the longest offset nine.
        Step::Stamp { .. } => 3,
        // JSON adds quotes and commas.
        Step::Text { .. } => 2,
        Step::Decode(Form::Text | Form::Number | Form::Part | Form::Utf8 | Form::Address)
        | Step::Values(_)
        | Step::Shape(_)
        | Step::Times(_)
        | Step::Measure { .. }
        | Step::Count { .. }
        | Step::Micros { .. }
        | Step::Midnight
        | Step::Zone { .. }
        | Step::Offset { .. }
        | Step::Part { .. }
        | Step::Scale { .. }
        | Step::Fraction { .. }
        | Step::Single { .. }
        | Step::Double
        | Step::Number
        | Step::Boolean
        | Step::Bit
        | Step::Address { .. }
        | Step::Encode(_)
        | Step::Clamp { .. }
        | Step::Truncate { .. }
        | Step::Srid(_)
        | Step::Null => 1,
    }
}

/// Returns the bytes of the values in rows of an array. A shared value counts once for each row that refers to it.
fn weight(array: &dyn Array, rows: Range<usize>) -> u64 {
    let each = bytes(rows.len()).saturating_mul(VALUE_BYTES);
    each.saturating_add(held(array, rows))
}

/// Returns the bytes of values beyond [`VALUE_BYTES`] for each.
fn held(array: &dyn Array, rows: Range<usize>) -> u64 {
    if let Some(text) = array.as_string_opt::<i32>() {
        span(text.value_offsets(), &rows).map_or(0, |span| bytes(span.len()))
    } else if let Some(text) = array.as_string_opt::<i64>() {
        span(text.value_offsets(), &rows).map_or(0, |span| bytes(span.len()))
    } else if let Some(binary) = array.as_binary_opt::<i32>() {
        span(binary.value_offsets(), &rows).map_or(0, |span| bytes(span.len()))
    } else if let Some(binary) = array.as_binary_opt::<i64>() {
        span(binary.value_offsets(), &rows).map_or(0, |span| bytes(span.len()))
    } else if let Some(views) = array.as_string_view_opt() {
        shown(&views.views()[rows])
    } else if let Some(views) = array.as_binary_view_opt() {
        shown(&views.views()[rows])
    } else if let DataType::FixedSizeBinary(size) = array.data_type() {
        bytes(rows.len()).saturating_mul(u64::try_from(*size).unwrap_or(0))
    } else if let Some(list) = array.as_list_opt::<i32>() {
        span(list.value_offsets(), &rows).map_or(0, |items| weight(list.values(), items))
    } else if let Some(list) = array.as_list_opt::<i64>() {
        span(list.value_offsets(), &rows).map_or(0, |items| weight(list.values(), items))
    } else if let Some(list) = array.as_fixed_size_list_opt() {
        let size = usize::try_from(list.value_length()).unwrap_or(0);
        weight(list.values(), rows.start * size..rows.end * size)
    } else if let Some(map) = array.as_map_opt() {
        let entries = span(map.value_offsets(), &rows);
        entries.map_or(0, |entries| weight(map.entries(), entries))
    } else if let Some(fields) = array.as_struct_opt() {
        let names = fields
            .fields()
            .iter()
            .map(|field| bytes(field.name().len()));
        let names = names.sum::<u64>().saturating_mul(bytes(rows.len()));
        let columns = fields.columns().iter();
        columns.fold(names, |sum, column| {
            sum.saturating_add(weight(column, rows.clone()))
        })
    } else {
        named(&array.slice(rows.start, rows.len()))
    }
}

/// Returns the bytes of the values that the keys of a dictionary, or runs, refer to; 0 for other arrays.
fn named(array: &ArrayRef) -> u64 {
    let (values, keys) = if let Some(dictionary) = array.as_any_dictionary_opt() {
        if dictionary.values().is_empty() {
            return 0;
        }
        (dictionary.values(), dictionary.normalized_keys())
    } else if let Some(runs) = run_values(array) {
        runs
    } else {
        return 0;
    };
    let weights = keys.into_iter().map(|key| weight(values, key..key + 1));
    weights.fold(0, u64::saturating_add)
}

/// Returns the range of the items of rows.
fn span<T: Copy + TryInto<usize>>(offsets: &[T], rows: &Range<usize>) -> Option<Range<usize>> {
    let at = |row: usize| offsets.get(row).and_then(|at| (*at).try_into().ok());
    Some(at(rows.start)?..at(rows.end)?)
}

/// Returns the sum of the lengths of views, which are in their lowest 32 bits.
fn shown(views: &[u128]) -> u64 {
    let lengths = views.iter().map(|view| *view & u128::from(u32::MAX));
    lengths.fold(0, |sum, length| {
        sum.saturating_add(u64::try_from(length).unwrap_or(0))
    })
}

fn bytes(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// A column that holds the rows of a piece, and takes row numbers of the batch.
pub(super) struct Shifted<'a> {
    pub(super) column: BoxedColumn<'a>,
    pub(super) first: usize,
}

impl Shifted<'_> {
    fn within(&self, rows: Range<usize>) -> Range<usize> {
        rows.start - self.first..rows.end - self.first
    }
}

impl Column for Shifted<'_> {
    fn constant_size(&self) -> Option<u32> {
        None
    }

    fn prepare(&mut self, rows: Range<usize>) {
        let rows = self.within(rows);
        self.column.prepare(rows);
    }

    fn measure(&self, rows: Range<usize>, sizes: &mut [u32]) -> Result<(), Rejected> {
        let measured = self.column.measure(self.within(rows), sizes);
        measured.map_err(|rejected| rejected.after(self.first))
    }

    fn write(&self, first_row: usize, out: &mut [u8], cursors: &mut [usize]) {
        self.column.write(first_row - self.first, out, cursors);
    }

    fn write_even(&self, first_row: usize, out: &mut [u8], row_bytes: usize, at: usize) {
        let first_row = first_row - self.first;
        self.column.write_even(first_row, out, row_bytes, at);
    }

    fn measure_run(&self, rows: Range<usize>) -> Result<usize, Problem> {
        self.column.measure_run(self.within(rows))
    }

    fn write_run(&self, rows: Range<usize>, out: &mut [u8]) -> usize {
        self.column.write_run(self.within(rows), out)
    }
}
