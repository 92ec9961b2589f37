//! A column of one batch, bound to its plan: the loops over rows, one for each wire shape.
//!
//! What a value looks like is left to small encoders ([`Values`], or the closure of [`Fixed`]) that
//! never see a NULL. Length words, NULLs and where a row ends are dealt with here alone.

use std::ops::Range;

use arrow_buffer::NullBuffer;

use super::format::{MAX_BYTES, NULL_FIELD};
use super::problem::{Problem, Rejected};

/// Bytes of a length word.
pub(crate) const WORD: usize = 4;

/// A column ready to be written: checked and measured as a whole first, then written by chunks.
pub(crate) trait Column: Send + Sync {
    /// Bytes of every field, length word included, where that is known without looking.
    fn constant_size(&self) -> Option<u32>;

    /// Looks at rows that are to be measured and written next, where that is cheaper for many at
    /// once. What was prepared before is forgotten.
    fn prepare(&mut self, rows: Range<usize>);

    /// Checks prepared rows and adds each field's bytes to `sizes`, unless the size is constant.
    fn measure(&self, rows: Range<usize>, sizes: &mut [u32]) -> Result<(), Rejected>;

    /// Writes the fields of consecutive rows, each at its cursor in `out`; moves the cursors on.
    fn write(&self, first_row: usize, out: &mut [u8], cursors: &mut [usize]);

    /// Writes the fields of a constant size, in rows that all are as long: each where its row in
    /// `out` has them, from byte `at` on.
    fn write_even(&self, first_row: usize, out: &mut [u8], row_bytes: usize, at: usize);

    /// Checks fields that are to be written one after another, and sums their bytes.
    fn measure_run(&self, rows: Range<usize>) -> Result<usize, Problem>;

    /// Writes fields one after another to the beginning of `out`; returns their bytes.
    fn write_run(&self, rows: Range<usize>, out: &mut [u8]) -> usize;
}

/// An encoder of values whose length varies.
pub(crate) trait Values: Send + Sync {
    /// As [`Column::prepare`].
    fn prepare(&mut self, _rows: Range<usize>) {}

    /// The sizes of prepared rows, length words left out, where it is known without a look at each
    /// that none is wrong, NULLs' slots included.
    fn plain_sizes(&self, _rows: Range<usize>) -> Option<impl Iterator<Item = u32>> {
        None::<std::iter::Empty<u32>>
    }

    /// Checks a value and counts its bytes, length word left out.
    fn size(&self, row: usize) -> Result<usize, Problem>;

    /// Writes a checked value to the beginning of `out`, which may be longer; returns its bytes.
    fn put(&self, row: usize, out: &mut [u8]) -> usize;
}

/// Values of a fixed size: a slice, and a conversion that checks.
///
/// The conversion runs over the slice twice, to check and to write, and never for a NULL in the
/// end: what lies in a NULL's slot may be anything.
pub(crate) struct Fixed<'a, T, F> {
    pub(crate) values: &'a [T],
    pub(crate) nulls: Option<NullBuffer>,
    pub(crate) convert: F,
}

/// Values of varying size.
pub(crate) struct Varying<V> {
    pub(crate) values: V,
    pub(crate) nulls: Option<NullBuffer>,
}

/// NULL in every row.
pub(crate) struct AllNull;

impl<T, F, const W: usize> Fixed<'_, T, F>
where
    T: Copy + Send + Sync,
    F: Fn(T) -> Result<[u8; W], Problem> + Send + Sync,
{
    fn check(&self, rows: Range<usize>) -> Result<(), Rejected> {
        let values = &self.values[rows.clone()];
        // Without an early way out the loop can be vectorised; it counts the NULLs' slots too.
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
        // Checked before: a slot that does not convert is a NULL's, and those are not put.
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

impl<V: Values> Varying<V> {
    fn measure_plain(
        &self,
        rows: Range<usize>,
        plain: impl Iterator<Item = u32>,
        sizes: &mut [u32],
    ) -> Result<(), Rejected> {
        // Both are at most about 1 GiB here, so that the sum fits; too large is looked for at the
        // end, since a way out of the loops would keep them from being vectorised.
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
        match sizes.iter().fold(false, |any, size| any | too_large(size)) {
            false => Ok(()),
            true => {
                let at = sizes.iter().position(too_large).unwrap_or_default();
                Err(Problem::RowTooLarge.at(rows.start + at))
            }
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

/// The NULLs among rows, when there are any.
fn nulls_in(nulls: &Option<NullBuffer>, rows: Range<usize>) -> Option<NullBuffer> {
    let nulls = nulls.as_ref()?.slice(rows.start, rows.len());
    (nulls.null_count() > 0).then_some(nulls)
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

impl Column for AllNull {
    fn constant_size(&self) -> Option<u32> {
        Some(u32_size(WORD))
    }

    fn prepare(&mut self, _rows: Range<usize>) {}

    fn measure(&self, _rows: Range<usize>, _sizes: &mut [u32]) -> Result<(), Rejected> {
        Ok(())
    }

    fn write(&self, _first_row: usize, out: &mut [u8], cursors: &mut [usize]) {
        for cursor in cursors {
            put_null(&mut out[*cursor..]);
            *cursor += WORD;
        }
    }

    fn write_even(&self, _first_row: usize, out: &mut [u8], row_bytes: usize, at: usize) {
        for row in out.chunks_exact_mut(row_bytes) {
            put_null(&mut row[at..]);
        }
    }

    fn measure_run(&self, rows: Range<usize>) -> Result<usize, Problem> {
        Ok(rows.len() * WORD)
    }

    fn write_run(&self, rows: Range<usize>, out: &mut [u8]) -> usize {
        let bytes = rows.len() * WORD;
        out[..bytes].fill(0xff);
        bytes
    }
}

/// Adds a field's bytes to its row's, which stays below what PostgreSQL holds in a row.
pub(crate) fn grow(size: &mut u32, bytes: usize) -> Result<(), Problem> {
    // Both are at most about 1 GiB here, so that the sum fits.
    *size += u32_size(bytes);
    if *size > u32_size(MAX_BYTES) {
        Err(Problem::RowTooLarge)
    } else {
        Ok(())
    }
}

pub(crate) fn put_null(out: &mut [u8]) {
    out[..WORD].copy_from_slice(&NULL_FIELD);
}

/// The big-endian word before a field, or any count on the wire.
pub(crate) fn length_word(length: usize) -> [u8; WORD] {
    u32_size(length).to_be_bytes()
}

/// A size that was held to [`MAX_BYTES`] plus a few words.
#[expect(
    clippy::cast_possible_truncation,
    reason = "sizes are held to MAX_BYTES, below 2^30"
)]
pub(crate) fn u32_size(size: usize) -> u32 {
    size as u32
}
