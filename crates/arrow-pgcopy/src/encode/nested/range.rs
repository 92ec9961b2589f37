//! Ranges and multiranges, as `range_recv` of rangetypes.c and `multirange_recv` read them.
//!
//! The wire form of a range has flags and the finite bounds, each with a length word; that of a multirange has the
//! number of ranges, and each range with a length word. A NULL bound is infinite. Without `lower_inc` and
//! `upper_inc`, a range includes its lower bound and excludes its upper one, as PostgreSQL's `[)`.

use arrow_array::cast::AsArray;
use arrow_array::{Array, BooleanArray, StructArray};
use arrow_buffer::NullBuffer;

use crate::encode::column::{Bind, BoxedColumn, Level, Values, Varying, WORD, length_word, valid};
use crate::encode::problem::Problem;
use crate::mapping::FieldPlan;

/// Flags of rangetypes.h.
const EMPTY: u8 = 0x01;
const LOWER_INCLUSIVE: u8 = 0x02;
const UPPER_INCLUSIVE: u8 = 0x04;
const LOWER_INFINITE: u8 = 0x08;
const UPPER_INFINITE: u8 = 0x10;

/// Makes a column of ranges from structs of `lower`, `upper` and optional `lower_inc`, `upper_inc`, `empty`.
pub(crate) fn ranges<'a>(
    array: &'a dyn Array,
    bound: &'a FieldPlan,
    bind: Bind<'a>,
) -> Result<BoxedColumn<'a>, Problem> {
    let array = array.as_struct_opt().ok_or(Problem::Unplanned)?;
    Ok(Box::new(Varying {
        values: Ranges::of(array, bound, bind)?,
        nulls: valid(array),
    }))
}

/// Makes a column of multiranges from lists of such structs.
pub(crate) fn multiranges<'a>(
    array: &'a dyn Array,
    bound: &'a FieldPlan,
    bind: Bind<'a>,
) -> Result<BoxedColumn<'a>, Problem> {
    let level = Level::of(array).ok_or(Problem::Unplanned)?;
    let items = level.items.as_struct_opt().ok_or(Problem::Unplanned)?;
    let values = Multiranges {
        ranges: Ranges::of(items, bound, bind)?,
        range_nulls: valid(items),
        level,
    };
    Ok(Box::new(Varying {
        values,
        nulls: valid(array),
    }))
}

struct Ranges<'a> {
    lower: Bound<'a>,
    upper: Bound<'a>,
    lower_inclusive: Option<&'a BooleanArray>,
    upper_inclusive: Option<&'a BooleanArray>,
    empty: Option<&'a BooleanArray>,
}

struct Bound<'a> {
    values: BoxedColumn<'a>,
    nulls: Option<NullBuffer>,
}

impl<'a> Bound<'a> {
    fn of(
        array: &'a StructArray,
        name: &str,
        plan: &'a FieldPlan,
        bind: Bind<'a>,
    ) -> Result<Self, Problem> {
        let values = array.column_by_name(name).ok_or(Problem::Unplanned)?;
        Ok(Self {
            values: bind(plan, values)?,
            nulls: values.logical_nulls(),
        })
    }

    fn is_infinite(&self, row: usize) -> bool {
        self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row))
    }
}

impl<'a> Ranges<'a> {
    fn of(array: &'a StructArray, bound: &'a FieldPlan, bind: Bind<'a>) -> Result<Self, Problem> {
        let flag = |name| {
            let values = array.column_by_name(name);
            values.and_then(|values| values.as_boolean_opt())
        };
        Ok(Self {
            lower: Bound::of(array, "lower", bound, bind)?,
            upper: Bound::of(array, "upper", bound, bind)?,
            lower_inclusive: flag("lower_inc"),
            upper_inclusive: flag("upper_inc"),
            empty: flag("empty"),
        })
    }

    fn flags(&self, row: usize) -> Result<u8, Problem> {
        let flag = |values: Option<&BooleanArray>, absent: bool| match values {
            None => Ok(absent),
            Some(values) if values.is_null(row) => Err(Problem::NullFlag),
            Some(values) => Ok(values.value(row)),
        };
        if flag(self.empty, false)? {
            return Ok(EMPTY);
        }
        let mut flags = 0;
        if self.lower.is_infinite(row) {
            flags |= LOWER_INFINITE;
        } else if flag(self.lower_inclusive, true)? {
            flags |= LOWER_INCLUSIVE;
        }
        if self.upper.is_infinite(row) {
            flags |= UPPER_INFINITE;
        } else if flag(self.upper_inclusive, false)? {
            flags |= UPPER_INCLUSIVE;
        }
        Ok(flags)
    }

    /// Returns the bounds that are sent.
    fn finite(&self, flags: u8) -> impl Iterator<Item = &BoxedColumn<'a>> {
        let sent = |bound: &'static u8| flags & (EMPTY | bound) == 0;
        let lower = sent(&LOWER_INFINITE).then_some(&self.lower.values);
        let upper = sent(&UPPER_INFINITE).then_some(&self.upper.values);
        lower.into_iter().chain(upper)
    }
}

impl Values for Ranges<'_> {
    fn size(&self, row: usize) -> Result<usize, Problem> {
        self.finite(self.flags(row)?)
            .try_fold(1, |size, bound| Ok(size + bound.measure_run(row..row + 1)?))
    }

    fn put(&self, row: usize, out: &mut [u8]) -> usize {
        // A row without valid flags was rejected when it was measured.
        out[0] = self.flags(row).unwrap_or(EMPTY);
        let mut at = 1;
        for bound in self.finite(out[0]) {
            at += bound.write_run(row..row + 1, &mut out[at..]);
        }
        at
    }
}

struct Multiranges<'a> {
    level: Level<'a>,
    ranges: Ranges<'a>,
    range_nulls: Option<NullBuffer>,
}

impl Values for Multiranges<'_> {
    fn size(&self, row: usize) -> Result<usize, Problem> {
        self.level.range(row).try_fold(WORD, |size, item| {
            if self.range_nulls.as_ref().is_some_and(|n| n.is_null(item)) {
                return Err(Problem::NullItem);
            }
            Ok(size + WORD + self.ranges.size(item)?)
        })
    }

    fn put(&self, row: usize, out: &mut [u8]) -> usize {
        let items = self.level.range(row);
        out[..WORD].copy_from_slice(&length_word(items.len()));
        let mut at = WORD;
        for item in items {
            let (word, rest) = out[at..].split_at_mut(WORD);
            let size = self.ranges.put(item, rest);
            word.copy_from_slice(&length_word(size));
            at += WORD + size;
        }
        at
    }
}
