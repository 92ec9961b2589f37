//! Times, and dates with times: the forms that do not depend on the session's settings.

use std::io::Write;

use super::date::{date as read_date, era};
use super::reader::Reader;
use super::trimmed;
use crate::encode::format::{
    END_DATE, END_TIMESTAMP, EPOCH_DAYS, MICROS_PER_DAY, MIN_DATE, MIN_TIMESTAMP, SECONDS_PER_DAY,
};
use crate::encode::problem::Problem;
use crate::encode::scalar::temporal::{step, whole};

const MICROS_PER_SECOND: i64 = 1_000_000;

/// The end of offsets from UTC that PostgreSQL accepts: sixteen hours (`MAX_TZDISP_HOUR`, datatype/timestamp.h).
const END_OFFSET: i32 = 16 * 3600;

/// Parses a date, or `infinity`, into days since 2000. A time of day must be midnight.
pub(crate) fn date(text: &[u8]) -> Result<i32, Problem> {
    let text = trimmed(text)?;
    if let Some(sign) = infinity(text) {
        return Ok(if sign { i32::MIN } else { i32::MAX });
    }
    let (text, before_christ) = era(text);
    let (days, reader) = read_date(Reader(text.as_bytes()), before_christ)?;
    match time_of_day(reader)? {
        (0, Reader([])) => within_dates(days),
        (_, Reader([])) => Err(Problem::LosesDigits),
        _ => Err(Problem::NotParsed),
    }
}

/// Parses `12:30:00.25` into microseconds since midnight.
pub(crate) fn time(text: &[u8], precision: Option<u8>) -> Result<i64, Problem> {
    match read_time(Reader(trimmed(text)?.as_bytes()))? {
        (micros, Reader([])) => whole(micros, step(precision)),
        _ => Err(Problem::NotParsed),
    }
}

/// Parses `12:30:00+02` into microseconds since local midnight and seconds west of Greenwich.
pub(crate) fn time_with_zone(text: &[u8], precision: Option<u8>) -> Result<[u8; 12], Problem> {
    let (micros, reader) = read_time(Reader(trimmed(text)?.as_bytes()))?;
    let (east, Reader([])) = read_zone(reader)? else {
        return Err(Problem::NotParsed);
    };
    let mut bytes = [0; 12];
    bytes[..8].copy_from_slice(&whole(micros, step(precision))?.to_be_bytes());
    bytes[8..].copy_from_slice(&(-east).to_be_bytes());
    Ok(bytes)
}

/// Parses a date and a time with a `T` or a blank between them, a date alone, or `infinity`, into microseconds since
/// 2000. An offset from UTC is required if the type has a zone, and rejected if not.
pub(crate) fn timestamp(text: &[u8], precision: Option<u8>, zone: bool) -> Result<i64, Problem> {
    let text = trimmed(text)?;
    if let Some(sign) = infinity(text) {
        return Ok(if sign { i64::MIN } else { i64::MAX });
    }
    let (text, before_christ) = era(text);
    let (days, reader) = read_date(Reader(text.as_bytes()), before_christ)?;
    let (micros, reader) = time_of_day(reader)?;
    let (east, reader) = if zone {
        read_zone(reader)?
    } else {
        (0, reader)
    };
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

/// Appends a timestamp in text, with the offset that `offset_at` returns for its seconds since 1970 if it has none of its
/// own. Text that is no timestamp stays as it is.
pub(crate) fn stamp(
    text: &str,
    offset_at: impl Fn(i64) -> Result<i64, Problem>,
    out: &mut Vec<u8>,
) -> Result<(), Problem> {
    let local = match timestamp(text.as_bytes(), None, false) {
        // An infinity has no offset.
        Ok(i64::MIN | i64::MAX) | Err(Problem::NotParsed) => None,
        Ok(micros) => Some(micros),
        Err(problem) => return Err(problem),
    };
    let Some(local) = local else {
        out.extend_from_slice(text.as_bytes());
        return Ok(());
    };
    let since_1970 = local.div_euclid(MICROS_PER_SECOND) + i64::from(EPOCH_DAYS) * SECONDS_PER_DAY;
    let east = offset_at(since_1970)?;
    let (text, before_christ) = era(trimmed(text.as_bytes())?);
    let sign = if east < 0 { '-' } else { '+' };
    let (hours, minutes, seconds) = (east.abs() / 3600, east.abs() / 60 % 60, east.abs() % 60);
    let era = if before_christ { " BC" } else { "" };
    write!(out, "{text}{sign}{hours:02}:{minutes:02}:{seconds:02}{era}")
        .map_err(|_| Problem::Unplanned)
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

/// Reads what may follow a date: `T` or a blank, and a time.
fn time_of_day(reader: Reader<'_>) -> Result<(i64, Reader<'_>), Problem> {
    match reader.0 {
        [b'T' | b't' | b' ', rest @ ..] if rest.first().is_some_and(u8::is_ascii_digit) => {
            read_time(Reader(rest))
        }
        _ => Ok((0, reader)),
    }
}

/// Reads a time as microseconds since midnight, up to and including 24:00:00: `12:30:00.25`, `9:05`, `123000` or
/// `9:05 PM`.
fn read_time(reader: Reader<'_>) -> Result<(i64, Reader<'_>), Problem> {
    let is_compact = reader.digit_count() == 6;
    let (hour, reader) = if is_compact {
        reader.digits(2, 2)?
    } else {
        reader.digits(1, 2)?
    };
    let (minute, mut reader) = separated(reader, is_compact)?.digits(2, 2)?;
    let (mut second, mut fraction) = (0, 0);
    if let Ok(after) = separated(reader, is_compact) {
        (second, reader) = after.digits(2, 2)?;
        if let Ok(after) = reader.after(b'.') {
            (fraction, reader) = after.fraction()?;
        }
    }
    let (hour, reader) = half_of_day(hour, reader)?;
    let micros = ((hour * 60 + minute) * 60 + second) * MICROS_PER_SECOND + fraction;
    if minute > 59 || second > 59 || micros > MICROS_PER_DAY {
        return Err(Problem::OutOfRange);
    }
    Ok((micros, reader))
}

/// Reads the colon between the parts of a time, unless it is compact.
fn separated(reader: Reader<'_>, is_compact: bool) -> Result<Reader<'_>, Problem> {
    if is_compact {
        Ok(reader)
    } else {
        reader.after(b':')
    }
}

/// Reads `AM` or `PM`, if one follows, and returns the hour of the day.
fn half_of_day(hour: i64, reader: Reader<'_>) -> Result<(i64, Reader<'_>), Problem> {
    let (word, rest) = reader.after(b' ').unwrap_or(reader).word();
    let noon = match word {
        word if word.eq_ignore_ascii_case(b"AM") => 0,
        word if word.eq_ignore_ascii_case(b"PM") => 12,
        _ => return Ok((hour, reader)),
    };
    match hour {
        1..=11 => Ok((hour + noon, rest)),
        12 => Ok((noon, rest)),
        _ => Err(Problem::OutOfRange),
    }
}

/// Reads `Z`, `UTC`, `GMT`, `+2`, `+02`, `+0230`, `-02:30` or `+02:30:15` as seconds east of Greenwich. A blank may come
/// before it.
fn read_zone(reader: Reader<'_>) -> Result<(i32, Reader<'_>), Problem> {
    let reader = reader.after(b' ').unwrap_or(reader);
    let (word, rest) = reader.word();
    if [&b"Z"[..], b"UTC", b"GMT"]
        .iter()
        .any(|name| word.eq_ignore_ascii_case(name))
    {
        return Ok((0, rest));
    }
    let (sign, reader) = reader.one_of(b"+-")?;
    let (hours, mut reader) = reader.digits(1, 2)?;
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
    Ok((if sign == b'-' { -offset } else { offset }, reader))
}
