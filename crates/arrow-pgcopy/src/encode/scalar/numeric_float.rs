//! `numeric` from floats: the stored number is the one that PostgreSQL prints as text.

use arrow_array::PrimitiveArray;
use arrow_array::types::ArrowPrimitiveType;
use arrow_buffer::i256;

use super::digits::{Digits, HEADER, Point, Wide, put, put_header};
use super::float_digits::{Digital, decimal};
use crate::encode::column::{BoxedColumn, Values, Varying, valid};
use crate::encode::problem::Problem;
use crate::mapping::NumericLimit;

/// The sign words of NaN and infinities (numeric.c).
pub(crate) const NAN: u16 = 0xC000;
pub(crate) const POSITIVE_INFINITY: u16 = 0xD000;
pub(crate) const NEGATIVE_INFINITY: u16 = 0xF000;

/// The display scale that PostgreSQL sends with infinities.
pub(crate) const INFINITY_SCALE: u16 = 32;

/// Makes a column of `numeric` from floats.
pub(crate) fn floats<'a, T, S: Digital + 'a>(
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

struct Floats<'a, T, F> {
    values: &'a [T],
    limit: Option<NumericLimit>,
    widen: F,
}

/// A float split into its parts.
enum Parsed {
    Special(u16, u16),
    Number {
        negative: bool,
        digits: Wide,
        point: Point,
        shown: u16,
    },
}

impl<T: Copy, S: Digital, F: Fn(T) -> S> Floats<'_, T, F> {
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
            // PostgreSQL 14 and newer have infinities, in columns without a precision.
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
    S: Digital,
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
            // Every value was parsed when it was measured.
            Err(_) => 0,
        }
    }
}
