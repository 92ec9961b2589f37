//! Dictionaries and runs: each value that a row refers to is encoded once, then copied.

use std::ops::Range;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int16Type, Int32Type, Int64Type, RunEndIndexType};
use arrow_array::{Array, ArrayRef};
use arrow_buffer::{ArrowNativeType, NullBuffer};

use super::bind::{BoxedColumn, bind_whole};
use super::column::{AllNull, Values, Varying, WORD};
use super::convert::Policy;
use super::problem::Problem;
use crate::plan::FieldPlan;

/// A column whose rows refer to values by a key.
pub(super) fn dictionary<'a>(
    plan: &FieldPlan,
    array: &dyn Array,
) -> Result<BoxedColumn<'a>, Problem> {
    let dictionary = array.as_any_dictionary_opt().ok_or(Problem::Unplanned)?;
    let values = dictionary.values();
    if values.is_empty() {
        return Ok(Box::new(AllNull));
    }
    // A key may be NULL, and so may the value that it refers to.
    encode(
        plan,
        values,
        dictionary.normalized_keys(),
        array.logical_nulls(),
        Policy::STRICT,
    )
}

/// A column of runs, each of one value.
pub(super) fn runs<'a>(plan: &FieldPlan, array: &dyn Array) -> Result<BoxedColumn<'a>, Problem> {
    let (values, keys) = run_values(array).ok_or(Problem::Unplanned)?;
    encode(plan, values, keys, array.logical_nulls(), Policy::STRICT)
}

/// The values of runs, and for each row the one that is its.
pub(super) fn run_values(array: &dyn Array) -> Option<(&ArrayRef, Vec<usize>)> {
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

/// A column of an array that does not outlive this call; what the column does not hold is NULL, where
/// that was asked for.
pub(super) fn owned<'a>(
    plan: &FieldPlan,
    array: &dyn Array,
    policy: Policy,
) -> Result<BoxedColumn<'a>, Problem> {
    let keys = (0..array.len()).collect();
    encode(plan, array, keys, array.logical_nulls(), policy)
}

/// Encodes the values that `keys` name in rows that are not NULL.
fn encode<'a>(
    plan: &FieldPlan,
    values: &dyn Array,
    keys: Vec<usize>,
    nulls: Option<NullBuffer>,
    policy: Policy,
) -> Result<BoxedColumn<'a>, Problem> {
    let mut nulls = nulls.filter(|nulls| nulls.null_count() > 0);
    let mut used = vec![false; values.len()];
    for (row, key) in keys.iter().enumerate() {
        if nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row)) {
            used[*key] = true;
        }
    }
    let column = bind_whole(plan, values)?;
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
    let encoded: Vec<Result<Range<usize>, Problem>> = encoded.collect();
    if policy.lenient {
        let unheld = |key: &usize| matches!(&encoded[*key], Err(problem) if problem.is_unheld());
        let held = NullBuffer::from_iter(keys.iter().map(|key| !unheld(key)));
        nulls = NullBuffer::union(nulls.as_ref(), Some(&held));
    }
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
