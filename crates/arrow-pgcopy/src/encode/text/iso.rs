//! Dates and times as text, in the ISO 8601 forms that PostgreSQL reads.

use std::io::{Result, Write};

use crate::encode::format::SECONDS_PER_DAY;

/// A unit of time: how many make a second, and how many digits that is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticks {
    pub(crate) per_second: i64,
    pub(crate) digits: usize,
}

impl Ticks {
    pub(crate) const MILLIS: Self = Self {
        per_second: 1000,
        digits: 3,
    };
    pub(crate) const NANOS: Self = Self {
        per_second: 1_000_000_000,
        digits: 9,
    };

    pub(crate) fn of(unit: arrow_schema::TimeUnit) -> Self {
        use arrow_schema::TimeUnit as U;
        match unit {
            U::Second => Self {
                per_second: 1,
                digits: 0,
            },
            U::Millisecond => Self::MILLIS,
            U::Microsecond => Self {
                per_second: 1_000_000,
                digits: 6,
            },
            U::Nanosecond => Self::NANOS,
        }
    }
}

/// Writes `2013-01-01`; years outside of 0 to 9999 have a sign and six digits.
pub(crate) fn date(days: i64, out: &mut Vec<u8>) -> Result<()> {
    // Howard Hinnant, chrono-Compatible Low-Level Date Algorithms, `civil_from_days`.
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    if (0..=9999).contains(&year) {
        write!(out, "{year:04}-{month:02}-{day:02}")
    } else {
        write!(out, "{year:+07}-{month:02}-{day:02}")
    }
}

/// Writes `12:30:00.25`, from ticks since midnight.
pub(crate) fn time(count: i64, ticks: Ticks, out: &mut Vec<u8>) -> Result<()> {
    let seconds = count / ticks.per_second;
    write!(
        out,
        "{:02}:{:02}:{:02}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )?;
    fraction(count % ticks.per_second, ticks, out)
}

/// Writes `2013-01-01T12:30:00.25`, from ticks since 1970.
pub(crate) fn timestamp(count: i64, ticks: Ticks, out: &mut Vec<u8>) -> Result<()> {
    let per_day = ticks.per_second * SECONDS_PER_DAY;
    date(count.div_euclid(per_day), out)?;
    out.push(b'T');
    time(count.rem_euclid(per_day), ticks, out)
}

/// Writes `P1M2DT-3.5S`, without parts that are zero.
pub(crate) fn interval(
    months: i32,
    days: i32,
    count: i64,
    ticks: Ticks,
    out: &mut Vec<u8>,
) -> Result<()> {
    out.push(b'P');
    if months != 0 {
        write!(out, "{months}M")?;
    }
    if days != 0 {
        write!(out, "{days}D")?;
    }
    if count != 0 || (months, days) == (0, 0) {
        let sign = if count < 0 { "-" } else { "" };
        write!(out, "T{sign}{}", (count / ticks.per_second).unsigned_abs())?;
        fraction((count % ticks.per_second).abs(), ticks, out)?;
        out.push(b'S');
    }
    Ok(())
}

/// Writes `.25`, or nothing for zero.
fn fraction(count: i64, ticks: Ticks, out: &mut Vec<u8>) -> Result<()> {
    if count != 0 {
        write!(out, ".{count:0digits$}", digits = ticks.digits)?;
        while out.last() == Some(&b'0') {
            out.pop();
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Ticks, date, interval, time, timestamp};

    fn check(render: impl FnOnce(&mut Vec<u8>) -> std::io::Result<()>, expected: &str) {
        let mut out = Vec::new();
        render(&mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn dates_and_times_are_written_as_iso_8601() {
        check(|out| date(0, out), "1970-01-01");
        check(|out| date(-1, out), "1969-12-31");
        check(|out| date(11016, out), "2000-02-29");
        check(|out| date(-719_162, out), "0001-01-01");
        check(|out| date(-719_529, out), "-000001-12-31");
        check(|out| date(2_932_897, out), "+010000-01-01");
        check(|out| time(45_000_250, Ticks::MILLIS, out), "12:30:00.25");
        check(
            |out| timestamp(-1, Ticks::NANOS, out),
            "1969-12-31T23:59:59.999999999",
        );
        check(|out| interval(0, 0, 0, Ticks::MILLIS, out), "PT0S");
        check(
            |out| interval(-1, 2, -500, Ticks::MILLIS, out),
            "P-1M2DT-0.5S",
        );
    }
}
