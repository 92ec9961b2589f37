//! Values that are encoded as a whole when they are bound, since encoding them twice would cost more.

use std::ops::Range;

use arrow_array::Array;

use super::{BoxedColumn, Values, Varying};
use crate::encode::problem::Problem;

/// Makes a column of the bytes that `make` appends for each row that is not NULL.
pub(crate) fn prepared<'a>(
    array: &dyn Array,
    mut make: impl FnMut(usize, &mut Vec<u8>) -> Result<(), Problem>,
) -> BoxedColumn<'a> {
    let nulls = array.logical_nulls().filter(|nulls| nulls.null_count() > 0);
    let mut bytes = Vec::new();
    let values = (0..array.len()).map(|row| {
        let start = bytes.len();
        if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
            return Ok(start..start);
        }
        let made = make(row, &mut bytes);
        if made.is_err() {
            bytes.truncate(start);
        }
        made.map(|()| start..bytes.len())
    });
    let values = values.collect();
    Box::new(Varying {
        values: Prepared { values, bytes },
        nulls,
    })
}

struct Prepared {
    /// For each row, the range of its bytes, or its problem.
    values: Vec<Result<Range<usize>, Problem>>,
    bytes: Vec<u8>,
}

impl Values for Prepared {
    fn size(&self, row: usize) -> Result<usize, Problem> {
        self.values[row]
            .as_ref()
            .map(Range::len)
            .map_err(|problem| *problem)
    }

    fn put(&self, row: usize, out: &mut [u8]) -> usize {
        // Values that could not be encoded were rejected when they were measured.
        let value = &self.bytes[self.values[row].clone().unwrap_or_default()];
        out[..value.len()].copy_from_slice(value);
        value.len()
    }
}
