//! Booleans and numbers.

use std::num::IntErrorKind;
use std::str::FromStr;

use super::trimmed;
use crate::encode::problem::Problem;
use crate::encode::scalar::digits::{NEGATIVE, POSITIVE, put_header};
use crate::encode::scalar::numeric_float::{
    INFINITY_SCALE, NAN, NEGATIVE_INFINITY, POSITIVE_INFINITY,
};
use crate::mapping::NumericLimit;

/// `NUMERIC_DSCALE_MAX` of numeric.c, and the most decimals before the point (four for each of `NUMERIC_WEIGHT_MAX`
/// + 1 digits).
const MAX_SCALE: i64 = 16_383;
const MAX_DECIMALS: i64 = 131_072;

/// Parses `true`, `yes`, `on`, `1`, their opposites, and their beginnings, as `boolin` of bool.c does.
pub(crate) fn boolean(text: &[u8]) -> Result<bool, Problem> {
    let text = trimmed(text)?.to_ascii_lowercase();
    let begins = |word: &str, least: usize| text.len() >= least && word.starts_with(&text);
    if begins("true", 1) || begins("yes", 1) || text == "on" || text == "1" {
        Ok(true)
    } else if begins("false", 1) || begins("no", 1) || begins("off", 2) || text == "0" {
        Ok(false)
    } else {
        Err(Problem::NotParsed)
    }
}

/// Parses decimal digits with an optional sign.
pub(crate) fn integer<N>(text: &[u8]) -> Result<N, Problem>
where
    N: FromStr<Err = std::num::ParseIntError>,
{
    use IntErrorKind::{NegOverflow, PosOverflow};
    trimmed(text)?.parse::<N>().map_err(|error| {
        if matches!(error.kind(), PosOverflow | NegOverflow) {
            Problem::OutOfRange
        } else {
            Problem::NotParsed
        }
    })
}

/// Parses a float. Rust rounds correctly, as `strtod` does; overflow and underflow are out of range, as in
/// `float8in_internal` of float.c.
pub(crate) fn float<F: FromStr + Into<f64> + Copy>(text: &[u8]) -> Result<F, Problem> {
    let text = trimmed(text)?;
    let value: F = text.parse().map_err(|_| Problem::NotParsed)?;
    let double: f64 = value.into();
    let mantissa = text.split(['e', 'E']).next().unwrap_or_default();
    let overflows = double.is_infinite() && mantissa.contains(|c: char| c.is_ascii_digit());
    let vanishes = double == 0.0 && mantissa.contains(|c: char| matches!(c, '1'..='9'));
    if overflows || vanishes {
        Err(Problem::OutOfRange)
    } else {
        Ok(value)
    }
}

/// Parses `-12.50`, `1.5e-7`, `NaN` or `Infinity` with any number of digits, all of which are kept, as `numeric_in`
/// of numeric.c does.
pub(crate) fn numeric(
    text: &[u8],
    limit: Option<NumericLimit>,
    out: &mut Vec<u8>,
) -> Result<(), Problem> {
    let text = trimmed(text)?;
    let (negative, magnitude) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if text.eq_ignore_ascii_case("nan") {
        return special(NAN, 0, out);
    }
    if ["inf", "infinity"]
        .iter()
        .any(|word| magnitude.eq_ignore_ascii_case(word))
    {
        let sign = if negative {
            NEGATIVE_INFINITY
        } else {
            POSITIVE_INFINITY
        };
        // PostgreSQL 14 and newer have infinities, in columns without a precision.
        return match limit {
            None => special(sign, INFINITY_SCALE, out),
            Some(_) => Err(Problem::NotFinite),
        };
    }
    let (mantissa, exponent) = match magnitude.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent_of(exponent)?),
        None => (magnitude, 0),
    };
    let (before, after) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = [before.as_bytes(), after.as_bytes()].concat();
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(Problem::NotParsed);
    }
    // Decimals after the point; below zero, zeros before it.
    let scale = length(after.len()) - exponent;
    let zeros = digits.iter().take_while(|digit| **digit == b'0').count();
    let significant = &digits[zeros..];
    let shown = scale.max(0);
    if shown > MAX_SCALE {
        return Err(Problem::OutOfRange);
    }
    if significant.is_empty() {
        return header(0, 0, 0, shown, out);
    }
    let whole = length(significant.len()) - scale;
    if whole > MAX_DECIMALS {
        return Err(Problem::OutOfRange);
    }
    if let Some(limit) = limit {
        let trailing = significant
            .iter()
            .rev()
            .take_while(|digit| **digit == b'0')
            .count();
        if whole > i64::from(limit.precision - limit.scale) {
            return Err(Problem::OutOfRange);
        }
        if scale - length(trailing) > i64::from(limit.scale) {
            return Err(Problem::LosesDigits);
        }
    }
    // Leading zeros fill the first group of four, trailing zeros the last one.
    let front = (-whole).rem_euclid(4);
    let weight = (whole + front) / 4 - 1;
    let padded: Vec<u8> = std::iter::repeat_n(b'0', usize::try_from(front).unwrap_or(0))
        .chain(significant.iter().copied())
        .collect();
    let mut groups: Vec<u16> = padded
        .chunks(4)
        .map(|chunk| {
            let digit = |place: usize| chunk.get(place).map_or(0, |digit| u16::from(digit - b'0'));
            digit(0) * 1000 + digit(1) * 100 + digit(2) * 10 + digit(3)
        })
        .collect();
    while groups.last() == Some(&0) {
        groups.pop();
    }
    let sign = if negative { NEGATIVE } else { POSITIVE };
    header(groups.len(), weight, sign, shown, out)?;
    out.extend(groups.into_iter().flat_map(u16::to_be_bytes));
    Ok(())
}

fn exponent_of(text: &str) -> Result<i64, Problem> {
    let exponent: i64 = integer(text.as_bytes())?;
    // No valid number has a larger exponent, and sums stay small.
    if exponent.abs() <= MAX_DECIMALS + MAX_SCALE {
        Ok(exponent)
    } else {
        Err(Problem::OutOfRange)
    }
}

fn length(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn special(sign: u16, shown: u16, out: &mut Vec<u8>) -> Result<(), Problem> {
    header(0, 0, sign, shown.into(), out)
}

fn header(
    count: usize,
    weight: i64,
    sign: u16,
    shown: i64,
    out: &mut Vec<u8>,
) -> Result<(), Problem> {
    let (Ok(weight), Ok(shown)) = (i16::try_from(weight), u16::try_from(shown)) else {
        return Err(Problem::OutOfRange);
    };
    let mut bytes = [0; 8];
    put_header(count, weight, sign, shown, &mut bytes);
    out.extend_from_slice(&bytes);
    Ok(())
}
