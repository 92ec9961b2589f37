//! Dates, times, timestamps and durations: other units, zones, parts, and plain counts.

use std::io::Write;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types as t;
use arrow_array::{Array, ArrayRef, Int64Array, downcast_integer};
use arrow_cast::cast;
use arrow_schema::{DataType, TimeUnit};

use super::{Policy, each, each_text};
use crate::encode::iso::{self, MILLIS_PER_DAY, SECONDS_PER_DAY, Ticks};
use crate::encode::problem::{Problem, Rejected};
use crate::plan::Rounding;

/// Calls a macro with the type of an array of timestamps, times or durations and its nanoseconds.
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

/// To whole multiples of so many microseconds.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "plan::conversion is the exhaustive table"
)]
pub(super) fn micros(
    array: &ArrayRef,
    step: i64,
    rounding: Rounding,
    policy: Policy,
) -> Result<ArrayRef, Rejected> {
    macro_rules! rounded {
        ($type:ty, $nanos:expr) => {
            each::<$type, t::Int64Type>(array.as_primitive(), policy, |count| {
                let nanos = i128::from(count) * $nanos;
                let micros = quotient(nanos, i128::from(step) * 1000, rounding) * i128::from(step);
                i64::try_from(micros).map_err(|_| Problem::OutOfRange)
            })
        };
    }
    let micros = with_unit!(array.data_type() => (rounded))?;
    let data_type = match array.data_type() {
        DataType::Timestamp(_, zone) => DataType::Timestamp(TimeUnit::Microsecond, zone.clone()),
        DataType::Duration(_) => DataType::Duration(TimeUnit::Microsecond),
        _ => DataType::Time64(TimeUnit::Microsecond),
    };
    counted(&micros, &data_type)
}

/// To integers that count another unit.
pub(super) fn count(
    array: &ArrayRef,
    unit: TimeUnit,
    rounding: Option<Rounding>,
    policy: Policy,
) -> Result<ArrayRef, Rejected> {
    let unit = 1_000_000_000 / i128::from(Ticks::of(unit).per_second);
    macro_rules! counted {
        ($type:ty, $nanos:expr) => {
            each::<$type, t::Int64Type>(array.as_primitive(), policy, |count| {
                let nanos = i128::from(count) * $nanos;
                let count = match rounding {
                    Some(rounding) => quotient(nanos, unit, rounding),
                    None if nanos % unit == 0 => nanos / unit,
                    None => return Err(Problem::LosesDigits),
                };
                i64::try_from(count).map_err(|_| Problem::OutOfRange)
            })
        };
    }
    Ok(Arc::new(with_unit!(array.data_type() => (counted))?))
}

fn quotient(value: i128, step: i128, rounding: Rounding) -> i128 {
    let (floor, rest) = (value.div_euclid(step), value.rem_euclid(step));
    match rounding {
        Rounding::Floor => floor,
        Rounding::Nearest if 2 * rest > step || 2 * rest == step && value >= 0 => floor + 1,
        Rounding::Nearest => floor,
    }
}

/// Integers of any size as counts of this type's unit.
pub(super) fn from_integers(
    array: &ArrayRef,
    data_type: &DataType,
    policy: Policy,
) -> Result<ArrayRef, Rejected> {
    // What is the greatest integer is none of what it counts.
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

/// Counts as what they count.
fn counted(counts: &Int64Array, data_type: &DataType) -> Result<ArrayRef, Rejected> {
    cast(counts, data_type).map_err(|_| Problem::Unplanned.at(0))
}

/// Dates to local timestamps.
pub(super) fn midnights(array: &ArrayRef, policy: Policy) -> Result<ArrayRef, Rejected> {
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

/// Timestamps with a zone to local ones, or the reverse.
pub(super) fn zone(
    array: &ArrayRef,
    east: i64,
    zoned: bool,
    policy: Policy,
) -> Result<ArrayRef, Rejected> {
    let shift = if zoned { -east } else { east };
    let zone: Option<Arc<str>> = zoned.then(|| Arc::from("UTC"));
    macro_rules! shifted {
        ($type:ty, $nanos:expr) => {{
            // An offset is of whole minutes.
            let shift = shift * 1000 / $nanos;
            each::<$type, t::Int64Type>(array.as_primitive(), policy, |count| {
                let count = i64::from(count);
                count.checked_add(shift).ok_or(Problem::OutOfRange)
            })
        }};
    }
    let counts = with_unit!(array.data_type() => (shifted))?;
    let DataType::Timestamp(unit, _) = array.data_type() else {
        return Err(Problem::Unplanned.at(0));
    };
    counted(&counts, &DataType::Timestamp(*unit, zone))
}

/// Times of day to text, with an offset from UTC.
pub(super) fn offset(array: &ArrayRef, east: i64, policy: Policy) -> Result<ArrayRef, Rejected> {
    let (DataType::Time32(unit) | DataType::Time64(unit)) = array.data_type() else {
        return Err(Problem::Unplanned.at(0));
    };
    let ticks = Ticks::of(*unit);
    let counts = cast(array, &DataType::Int64).map_err(|_| Problem::Unplanned.at(0))?;
    let counts = counts.as_primitive::<t::Int64Type>();
    let minutes = east / 60_000_000;
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

/// Local timestamps to their dates, or to their times of day in the same unit.
pub(super) fn part(array: &ArrayRef, date: bool, policy: Policy) -> Result<ArrayRef, Rejected> {
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
            // A day has few enough of them for 32 bits.
            let small = cast(&parts, &DataType::Int32).map_err(|_| Problem::Unplanned.at(0))?;
            return cast(&small, &DataType::Time32(*unit)).map_err(|_| Problem::Unplanned.at(0));
        }
        (false, TimeUnit::Microsecond | TimeUnit::Nanosecond) => DataType::Time64(*unit),
    };
    cast(&parts, &time).map_err(|_| Problem::Unplanned.at(0))
}
