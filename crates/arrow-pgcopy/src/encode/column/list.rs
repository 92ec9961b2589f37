//! Lists of any layout, as ranges of items.

use std::ops::Range;

use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_buffer::NullBuffer;
use arrow_schema::DataType;

use super::valid;

/// A list array as ranges of its items.
pub(crate) struct Level<'a> {
    borders: Borders<'a>,
    nulls: Option<NullBuffer>,
    pub(crate) items: &'a dyn Array,
}

enum Borders<'a> {
    Small(&'a [i32]),
    Large(&'a [i64]),
    Even(usize),
}

impl<'a> Level<'a> {
    pub(crate) fn of(array: &'a dyn Array) -> Option<Self> {
        let nulls = valid(array);
        if let Some(list) = array.as_list_opt::<i32>() {
            let borders = Borders::Small(list.value_offsets());
            Some(Self {
                borders,
                nulls,
                items: list.values(),
            })
        } else if let Some(list) = array.as_list_opt::<i64>() {
            let borders = Borders::Large(list.value_offsets());
            Some(Self {
                borders,
                nulls,
                items: list.values(),
            })
        } else if let Some(list) = array.as_fixed_size_list_opt() {
            let borders = Borders::Even(usize::try_from(list.value_length()).ok()?);
            Some(Self {
                borders,
                nulls,
                items: list.values(),
            })
        } else if let DataType::Map(_, _) = array.data_type() {
            let map = array.as_map();
            Some(Self {
                borders: Borders::Small(map.value_offsets()),
                nulls,
                items: map.entries(),
            })
        } else {
            None
        }
    }

    /// Returns the range of a list's items.
    #[expect(
        clippy::cast_sign_loss,
        clippy::cast_possible_truncation,
        reason = "Arrow ensures that offsets are positive and within the items"
    )]
    pub(crate) fn range(&self, row: usize) -> Range<usize> {
        match self.borders {
            Borders::Small(offsets) => offsets[row] as usize..offsets[row + 1] as usize,
            Borders::Large(offsets) => offsets[row] as usize..offsets[row + 1] as usize,
            Borders::Even(length) => row * length..(row + 1) * length,
        }
    }

    pub(crate) fn is_null(&self, row: usize) -> bool {
        self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row))
    }
}
