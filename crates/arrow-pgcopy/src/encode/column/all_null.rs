//! Columns of nothing but NULLs.

use std::ops::Range;

use super::{Column, WORD, put_null, u32_size};
use crate::encode::problem::{Problem, Rejected};

/// NULL in every row.
pub(crate) struct AllNull;

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
