//! Integers, and decimals and floats that are whole, into integers and floats.

use arrow_array::types::{ArrowPrimitiveType, DecimalType};
use arrow_array::{ArrowNativeTypeOp, PrimitiveArray};
use arrow_buffer::i256;

use crate::encode::column::{BoxedColumn, fixed};
use crate::encode::problem::Problem;
use crate::mapping::FieldPlan;

/// An integer that may have a decimal scale.
pub(crate) trait Unscaled: Copy + Send + Sync {
    /// Returns the integer in 64 bits, if it fits.
    fn small(self) -> Option<i64>;

    /// Returns the integer in 256 bits.
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

/// Makes a column of integers or floats from integers of any size and sign.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the table in mapping is exhaustive"
)]
pub(crate) fn integers<'a, T>(
    plan: &FieldPlan,
    array: &'a PrimitiveArray<T>,
) -> Result<BoxedColumn<'a>, Problem>
where
    T: ArrowPrimitiveType,
    T::Native: TryInto<i16> + TryInto<i32> + TryInto<i64> + TryInto<u32> + TryInto<u64>,
    T::Native: Into<i128>,
{
    /// Casts an integer, or rejects it as out of range.
    fn cast<T: TryInto<N>, N>(value: T) -> Result<N, Problem> {
        value.try_into().map_err(|_| Problem::OutOfRange)
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

/// Makes a column of integers from whole decimals of any size.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the table in mapping is exhaustive"
)]
pub(crate) fn decimals<'a, T>(
    plan: &FieldPlan,
    array: &'a PrimitiveArray<T>,
) -> Result<BoxedColumn<'a>, Problem>
where
    T: DecimalType + ArrowPrimitiveType,
    T::Native: Unscaled + PartialOrd,
{
    let scale = array.scale();
    let within = within_declared(array)?;
    let whole = move |v| whole(within(v)?.wide(), scale);
    Ok(match plan {
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

/// Makes a column of integers from whole floats; `widen` is exact.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the table in mapping is exhaustive"
)]
pub(crate) fn floats<'a, T: ArrowPrimitiveType>(
    plan: &FieldPlan,
    array: &'a PrimitiveArray<T>,
    widen: impl Fn(T::Native) -> f64 + Send + Sync + 'a,
) -> Result<BoxedColumn<'a>, Problem> {
    let whole = move |v| whole_float(widen(v));
    Ok(match plan {
        FieldPlan::Int2 => fixed(array, move |v| {
            narrow::<i16>(whole(v)?).map(i16::to_be_bytes)
        }),
        FieldPlan::Int4 => fixed(array, move |v| {
            narrow::<i32>(whole(v)?).map(i32::to_be_bytes)
        }),
        FieldPlan::Int8 => fixed(array, move |v| whole(v).map(i64::to_be_bytes)),
        _ => return Err(Problem::Unplanned),
    })
}

/// Returns the integer that a float is.
fn whole_float(value: f64) -> Result<i64, Problem> {
    // 2⁶³, the first float beyond the range.
    const END: f64 = 9_223_372_036_854_775_808.0;
    if !value.is_finite() {
        return Err(Problem::NotFinite);
    }
    if value.fract() != 0.0 {
        return Err(Problem::LosesDigits);
    }
    if !(-END..END).contains(&value) {
        return Err(Problem::OutOfRange);
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a whole number in the range of 64 bits"
    )]
    Ok(value as i64)
}

fn narrow<N: TryFrom<i64>>(value: i64) -> Result<N, Problem> {
    value.try_into().map_err(|_| Problem::OutOfRange)
}

/// Returns the largest unscaled integer of a decimal array's precision.
///
/// # Errors
/// [`Problem::Unplanned`] for a precision that Arrow does not have, which data from elsewhere may claim.
pub(crate) fn largest<T: DecimalType>(array: &PrimitiveArray<T>) -> Result<T::Native, Problem> {
    let declared = T::MAX_FOR_EACH_PRECISION.get(usize::from(array.precision()));
    declared.copied().ok_or(Problem::Unplanned)
}

/// Returns a check that a value has no more digits than its array declares.
///
/// # Errors
/// The same as [`largest`].
pub(crate) fn within_declared<T>(
    array: &PrimitiveArray<T>,
) -> Result<impl Fn(T::Native) -> Result<T::Native, Problem> + Copy + Send + Sync + use<T>, Problem>
where
    T: DecimalType + ArrowPrimitiveType,
    T::Native: PartialOrd,
{
    let most = largest(array)?;
    let least = most.neg_wrapping();
    Ok(move |v: T::Native| {
        if least <= v && v <= most {
            Ok(v)
        } else {
            Err(Problem::BeyondDeclaredPrecision)
        }
    })
}

/// Checks that the significant bits of an integer fit the mantissa of a float.
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

/// Returns a decimal as an integer, if it is whole.
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
