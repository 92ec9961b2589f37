//! A column of values of varying size.

use std::ops::Range;

use arrow_buffer::NullBuffer;

use super::{Column, WORD, length_word, nulls_in, put_null, u32_size};
use crate::encode::format::MAX_BYTES;
use crate::encode::problem::{Problem, Rejected};

/// An encoder of values of varying size.
pub(crate) trait Values: Send + Sync {
    /// Prepares rows as [`Column::prepare`] does.
    fn prepare(&mut self, _rows: Range<usize>) {}

    /// Returns the sizes of prepared rows without length words, NULLs' slots included, if all values are known to
    /// be valid.
    fn plain_sizes(&self, _rows: Range<usize>) -> Option<impl Iterator<Item = u32>> {
        None::<std::iter::Empty<u32>>
    }

    /// Checks a value and returns its size without a length word.
    fn size(&self, row: usize) -> Result<usize, Problem>;

    /// Writes a checked value to the beginning of `out`, which may be longer; returns its bytes.
    fn put(&self, row: usize, out: &mut [u8]) -> usize;
}

/// A column of values of varying size.
pub(crate) struct Varying<V> {
    pub(crate) values: V,
    pub(crate) nulls: Option<NullBuffer>,
}

impl<V: Values> Varying<V> {
    fn measure_plain(
        &self,
        rows: Range<usize>,
        plain: impl Iterator<Item = u32>,
        sizes: &mut [u32],
    ) -> Result<(), Rejected> {
        // Both are at most about 1 GiB, so that the sum fits. Rows that are too large are found after the loops,
        // since an early exit would keep them from being vectorised.
        let word = u32_size(WORD);
        match nulls_in(&self.nulls, rows.clone()) {
            None => {
                for (size, field) in sizes.iter_mut().zip(plain) {
                    *size += word + field;
                }
            }
            Some(nulls) => {
                for ((size, field), valid) in sizes.iter_mut().zip(plain).zip(&nulls) {
                    *size += word + field * u32::from(valid);
                }
            }
        }
        let too_large = |size: &u32| *size > u32_size(MAX_BYTES);
        if !sizes.iter().fold(false, |any, size| any | too_large(size)) {
            Ok(())
        } else {
            let at = sizes.iter().position(too_large).unwrap_or_default();
            Err(Problem::RowTooLarge.at(rows.start + at))
        }
    }

    fn is_null(&self, row: usize) -> bool {
        self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row))
    }

    #[inline(always)]
    fn size(&self, row: usize) -> Result<usize, Problem> {
        let size = self.values.size(row)?;
        if size > MAX_BYTES {
            Err(Problem::FieldTooLarge)
        } else {
            Ok(size)
        }
    }

    #[inline(always)]
    fn put(&self, row: usize, out: &mut [u8]) -> usize {
        let (word, rest) = out.split_at_mut(WORD);
        let size = self.values.put(row, rest);
        word.copy_from_slice(&length_word(size));
        WORD + size
    }
}

impl<V: Values> Column for Varying<V> {
    fn constant_size(&self) -> Option<u32> {
        None
    }

    fn prepare(&mut self, rows: Range<usize>) {
        self.values.prepare(rows);
    }

    fn measure(&self, rows: Range<usize>, sizes: &mut [u32]) -> Result<(), Rejected> {
        if let Some(plain) = self.values.plain_sizes(rows.clone()) {
            return self.measure_plain(rows, plain, sizes);
        }
        for (row, size) in rows.zip(sizes) {
            if self.is_null(row) {
                *size += u32_size(WORD);
            } else {
                let field = self.size(row).map_err(|problem| problem.at(row))?;
                grow(size, WORD + field).map_err(|problem| problem.at(row))?;
            }
        }
        Ok(())
    }

    fn write(&self, first_row: usize, out: &mut [u8], cursors: &mut [usize]) {
        match nulls_in(&self.nulls, first_row..first_row + cursors.len()) {
            None => {
                for (row, cursor) in (first_row..).zip(cursors) {
                    *cursor += self.put(row, &mut out[*cursor..]);
                }
            }
            Some(nulls) => {
                for ((row, valid), cursor) in (first_row..).zip(&nulls).zip(cursors) {
                    if valid {
                        *cursor += self.put(row, &mut out[*cursor..]);
                    } else {
                        put_null(&mut out[*cursor..]);
                        *cursor += WORD;
                    }
                }
            }
        }
    }

    fn write_even(&self, _first_row: usize, _out: &mut [u8], _row_bytes: usize, _at: usize) {
        debug_assert!(false, "the size of these fields is not constant");
    }

    fn measure_run(&self, mut rows: Range<usize>) -> Result<usize, Problem> {
        rows.try_fold(0, |sum, row| {
            let size = if self.is_null(row) {
                0
            } else {
                self.size(row)?
            };
            Ok(sum + WORD + size)
        })
    }

    fn write_run(&self, rows: Range<usize>, out: &mut [u8]) -> usize {
        let mut at = 0;
        for row in rows {
            if self.is_null(row) {
                put_null(&mut out[at..]);
                at += WORD;
            } else {
                at += self.put(row, &mut out[at..]);
            }
        }
        at
    }
}

/// Adds a field's bytes to its row's, up to the limit of a row.
fn grow(size: &mut u32, bytes: usize) -> Result<(), Problem> {
    // Both are at most about 1 GiB, so that the sum fits.
    *size += u32_size(bytes);
    if *size > u32_size(MAX_BYTES) {
        Err(Problem::RowTooLarge)
    } else {
        Ok(())
    }
}
