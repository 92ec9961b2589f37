//! Arrays, as `array_recv` of arrayfuncs.c reads them.
//!
//! The wire form has the number of dimensions, a flag for NULLs, and the element type's OID; for each dimension its
//! length and first subscript; then the elements in row-major order, each with a length word. An array without
//! elements has no dimensions, so that a list of empty lists becomes an empty array, as PostgreSQL's own
//! `ARRAY[ARRAY[]::int[]]` does.

use std::ops::Range;

use arrow_array::Array;
use arrow_buffer::NullBuffer;

use crate::encode::column::{Bind, BoxedColumn, Level, Values, Varying, length_word, valid};
use crate::encode::problem::Problem;
use crate::mapping::FieldPlan;

/// Bytes before the dimensions, and of each dimension.
const HEADER: usize = 12;
const DIMENSION: usize = 8;

/// PostgreSQL's default first subscript.
const LOWER_BOUND: [u8; 4] = 1_i32.to_be_bytes();

/// Makes a column of arrays, with `dimensions` lists around each element.
pub(crate) fn lists<'a>(
    array: &'a dyn Array,
    dimensions: u8,
    element_oid: u32,
    element: &'a FieldPlan,
    bind: Bind<'a>,
) -> Result<BoxedColumn<'a>, Problem> {
    let mut levels = Vec::with_capacity(dimensions.into());
    let mut inner = array;
    for _ in 0..dimensions {
        let level = Level::of(inner).ok_or(Problem::Unplanned)?;
        inner = level.items;
        levels.push(level);
    }
    let values = Lists {
        levels,
        elements: bind(element, inner)?,
        element_nulls: inner.logical_nulls(),
        element_oid,
    };
    Ok(Box::new(Varying {
        values,
        nulls: valid(array),
    }))
}

struct Lists<'a> {
    /// The levels of lists, the outermost first.
    levels: Vec<Level<'a>>,
    elements: BoxedColumn<'a>,
    element_nulls: Option<NullBuffer>,
    element_oid: u32,
}

impl Lists<'_> {
    /// Calls `dimension` with the length of each dimension, and returns the range of the elements. The elements of
    /// neighbouring lists are contiguous.
    fn walk(&self, row: usize, mut dimension: impl FnMut(usize)) -> Result<Range<usize>, Problem> {
        let mut lists = row..row + 1;
        for (depth, level) in self.levels.iter().enumerate() {
            let (first, last) = (level.range(lists.start), level.range(lists.end - 1));
            if depth > 0 {
                for list in lists {
                    if level.is_null(list) || level.range(list).len() != first.len() {
                        return Err(Problem::NotRectangular);
                    }
                }
            }
            dimension(first.len());
            lists = first.start..last.end;
            if first.is_empty() {
                return Ok(0..0);
            }
        }
        Ok(lists)
    }
}

impl Values for Lists<'_> {
    fn size(&self, row: usize) -> Result<usize, Problem> {
        let elements = self.walk(row, |_| ())?;
        if elements.is_empty() {
            return Ok(HEADER);
        }
        Ok(HEADER + DIMENSION * self.levels.len() + self.elements.measure_run(elements)?)
    }

    fn put(&self, row: usize, out: &mut [u8]) -> usize {
        let (header, rest) = out.split_at_mut(HEADER);
        header[..8].fill(0);
        header[8..].copy_from_slice(&self.element_oid.to_be_bytes());
        // The shape was checked when the row was measured. This only asks for the elements.
        if self
            .walk(row, |_| ())
            .is_ok_and(|elements| elements.is_empty())
        {
            return HEADER;
        }
        let mut at = 0;
        let elements = self.walk(row, |length| {
            rest[at..at + 4].copy_from_slice(&length_word(length));
            rest[at + 4..at + DIMENSION].copy_from_slice(&LOWER_BOUND);
            at += DIMENSION;
        });
        let elements = elements.unwrap_or_default();
        header[..4].copy_from_slice(&length_word(self.levels.len()));
        let nulls = self.element_nulls.as_ref();
        if nulls.is_some_and(|nulls| nulls.slice(elements.start, elements.len()).null_count() > 0) {
            header[7] = 1;
        }
        HEADER + at + self.elements.write_run(elements, &mut rest[at..])
    }
}
