//! Conversions of dates, times, timestamps and durations: units, zones, parts, counts.

use std::io::Write;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types as t;
use arrow_array::{Array, ArrayRef, Int64Array, downcast_integer};
use arrow_buffer::{IntervalDayTime, IntervalMonthDayNano};
use arrow_cast::cast;
use arrow_schema::{DECIMAL128_MAX_PRECISION, DataType, TimeUnit};

use super::zone::Offsets;
use super::{each, each_text};
use crate::conversion::{Rounding, Zone};
use crate::encode::column::Policy;
use crate::encode::format::{MILLIS_PER_DAY, SECONDS_PER_DAY};
use crate::encode::problem::{Problem, Rejected};
use crate::encode::text::iso::{self, Ticks};
use crate::encode::text::parse;

/// Calls a macro with the type of an array of times and its unit in nanoseconds.
macro_rules! with_unit {
    ($data_type:expr => ($call:ident)) => {
        match $data_type {
            DataType::Timestamp(TimeUnit::Second, _) => {
                $call!(t::TimestampSecondType, 1_000_000_000)
            }
            DataType::Timestamp(TimeUnit::Millisecond, _) => {
                $call!(t::TimestampMillisecondType, 1_000_000)
            }
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                $call!(t::TimestampMicrosecondType, 1000)
            }
            DataType::Timestamp(TimeUnit::Nanosecond, _) => $call!(t::TimestampNanosecondType, 1),
            DataType::Time32(TimeUnit::Second) => $call!(t::Time32SecondType, 1_000_000_000),
            DataType::Time32(_) => $call!(t::Time32MillisecondType, 1_000_000),
            DataType::Time64(TimeUnit::Microsecond) => $call!(t::Time64MicrosecondType, 1000),
            DataType::Time64(_) => $call!(t::Time64NanosecondType, 1),
            DataType::Duration(TimeUnit::Second) => $call!(t::DurationSecondType, 1_000_000_000),
            DataType::Duration(TimeUnit::Millisecond) => {
                $call!(t::DurationMillisecondType, 1_000_000)
            }
            DataType::Duration(TimeUnit::Microsecond) => $call!(t::DurationMicrosecondType, 1000),
            DataType::Duration(TimeUnit::Nanosecond) => $call!(t::DurationNanosecondType, 1),
            _ => Err(Problem::Unplanned.at(0)),
        }
    };
}

/// Makes times whole multiples of `step` microseconds, in the unit of the data. Nanoseconds, and unsigned integers
/// that count them, become microseconds.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the steps of conversion are exhaustive"
)]
pub(crate) fn micros(
    array: &ArrayRef,
    step: i64,
    rounding: Option<Rounding>,
    policy: Policy,
) -> Result<ArrayRef, Rejected> {
    let size = i128::from(step) * 1000;
    macro_rules! from_nanos {
        ($type:ty) => {
            each::<$type, t::Int64Type>(array.as_primitive(), policy, |nanos| {
                let micros = whole(nanos.into(), size, rounding)? * i128::from(step);
                i64::try_from(micros).map_err(|_| Problem::OutOfRange)
            })
        };
    }
    macro_rules! rounded {
        ($type:ty, $nanos:expr) => {{
            let array = array.as_primitive::<$type>();
            let rounded = each::<$type, $type>(array, policy, |count| {
                let nanos = whole(i128::from(count) * $nanos, size, rounding)? * size;
                (nanos / $nanos).try_into().map_err(|_| Problem::OutOfRange)
            });
            rounded.map(|made| Arc::new(made.with_data_type(array.data_type().clone())) as ArrayRef)
        }};
    }
    use DataType as D;
    use TimeUnit as U;
    match array.data_type() {
        D::UInt64 => Ok(Arc::new(from_nanos!(t::UInt64Type)?)),
        D::Timestamp(U::Nanosecond, zone) => {
            let micros = from_nanos!(t::TimestampNanosecondType)?;
            counted(&micros, &D::Timestamp(U::Microsecond, zone.clone()))
        }
        D::Time64(U::Nanosecond) => {
            let micros = from_nanos!(t::Time64NanosecondType)?;
            counted(&micros, &D::Time64(U::Microsecond))
        }
        D::Duration(U::Nanosecond) => {
            let micros = from_nanos!(t::DurationNanosecondType)?;
            counted(&micros, &D::Duration(U::Microsecond))
        }
        D::Interval(_) => intervals(array, size, rounding, policy),
        data_type => with_unit!(data_type => (rounded)),
    }
}

/// Makes the times of intervals, apart from days and months, whole multiples of `size` nanoseconds.
fn intervals(
    array: &ArrayRef,
    size: i128,
    rounding: Option<Rounding>,
    policy: Policy,
) -> Result<ArrayRef, Rejected> {
    const NANOS_PER_MILLI: i128 = 1_000_000;
    if let Some(array) = array.as_primitive_opt::<t::IntervalDayTimeType>() {
        let rounded = each::<_, t::IntervalDayTimeType>(array, policy, |value| {
            let nanos = i128::from(value.milliseconds) * NANOS_PER_MILLI;
            let millis = whole(nanos, size, rounding)? * size / NANOS_PER_MILLI;
            let millis = i32::try_from(millis).map_err(|_| Problem::OutOfRange)?;
            Ok(IntervalDayTime::new(value.days, millis))
        })?;
        return Ok(Arc::new(rounded));
    }
    let array = array.as_primitive_opt::<t::IntervalMonthDayNanoType>();
    let array = array.ok_or(Problem::Unplanned.at(0))?;
    let rounded = each::<_, t::IntervalMonthDayNanoType>(array, policy, |value| {
        let nanos = whole(value.nanoseconds.into(), size, rounding)? * size;
        let nanos = i64::try_from(nanos).map_err(|_| Problem::OutOfRange)?;
        Ok(IntervalMonthDayNano::new(value.months, value.days, nanos))
    })?;
    Ok(Arc::new(rounded))
}

/// Counts times in another unit, as decimals of a scale.
pub(crate) fn measure(
    array: &ArrayRef,
    unit: TimeUnit,
    scale: i8,
    policy: Policy,
) -> Result<ArrayRef, Rejected> {
    let unit = nanoseconds(unit);
    let power = 10_i128.pow(scale.unsigned_abs().into());
    macro_rules! measured {
        ($type:ty, $nanos:expr) => {
            each::<$type, t::Decimal128Type>(array.as_primitive(), policy, |count| {
                Ok(i128::from(count) * $nanos * power / unit)
            })
        };
    }
    let measured = with_unit!(array.data_type() => (measured))?;
    let measured = measured.with_precision_and_scale(DECIMAL128_MAX_PRECISION, scale);
    Ok(Arc::new(measured.map_err(|_| Problem::Unplanned.at(0))?))
}

/// Counts times in another unit, as integers.
pub(crate) fn count(
    array: &ArrayRef,
    unit: TimeUnit,
    rounding: Option<Rounding>,
    policy: Policy,
) -> Result<ArrayRef, Rejected> {
    let unit = nanoseconds(unit);
    macro_rules! counted {
        ($type:ty, $nanos:expr) => {
            each::<$type, t::Int64Type>(array.as_primitive(), policy, |count| {
                let count = whole(i128::from(count) * $nanos, unit, rounding)?;
                i64::try_from(count).map_err(|_| Problem::OutOfRange)
            })
        };
    }
    Ok(Arc::new(with_unit!(array.data_type() => (counted))?))
}

fn nanoseconds(unit: TimeUnit) -> i128 {
    1_000_000_000 / i128::from(Ticks::of(unit).per_second)
}

/// Divides a value by a size. A fraction is rejected where nothing rounds it.
fn whole(value: i128, size: i128, rounding: Option<Rounding>) -> Result<i128, Problem> {
    match rounding {
        Some(rounding) => Ok(quotient(value, size, rounding)),
        None if value % size == 0 => Ok(value / size),
        None => Err(Problem::LosesDigits),
    }
}

fn quotient(value: i128, step: i128, rounding: Rounding) -> i128 {
    let (floor, rest) = (value.div_euclid(step), value.rem_euclid(step));
    match rounding {
        Rounding::Floor => floor,
        Rounding::Nearest if 2 * rest > step || 2 * rest == step && value >= 0 => floor + 1,
        Rounding::Nearest => floor,
    }
}

/// Reads integers of any size as counts of a type's unit.
pub(crate) fn from_integers(
    array: &ArrayRef,
    data_type: &DataType,
    policy: Policy,
) -> Result<ArrayRef, Rejected> {
    // The greatest integer does not stand for infinity here.
    let policy = Policy {
        infinite: false,
        ..policy
    };
    macro_rules! wide {
        ($type:ty) => {
            each::<$type, t::Int64Type>(array.as_primitive(), policy, |count| {
                i64::try_from(count).map_err(|_| Problem::OutOfRange)
            })
        };
    }
    let counts = downcast_integer! {
        array.data_type() => (wide),
        _ => Err(Problem::Unplanned.at(0)),
    }?;
    if *data_type == DataType::Date32 {
        let days = each::<_, t::Date32Type>(&counts, policy, |days| {
            i32::try_from(days).map_err(|_| Problem::OutOfRange)
        })?;
        return Ok(Arc::new(days));
    }
    counted(&counts, data_type)
}

/// Casts counts to the type that they count.
fn counted(counts: &Int64Array, data_type: &DataType) -> Result<ArrayRef, Rejected> {
    cast(counts, data_type).map_err(|_| Problem::Unplanned.at(0))
}

/// Converts dates to local timestamps at midnight.
pub(crate) fn midnights(array: &ArrayRef, policy: Policy) -> Result<ArrayRef, Rejected> {
    let seconds = |days: i64| days.checked_mul(SECONDS_PER_DAY).ok_or(Problem::OutOfRange);
    let midnights = if let Some(days) = array.as_primitive_opt::<t::Date32Type>() {
        each::<_, t::TimestampSecondType>(days, policy, |days| seconds(days.into()))?
    } else {
        let millis = array.as_primitive_opt::<t::Date64Type>();
        let millis = millis.ok_or(Problem::Unplanned.at(0))?;
        each::<_, t::TimestampSecondType>(millis, policy, |millis| match millis % MILLIS_PER_DAY {
            0 => seconds(millis / MILLIS_PER_DAY),
            _ => Err(Problem::LosesDigits),
        })?
    };
    Ok(Arc::new(midnights))
}

/// Converts timestamps with a zone to local ones, or the reverse.
pub(crate) fn zone(
    array: &ArrayRef,
    zone: &Zone,
    zoned: bool,
    policy: Policy,
) -> Result<ArrayRef, Rejected> {
    let offsets = Offsets::new(zone, zoned);
    macro_rules! shifted {
        ($type:ty, $nanos:expr) => {{
            let per_second = 1_000_000_000 / $nanos;
            each::<$type, t::Int64Type>(array.as_primitive(), policy, |count| {
                let count = i64::from(count);
                let east = offsets.at(count.div_euclid(per_second))?;
                let shift = if zoned { -east } else { east } * per_second;
                count.checked_add(shift).ok_or(Problem::OutOfRange)
            })
        }};
    }
    let counts = with_unit!(array.data_type() => (shifted))?;
    let zone: Option<Arc<str>> = zoned.then(|| Arc::from("UTC"));
    let DataType::Timestamp(unit, _) = array.data_type() else {
        return Err(Problem::Unplanned.at(0));
    };
    counted(&counts, &DataType::Timestamp(*unit, zone))
}

/// Adds the offset of a zone to timestamps in text that have none.
pub(crate) fn stamp(array: &ArrayRef, zone: &Zone, policy: Policy) -> Result<ArrayRef, Rejected> {
    let texts = cast(array, &DataType::LargeUtf8).map_err(|_| Problem::Unplanned.at(0))?;
    let texts = texts.as_string::<i64>();
    let offsets = Offsets::new(zone, true);
    each_text(texts, policy, |row, out| {
        parse::stamp(texts.value(row), |seconds| offsets.at(seconds), out)
    })
}

/// Writes times of day as text with an offset from UTC.
pub(crate) fn offset(array: &ArrayRef, east: i64, policy: Policy) -> Result<ArrayRef, Rejected> {
    let (DataType::Time32(unit) | DataType::Time64(unit)) = array.data_type() else {
        return Err(Problem::Unplanned.at(0));
    };
    let ticks = Ticks::of(*unit);
    let counts = cast(array, &DataType::Int64).map_err(|_| Problem::Unplanned.at(0))?;
    let counts = counts.as_primitive::<t::Int64Type>();
    let minutes = east / 60;
    let sign = if minutes < 0 { '-' } else { '+' };
    let (hours, minutes) = (minutes.abs() / 60, minutes.abs() % 60);
    each_text(array, policy, |row, out| {
        let count = counts.value(row);
        if !(0..=SECONDS_PER_DAY * ticks.per_second).contains(&count) {
            return Err(Problem::OutOfRange);
        }
        iso::time(count, ticks, out)
            .and_then(|()| write!(out, "{sign}{hours:02}:{minutes:02}"))
            .map_err(|_| Problem::Unplanned)
    })
}

/// Converts local timestamps to their dates, or to their times of day in the same unit.
pub(crate) fn part(array: &ArrayRef, date: bool, policy: Policy) -> Result<ArrayRef, Rejected> {
    let DataType::Timestamp(unit, _) = array.data_type() else {
        return Err(Problem::Unplanned.at(0));
    };
    let per_day = SECONDS_PER_DAY * Ticks::of(*unit).per_second;
    macro_rules! parts {
        ($type:ty, $nanos:expr) => {{
            let array = array.as_primitive::<$type>();
            match date {
                true => each::<$type, t::Date32Type>(array, policy, |count| {
                    let days = i64::from(count).div_euclid(per_day);
                    i32::try_from(days).map_err(|_| Problem::OutOfRange)
                })
                .map(|days| Arc::new(days) as ArrayRef),
                false => each::<$type, t::Int64Type>(array, policy, |count| {
                    Ok(i64::from(count).rem_euclid(per_day))
                })
                .map(|ticks| Arc::new(ticks) as ArrayRef),
            }
        }};
    }
    let parts = with_unit!(array.data_type() => (parts))?;
    let time = match (date, unit) {
        (true, _) => return Ok(parts),
        (false, TimeUnit::Second | TimeUnit::Millisecond) => {
            // The count of a day fits 32 bits.
            let small = cast(&parts, &DataType::Int32).map_err(|_| Problem::Unplanned.at(0))?;
            return cast(&small, &DataType::Time32(*unit)).map_err(|_| Problem::Unplanned.at(0));
        }
        (false, TimeUnit::Microsecond | TimeUnit::Nanosecond) => DataType::Time64(*unit),
    };
    cast(&parts, &time).map_err(|_| Problem::Unplanned.at(0))
}
