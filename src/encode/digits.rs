//! Base-10000 digits, as PostgreSQL's numeric has them, from integers and a decimal scale.

use arrow_buffer::i256;

use super::problem::Problem;
use crate::plan::NumericLimit;

/// Digits of the largest 256-bit integer, 77 decimals, at any scale.
const MAX_DIGITS: usize = 21;

/// Bits of a digit, in which it goes over the wire too.
const BITS: u32 = 16;

/// Four decimals make a digit; fewer of them, left over by a scale, are multiplied up.
const POWERS: [u64; 5] = [1, 10, 100, 1000, 10_000];

/// Where the decimal point is: decimals after it, and what follows from them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Point {
    /// Digits of base 10000 after the point.
    pub(super) fraction: i32,
    /// Decimals in the last digit when they do not fill it: 1 to 3, else 0.
    pub(super) partial: u32,
}

impl Point {
    /// A scale below zero puts zeros before the point.
    pub(super) fn of(scale: i32) -> Self {
        Self {
            fraction: (scale + 3).div_euclid(4),
            partial: scale.rem_euclid(4).unsigned_abs(),
        }
    }

    /// The power of 10000 of a digit, counted from the least significant place.
    #[inline]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a scale is at most a few hundred"
    )]
    fn weight(self, place: u32) -> i16 {
        (place.cast_signed() - self.fraction) as i16
    }
}

/// Digits of a number, without zeros at either end.
pub(super) trait Digits {
    /// How many there are; none for zero.
    fn count(&self) -> usize;

    /// The power of 10000 of the first; 0 for zero.
    fn weight(&self, point: Point) -> i16;

    /// Writes them in big-endian order to the end of `out`, which has room for eight bytes more
    /// than they need. What is before them may be written over.
    fn put(&self, out: &mut [u8]);

    /// The first and the last.
    fn ends(&self) -> (u16, u16);

    /// Whether a `numeric(p,s)` column holds the number as it is.
    fn fit(&self, point: Point, limit: NumericLimit) -> Result<(), Problem> {
        if self.count() == 0 {
            return Ok(());
        }
        let weight = i32::from(self.weight(point));
        let (first, last) = self.ends();
        let decimals = 1 + [10, 100, 1000]
            .iter()
            .filter(|power| first >= **power)
            .count();
        let zeros = [10, 100, 1000]
            .iter()
            .filter(|power| last % **power == 0)
            .count();
        let small = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
        if 4 * weight + small(decimals) > limit.precision - limit.scale {
            return Err(Problem::OutOfRange);
        }
        if 4 * (weight - small(self.count()) + 1) + small(zeros) < -limit.scale {
            return Err(Problem::LosesDigits);
        }
        Ok(())
    }
}

/// Up to four digits in one integer, sixteen bits each: nearly all prices and quantities there are.
///
/// Shifts and counts of zeros take the place of loops and branches, which values of different
/// length would mispredict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Packed {
    /// The digits, zeros at the end shifted out.
    digits: u64,
    /// How many places were shifted out.
    shifted: u32,
}

impl Packed {
    /// Takes an integer apart, unless it has more than four digits. `PARTIAL` is
    /// [`Point::partial`], constant so that no division is left.
    #[inline]
    pub(super) fn new<const PARTIAL: usize>(magnitude: u64) -> Option<Self> {
        const EIGHT_DECIMALS: u64 = 100_000_000;
        let two = |decimals: u64| (decimals / 10_000) << BITS | (decimals % 10_000);
        let (power, missing) = (POWERS[PARTIAL], POWERS[4 - PARTIAL]);
        let (last, rest, places) = if PARTIAL == 0 {
            (0, magnitude, 0)
        } else {
            (magnitude % power * missing, magnitude / power, 1)
        };
        let digits = if rest < EIGHT_DECIMALS {
            two(rest)
        } else if rest
            < if PARTIAL == 0 {
                EIGHT_DECIMALS * EIGHT_DECIMALS
            } else {
                EIGHT_DECIMALS * POWERS[4]
            }
        {
            two(rest / EIGHT_DECIMALS) << (2 * BITS) | two(rest % EIGHT_DECIMALS)
        } else {
            return None;
        };
        let digits = digits << (places * BITS) | last;
        // One bit more keeps zero from shifting everything out.
        let shifted = (digits | 1 << 63).trailing_zeros() / BITS;
        Some(Self {
            digits: digits >> (shifted * BITS),
            shifted,
        })
    }

    /// How many digits an integer will have, without taking it apart: the places up to the first
    /// that is not zero, less those of zeros at the end. `None` as for [`Packed::new`].
    #[inline]
    pub(super) fn count_of<const PARTIAL: usize>(magnitude: u64) -> Option<usize> {
        const PLACES: [u64; 5] = [
            1,
            10_000,
            100_000_000,
            1_000_000_000_000,
            10_000_000_000_000_000,
        ];
        // Place `i` counts units of `unit(i)`; with a partial digit, place 0 is that one.
        let unit = |place: usize| match (PARTIAL, place) {
            (0, _) => PLACES[place],
            (_, 0) => 1,
            _ => PLACES[place - 1] * POWERS[PARTIAL],
        };
        if magnitude >= unit(4) {
            return None;
        }
        let places = (0..4)
            .map(|place| usize::from(magnitude >= unit(place)))
            .sum::<usize>();
        let zeros = (1..4)
            .map(|place| usize::from(magnitude.is_multiple_of(unit(place))))
            .sum::<usize>();
        // Zero is divisible by everything and has no places.
        Some(places.saturating_sub(zeros))
    }

    #[inline]
    fn places(&self) -> u32 {
        (u64::BITS + BITS - 1 - self.digits.leading_zeros()) / BITS
    }
}

impl Digits for Packed {
    #[inline]
    fn count(&self) -> usize {
        self.places() as usize
    }

    #[inline]
    fn weight(&self, point: Point) -> i16 {
        // A product, not a branch: zeros come and go in a column of prices.
        point.weight(self.places() + self.shifted).wrapping_sub(1) * i16::from(self.digits != 0)
    }

    #[inline]
    fn put(&self, out: &mut [u8]) {
        let end = out.len();
        out[end - 8..].copy_from_slice(&self.digits.to_be_bytes());
    }

    #[expect(clippy::cast_possible_truncation, reason = "a digit has 16 bits")]
    fn ends(&self) -> (u16, u16) {
        let first = self.digits >> (self.places().saturating_sub(1) * BITS);
        (first as u16, self.digits as u16)
    }
}

/// Any number of digits.
pub(super) struct Wide {
    /// From the least significant on; `low..high` are those without zeros at either end.
    digits: [u16; MAX_DIGITS],
    low: usize,
    high: usize,
}

impl Wide {
    /// Takes the magnitude of an integer apart.
    #[inline(never)]
    pub(super) fn new(value: i256, point: Point) -> Self {
        /// Four digits at a time.
        const STEP: u64 = 10_u64.pow(16);
        let mut wide = Self {
            digits: [0; MAX_DIGITS],
            low: 0,
            high: 0,
        };
        // The least value is its own negation, and right when read without a sign.
        let mut rest = Limbs::of(value.wrapping_abs());
        if point.partial != 0 {
            let missing = POWERS[4 - point.partial as usize];
            wide.push(rest.divide(POWERS[point.partial as usize]) * missing);
        }
        while !rest.is_zero() {
            let mut four = rest.divide(STEP);
            for _ in 0..4 {
                // Zeros before the first digit may be more than there is room for.
                if four != 0 || !rest.is_zero() {
                    wide.push(four % 10_000);
                }
                four /= 10_000;
            }
        }
        while wide.high > 0 && wide.digits[wide.high - 1] == 0 {
            wide.high -= 1;
        }
        while wide.low < wide.high && wide.digits[wide.low] == 0 {
            wide.low += 1;
        }
        wide
    }

    #[expect(clippy::cast_possible_truncation, reason = "a digit is below 10000")]
    fn push(&mut self, digit: u64) {
        self.digits[self.high] = digit as u16;
        self.high += 1;
    }
}

impl Digits for Wide {
    fn count(&self) -> usize {
        self.high - self.low
    }

    #[expect(clippy::cast_possible_truncation, reason = "at most 21 digits")]
    fn weight(&self, point: Point) -> i16 {
        if self.count() == 0 {
            0
        } else {
            point.weight(self.high as u32 - 1)
        }
    }

    fn put(&self, out: &mut [u8]) {
        let words = out.as_rchunks_mut().1.iter_mut().rev();
        for (word, digit) in words.zip(&self.digits[self.low..self.high]) {
            *word = digit.to_be_bytes();
        }
    }

    fn ends(&self) -> (u16, u16) {
        if self.count() == 0 {
            (0, 0)
        } else {
            (self.digits[self.high - 1], self.digits[self.low])
        }
    }
}

/// 256 bits without a sign, the least significant 64 first.
struct Limbs([u64; 4]);

impl Limbs {
    fn of(value: i256) -> Self {
        let bytes = value.to_le_bytes();
        let mut limbs = [0; 4];
        for (limb, bytes) in limbs.iter_mut().zip(bytes.as_chunks().0) {
            *limb = u64::from_le_bytes(*bytes);
        }
        Self(limbs)
    }

    fn is_zero(&self) -> bool {
        self.0 == [0; 4]
    }

    /// Divides in place and returns the remainder.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "quotient and remainder are below 2^64"
    )]
    fn divide(&mut self, by: u64) -> u64 {
        let mut rest = 0;
        for limb in self.0.iter_mut().rev() {
            let part = u128::from(rest) << u64::BITS | u128::from(*limb);
            if part <= u128::from(u64::MAX) {
                // Most numbers leave the upper limbs empty, and 64 bits divide faster.
                *limb = part as u64 / by;
                rest = part as u64 % by;
            } else {
                *limb = (part / u128::from(by)) as u64;
                rest = (part % u128::from(by)) as u64;
            }
        }
        rest
    }
}
