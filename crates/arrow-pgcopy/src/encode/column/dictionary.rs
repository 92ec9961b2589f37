//! Dictionaries and runs: each value that a row refers to is encoded once, then copied.

use std::ops::Range;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int16Type, Int32Type, Int64Type, RunEndIndexType};
use arrow_array::{Array, ArrayRef};
use arrow_buffer::{ArrowNativeType, NullBuffer};

use super::{BoxedColumn, Column, Policy, Values, Varying, WORD};
use crate::encode::problem::Problem;

/// Returns the run values, and each row's index into them.
pub(crate) fn run_values(array: &dyn Array) -> Option<(&ArrayRef, Vec<usize>)> {
    fn of<T: RunEndIndexType>(array: &dyn Array) -> Option<(&ArrayRef, Vec<usize>)> {
        let runs = array.as_run_opt::<T>()?;
        let ends = runs.run_ends();
        let mut run = if runs.is_empty() {
            0
        } else {
            ends.get_physical_index(0)
        };
        let keys = (ends.offset()..ends.offset() + runs.len()).map(|row| {
            while ends.values()[run].as_usize() <= row {
                run += 1;
            }
            run
        });
        let keys = keys.collect();
        Some((runs.values(), keys))
    }
    of::<Int16Type>(array)
        .or_else(|| of::<Int32Type>(array))
        .or_else(|| of::<Int64Type>(array))
}

/// Makes a column of keys into bound values. Each value that a row which is not NULL refers to is encoded once.
pub(crate) fn keyed<'a>(
    values: &dyn Column,
    value_count: usize,
    keys: Vec<usize>,
    nulls: Option<NullBuffer>,
    policy: Policy,
) -> BoxedColumn<'a> {
    let mut nulls = nulls.filter(|nulls| nulls.null_count() > 0);
    let mut used = vec![false; value_count];
    for (row, key) in keys.iter().enumerate() {
        if nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row)) {
            used[*key] = true;
        }
    }
    let mut bytes = Vec::new();
    let encoded = used.into_iter().enumerate().map(|(value, used)| {
        if !used {
            return Ok(0..0);
        }
        let start = bytes.len();
        let size = values.measure_run(value..value + 1)?;
        bytes.resize(start + size, 0);
        values.write_run(value..value + 1, &mut bytes[start..]);
        Ok(start + WORD..start + size)
    });
    let encoded: Vec<Result<Range<usize>, Problem>> = encoded.collect();
    if policy.lenient {
        let unheld = |key: &usize| matches!(&encoded[*key], Err(problem) if problem.is_out_of_column_range());
        let held = NullBuffer::from_iter(keys.iter().map(|key| !unheld(key)));
        nulls = NullBuffer::union(nulls.as_ref(), Some(&held));
    }
    Box::new(Varying {
        values: Encoded {
            keys,
            encoded,
            bytes,
        },
        nulls,
    })
}

struct Encoded {
    /// The key of each row; any valid key where the row is NULL.
    keys: Vec<usize>,
    /// For each value, the range of its bytes or its problem; an empty range if no row refers to it.
    encoded: Vec<Result<Range<usize>, Problem>>,
    bytes: Vec<u8>,
}

impl Values for Encoded {
    fn size(&self, row: usize) -> Result<usize, Problem> {
        self.encoded[self.keys[row]]
            .as_ref()
            .map(Range::len)
            .map_err(|problem| *problem)
    }

    fn put(&self, row: usize, out: &mut [u8]) -> usize {
        // Values that could not be encoded were rejected when they were measured.
        let range = self.encoded[self.keys[row]].clone().unwrap_or_default();
        let value = &self.bytes[range];
        out[..value.len()].copy_from_slice(value);
        value.len()
    }
}
