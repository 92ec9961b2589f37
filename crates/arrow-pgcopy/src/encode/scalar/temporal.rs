//! Dates, times, timestamps and intervals: counts from Arrow's epoch, moved to PostgreSQL's.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Date64Type, DurationMicrosecondType, DurationMillisecondType,
    DurationNanosecondType, DurationSecondType, Int64Type, IntervalDayTimeType,
    IntervalMonthDayNanoType, IntervalYearMonthType, Time32MillisecondType, Time32SecondType,
    Time64MicrosecondType, Time64NanosecondType, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
};
use arrow_array::{Array, PrimitiveArray};
use arrow_cast::cast;
use arrow_schema::{DataType, IntervalUnit, TimeUnit};

use crate::encode::column::{BoxedColumn, Column, WORD, fixed, prepared};
use crate::encode::format::{
    END_DATE, END_TIMESTAMP, EPOCH_DAYS, EPOCH_MICROS, MICROS_PER_DAY, MILLIS_PER_DAY, MIN_DATE,
    MIN_TIMESTAMP, SECONDS_PER_DAY,
};
use crate::encode::problem::Problem;

/// Makes a column of `date` (`date_recv`, date.c): days since 2000-01-01.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the table in mapping is exhaustive"
)]
pub(crate) fn dates(array: &dyn Array) -> Result<BoxedColumn<'_>, Problem> {
    match array.data_type() {
        DataType::Date32 => Ok(fixed(array.as_primitive::<Date32Type>(), |days| {
            date(i64::from(days)).map(i32::to_be_bytes)
        })),
        DataType::Date64 => Ok(fixed(array.as_primitive::<Date64Type>(), |millis| {
            date(whole_days(millis, MILLIS_PER_DAY)?).map(i32::to_be_bytes)
        })),
        DataType::Timestamp(unit, _) => Ok(match unit {
            TimeUnit::Second => midnights::<TimestampSecondType>(array, SECONDS_PER_DAY),
            TimeUnit::Millisecond => midnights::<TimestampMillisecondType>(array, MILLIS_PER_DAY),
            TimeUnit::Microsecond => midnights::<TimestampMicrosecondType>(array, MICROS_PER_DAY),
            TimeUnit::Nanosecond => {
                midnights::<TimestampNanosecondType>(array, 1000 * MICROS_PER_DAY)
            }
        }),
        _ => Err(Problem::Unplanned),
    }
}

/// Makes a column of `timestamp` or `timestamptz` (`timestamp_recv`, `timestamptz_recv`, timestamp.c): microseconds
/// since 2000-01-01. Dates become their midnight.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the table in mapping is exhaustive"
)]
pub(crate) fn timestamps(
    array: &dyn Array,
    precision: Option<u8>,
) -> Result<BoxedColumn<'_>, Problem> {
    let midnight = |days| timestamp(date(days)?.into(), MICROS_PER_DAY, 0);
    Ok(match array.data_type() {
        DataType::Date32 => fixed(array.as_primitive::<Date32Type>(), move |days| {
            midnight(i64::from(days))
        }),
        DataType::Date64 => fixed(array.as_primitive::<Date64Type>(), move |millis| {
            midnight(whole_days(millis, MILLIS_PER_DAY)?)
        }),
        DataType::Timestamp(unit, _) => match unit {
            TimeUnit::Second => scaled::<TimestampSecondType>(array, 1_000_000, precision),
            TimeUnit::Millisecond => scaled::<TimestampMillisecondType>(array, 1000, precision),
            TimeUnit::Microsecond => match precision {
                // Spark sends these.
                None => fixed(array.as_primitive::<TimestampMicrosecondType>(), |micros| {
                    // Arrow's range since 1970 ends before PostgreSQL's.
                    const FIRST: i64 = MIN_TIMESTAMP + EPOCH_MICROS;
                    const { assert!(END_TIMESTAMP > i64::MAX - EPOCH_MICROS) }
                    if micros >= FIRST {
                        Ok((micros - EPOCH_MICROS).to_be_bytes())
                    } else {
                        Err(Problem::OutOfRange)
                    }
                }),
                Some(_) => scaled::<TimestampMicrosecondType>(array, 1, precision),
            },
            TimeUnit::Nanosecond => {
                let step = step(precision);
                fixed(
                    array.as_primitive::<TimestampNanosecondType>(),
                    move |nanos| timestamp(whole(whole_micros(nanos)?, step)?, 1, EPOCH_MICROS),
                )
            }
        },
        _ => return Err(Problem::Unplanned),
    })
}

fn scaled<T: ArrowPrimitiveType<Native = i64>>(
    array: &dyn Array,
    micros: i64,
    precision: Option<u8>,
) -> BoxedColumn<'_> {
    let step = step(precision);
    fixed(array.as_primitive::<T>(), move |count| {
        // Counts from 2000 first: PostgreSQL's last years are out of the range of microseconds since 1970.
        let count = count
            .checked_sub(EPOCH_MICROS / micros)
            .ok_or(Problem::OutOfRange)?;
        if step > 1 {
            whole(count.checked_mul(micros).ok_or(Problem::OutOfRange)?, step)?;
        }
        timestamp(count, micros, 0)
    })
}

/// Makes a column of dates or timestamps whose least and greatest Arrow values are infinities. PostgreSQL's are the
/// least and the greatest integers too.
pub(crate) fn with_infinities<'a>(
    array: &dyn Array,
    values: &dyn Column,
    is_date: bool,
) -> Result<BoxedColumn<'a>, Problem> {
    let counts = if let Some(days) = array.as_primitive_opt::<Date32Type>() {
        // Extremes of 64 bits, as for all other types.
        days.unary::<_, Int64Type>(|days| match days {
            i32::MIN => i64::MIN,
            i32::MAX => i64::MAX,
            days => days.into(),
        })
    } else {
        let counts = cast(array, &DataType::Int64).map_err(|_| Problem::Unplanned)?;
        counts.as_primitive::<Int64Type>().clone()
    };
    Ok(prepared(array, |row, out| {
        let count = counts.value(row);
        if !matches!(count, i64::MIN | i64::MAX) {
            let start = out.len();
            let size = values.measure_run(row..row + 1)?;
            out.resize(start + size, 0);
            values.write_run(row..row + 1, &mut out[start..]);
            // The column writes a length word before the value.
            out.drain(start..start + WORD);
        } else if is_date {
            let days = if count < 0 { i32::MIN } else { i32::MAX };
            out.extend_from_slice(&days.to_be_bytes());
        } else {
            out.extend_from_slice(&count.to_be_bytes());
        }
        Ok(())
    }))
}

/// Makes a column of `time` (`time_recv`, date.c): microseconds since midnight, up to and including 24:00:00.
pub(crate) fn times(array: &dyn Array, precision: Option<u8>) -> Result<BoxedColumn<'_>, Problem> {
    let step = step(precision);
    micros(array, move |micros| {
        if (0..=MICROS_PER_DAY).contains(&micros) {
            Ok(whole(micros, step)?.to_be_bytes())
        } else {
            Err(Problem::OutOfRange)
        }
    })
}

/// Makes a column of `interval` (`interval_recv`, timestamp.c): microseconds, days, months.
///
/// PostgreSQL 17 reads the triples of all least or all greatest fields as infinity. They cannot occur: Arrow's
/// intervals have fewer microseconds, and durations have no months.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the table in mapping is exhaustive"
)]
pub(crate) fn intervals(
    array: &dyn Array,
    precision: Option<u8>,
) -> Result<BoxedColumn<'_>, Problem> {
    let step = step(precision);
    Ok(match array.data_type() {
        DataType::Interval(IntervalUnit::YearMonth) => {
            fixed(array.as_primitive::<IntervalYearMonthType>(), |months| {
                Ok(interval(0, 0, months))
            })
        }
        DataType::Interval(IntervalUnit::DayTime) => {
            fixed(array.as_primitive::<IntervalDayTimeType>(), move |value| {
                let micros = whole(i64::from(value.milliseconds) * 1000, step)?;
                Ok(interval(micros, value.days, 0))
            })
        }
        DataType::Interval(IntervalUnit::MonthDayNano) => fixed(
            array.as_primitive::<IntervalMonthDayNanoType>(),
            move |value| {
                let micros = whole(whole_micros(value.nanoseconds)?, step)?;
                Ok(interval(micros, value.days, value.months))
            },
        ),
        _ => micros(array, move |micros| {
            Ok(interval(whole(micros, step)?, 0, 0))
        })?,
    })
}

/// Makes a column from times of day or durations of any unit, in microseconds.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the table in mapping is exhaustive"
)]
fn micros<'a, F, const W: usize>(
    array: &'a dyn Array,
    convert: F,
) -> Result<BoxedColumn<'a>, Problem>
where
    F: Fn(i64) -> Result<[u8; W], Problem> + Send + Sync + 'a,
{
    fn from<'a, T, F, const W: usize>(
        array: &'a dyn Array,
        to_micros: impl Fn(i64) -> Result<i64, Problem> + Send + Sync + 'a,
        convert: F,
    ) -> BoxedColumn<'a>
    where
        T: ArrowPrimitiveType,
        T::Native: Into<i64>,
        F: Fn(i64) -> Result<[u8; W], Problem> + Send + Sync + 'a,
    {
        let array: &PrimitiveArray<T> = array.as_primitive();
        fixed(array, move |value| convert(to_micros(value.into())?))
    }
    use DataType as D;
    use TimeUnit as U;
    let seconds = |v: i64| v.checked_mul(1_000_000).ok_or(Problem::OutOfRange);
    let millis = |v: i64| v.checked_mul(1000).ok_or(Problem::OutOfRange);
    Ok(match array.data_type() {
        D::Time32(U::Second) => from::<Time32SecondType, _, W>(array, seconds, convert),
        D::Time32(_) => from::<Time32MillisecondType, _, W>(array, millis, convert),
        D::Time64(U::Microsecond) => from::<Time64MicrosecondType, _, W>(array, Ok, convert),
        D::Time64(_) => from::<Time64NanosecondType, _, W>(array, whole_micros, convert),
        D::Duration(U::Second) => from::<DurationSecondType, _, W>(array, seconds, convert),
        D::Duration(U::Millisecond) => {
            from::<DurationMillisecondType, _, W>(array, millis, convert)
        }
        D::Duration(U::Microsecond) => from::<DurationMicrosecondType, _, W>(array, Ok, convert),
        D::Duration(_) => from::<DurationNanosecondType, _, W>(array, whole_micros, convert),
        _ => return Err(Problem::Unplanned),
    })
}

/// Converts days since 1970 to days since 2000, in PostgreSQL's range of dates.
fn date(days: i64) -> Result<i32, Problem> {
    let days = i32::try_from(days - i64::from(EPOCH_DAYS)).map_err(|_| Problem::OutOfRange)?;
    // PostgreSQL would read the least and the greatest i32 as infinities; they are out of range as well.
    if (MIN_DATE..END_DATE).contains(&days) {
        Ok(days)
    } else {
        Err(Problem::OutOfRange)
    }
}

/// Converts a count since an epoch to microseconds since 2000.
fn timestamp(count: i64, micros: i64, epoch: i64) -> Result<[u8; 8], Problem> {
    let micros = count
        .checked_mul(micros)
        .and_then(|micros| micros.checked_sub(epoch));
    match micros {
        Some(micros) if (MIN_TIMESTAMP..END_TIMESTAMP).contains(&micros) => {
            Ok(micros.to_be_bytes())
        }
        _ => Err(Problem::OutOfRange),
    }
}

fn interval(micros: i64, days: i32, months: i32) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&micros.to_be_bytes());
    bytes[8..12].copy_from_slice(&days.to_be_bytes());
    bytes[12..].copy_from_slice(&months.to_be_bytes());
    bytes
}

/// Makes a column of dates from timestamps that are midnights, in a unit of which a day has `per_day`.
fn midnights<T: ArrowPrimitiveType<Native = i64>>(
    array: &dyn Array,
    per_day: i64,
) -> BoxedColumn<'_> {
    fixed(array.as_primitive::<T>(), move |count| {
        date(whole_days(count, per_day)?).map(i32::to_be_bytes)
    })
}

fn whole_days(count: i64, per_day: i64) -> Result<i64, Problem> {
    if count % per_day == 0 {
        Ok(count / per_day)
    } else {
        Err(Problem::LosesDigits)
    }
}

fn whole_micros(nanos: i64) -> Result<i64, Problem> {
    if nanos % 1000 == 0 {
        Ok(nanos / 1000)
    } else {
        Err(Problem::LosesDigits)
    }
}

/// Returns the resolution in microseconds of a column with this precision.
pub(crate) fn step(precision: Option<u8>) -> i64 {
    precision.map_or(1, |digits| 10_i64.pow(6_u32.saturating_sub(digits.into())))
}

pub(crate) fn whole(micros: i64, step: i64) -> Result<i64, Problem> {
    if step == 1 || micros % step == 0 {
        Ok(micros)
    } else {
        Err(Problem::LosesDigits)
    }
}
