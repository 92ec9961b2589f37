//! Values changed before they are encoded, where the plan says that they may be.

use std::sync::Arc;

use arrow_array::builder::LargeStringBuilder;
use arrow_array::cast::AsArray;
use arrow_array::types as t;
use arrow_array::types::ArrowPrimitiveType;
use arrow_array::{Array, ArrayRef, PrimitiveArray};
use arrow_buffer::i256;
use arrow_cast::cast;
use arrow_schema::{DECIMAL256_MAX_PRECISION, DataType, TimeUnit};

use super::problem::{Problem, Rejected};
use crate::plan::{Rounding, Step};

/// Carries out the steps one after another.
pub(super) fn convert(array: &ArrayRef, steps: &[Step]) -> Result<ArrayRef, Rejected> {
    let mut array = array.clone();
    for step in steps {
        array = match step {
            Step::Values(data_type) => {
                cast(&array, data_type).map_err(|_| Problem::Unplanned.at(0))?
            }
            Step::Micros { step, rounding } => micros(&array, *step, *rounding)?,
            Step::Zone { east, zoned } => zone(&array, *east, *zoned)?,
            Step::Scale { scale, rounding } => rescale(&array, *scale, *rounding)?,
            Step::Single => singles(&array)?,
            Step::RemoveNul => without_nul(&array)?,
        };
    }
    Ok(array)
}

/// Converts each value that there is.
fn each<T, U>(
    array: &PrimitiveArray<T>,
    convert: impl Fn(T::Native) -> Result<U::Native, Problem>,
) -> Result<PrimitiveArray<U>, Rejected>
where
    T: ArrowPrimitiveType,
    U: ArrowPrimitiveType,
{
    let values = array.values().iter().enumerate().map(|(row, value)| {
        // What lies in a NULL's slot may be anything.
        match array.is_null(row) {
            true => Ok(U::Native::default()),
            false => convert(*value).map_err(|problem| problem.at(row)),
        }
    });
    let values = values.collect::<Result<Vec<_>, _>>()?;
    Ok(PrimitiveArray::new(values.into(), array.nulls().cloned()))
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "plan::conversion is the exhaustive table"
)]
fn micros(array: &ArrayRef, step: i64, rounding: Rounding) -> Result<ArrayRef, Rejected> {
    use DataType as D;
    use TimeUnit as U;
    macro_rules! to {
        ($from:ty, $to:ty, $nanos:expr) => {{
            let array = array.as_primitive::<$from>();
            each::<_, $to>(array, |count| {
                let nanos = i128::from(count) * $nanos;
                let step = i128::from(step) * 1000;
                let micros = quotient(nanos, step, rounding) * (step / 1000);
                i64::try_from(micros).map_err(|_| Problem::OutOfRange)
            })?
        }};
    }
    Ok(match array.data_type() {
        D::Timestamp(unit, zone) => {
            let zone = zone.clone();
            let array = match unit {
                U::Second => to!(
                    t::TimestampSecondType,
                    t::TimestampMicrosecondType,
                    1_000_000_000
                ),
                U::Millisecond => {
                    to!(
                        t::TimestampMillisecondType,
                        t::TimestampMicrosecondType,
                        1_000_000
                    )
                }
                U::Microsecond => to!(
                    t::TimestampMicrosecondType,
                    t::TimestampMicrosecondType,
                    1000
                ),
                U::Nanosecond => to!(t::TimestampNanosecondType, t::TimestampMicrosecondType, 1),
            };
            Arc::new(array.with_timezone_opt(zone))
        }
        D::Time32(U::Second) => Arc::new(to!(
            t::Time32SecondType,
            t::Time64MicrosecondType,
            1_000_000_000
        )),
        D::Time32(_) => Arc::new(to!(
            t::Time32MillisecondType,
            t::Time64MicrosecondType,
            1_000_000
        )),
        D::Time64(U::Microsecond) => Arc::new(to!(
            t::Time64MicrosecondType,
            t::Time64MicrosecondType,
            1000
        )),
        D::Time64(_) => Arc::new(to!(t::Time64NanosecondType, t::Time64MicrosecondType, 1)),
        D::Duration(U::Second) => Arc::new(to!(
            t::DurationSecondType,
            t::DurationMicrosecondType,
            1_000_000_000
        )),
        D::Duration(U::Millisecond) => Arc::new(to!(
            t::DurationMillisecondType,
            t::DurationMicrosecondType,
            1_000_000
        )),
        D::Duration(U::Microsecond) => Arc::new(to!(
            t::DurationMicrosecondType,
            t::DurationMicrosecondType,
            1000
        )),
        D::Duration(U::Nanosecond) => Arc::new(to!(
            t::DurationNanosecondType,
            t::DurationMicrosecondType,
            1
        )),
        _ => return Err(Problem::Unplanned.at(0)),
    })
}

fn quotient(value: i128, step: i128, rounding: Rounding) -> i128 {
    let (floor, rest) = (value.div_euclid(step), value.rem_euclid(step));
    match rounding {
        Rounding::Floor => floor,
        Rounding::Nearest if 2 * rest > step || 2 * rest == step && value >= 0 => floor + 1,
        Rounding::Nearest => floor,
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "plan::conversion is the exhaustive table"
)]
fn zone(array: &ArrayRef, east: i64, zoned: bool) -> Result<ArrayRef, Rejected> {
    let shift = if zoned { -east } else { east };
    let zone = zoned.then(|| Arc::from("UTC"));
    macro_rules! shifted {
        ($type:ty, $numerator:expr, $denominator:expr) => {{
            let shift = shift * $numerator / $denominator;
            let array = each::<_, $type>(array.as_primitive::<$type>(), |count| {
                count.checked_add(shift).ok_or(Problem::OutOfRange)
            })?;
            Arc::new(array.with_timezone_opt(zone)) as ArrayRef
        }};
    }
    Ok(match array.data_type() {
        // An offset is of whole minutes.
        DataType::Timestamp(TimeUnit::Second, _) => shifted!(t::TimestampSecondType, 1, 1_000_000),
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            shifted!(t::TimestampMillisecondType, 1, 1000)
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            shifted!(t::TimestampMicrosecondType, 1, 1)
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            shifted!(t::TimestampNanosecondType, 1000, 1)
        }
        _ => return Err(Problem::Unplanned.at(0)),
    })
}

/// Decimals of any width to 256 bits and fewer digits after the point.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "plan::conversion is the exhaustive table"
)]
fn rescale(array: &ArrayRef, scale: i8, rounding: Rounding) -> Result<ArrayRef, Rejected> {
    let (from, lost) = match array.data_type() {
        DataType::Decimal32(_, from)
        | DataType::Decimal64(_, from)
        | DataType::Decimal128(_, from)
        | DataType::Decimal256(_, from) => (*from, i32::from(*from) - i32::from(scale)),
        _ => return Err(Problem::Unplanned.at(0)),
    };
    let widest = cast(array, &DataType::Decimal256(DECIMAL256_MAX_PRECISION, from))
        .map_err(|_| Problem::Unplanned.at(0))?;
    let power = i256::from_i128(10).checked_pow(lost.unsigned_abs());
    let divide = |value: i256| {
        let power = power.ok_or(Problem::OutOfRange)?;
        let (whole, rest) = match (value.checked_div(power), value.checked_rem(power)) {
            (Some(whole), Some(rest)) => (whole, rest),
            _ => return Err(Problem::OutOfRange),
        };
        // Division cuts towards zero; half of a power of ten is whole.
        let half = power.wrapping_div(i256::from_i128(2));
        let away = match rounding {
            Rounding::Floor => rest.is_negative(),
            Rounding::Nearest => rest.wrapping_abs() >= half,
        };
        Ok(match (away, value.is_negative()) {
            (false, _) => whole,
            (true, true) => whole.wrapping_sub(i256::ONE),
            (true, false) => whole.wrapping_add(i256::ONE),
        })
    };
    let values = each::<_, t::Decimal256Type>(widest.as_primitive::<t::Decimal256Type>(), divide)?;
    let values = values
        .with_precision_and_scale(DECIMAL256_MAX_PRECISION, scale)
        .map_err(|_| Problem::Unplanned.at(0))?;
    Ok(Arc::new(values))
}

/// The nearest single; one that would be infinite is out of range.
#[expect(clippy::cast_possible_truncation, reason = "rounding was asked for")]
fn singles(array: &ArrayRef) -> Result<ArrayRef, Rejected> {
    let doubles = array
        .as_primitive_opt::<t::Float64Type>()
        .ok_or(Problem::Unplanned.at(0))?;
    let singles = each::<_, t::Float32Type>(doubles, |value| {
        let single = value as f32;
        match value.is_finite() && !single.is_finite() {
            true => Err(Problem::OutOfRange),
            false => Ok(single),
        }
    })?;
    Ok(Arc::new(singles))
}

fn without_nul(array: &ArrayRef) -> Result<ArrayRef, Rejected> {
    let array = cast(array, &DataType::LargeUtf8).map_err(|_| Problem::Unplanned.at(0))?;
    let texts = array.as_string::<i64>();
    let mut kept = LargeStringBuilder::with_capacity(texts.len(), texts.value_data().len());
    for text in texts {
        match text {
            None => kept.append_null(),
            Some(text) if text.contains('\0') => kept.append_value(text.replace('\0', "")),
            Some(text) => kept.append_value(text),
        }
    }
    Ok(Arc::new(kept.finish()))
}
