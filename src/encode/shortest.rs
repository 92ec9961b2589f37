//! Numerics from floats, by their shortest decimal form: what people see is what is stored.

use std::io::Write;

use arrow_array::PrimitiveArray;
use arrow_array::types::{ArrowPrimitiveType, Float16Type};
use arrow_buffer::i256;

use super::bind::{BoxedColumn, valid};
use super::column::{Values, Varying};
use super::digits::{Digits, Point, Wide};
use super::numeric::{HEADER, put, put_header};
use super::problem::Problem;
use crate::plan::NumericLimit;

/// What stands in place of a sign for what is no number, numeric.c.
pub(super) const NAN: u16 = 0xC000;
pub(super) const POSITIVE_INFINITY: u16 = 0xD000;
pub(super) const NEGATIVE_INFINITY: u16 = 0xF000;

/// The display scale that PostgreSQL itself sends with infinities.
pub(super) const INFINITY_SCALE: u16 = 32;

/// A float that can be written with as few decimals as tell it from its neighbours.
pub(super) trait Shortest: Copy + Into<f64> + Send + Sync {
    /// Writes `-1.25e-7`; only for numbers.
    fn write(self, out: &mut dyn Write) -> std::io::Result<()>;
}

impl Shortest for f32 {
    fn write(self, out: &mut dyn Write) -> std::io::Result<()> {
        write!(out, "{self:e}")
    }
}

impl Shortest for f64 {
    fn write(self, out: &mut dyn Write) -> std::io::Result<()> {
        write!(out, "{self:e}")
    }
}

/// What a half is.
type Half = <Float16Type as ArrowPrimitiveType>::Native;

/// The double that reads as the half does: 0.1, where widening alone gives 0.0999755859375. Five digits tell a
/// half from its neighbours.
pub(super) fn of_half(half: Half) -> f64 {
    let exact = half.to_f64();
    let read = |digits: usize| format!("{exact:.digits$e}").parse::<f64>().ok();
    let mut read = (0..5).filter_map(read);
    read.find(|double| Half::from_f64(*double) == half)
        .unwrap_or(exact)
}

/// Floats into numeric.
pub(super) fn floats<'a, T, S: Shortest + 'a>(
    array: &'a PrimitiveArray<T>,
    limit: Option<NumericLimit>,
    widen: impl Fn(T::Native) -> S + Send + Sync + 'a,
) -> BoxedColumn<'a>
where
    T: ArrowPrimitiveType,
{
    let values = Floats {
        values: &array.values()[..],
        limit,
        widen,
    };
    Box::new(Varying {
        values,
        nulls: valid(array),
    })
}

/// The digits of a number's shortest decimal form, and how many of them are after the point; below
/// zero, so many zeros follow them.
#[inline]
pub(super) fn decimal(value: impl Shortest) -> Result<(u64, i32), Problem> {
    // 17 digits, sign, point, exponent: no more than 24 bytes.
    let mut text = [0; 32];
    let mut rest = &mut text[..];
    value.write(&mut rest).map_err(|_| Problem::Unplanned)?;
    let unused = rest.len();
    let text = &text[..text.len() - unused];
    let (mut magnitude, mut scale, mut exponent) = (0_u64, 0, 0_i32);
    let (mut after_point, mut in_exponent, mut down) = (false, false, false);
    for byte in text.strip_prefix(b"-").unwrap_or(text) {
        match byte {
            b'.' => after_point = true,
            b'e' => in_exponent = true,
            b'-' => down = true,
            digit if in_exponent => exponent = exponent * 10 + i32::from(digit - b'0'),
            digit => {
                magnitude = magnitude * 10 + u64::from(digit - b'0');
                scale += i32::from(after_point);
            }
        }
    }
    scale -= if down { -exponent } else { exponent };
    Ok((magnitude, scale))
}

struct Floats<'a, T, F> {
    values: &'a [T],
    limit: Option<NumericLimit>,
    widen: F,
}

/// A float taken apart.
enum Parsed {
    Special(u16, u16),
    Number {
        negative: bool,
        digits: Wide,
        point: Point,
        shown: u16,
    },
}

impl<T: Copy, S: Shortest, F: Fn(T) -> S> Floats<'_, T, F> {
    fn parse(&self, row: usize) -> Result<Parsed, Problem> {
        let value = (self.widen)(self.values[row]);
        let double: f64 = value.into();
        if double.is_nan() {
            return Ok(Parsed::Special(NAN, 0));
        }
        if double.is_infinite() {
            let sign = if double > 0.0 {
                POSITIVE_INFINITY
            } else {
                NEGATIVE_INFINITY
            };
            // PostgreSQL 14 and newer, and only where no precision is declared.
            return match self.limit {
                None => Ok(Parsed::Special(sign, INFINITY_SCALE)),
                Some(_) => Err(Problem::NotFinite),
            };
        }
        let (magnitude, scale) = decimal(value)?;
        let point = Point::of(scale);
        Ok(Parsed::Number {
            negative: double < 0.0,
            digits: Wide::new(i256::from_i128(magnitude.into()), point),
            point,
            shown: u16::try_from(scale).unwrap_or(0),
        })
    }
}

impl<T, S, F> Values for Floats<'_, T, F>
where
    T: Copy + Send + Sync,
    S: Shortest,
    F: Fn(T) -> S + Send + Sync,
{
    fn size(&self, row: usize) -> Result<usize, Problem> {
        match self.parse(row)? {
            Parsed::Special(..) => Ok(HEADER),
            Parsed::Number { digits, point, .. } => {
                if let Some(limit) = self.limit {
                    digits.fit(point, limit)?;
                }
                Ok(HEADER + 2 * digits.count())
            }
        }
    }

    fn put(&self, row: usize, out: &mut [u8]) -> usize {
        match self.parse(row) {
            Ok(Parsed::Number {
                negative,
                digits,
                point,
                shown,
            }) => put(&digits, negative, point, shown, out),
            Ok(Parsed::Special(sign, shown)) => {
                put_header(0, 0, sign, shown, out);
                HEADER
            }
            // Every value was parsed before.
            Err(_) => 0,
        }
    }
}
