//! Dates, times and intervals in documents: ISO 8601 in quotes.

use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_array::types as t;
use arrow_schema::DataType;

use super::{Render, quoted};
use crate::encode::format::{MILLIS_PER_DAY, SECONDS_PER_DAY};
use crate::encode::problem::Problem;
use crate::encode::text::iso::{self, Ticks};

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the table in mapping is exhaustive"
)]
pub(crate) fn temporal(array: &dyn Array) -> Result<Render<'_>, Problem> {
    use DataType as D;
    use arrow_schema::IntervalUnit as I;
    use arrow_schema::TimeUnit as U;
    macro_rules! count {
        ($type:ty) => {{
            let array = array.as_primitive::<$type>();
            Box::new(move |row| i64::from(array.value(row))) as Box<dyn Fn(usize) -> i64 + '_>
        }};
    }
    let count = match array.data_type() {
        D::Date32 => count!(t::Date32Type),
        D::Date64 => count!(t::Date64Type),
        D::Time32(U::Second) => count!(t::Time32SecondType),
        D::Time32(_) => count!(t::Time32MillisecondType),
        D::Time64(U::Microsecond) => count!(t::Time64MicrosecondType),
        D::Time64(_) => count!(t::Time64NanosecondType),
        D::Timestamp(U::Second, _) => count!(t::TimestampSecondType),
        D::Timestamp(U::Millisecond, _) => count!(t::TimestampMillisecondType),
        D::Timestamp(U::Microsecond, _) => count!(t::TimestampMicrosecondType),
        D::Timestamp(U::Nanosecond, _) => count!(t::TimestampNanosecondType),
        D::Duration(U::Second) => count!(t::DurationSecondType),
        D::Duration(U::Millisecond) => count!(t::DurationMillisecondType),
        D::Duration(U::Microsecond) => count!(t::DurationMicrosecondType),
        D::Duration(U::Nanosecond) => count!(t::DurationNanosecondType),
        D::Interval(I::YearMonth) => {
            let array = array.as_primitive::<t::IntervalYearMonthType>();
            return Ok(quoted(move |row, out| {
                iso::interval(array.value(row), 0, 0, Ticks::MILLIS, out)
            }));
        }
        D::Interval(I::DayTime) => {
            let array = array.as_primitive::<t::IntervalDayTimeType>();
            return Ok(quoted(move |row, out| {
                let value = array.value(row);
                iso::interval(0, value.days, value.milliseconds.into(), Ticks::MILLIS, out)
            }));
        }
        D::Interval(I::MonthDayNano) => {
            let array = array.as_primitive::<t::IntervalMonthDayNanoType>();
            return Ok(quoted(move |row, out| {
                let value = array.value(row);
                iso::interval(
                    value.months,
                    value.days,
                    value.nanoseconds,
                    Ticks::NANOS,
                    out,
                )
            }));
        }
        _ => return Err(Problem::Unplanned),
    };
    Ok(match array.data_type() {
        D::Date32 => quoted(move |row, out| iso::date(count(row), out)),
        D::Date64 => {
            let is_whole = move |millis| match millis % MILLIS_PER_DAY {
                0 => Ok(millis / MILLIS_PER_DAY),
                _ => Err(Problem::LosesDigits),
            };
            checked(count, is_whole, iso::date)
        }
        D::Time32(unit) | D::Time64(unit) => {
            let ticks = Ticks::of(*unit);
            let end = SECONDS_PER_DAY * ticks.per_second;
            let is_of_a_day = move |count| {
                if (0..=end).contains(&count) {
                    Ok(count)
                } else {
                    Err(Problem::OutOfRange)
                }
            };
            checked(count, is_of_a_day, move |count, out| {
                iso::time(count, ticks, out)
            })
        }
        D::Timestamp(unit, zone) => {
            let (ticks, zone) = (Ticks::of(*unit), zone.is_some());
            quoted(move |row, out| {
                iso::timestamp(count(row), ticks, out)?;
                if zone {
                    out.push(b'Z');
                }
                Ok(())
            })
        }
        D::Duration(unit) => {
            let ticks = Ticks::of(*unit);
            quoted(move |row, out| iso::interval(0, 0, count(row), ticks, out))
        }
        _ => return Err(Problem::Unplanned),
    })
}

/// Renders as [`quoted`] does, and checks the count first.
fn checked<'a>(
    count: Box<dyn Fn(usize) -> i64 + 'a>,
    check: impl Fn(i64) -> Result<i64, Problem> + 'a,
    render: impl Fn(i64, &mut Vec<u8>) -> std::io::Result<()> + 'a,
) -> Render<'a> {
    Box::new(move |row, out| {
        let count = check(count(row))?;
        out.push(b'"');
        render(count, out).map_err(|_| Problem::Unplanned)?;
        out.push(b'"');
        Ok(())
    })
}
