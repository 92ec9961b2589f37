//! Booleans, integers and floats: values whose size is the type's.

use arrow_array::cast::AsArray;
use arrow_array::types::{ArrowPrimitiveType, Int8Type};
use arrow_array::{Array, BooleanArray, PrimitiveArray};

use super::bind::{BoxedColumn, valid};
use super::column::{Fixed, Values, Varying};
use super::problem::Problem;
use super::{numeric, shortest};
use crate::plan::FieldPlan;

/// A column of values that a closure turns into as many bytes as the type has.
pub(super) fn fixed<'a, T, F, const W: usize>(
    array: &'a PrimitiveArray<T>,
    convert: F,
) -> BoxedColumn<'a>
where
    T: ArrowPrimitiveType,
    F: Fn(T::Native) -> Result<[u8; W], Problem> + Send + Sync + 'a,
{
    Box::new(Fixed {
        values: array.values(),
        nulls: valid(array),
        convert,
    })
}

/// `boolrecv`, bool.c: 1 or 0.
pub(super) fn booleans(array: &BooleanArray) -> BoxedColumn<'_> {
    struct Booleans<'a>(&'a BooleanArray);

    impl Values for Booleans<'_> {
        fn size(&self, _row: usize) -> Result<usize, Problem> {
            Ok(1)
        }

        fn put(&self, row: usize, out: &mut [u8]) -> usize {
            out[0] = u8::from(self.0.value(row));
            1
        }
    }

    Box::new(Varying {
        values: Booleans(array),
        nulls: valid(array),
    })
}

/// Booleans of a byte each, of which any but zero is true (the extension type `arrow.bool8`).
pub(super) fn bytes_as_booleans(array: &dyn Array) -> Result<BoxedColumn<'_>, Problem> {
    let bytes = array.as_primitive_opt::<Int8Type>();
    let bytes = bytes.ok_or(Problem::Unplanned)?;
    Ok(fixed(bytes, |byte| Ok([u8::from(byte != 0)])))
}

/// Integers of any size and sign into integers, floats and numerics.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "plan::mapping is the exhaustive table"
)]
pub(super) fn integers<'a, T>(
    plan: &FieldPlan,
    array: &'a PrimitiveArray<T>,
) -> Result<BoxedColumn<'a>, Problem>
where
    T: ArrowPrimitiveType,
    T::Native: TryInto<i16> + TryInto<i32> + TryInto<i64> + TryInto<u32> + TryInto<u64>,
    T::Native: Into<i128> + numeric::Unscaled,
{
    /// `T` cast to `N`, or out of range.
    fn cast<T: TryInto<N>, N>(value: T) -> Result<N, Problem> {
        value.try_into().map_err(|_| Problem::OutOfRange)
    }
    if let FieldPlan::Numeric { limit } = plan {
        return Ok(numeric::integers(array, *limit));
    }
    Ok(match plan {
        FieldPlan::Int2 => fixed(array, |v| cast(v).map(i16::to_be_bytes)),
        FieldPlan::Int4 => fixed(array, |v| cast(v).map(i32::to_be_bytes)),
        FieldPlan::Int8 => fixed(array, |v| cast(v).map(i64::to_be_bytes)),
        FieldPlan::Oid => fixed(array, |v| cast(v).map(u32::to_be_bytes)),
        FieldPlan::Xid8 => fixed(array, |v| cast(v).map(u64::to_be_bytes)),
        FieldPlan::Float4 => fixed(array, |v| exact::<24>(v.into()).map(single)),
        FieldPlan::Float8 => fixed(array, |v| exact::<53>(v.into()).map(double)),
        _ => return Err(Problem::Unplanned),
    })
}

/// Floats into floats at least as wide, and numerics; the closures widen exactly.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "plan::mapping is the exhaustive table"
)]
pub(super) fn floats<'a, T, S>(
    plan: &FieldPlan,
    array: &'a PrimitiveArray<T>,
    widen: impl Fn(T::Native) -> S + Send + Sync + 'a,
) -> Result<BoxedColumn<'a>, Problem>
where
    T: ArrowPrimitiveType,
    S: super::float_digits::Digital + 'a,
{
    match plan {
        FieldPlan::Float8 => Ok(fixed(array, move |v| Ok(widen(v).into().to_be_bytes()))),
        FieldPlan::Numeric { limit } => Ok(shortest::floats(array, *limit, widen)),
        _ => Err(Problem::Unplanned),
    }
}

/// An integer whose significant bits fit the mantissa of a float.
fn exact<const BITS: u32>(value: i128) -> Result<i128, Problem> {
    let magnitude = value.unsigned_abs();
    let significant = 128 - magnitude.leading_zeros() - magnitude.trailing_zeros() % 128;
    if significant > BITS {
        Err(Problem::NotExact)
    } else {
        Ok(value)
    }
}

#[expect(clippy::cast_precision_loss, reason = "checked by `exact`")]
fn single(value: i128) -> [u8; 4] {
    (value as f32).to_be_bytes()
}

#[expect(clippy::cast_precision_loss, reason = "checked by `exact`")]
fn double(value: i128) -> [u8; 8] {
    (value as f64).to_be_bytes()
}
