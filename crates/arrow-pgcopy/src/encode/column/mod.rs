//! A column of one batch, bound to its plan: the loops over rows, one for each wire shape.
//!
//! The bytes of a value come from small encoders ([`Values`], or the closure of [`fixed`](fn@fixed)) that never see a NULL.
//! Length words, NULLs and the ends of rows are handled only here.

mod all_null;
mod blobs;
mod dictionary;
mod fixed;
mod list;
mod policy;
mod prepared;
mod varying;

use std::ops::Range;

use arrow_array::Array;
use arrow_buffer::NullBuffer;

pub(crate) use self::all_null::AllNull;
pub(crate) use self::blobs::{Blobs, Shape, shaped};
pub(crate) use self::dictionary::{keyed, run_values};
pub(crate) use self::fixed::fixed;
pub(crate) use self::list::Level;
pub(crate) use self::policy::Policy;
pub(crate) use self::prepared::prepared;
pub(crate) use self::varying::{Values, Varying};
use crate::encode::format::NULL_FIELD;
use crate::encode::problem::{Problem, Rejected};
use crate::mapping::FieldPlan;

/// Bytes of a length word.
pub(crate) const WORD: usize = 4;

/// A bound column. Its rows are checked and measured block by block, and then written.
pub(crate) trait Column: Send + Sync {
    /// Returns the size of every field, length word included, if it is constant.
    fn constant_size(&self) -> Option<u32>;

    /// Prepares the rows that are measured and written next, where that is faster for many at once. Forgets the
    /// rows prepared before.
    fn prepare(&mut self, rows: Range<usize>);

    /// Checks prepared rows and adds each field's bytes to `sizes`, unless the size is constant.
    fn measure(&self, rows: Range<usize>, sizes: &mut [u32]) -> Result<(), Rejected>;

    /// Writes the fields of consecutive rows, each at its cursor in `out`, and advances the cursors.
    fn write(&self, first_row: usize, out: &mut [u8], cursors: &mut [usize]);

    /// Writes fields of a constant size into rows of equal size: each at byte `at` of its row in `out`.
    fn write_even(&self, first_row: usize, out: &mut [u8], row_bytes: usize, at: usize);

    /// Checks fields that are written one after another, and returns the sum of their sizes.
    fn measure_run(&self, rows: Range<usize>) -> Result<usize, Problem>;

    /// Writes fields one after another to the beginning of `out`; returns their bytes.
    fn write_run(&self, rows: Range<usize>, out: &mut [u8]) -> usize;
}

/// A column of any encoder.
pub(crate) type BoxedColumn<'a> = Box<dyn Column + 'a>;

/// Binds the plan of a nested value to its array.
pub(crate) type Bind<'a> = fn(&'a FieldPlan, &'a dyn Array) -> Result<BoxedColumn<'a>, Problem>;

/// Returns the NULLs of an array, if it has any.
pub(crate) fn valid(array: &dyn Array) -> Option<NullBuffer> {
    array
        .nulls()
        .filter(|nulls| nulls.null_count() > 0)
        .cloned()
}

/// Returns the NULLs among rows, if there are any.
pub(crate) fn nulls_in(nulls: &Option<NullBuffer>, rows: Range<usize>) -> Option<NullBuffer> {
    let nulls = nulls.as_ref()?.slice(rows.start, rows.len());
    (nulls.null_count() > 0).then_some(nulls)
}

pub(crate) fn put_null(out: &mut [u8]) {
    out[..WORD].copy_from_slice(&NULL_FIELD);
}

/// Returns the big-endian length word of a field, or any count on the wire.
pub(crate) fn length_word(length: usize) -> [u8; WORD] {
    u32_size(length).to_be_bytes()
}

/// Converts a size that is at most [`MAX_BYTES`](crate::format::MAX_BYTES) and a few words.
#[expect(
    clippy::cast_possible_truncation,
    reason = "sizes are held to MAX_BYTES, below 2^30"
)]
pub(crate) fn u32_size(size: usize) -> u32 {
    size as u32
}
