//! Values of a fixed size.

use std::ops::Range;

use arrow_array::PrimitiveArray;
use arrow_array::types::ArrowPrimitiveType;
use arrow_buffer::NullBuffer;

use super::{BoxedColumn, Column, WORD, length_word, nulls_in, put_null, u32_size, valid};
use crate::encode::problem::{Problem, Rejected};

/// Makes a column of values that a closure converts into the bytes of their type.
pub(crate) fn fixed<'a, T, F, const W: usize>(
    array: &'a PrimitiveArray<T>,
    convert: F,
) -> BoxedColumn<'a>
where
    T: ArrowPrimitiveType,
    F: Fn(T::Native) -> Result<[u8; W], Problem> + Send + Sync + 'a,
{
    Box::new(Fixed {
        values: array.values(),
        nulls: valid(array),
        convert,
    })
}

/// A slice of values of a fixed size, and a conversion that checks.
///
/// The conversion runs over the slice twice, to check and to write. It may see the slots of NULLs, but its result
/// for them is ignored.
struct Fixed<'a, T, F> {
    values: &'a [T],
    nulls: Option<NullBuffer>,
    convert: F,
}

impl<T, F, const W: usize> Fixed<'_, T, F>
where
    T: Copy + Send + Sync,
    F: Fn(T) -> Result<[u8; W], Problem> + Send + Sync,
{
    fn check(&self, rows: Range<usize>) -> Result<(), Rejected> {
        let values = &self.values[rows.clone()];
        // The loop has no early exit, so that it can be vectorised. It counts the slots of NULLs as well.
        let clean = values
            .iter()
            .fold(true, |clean, v| clean & (self.convert)(*v).is_ok());
        if clean {
            return Ok(());
        }
        for (row, value) in rows.zip(values) {
            if self.nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row)) {
                (self.convert)(*value).map_err(|problem| problem.at(row))?;
            }
        }
        Ok(())
    }

    fn put(&self, value: T, out: &mut [u8]) {
        let field = &mut out[..WORD + W];
        field[..WORD].copy_from_slice(&length_word(W));
        // All values were checked: only the slot of a NULL may fail, and that is not written.
        field[WORD..].copy_from_slice(&(self.convert)(value).unwrap_or([0; W]));
    }
}

impl<T, F, const W: usize> Column for Fixed<'_, T, F>
where
    T: Copy + Send + Sync,
    F: Fn(T) -> Result<[u8; W], Problem> + Send + Sync,
{
    fn constant_size(&self) -> Option<u32> {
        self.nulls.is_none().then_some(u32_size(WORD + W))
    }

    fn prepare(&mut self, _rows: Range<usize>) {}

    fn measure(&self, rows: Range<usize>, sizes: &mut [u32]) -> Result<(), Rejected> {
        self.check(rows.clone())?;
        if let Some(nulls) = &self.nulls {
            for (size, valid) in sizes.iter_mut().zip(&nulls.slice(rows.start, rows.len())) {
                *size += u32_size(WORD) + u32_size(W) * u32::from(valid);
            }
        }
        Ok(())
    }

    fn write(&self, first_row: usize, out: &mut [u8], cursors: &mut [usize]) {
        let values = &self.values[first_row..first_row + cursors.len()];
        match nulls_in(&self.nulls, first_row..first_row + cursors.len()) {
            None => {
                for (value, cursor) in values.iter().zip(cursors) {
                    self.put(*value, &mut out[*cursor..*cursor + WORD + W]);
                    *cursor += WORD + W;
                }
            }
            Some(nulls) => {
                for ((value, valid), cursor) in values.iter().zip(&nulls).zip(cursors) {
                    if valid {
                        self.put(*value, &mut out[*cursor..*cursor + WORD + W]);
                        *cursor += WORD + W;
                    } else {
                        put_null(&mut out[*cursor..]);
                        *cursor += WORD;
                    }
                }
            }
        }
    }

    fn write_even(&self, first_row: usize, out: &mut [u8], row_bytes: usize, at: usize) {
        for (value, row) in self.values[first_row..]
            .iter()
            .zip(out.chunks_exact_mut(row_bytes))
        {
            self.put(*value, &mut row[at..at + WORD + W]);
        }
    }

    fn measure_run(&self, rows: Range<usize>) -> Result<usize, Problem> {
        self.check(rows.clone())
            .map_err(|rejected| rejected.problem)?;
        let null_count = match &self.nulls {
            None => 0,
            Some(nulls) => nulls.slice(rows.start, rows.len()).null_count(),
        };
        Ok(rows.len() * (WORD + W) - null_count * W)
    }

    fn write_run(&self, rows: Range<usize>, out: &mut [u8]) -> usize {
        let mut at = 0;
        for row in rows {
            if self.nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row)) {
                self.put(self.values[row], &mut out[at..]);
                at += WORD + W;
            } else {
                put_null(&mut out[at..]);
                at += WORD;
            }
        }
        at
    }
}
