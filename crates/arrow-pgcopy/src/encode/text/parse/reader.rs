//! What is left of a text that is parsed from its beginning.

use crate::encode::problem::Problem;

/// The rest of a text.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    /// Returns the number of digits that come next.
    pub(super) fn digit_count(self) -> usize {
        let digits = self.0.iter();
        digits.take_while(|byte| byte.is_ascii_digit()).count()
    }

    /// Reads the letters that come next.
    pub(super) fn word(self) -> (&'a [u8], Self) {
        let letters = self.0.iter();
        let count = letters
            .take_while(|byte| byte.is_ascii_alphabetic())
            .count();
        let (word, rest) = self.0.split_at(count);
        (word, Reader(rest))
    }

    /// Reads one of these bytes.
    pub(super) fn one_of(self, bytes: &[u8]) -> Result<(u8, Self), Problem> {
        match self.0 {
            [first, rest @ ..] if bytes.contains(first) => Ok((*first, Reader(rest))),
            _ => Err(Problem::NotParsed),
        }
    }

    pub(super) fn digits(self, least: usize, most: usize) -> Result<(i64, Self), Problem> {
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
    pub(super) fn fraction(self) -> Result<(i64, Self), Problem> {
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

    pub(super) fn after(self, byte: u8) -> Result<Self, Problem> {
        match self.0 {
            [first, rest @ ..] if *first == byte => Ok(Reader(rest)),
            _ => Err(Problem::NotParsed),
        }
    }
}
