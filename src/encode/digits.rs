//! Base-10000 digits, as PostgreSQL's numeric has them, from integers and a decimal scale.

use arrow_buffer::i256;

use super::problem::Problem;
use crate::plan::NumericLimit;

/// Groups of the largest 256-bit integer, 77 digits, at any scale.
const MAX_GROUPS: usize = 21;

/// Groups of the largest 64-bit integer, 20 digits, at any scale.
const MAX_SMALL_GROUPS: usize = 6;

/// What base 10000 is made of: how many decimals of a scale are left over in the lowest group.
const POWERS: [u64; 5] = [1, 10, 100, 1000, 10_000];

/// An integer times a power of ten, in groups of four decimals around the decimal point.
///
/// `groups[low..high]` are the digits from the least to the most significant, both not zero; none
/// at all for zero. Digits of zero in between stay.
pub(super) struct Digits<const N: usize> {
    groups: [u16; N],
    low: usize,
    high: usize,
}

pub(super) type SmallDigits = Digits<MAX_SMALL_GROUPS>;
pub(super) type WideDigits = Digits<MAX_GROUPS>;

/// Where the decimal point is: digits after it, and what follows from them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Point {
    /// Groups after the point.
    pub(super) fraction_groups: i32,
    /// Decimals in the lowest group, when it is not full: 1 to 3, else 0.
    pub(super) partial: u32,
}

impl Point {
    /// A scale below zero puts zeros before the point.
    pub(super) fn of(scale: i32) -> Self {
        Self {
            fraction_groups: (scale + 3).div_euclid(4),
            partial: scale.rem_euclid(4).unsigned_abs(),
        }
    }
}

impl SmallDigits {
    /// Splits 64 bits; `PARTIAL` is [`Point::partial`], constant so that divisions are products.
    #[inline]
    pub(super) fn new<const PARTIAL: usize>(mut rest: u64) -> Self {
        let mut digits = Self {
            groups: [0; MAX_SMALL_GROUPS],
            low: 0,
            high: 0,
        };
        if PARTIAL != 0 {
            digits.push(rest % POWERS[PARTIAL] * POWERS[4 - PARTIAL]);
            rest /= POWERS[PARTIAL];
        }
        while rest != 0 {
            digits.push(rest % 10_000);
            rest /= 10_000;
        }
        digits.strip()
    }

    /// As [`SmallDigits::new`], for a point that differs from value to value.
    pub(super) fn at(point: Point, value: u64) -> Self {
        match point.partial {
            0 => Self::new::<0>(value),
            1 => Self::new::<1>(value),
            2 => Self::new::<2>(value),
            _ => Self::new::<3>(value),
        }
    }
}

impl WideDigits {
    /// Splits the magnitude of 256 bits.
    pub(super) fn new(value: i256, point: Point) -> Self {
        /// Four groups at a time.
        const STEP: u64 = 10_u64.pow(16);
        let mut digits = Self {
            groups: [0; MAX_GROUPS],
            low: 0,
            high: 0,
        };
        // The least value is its own negation, and right when read without a sign.
        let bytes = value.wrapping_abs().to_le_bytes();
        let mut limbs = [0; 4];
        for (limb, bytes) in limbs.iter_mut().zip(bytes.as_chunks().0) {
            *limb = u64::from_le_bytes(*bytes);
        }
        if point.partial != 0 {
            let missing = POWERS[4 - point.partial as usize];
            digits.push(divide(&mut limbs, POWERS[point.partial as usize]) * missing);
        }
        while limbs != [0; 4] {
            let mut four = divide(&mut limbs, STEP);
            for _ in 0..4 {
                // The last four may be zeros before the first digit, beyond what there is room for.
                if four != 0 || limbs != [0; 4] {
                    digits.push(four % 10_000);
                }
                four /= 10_000;
            }
        }
        digits.strip()
    }
}

/// Divides in place and returns the remainder.
#[expect(
    clippy::cast_possible_truncation,
    reason = "quotient and remainder are below 2^64"
)]
fn divide(limbs: &mut [u64; 4], by: u64) -> u64 {
    let by = u128::from(by);
    let mut rest = 0;
    for limb in limbs.iter_mut().rev() {
        let part = rest << 64 | u128::from(*limb);
        *limb = (part / by) as u64;
        rest = part % by;
    }
    rest as u64
}

impl<const N: usize> Digits<N> {
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "a group is below 10000")]
    fn push(&mut self, group: u64) {
        self.groups[self.high] = group as u16;
        self.high += 1;
    }

    /// Leaves zeros at both ends out.
    #[inline]
    fn strip(mut self) -> Self {
        while self.high > 0 && self.groups[self.high - 1] == 0 {
            self.high -= 1;
        }
        while self.low < self.high && self.groups[self.low] == 0 {
            self.low += 1;
        }
        self
    }

    /// How many there are.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.high - self.low
    }

    /// From the most significant on.
    #[inline]
    pub(super) fn iter(&self) -> impl Iterator<Item = u16> {
        self.groups[self.low..self.high].iter().rev().copied()
    }

    /// The power of 10000 of the first digit; 0 for zero.
    #[inline]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        reason = "at most 21 groups around a scale of at most a few hundred"
    )]
    pub(super) fn weight(&self, point: Point) -> i16 {
        if self.len() == 0 {
            0
        } else {
            self.high as i16 - 1 - point.fraction_groups as i16
        }
    }

    /// Whether a `numeric(p,s)` column holds the value as it is.
    pub(super) fn fit(&self, point: Point, limit: NumericLimit) -> Result<(), Problem> {
        let mut groups = self.iter();
        let (Some(first), last) = (groups.next(), groups.last()) else {
            return Ok(());
        };
        let weight = i32::from(self.weight(point));
        let length =
            1 + i32::from(first >= 10) + i32::from(first >= 100) + i32::from(first >= 1000);
        if 4 * weight + length > limit.precision - limit.scale {
            return Err(Problem::OutOfRange);
        }
        let last = last.unwrap_or(first);
        let zeros = [10, 100, 1000]
            .iter()
            .map(|power| i32::from(last % power == 0))
            .sum::<i32>();
        let last_weight = weight - i32::try_from(self.len()).unwrap_or(i32::MAX) + 1;
        if 4 * last_weight + zeros < -limit.scale {
            return Err(Problem::LosesDigits);
        }
        Ok(())
    }
}
