//! `numeric` from decimals and integers, as `numeric_recv` of numeric.c reads it.
//!
//! The wire form has four words and then digits of base 10000, the most significant first. The words are the count
//! of digits, the power of 10000 of the first, the sign, and the decimals shown after the point. Zeros at both ends
//! are left out, as PostgreSQL does.

use std::ops::Range;

use arrow_array::PrimitiveArray;
use arrow_array::types::{ArrowPrimitiveType, DecimalType};
use arrow_buffer::i256;

use super::digits::{Digits, HEADER, Point, Short, Shortener, Wide, put};
use super::integer::{Unscaled, largest, within_declared};
use crate::encode::column::{BoxedColumn, Values, Varying, u32_size, valid};
use crate::encode::problem::Problem;
use crate::mapping::NumericLimit;

/// Makes a column of `numeric` from decimals of any size.
pub(crate) fn decimals<T>(
    array: &PrimitiveArray<T>,
    limit: Option<NumericLimit>,
) -> Result<BoxedColumn<'_>, Problem>
where
    T: DecimalType + ArrowPrimitiveType,
    T::Native: Unscaled + PartialOrd,
{
    let declared = largest(array)?.small().unwrap_or(i64::MAX);
    let within = within_declared(array)?;
    let scale = i32::from(array.scale());
    Ok(scaled(array, scale, limit, declared, within))
}

/// Makes a column of `numeric` from integers.
pub(crate) fn integers<T>(array: &PrimitiveArray<T>, limit: Option<NumericLimit>) -> BoxedColumn<'_>
where
    T: ArrowPrimitiveType,
    T::Native: Unscaled,
{
    scaled(array, 0, limit, i64::MAX, Ok)
}

fn scaled<'a, T, F>(
    array: &'a PrimitiveArray<T>,
    scale: i32,
    limit: Option<NumericLimit>,
    declared: i64,
    check: F,
) -> BoxedColumn<'a>
where
    T: ArrowPrimitiveType,
    T::Native: Unscaled,
    F: Fn(T::Native) -> Result<T::Native, Problem> + Send + Sync + 'a,
{
    let (point, shown) = (Point::of(scale), u16::try_from(scale).unwrap_or(0));
    let values = Scaled {
        values: array.values(),
        shorts: Vec::new(),
        first_row: 0,
        plain: false,
        shortener: Shortener::new(point, shown, declared.unsigned_abs()),
        point,
        shown,
        limit,
        check,
    };
    Box::new(Varying {
        values,
        nulls: valid(array),
    })
}

/// Integers of one scale.
struct Scaled<'a, T, F> {
    values: &'a [T],
    /// The prepared values. Those that are long or invalid are [`Short::LONG`] and checked when they are measured.
    shorts: Vec<Short>,
    /// The row of the first prepared value.
    first_row: usize,
    /// Whether every value fits the short form and no limit applies.
    plain: bool,
    shortener: Shortener,
    point: Point,
    shown: u16,
    limit: Option<NumericLimit>,
    check: F,
}

impl<T: Unscaled, F> Scaled<'_, T, F> {
    fn shorten<const PARTIAL: usize>(&mut self, rows: Range<usize>) {
        self.first_row = rows.start;
        self.shorts.clear();
        self.plain = self.limit.is_none();
        let shorten = |value: &T| {
            let short = match value.small() {
                Some(small) => self.shortener.shorten::<PARTIAL>(small),
                None => Short::LONG,
            };
            self.plain &= !short.is_long();
            short
        };
        self.shorts.extend(self.values[rows].iter().map(shorten));
    }
}

impl<T, F> Values for Scaled<'_, T, F>
where
    T: Unscaled,
    F: Fn(T) -> Result<T, Problem> + Send + Sync,
{
    fn prepare(&mut self, rows: Range<usize>) {
        match self.point.partial {
            0 => self.shorten::<0>(rows),
            1 => self.shorten::<1>(rows),
            2 => self.shorten::<2>(rows),
            _ => self.shorten::<3>(rows),
        }
    }

    fn plain_sizes(&self, rows: Range<usize>) -> Option<impl Iterator<Item = u32>> {
        let first = rows.start - self.first_row;
        let sizes = self.shorts[first..first + rows.len()].iter();
        self.plain
            .then(|| sizes.map(|short| u32_size(short.size())))
    }

    #[inline(always)]
    fn size(&self, row: usize) -> Result<usize, Problem> {
        let short = &self.shorts[row - self.first_row];
        if short.is_long() {
            let value = (self.check)(self.values[row])?;
            return size(&Wide::new(value.wide(), self.point), self.point, self.limit);
        }
        size(short, self.point, self.limit)
    }

    #[inline(always)]
    fn put(&self, row: usize, out: &mut [u8]) -> usize {
        let short = &self.shorts[row - self.first_row];
        if short.is_long() {
            return put_wide(self.values[row].wide(), self.point, self.shown, out);
        }
        let size = short.size();
        short.put_all(&mut out[..size]);
        size
    }
}

#[inline]
fn size(digits: &impl Digits, point: Point, limit: Option<NumericLimit>) -> Result<usize, Problem> {
    if let Some(limit) = limit {
        digits.fit(point, limit)?;
    }
    Ok(HEADER + 2 * digits.count())
}

#[inline(never)]
fn put_wide(value: i256, point: Point, shown: u16, out: &mut [u8]) -> usize {
    put(
        &Wide::new(value, point),
        value.is_negative(),
        point,
        shown,
        out,
    )
}
