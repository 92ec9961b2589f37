//! Conversions of numbers and booleans: rounding, smaller floats, clamping.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types as t;
use arrow_array::types::{ArrowPrimitiveType, DecimalType};
use arrow_array::{
    Array, ArrayRef, ArrowNativeTypeOp, BooleanArray, PrimitiveArray, downcast_integer,
};
use arrow_buffer::i256;
use arrow_cast::cast;
use arrow_schema::{DECIMAL256_MAX_PRECISION, DataType};

use super::each;
use crate::conversion::{Overflow, Rounding};
use crate::encode::column::Policy;
use crate::encode::problem::{Problem, Rejected};
use crate::encode::scalar::float_digits::{Digital, decimal, of_half};
use crate::encode::scalar::integer::{Unscaled, largest};

/// Rounds decimals of any width, or floats, to a scale, as decimals of 256 bits.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the steps of conversion are exhaustive"
)]
pub(crate) fn rescale(
    array: &ArrayRef,
    scale: i8,
    rounding: Rounding,
    policy: Policy,
) -> Result<ArrayRef, Rejected> {
    use DataType as D;
    let values = match array.data_type() {
        D::Float16 => {
            let array = array.as_primitive::<t::Float16Type>();
            each(array, policy, |v| scaled(of_half(v), scale, rounding))?
        }
        D::Float32 => {
            let array = array.as_primitive::<t::Float32Type>();
            each(array, policy, |v| scaled(v, scale, rounding))?
        }
        D::Float64 => {
            let array = array.as_primitive::<t::Float64Type>();
            each(array, policy, |v| scaled(v, scale, rounding))?
        }
        D::Decimal32(..) => decimals::<t::Decimal32Type>(array, scale, rounding, policy)?,
        D::Decimal64(..) => decimals::<t::Decimal64Type>(array, scale, rounding, policy)?,
        D::Decimal128(..) => decimals::<t::Decimal128Type>(array, scale, rounding, policy)?,
        D::Decimal256(..) => decimals::<t::Decimal256Type>(array, scale, rounding, policy)?,
        _ => return Err(Problem::Unplanned.at(0)),
    };
    let values: PrimitiveArray<t::Decimal256Type> = values;
    let values = values
        .with_precision_and_scale(DECIMAL256_MAX_PRECISION, scale)
        .map_err(|_| Problem::Unplanned.at(0))?;
    Ok(Arc::new(values))
}

fn decimals<T>(
    array: &ArrayRef,
    scale: i8,
    rounding: Rounding,
    policy: Policy,
) -> Result<PrimitiveArray<t::Decimal256Type>, Rejected>
where
    T: DecimalType + ArrowPrimitiveType,
    T::Native: Unscaled,
{
    let array = array.as_primitive::<T>();
    let lost = i32::from(array.scale()) - i32::from(scale);
    let most = largest(array).map_err(|problem| problem.at(0))?;
    each(array, policy, |value| {
        if value.is_gt(most) || value.is_lt(most.neg_wrapping()) {
            return Err(Problem::BeyondDeclaredPrecision);
        }
        divided(value.wide(), lost, rounding)
    })
}

/// Returns a float as a decimal, from its shortest decimal form.
fn scaled<S: Digital>(value: S, scale: i8, rounding: Rounding) -> Result<i256, Problem> {
    let double: f64 = value.into();
    if !double.is_finite() {
        return Err(Problem::NotFinite);
    }
    let (magnitude, digits) = decimal(value)?;
    let magnitude = i256::from_i128(magnitude.into());
    let value = if double.is_sign_negative() {
        magnitude.wrapping_neg()
    } else {
        magnitude
    };
    let lost = digits - i32::from(scale);
    if lost >= 0 {
        return divided(value, lost, rounding);
    }
    i256::from_i128(10)
        .checked_pow(lost.unsigned_abs())
        .and_then(|power| value.checked_mul(power))
        .ok_or(Problem::OutOfRange)
}

/// Rounds a number to drop its last `decimals` decimals.
fn divided(value: i256, decimals: i32, rounding: Rounding) -> Result<i256, Problem> {
    let power = i256::from_i128(10).checked_pow(decimals.unsigned_abs());
    let Some(power) = power else {
        // Half of the power is larger than any number of 256 bits.
        return Ok(if rounding == Rounding::Floor && value.is_negative() {
            i256::MINUS_ONE
        } else {
            i256::ZERO
        });
    };
    let (Some(whole), Some(rest)) = (value.checked_div(power), value.checked_rem(power)) else {
        return Err(Problem::OutOfRange);
    };
    // Division rounds towards zero, and half of a power of ten is an integer.
    let half = power.wrapping_div(i256::from_i128(2));
    let away = match rounding {
        Rounding::Floor => rest.is_negative(),
        Rounding::Nearest => decimals > 0 && rest.wrapping_abs() >= half,
    };
    Ok(match (away, value.is_negative()) {
        (false, _) => whole,
        (true, true) => whole.wrapping_sub(i256::ONE),
        (true, false) => whole.wrapping_add(i256::ONE),
    })
}

/// Rounds floats to fewer decimals after the point. NaN and infinities stay.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the steps of conversion are exhaustive"
)]
pub(crate) fn fraction(
    array: &ArrayRef,
    scale: i32,
    rounding: Rounding,
    policy: Policy,
) -> Result<ArrayRef, Rejected> {
    fn rounded<S: Digital + std::str::FromStr>(
        value: S,
        scale: i32,
        rounding: Rounding,
    ) -> Result<S, Problem> {
        let double: f64 = value.into();
        if !double.is_finite() {
            return Ok(value);
        }
        let (magnitude, digits) = decimal(value)?;
        if digits <= scale {
            return Ok(value);
        }
        let sign: i128 = if double.is_sign_negative() { -1 } else { 1 };
        let value = i256::from_i128(sign * i128::from(magnitude));
        let kept = divided(value, digits - scale, rounding)?;
        // The float nearest to a few digits has these digits as its shortest form.
        let text = format!("{kept}e{}", -scale);
        text.parse().map_err(|_| Problem::Unplanned)
    }
    Ok(match array.data_type() {
        DataType::Float16 => {
            let array = array.as_primitive::<t::Float16Type>();
            Arc::new(each::<_, t::Float32Type>(array, policy, |v| {
                rounded(v.to_f32(), scale, rounding)
            })?)
        }
        DataType::Float32 => {
            let array = array.as_primitive::<t::Float32Type>();
            Arc::new(each::<_, t::Float32Type>(array, policy, |v| {
                rounded(v, scale, rounding)
            })?)
        }
        DataType::Float64 => {
            let array = array.as_primitive::<t::Float64Type>();
            Arc::new(each::<_, t::Float64Type>(array, policy, |v| {
                rounded(v, scale, rounding)
            })?)
        }
        _ => return Err(Problem::Unplanned.at(0)),
    })
}

/// Rounds numbers to single precision. A number that would become infinite is out of range, unless `overflow` says
/// otherwise.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "the conversion allows rounding"
)]
pub(crate) fn singles(
    array: &ArrayRef,
    overflow: Option<Overflow>,
    policy: Policy,
) -> Result<ArrayRef, Rejected> {
    let held = |single: f32| match (single.is_finite(), overflow) {
        (true, _) | (false, Some(Overflow::Infinity)) => Ok(single),
        (false, Some(Overflow::Clamp)) => Ok(f32::MAX.copysign(single)),
        (false, Some(Overflow::Null) | None) => Err(Problem::OutOfRange),
    };
    if let Some(doubles) = array.as_primitive_opt::<t::Float64Type>() {
        let singles = each::<_, t::Float32Type>(doubles, policy, |value| {
            let single = value as f32;
            if value.is_finite() {
                held(single)
            } else {
                Ok(single)
            }
        })?;
        return Ok(Arc::new(singles));
    }
    floats::<t::Float32Type>(array, policy, |value| value as f32, held)
}

/// Rounds numbers to double precision, which has a larger range than decimals.
#[expect(clippy::cast_precision_loss, reason = "the conversion allows rounding")]
pub(crate) fn doubles(array: &ArrayRef, policy: Policy) -> Result<ArrayRef, Rejected> {
    floats::<t::Float64Type>(array, policy, |value| value as f64, Ok)
}

/// Converts integers and decimals to floats.
fn floats<T>(
    array: &ArrayRef,
    policy: Policy,
    from_integer: impl Fn(i128) -> T::Native,
    held: impl Fn(T::Native) -> Result<T::Native, Problem>,
) -> Result<ArrayRef, Rejected>
where
    T: ArrowPrimitiveType,
    T::Native: std::str::FromStr,
{
    macro_rules! integers {
        ($type:ty) => {
            each::<$type, T>(array.as_primitive(), policy, |v| {
                Ok(from_integer(i128::from(v)))
            })
        };
    }
    macro_rules! decimals {
        ($type:ty) => {{
            let array = array.as_primitive::<$type>();
            let (scale, most) = (
                i32::from(array.scale()),
                largest(array).map_err(|problem| problem.at(0))?,
            );
            each::<$type, T>(array, policy, |v| {
                if v.is_gt(most) || v.is_lt(most.neg_wrapping()) {
                    return Err(Problem::BeyondDeclaredPrecision);
                }
                // Parsing text rounds once, and correctly.
                let text = format!("{v}e{}", -scale);
                held(text.parse().map_err(|_| Problem::Unplanned)?)
            })
        }};
    }
    let floats = downcast_integer! {
        array.data_type() => (integers),
        DataType::Decimal32(_, _) => decimals!(t::Decimal32Type),
        DataType::Decimal64(_, _) => decimals!(t::Decimal64Type),
        DataType::Decimal128(_, _) => decimals!(t::Decimal128Type),
        DataType::Decimal256(_, _) => decimals!(t::Decimal256Type),
        _ => Err(Problem::Unplanned.at(0)),
    };
    Ok(Arc::new(floats?))
}

/// Converts 1 and 0 to booleans.
pub(crate) fn booleans(array: &ArrayRef, policy: Policy) -> Result<ArrayRef, Rejected> {
    macro_rules! bits {
        ($type:ty) => {
            each::<$type, t::Int8Type>(array.as_primitive(), policy, |value| match value {
                0 => Ok(0),
                1 => Ok(1),
                _ => Err(Problem::OutOfRange),
            })
        };
    }
    let bits = downcast_integer! {
        array.data_type() => (bits),
        _ => Err(Problem::Unplanned.at(0)),
    }?;
    let booleans: BooleanArray = bits.iter().map(|bit| bit.map(|bit| bit == 1)).collect();
    Ok(Arc::new(booleans))
}

/// Clamps numbers and times to a range; with `infinity`, to the extremes of their type.
pub(crate) fn clamp(
    array: &ArrayRef,
    least: i256,
    most: i256,
    infinity: bool,
) -> Result<ArrayRef, Rejected> {
    macro_rules! clamped {
        ($type:ty) => {
            clamped!($type, |end: i256| end
                .to_i128()
                .and_then(|end| end.try_into().ok()))
        };
        ($type:ty, $held:expr) => {{
            type Native = <$type as ArrowPrimitiveType>::Native;
            let (low, high) = match infinity {
                true => (Native::MIN, Native::MAX),
                // An end outside of the type's range is never reached.
                false => (
                    $held(least).unwrap_or(Native::MIN),
                    $held(most).unwrap_or(Native::MAX),
                ),
            };
            let array = array.as_primitive::<$type>();
            let clamped = array.unary::<_, $type>(|v| match v.wide() {
                wide if wide < least => low,
                wide if wide > most => high,
                _ => v,
            });
            Ok(Arc::new(clamped.with_data_type(array.data_type().clone())) as ArrayRef)
        }};
    }
    macro_rules! floats {
        ($type:ty, $parse:ty) => {{
            let end = |end: i256| end.to_string().parse::<$parse>();
            let (Ok(least), Ok(most)) = (end(least), end(most)) else {
                return Err(Problem::Unplanned.at(0));
            };
            let array = array.as_primitive::<$type>();
            Ok(Arc::new(array.unary::<_, $type>(|v| v.clamp(least, most))) as ArrayRef)
        }};
    }
    if *array.data_type() == DataType::Float16 {
        let singles = cast(array, &DataType::Float32).map_err(|_| Problem::Unplanned.at(0))?;
        return clamp(&singles, least, most, infinity);
    }
    use arrow_schema::TimeUnit as U;
    downcast_integer! {
        array.data_type() => (clamped),
        DataType::Float32 => floats!(t::Float32Type, f32),
        DataType::Float64 => floats!(t::Float64Type, f64),
        DataType::Decimal32(_, _) => clamped!(t::Decimal32Type),
        DataType::Decimal64(_, _) => clamped!(t::Decimal64Type),
        DataType::Decimal128(_, _) => clamped!(t::Decimal128Type),
        DataType::Decimal256(_, _) => clamped!(t::Decimal256Type, Some::<i256>),
        DataType::Date32 => clamped!(t::Date32Type),
        DataType::Date64 => clamped!(t::Date64Type),
        DataType::Time32(U::Second) => clamped!(t::Time32SecondType),
        DataType::Time32(_) => clamped!(t::Time32MillisecondType),
        DataType::Time64(U::Microsecond) => clamped!(t::Time64MicrosecondType),
        DataType::Time64(_) => clamped!(t::Time64NanosecondType),
        DataType::Timestamp(U::Second, _) => clamped!(t::TimestampSecondType),
        DataType::Timestamp(U::Millisecond, _) => clamped!(t::TimestampMillisecondType),
        DataType::Timestamp(U::Microsecond, _) => clamped!(t::TimestampMicrosecondType),
        DataType::Timestamp(U::Nanosecond, _) => clamped!(t::TimestampNanosecondType),
        DataType::Duration(U::Second) => clamped!(t::DurationSecondType),
        DataType::Duration(U::Millisecond) => clamped!(t::DurationMillisecondType),
        DataType::Duration(U::Microsecond) => clamped!(t::DurationMicrosecondType),
        DataType::Duration(U::Nanosecond) => clamped!(t::DurationNanosecondType),
        _ => Err(Problem::Unplanned.at(0)),
    }
}
