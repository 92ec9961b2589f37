//! Numerics from decimals and integers, as `numeric_recv` of numeric.c reads them.
//!
//! Four words, then digits of base 10000 from the most significant: how many there are, the power
//! of 10000 of the first, the sign, and how many decimals after the point are shown. Zeros at both
//! ends are left out, as PostgreSQL itself does; zeros in between are digits like any other.

use std::ops::Range;

use arrow_array::types::{ArrowPrimitiveType, DecimalType};
use arrow_array::{ArrowNativeTypeOp, PrimitiveArray};
use arrow_buffer::i256;

use super::bind::{BoxedColumn, valid};
use super::column::{Values, Varying, u32_size};
use super::digits::{Digits, Point, Short, Shortener, Wide};
use super::fixed::fixed;
use super::problem::Problem;
use crate::plan::{FieldPlan, NumericLimit};

/// Bytes before the digits.
pub(super) const HEADER: usize = 8;

/// Signs of numeric.c.
pub(super) const POSITIVE: u16 = 0;
pub(super) const NEGATIVE: u16 = 0x4000;

/// An integer that a decimal scale may belong to.
pub(super) trait Unscaled: Copy + Send + Sync {
    /// The same in 64 bits, when it fits.
    fn small(self) -> Option<i64>;

    /// The same in any case.
    fn wide(self) -> i256;
}

macro_rules! small_integers {
    ($($native:ty),+) => {$(
        impl Unscaled for $native {
            #[inline]
            fn small(self) -> Option<i64> {
                self.try_into().ok()
            }

            fn wide(self) -> i256 {
                i256::from_i128(self.into())
            }
        }
    )+};
}

small_integers!(i8, i16, i32, i64, u8, u16, u32, u64);

impl Unscaled for i128 {
    #[inline]
    fn small(self) -> Option<i64> {
        self.try_into().ok()
    }

    fn wide(self) -> i256 {
        i256::from_i128(self)
    }
}

impl Unscaled for i256 {
    fn small(self) -> Option<i64> {
        self.to_i128()?.small()
    }

    fn wide(self) -> i256 {
        self
    }
}

/// Decimals of any size into numeric, or into integers when they are whole.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "plan::mapping is the exhaustive table"
)]
pub(super) fn decimals<'a, T>(
    plan: &FieldPlan,
    array: &'a PrimitiveArray<T>,
) -> Result<BoxedColumn<'a>, Problem>
where
    T: DecimalType + ArrowPrimitiveType,
    T::Native: Unscaled + PartialOrd,
{
    let scale = array.scale();
    let declared = largest(array)?;
    let least = declared.neg_wrapping();
    let within = move |v: T::Native| {
        if least <= v && v <= declared {
            Ok(v)
        } else {
            Err(Problem::BeyondDeclaredPrecision)
        }
    };
    let whole = move |v| whole(within(v)?.wide(), scale);
    Ok(match plan {
        FieldPlan::Numeric { limit } => {
            let declared = declared.small().map_or(i64::MAX, |most| most);
            scaled(array, i32::from(scale), *limit, declared, within)
        }
        FieldPlan::Int2 => fixed(array, move |v| {
            integer::<i16>(whole(v)?).map(i16::to_be_bytes)
        }),
        FieldPlan::Int4 => fixed(array, move |v| {
            integer::<i32>(whole(v)?).map(i32::to_be_bytes)
        }),
        FieldPlan::Int8 => fixed(array, move |v| {
            integer::<i64>(whole(v)?).map(i64::to_be_bytes)
        }),
        _ => return Err(Problem::Unplanned),
    })
}

/// The largest integer that a decimal array declares to have.
///
/// # Errors
/// A precision that Arrow does not know, which data from elsewhere may claim.
pub(super) fn largest<T: DecimalType>(array: &PrimitiveArray<T>) -> Result<T::Native, Problem> {
    let declared = T::MAX_FOR_EACH_PRECISION.get(usize::from(array.precision()));
    declared.copied().ok_or(Problem::Unplanned)
}

/// Integers into numeric.
pub(super) fn integers<T>(array: &PrimitiveArray<T>, limit: Option<NumericLimit>) -> BoxedColumn<'_>
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

/// Integers with one scale.
struct Scaled<'a, T, F> {
    values: &'a [T],
    /// Prepared values that are short; what is long, or not right, is looked at again when measured.
    shorts: Vec<Short>,
    /// The row of the first of them.
    first_row: usize,
    /// Whether all of them are short, and nothing is asked of them.
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

/// Writes a number of checked size to the beginning of `out`; returns its bytes.
#[inline]
pub(super) fn put(
    digits: &impl Digits,
    negative: bool,
    point: Point,
    shown: u16,
    out: &mut [u8],
) -> usize {
    let size = HEADER + 2 * digits.count();
    let out = &mut out[..size];
    // The digits first, since they may scribble on what is before them.
    digits.put(out);
    let sign = if negative { NEGATIVE } else { POSITIVE };
    put_header(digits.count(), digits.weight(point), sign, shown, out);
    size
}

/// Writes the words before the digits.
#[inline]
pub(super) fn put_header(count: usize, weight: i16, sign: u16, shown: u16, out: &mut [u8]) {
    let header = u64::from(u32_size(count)) << 48
        | u64::from(weight.cast_unsigned()) << 32
        | u64::from(sign) << 16
        | u64::from(shown);
    out[..HEADER].copy_from_slice(&header.to_be_bytes());
}

/// The integer that a decimal is, when nothing follows its point.
fn whole(value: i256, scale: i8) -> Result<i256, Problem> {
    let power = i256::from_i128(10).checked_pow(u32::from(scale.unsigned_abs()));
    match power {
        Some(power) if scale < 0 => value.checked_mul(power).ok_or(Problem::OutOfRange),
        Some(power) if value.checked_rem(power) == Some(i256::ZERO) => {
            value.checked_div(power).ok_or(Problem::OutOfRange)
        }
        Some(_) => Err(Problem::LosesDigits),
        None => Err(Problem::OutOfRange),
    }
}

fn integer<N: TryFrom<i128>>(value: i256) -> Result<N, Problem> {
    let value = value.to_i128().ok_or(Problem::OutOfRange)?;
    N::try_from(value).map_err(|_| Problem::OutOfRange)
}
