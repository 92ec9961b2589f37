//! Dates in the forms that PostgreSQL reads alike under any `DateStyle`: the year comes first, or the month has a name.

use super::reader::Reader;
use crate::encode::problem::Problem;

/// The names of months as PostgreSQL abbreviates them (`datetktbl` of datetime.c), with what may follow.
const MONTHS: [(&str, &str); 12] = [
    ("jan", "uary"),
    ("feb", "ruary"),
    ("mar", "ch"),
    ("apr", "il"),
    ("may", ""),
    ("jun", "e"),
    ("jul", "y"),
    ("aug", "ust"),
    ("sep", "tember"),
    ("oct", "ober"),
    ("nov", "ember"),
    ("dec", "ember"),
];

/// Splits a text into what comes before its era, and whether the years are those before Christ.
pub(super) fn era(text: &str) -> (&str, bool) {
    match text.rsplit_once(' ') {
        Some((before, era)) if era.eq_ignore_ascii_case("BC") => (before.trim_end(), true),
        Some((before, era)) if era.eq_ignore_ascii_case("AD") => (before.trim_end(), false),
        _ => (text, false),
    }
}

/// Reads a date as days since 1970: `2013-01-05`, `2013/1/5`, `20130105`, `2013-Jan-05`, `05-Jan-2013`, `5 January 2013`
/// or `Jan 5, 2013`.
pub(super) fn date(reader: Reader<'_>, before_christ: bool) -> Result<(i64, Reader<'_>), Problem> {
    let reader = reader.after(b'+').unwrap_or(reader);
    let (year, month, day, reader) = match (reader.digit_count(), reader.0.first()) {
        (0, Some(letter)) if letter.is_ascii_alphabetic() => month_first(reader)?,
        (1 | 2, _) => day_first(reader)?,
        (8, _) => compact(reader)?,
        _ => year_first(reader)?,
    };
    // PostgreSQL has no year zero, which ISO 8601 has. Other programs write it for a missing date.
    if year == 0 {
        return Err(Problem::OutOfRange);
    }
    let year = if before_christ { 1 - year } else { year };
    if !(1..=12).contains(&month) || !(1..=days_of(year, month)).contains(&day) {
        return Err(Problem::OutOfRange);
    }
    Ok((days_since_1970(year, month, day), reader))
}

type Parts<'a> = (i64, i64, i64, Reader<'a>);

fn year_first(reader: Reader<'_>) -> Result<Parts<'_>, Problem> {
    let (year, reader) = reader.digits(4, 7)?;
    let (separator, reader) = reader.one_of(b"-/.")?;
    let (month, reader) = match reader.0.first() {
        Some(letter) if letter.is_ascii_alphabetic() => month_name(reader)?,
        _ => reader.digits(1, 2)?,
    };
    let (day, reader) = reader.after(separator)?.digits(1, 2)?;
    Ok((year, month, day, reader))
}

/// Reads eight digits.
fn compact(reader: Reader<'_>) -> Result<Parts<'_>, Problem> {
    let (year, reader) = reader.digits(4, 4)?;
    let (month, reader) = reader.digits(2, 2)?;
    let (day, reader) = reader.digits(2, 2)?;
    Ok((year, month, day, reader))
}

fn day_first(reader: Reader<'_>) -> Result<Parts<'_>, Problem> {
    let (day, reader) = reader.digits(1, 2)?;
    let (separator, reader) = reader.one_of(b"- ")?;
    let (month, reader) = month_name(reader)?;
    let (year, reader) = reader.after(separator)?.digits(4, 7)?;
    Ok((year, month, day, reader))
}

fn month_first(reader: Reader<'_>) -> Result<Parts<'_>, Problem> {
    let (month, reader) = month_name(reader)?;
    let (separator, reader) = reader.one_of(b"- ")?;
    let (day, reader) = reader.digits(1, 2)?;
    let reader = match reader.after(b',') {
        Ok(reader) => reader.after(b' ').unwrap_or(reader),
        Err(_) => reader.after(separator)?,
    };
    let (year, reader) = reader.digits(4, 7)?;
    Ok((year, month, day, reader))
}

fn month_name(reader: Reader<'_>) -> Result<(i64, Reader<'_>), Problem> {
    let (word, reader) = reader.word();
    let word = word.to_ascii_lowercase();
    let is_named = |(short, rest): &(&str, &str)| {
        let after = word.strip_prefix(short.as_bytes());
        after.is_some_and(|after| after.is_empty() || after == rest.as_bytes())
    };
    let place = MONTHS.iter().position(is_named);
    let place = place.or_else(|| (word == b"sept").then_some(8));
    let month = place.and_then(|place| i64::try_from(place + 1).ok());
    Ok((month.ok_or(Problem::NotParsed)?, reader))
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
