//! Dictionaries: each value that a row refers to is encoded once, then copied.

use std::ops::Range;

use arrow_array::Array;
use arrow_array::cast::AsArray;

use super::bind::{BoxedColumn, bind};
use super::column::{AllNull, Values, Varying, WORD};
use super::problem::Problem;
use crate::plan::FieldPlan;

/// A column whose rows refer to values.
pub(super) fn dictionary<'a>(
    plan: &'a FieldPlan,
    array: &'a dyn Array,
) -> Result<BoxedColumn<'a>, Problem> {
    let dictionary = array.as_any_dictionary_opt().ok_or(Problem::Unplanned)?;
    let values = dictionary.values();
    if values.is_empty() {
        return Ok(Box::new(AllNull));
    }
    // A key may be NULL, and so may the value that it refers to.
    let nulls = array.logical_nulls().filter(|nulls| nulls.null_count() > 0);
    let keys = dictionary.normalized_keys();
    let mut used = vec![false; values.len()];
    for (row, key) in keys.iter().enumerate() {
        if nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row)) {
            used[*key] = true;
        }
    }
    let mut column = bind(plan, values)?;
    column.prepare(0..values.len());
    let mut bytes = Vec::new();
    let encoded = used.into_iter().enumerate().map(|(value, used)| {
        if !used {
            return Ok(0..0);
        }
        let start = bytes.len();
        let size = column.measure_run(value..value + 1)?;
        bytes.resize(start + size, 0);
        column.write_run(value..value + 1, &mut bytes[start..]);
        Ok(start + WORD..start + size)
    });
    let encoded = encoded.collect();
    Ok(Box::new(Varying {
        values: Encoded {
            keys,
            encoded,
            bytes,
        },
        nulls,
    }))
}

struct Encoded {
    /// Of each row; anything within bounds where the row is NULL.
    keys: Vec<usize>,
    /// Of each value, where its bytes are, or why it has none; nothing for one that no row has.
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
        // What could not be encoded was rejected before.
        let range = self.encoded[self.keys[row]].clone().unwrap_or_default();
        let value = &self.bytes[range];
        out[..value.len()].copy_from_slice(value);
        value.len()
    }
}
