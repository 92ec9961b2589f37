//! Dates and times in ISO 8601, and with SQL's blank between date and time: the forms that do not depend on the
//! session's settings.

use super::trimmed;
use crate::encode::format::{
    END_DATE, END_TIMESTAMP, EPOCH_DAYS, MICROS_PER_DAY, MIN_DATE, MIN_TIMESTAMP,
};
use crate::encode::problem::Problem;
use crate::encode::scalar::temporal::{step, whole};

const MICROS_PER_SECOND: i64 = 1_000_000;

/// The end of offsets from UTC that PostgreSQL accepts: sixteen hours (`MAX_TZDISP_HOUR`, datatype/timestamp.h).
const END_OFFSET: i32 = 16 * 3600;

/// Parses `2013-01-01`, years of more digits, or `infinity`, into days since 2000.
pub(crate) fn date(text: &[u8]) -> Result<i32, Problem> {
    let text = trimmed(text)?;
    if let Some(sign) = infinity(text) {
        return Ok(if sign { i32::MIN } else { i32::MAX });
    }
    match Reader(text.as_bytes()).date()? {
        (days, Reader([])) => within_dates(days),
        _ => Err(Problem::NotParsed),
    }
}

/// Parses `12:30:00.25` into microseconds since midnight.
pub(crate) fn time(text: &[u8], precision: Option<u8>) -> Result<i64, Problem> {
    match Reader(trimmed(text)?.as_bytes()).time()? {
        (micros, Reader([])) => whole(micros, step(precision)),
        _ => Err(Problem::NotParsed),
    }
}

/// Parses `12:30:00+02` into microseconds since local midnight and seconds west of Greenwich.
pub(crate) fn time_with_zone(text: &[u8], precision: Option<u8>) -> Result<[u8; 12], Problem> {
    let (micros, reader) = Reader(trimmed(text)?.as_bytes()).time()?;
    let (east, Reader([])) = reader.zone()? else {
        return Err(Problem::NotParsed);
    };
    let mut bytes = [0; 12];
    bytes[..8].copy_from_slice(&whole(micros, step(precision))?.to_be_bytes());
    bytes[8..].copy_from_slice(&(-east).to_be_bytes());
    Ok(bytes)
}

/// Parses `2013-01-01T12:30:00.25`, with a `T` or a blank, a date alone, or `infinity`, into microseconds since
/// 2000. An offset from UTC is required if the type has a zone, and rejected if not.
pub(crate) fn timestamp(text: &[u8], precision: Option<u8>, zone: bool) -> Result<i64, Problem> {
    let text = trimmed(text)?;
    if let Some(sign) = infinity(text) {
        return Ok(if sign { i64::MIN } else { i64::MAX });
    }
    let (days, reader) = Reader(text.as_bytes()).date()?;
    let (micros, reader) = match reader.0 {
        [b'T' | b't' | b' ', rest @ ..] => Reader(rest).time()?,
        _ => (0, reader),
    };
    let (east, reader) = if zone { reader.zone()? } else { (0, reader) };
    if !reader.0.is_empty() {
        return Err(Problem::NotParsed);
    }
    let micros = whole(micros, step(precision))? - i64::from(east) * MICROS_PER_SECOND;
    let since_2000 = (days - i64::from(EPOCH_DAYS))
        .checked_mul(MICROS_PER_DAY)
        .and_then(|midnight| midnight.checked_add(micros));
    match since_2000 {
        Some(micros) if (MIN_TIMESTAMP..END_TIMESTAMP).contains(&micros) => Ok(micros),
        _ => Err(Problem::OutOfRange),
    }
}

/// Returns whether an infinity is negative; `None` for other text.
fn infinity(text: &str) -> Option<bool> {
    match text.strip_prefix('-') {
        Some(rest) => rest.eq_ignore_ascii_case("infinity").then_some(true),
        None => text.eq_ignore_ascii_case("infinity").then_some(false),
    }
}

fn within_dates(days: i64) -> Result<i32, Problem> {
    let days = i32::try_from(days - i64::from(EPOCH_DAYS)).map_err(|_| Problem::OutOfRange)?;
    if (MIN_DATE..END_DATE).contains(&days) {
        Ok(days)
    } else {
        Err(Problem::OutOfRange)
    }
}

/// The rest of a text.
#[derive(Clone, Copy)]
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Reads a date as days since 1970.
    fn date(self) -> Result<(i64, Self), Problem> {
        let reader = match self.0 {
            [b'+', rest @ ..] => Reader(rest),
            _ => self,
        };
        let (year, reader) = reader.digits(4, 7)?;
        // PostgreSQL has no year zero, which ISO 8601 has. Other programs write it for a missing date.
        if year == 0 {
            return Err(Problem::OutOfRange);
        }
        let (month, reader) = reader.after(b'-')?.digits(2, 2)?;
        let (day, reader) = reader.after(b'-')?.digits(2, 2)?;
        if !(1..=12).contains(&month) || !(1..=days_of(year, month)).contains(&day) {
            return Err(Problem::OutOfRange);
        }
        Ok((days_since_1970(year, month, day), reader))
    }

    /// Reads a time as microseconds since midnight, up to and including 24:00:00.
    fn time(self) -> Result<(i64, Self), Problem> {
        let (hour, reader) = self.digits(2, 2)?;
        let (minute, mut reader) = reader.after(b':')?.digits(2, 2)?;
        let (mut second, mut fraction) = (0, 0);
        if let Ok(after) = reader.after(b':') {
            (second, reader) = after.digits(2, 2)?;
            if let Ok(after) = reader.after(b'.') {
                (fraction, reader) = after.fraction()?;
            }
        }
        let micros = ((hour * 60 + minute) * 60 + second) * MICROS_PER_SECOND + fraction;
        if minute > 59 || second > 59 || micros > MICROS_PER_DAY {
            return Err(Problem::OutOfRange);
        }
        Ok((micros, reader))
    }

    /// Reads `Z`, `+02`, `+0230`, `-02:30` or `+02:30:15` as seconds east of Greenwich.
    fn zone(self) -> Result<(i32, Self), Problem> {
        let (west, reader) = match self.0 {
            [b'Z' | b'z', rest @ ..] => return Ok((0, Reader(rest))),
            [b'+', rest @ ..] => (false, Reader(rest)),
            [b'-', rest @ ..] => (true, Reader(rest)),
            _ => return Err(Problem::NotParsed),
        };
        let (hours, mut reader) = reader.digits(2, 2)?;
        let (mut minutes, mut seconds) = (0, 0);
        if let Ok(after) = reader.after(b':') {
            (minutes, reader) = after.digits(2, 2)?;
            if let Ok(after) = reader.after(b':') {
                (seconds, reader) = after.digits(2, 2)?;
            }
        } else if !reader.0.is_empty() {
            (minutes, reader) = reader.digits(2, 2)?;
        }
        let offset = i32::try_from((hours * 60 + minutes) * 60 + seconds).unwrap_or(i32::MAX);
        if minutes > 59 || seconds > 59 || offset >= END_OFFSET {
            return Err(Problem::OutOfRange);
        }
        Ok((if west { -offset } else { offset }, reader))
    }

    fn digits(self, least: usize, most: usize) -> Result<(i64, Self), Problem> {
        let count = self
            .0
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        let count = count.min(most);
        if count < least {
            return Err(Problem::NotParsed);
        }
        let (digits, rest) = self.0.split_at(count);
        let value = digits
            .iter()
            .fold(0, |value, digit| value * 10 + i64::from(digit - b'0'));
        Ok((value, Reader(rest)))
    }

    /// Reads the digits of a fraction as microseconds. Finer digits must be zero.
    fn fraction(self) -> Result<(i64, Self), Problem> {
        let count = self
            .0
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        let (digits, rest) = self.0.split_at(count);
        if digits.is_empty() {
            return Err(Problem::NotParsed);
        }
        if digits.iter().skip(6).any(|digit| *digit != b'0') {
            return Err(Problem::LosesDigits);
        }
        let digit = |place: usize| digits.get(place).map_or(0, |digit| i64::from(digit - b'0'));
        let micros = (0..6).fold(0, |micros, place| micros * 10 + digit(place));
        Ok((micros, Reader(rest)))
    }

    fn after(self, byte: u8) -> Result<Self, Problem> {
        match self.0 {
            [first, rest @ ..] if *first == byte => Ok(Reader(rest)),
            _ => Err(Problem::NotParsed),
        }
    }
}

fn days_of(year: i64, month: i64) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Howard Hinnant, chrono-Compatible Low-Level Date Algorithms, `days_from_civil`.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let shifted_month = (month + 9) % 12;
    let day_of_year = (153 * shifted_month + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}
