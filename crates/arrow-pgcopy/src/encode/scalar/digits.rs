//! Base-10000 digits of PostgreSQL's numeric, from integers and a decimal scale.

use arrow_buffer::i256;

use crate::encode::column::u32_size;
use crate::encode::problem::Problem;
use crate::mapping::NumericLimit;

/// Bytes before the digits.
pub(crate) const HEADER: usize = 8;

/// Signs of numeric.c.
pub(crate) const POSITIVE: u16 = 0;
pub(crate) const NEGATIVE: u16 = 0x4000;

/// The most digits: those of the largest 256-bit integer, 77 decimals, at any scale.
const MAX_DIGITS: usize = 21;

/// Bits of a digit, here and on the wire.
const BITS: u32 = 16;

/// Powers of ten. Four decimals make a digit; when a scale leaves fewer, they are multiplied up.
const POWERS: [u64; 5] = [1, 10, 100, 1000, 10_000];

const EIGHT_DECIMALS: u64 = 100_000_000;

/// The position of the decimal point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Point {
    /// Digits of base 10000 after the point.
    pub(crate) fraction: i32,
    /// Decimals in the last digit if they do not fill it, 1 to 3; else 0.
    pub(crate) partial: u32,
}

impl Point {
    /// Makes the point of a scale. A scale below zero puts zeros before the point.
    pub(crate) fn of(scale: i32) -> Self {
        Self {
            fraction: (scale + 3).div_euclid(4),
            partial: scale.rem_euclid(4).unsigned_abs(),
        }
    }

    /// Returns the power of 10000 of a digit, whose place is counted from the least significant one.
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
pub(crate) trait Digits {
    /// Returns how many digits there are; none for zero.
    fn count(&self) -> usize;

    /// Returns the power of 10000 of the first digit; 0 for zero.
    fn weight(&self, point: Point) -> i16;

    /// Writes the digits in big-endian order to the end of `out`, which is at least eight bytes longer than they
    /// are. Bytes before the digits may be overwritten.
    fn put(&self, out: &mut [u8]);

    /// Returns the first and the last digit.
    fn ends(&self) -> (u16, u16);

    /// Checks that a `numeric(p,s)` column holds the number unchanged.
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

/// A number of at most four digits with its header, in wire form. Nearly all prices and quantities are of this
/// kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Short {
    /// Count of digits, weight, sign and display scale, sixteen bits each.
    header: u64,
    /// The digits, without zeros at either end; the last is in the lowest sixteen bits.
    digits: u64,
}

impl Short {
    /// Stands for a number of more digits.
    pub(crate) const LONG: Self = Self {
        header: u64::MAX,
        digits: 0,
    };

    #[inline]
    pub(crate) fn is_long(&self) -> bool {
        self.header == Self::LONG.header
    }

    /// Returns the bytes of header and digits.
    #[inline]
    pub(crate) fn size(&self) -> usize {
        HEADER + 2 * self.count()
    }

    /// Writes header and digits to `out`, which has exactly their size.
    #[inline]
    pub(crate) fn put_all(&self, out: &mut [u8]) {
        // Always writes eight bytes of digits, which may begin within the header. So the header comes last.
        self.put(out);
        out[..HEADER].copy_from_slice(&self.header.to_be_bytes());
    }
}

impl Digits for Short {
    #[inline]
    fn count(&self) -> usize {
        (self.header >> (3 * BITS)) as usize
    }

    #[expect(clippy::cast_possible_truncation, reason = "the shift leaves one word")]
    fn weight(&self, _point: Point) -> i16 {
        ((self.header >> (2 * BITS)) as u16).cast_signed()
    }

    #[inline]
    fn put(&self, out: &mut [u8]) {
        let end = out.len();
        out[end - 8..].copy_from_slice(&self.digits.to_be_bytes());
    }

    #[expect(clippy::cast_possible_truncation, reason = "a digit has 16 bits")]
    fn ends(&self) -> (u16, u16) {
        let first = self.digits >> (u32_size(self.count().saturating_sub(1)) * BITS);
        (first as u16, self.digits as u16)
    }
}

/// Makes [`Short`] numbers from integers of one scale.
///
/// The header and the place of the digits depend on which of the four digits are zero. These sixteen cases are
/// looked up, so that no branch depends on the number.
pub(crate) struct Shortener {
    /// The largest magnitude that is valid and has at most four digits.
    most: u64,
    /// The header without the sign, by the digits that are not zero: the last is bit 0.
    headers: [u64; 16],
    /// Bits of the trailing zeros, by the same.
    shifts: [u32; 16],
}

impl Shortener {
    /// Prepares for numbers with this point and `shown` decimals. Magnitudes above `declared` are invalid and
    /// become [`Short::LONG`], which is checked later.
    pub(crate) fn new(point: Point, shown: u16, declared: u64) -> Self {
        let fitting = match point.partial as usize {
            0 => EIGHT_DECIMALS * EIGHT_DECIMALS - 1,
            partial => EIGHT_DECIMALS * POWERS[4] * POWERS[partial] - 1,
        };
        let (mut headers, mut shifts) = ([u64::from(shown); 16], [0; 16]);
        for (mask, (header, shift)) in (1_u8..).zip(headers.iter_mut().zip(&mut shifts).skip(1)) {
            let (zeros, places) = (mask.trailing_zeros(), u8::BITS - mask.leading_zeros());
            let weight = point.weight(places - 1).cast_unsigned();
            *header |= u64::from(places - zeros) << (3 * BITS) | u64::from(weight) << (2 * BITS);
            *shift = zeros * BITS;
        }
        Self {
            most: fitting.min(declared),
            headers,
            shifts,
        }
    }

    /// Shortens a number. `PARTIAL` is [`Point::partial`], as a constant, so that no division is left.
    #[inline]
    pub(crate) fn shorten<const PARTIAL: usize>(&self, value: i64) -> Short {
        let magnitude = value.unsigned_abs();
        if magnitude > self.most {
            return Short::LONG;
        }
        let two = |decimals: u64| (decimals / 10_000) << BITS | (decimals % 10_000);
        let (power, missing) = (POWERS[PARTIAL], POWERS[4 - PARTIAL]);
        let (last, rest, places) = if PARTIAL == 0 {
            (0, magnitude, 0)
        } else {
            (magnitude % power * missing, magnitude / power, 1)
        };
        let digits = if rest < POWERS[4] {
            rest
        } else if rest < EIGHT_DECIMALS {
            two(rest)
        } else {
            two(rest / EIGHT_DECIMALS) << (2 * BITS) | two(rest % EIGHT_DECIMALS)
        };
        let digits = digits << (places * BITS) | last;
        let mask = not_zero(digits);
        let sign = if value < 0 { NEGATIVE } else { POSITIVE };
        Short {
            header: self.headers[mask] | u64::from(sign) << BITS,
            digits: digits >> self.shifts[mask],
        }
    }
}

/// Returns which of four digits are not zero; the last is bit 0.
#[inline]
fn not_zero(digits: u64) -> usize {
    // A digit is below 10000. Adding this to one that is not zero carries into its highest bit, and no further.
    let flags = (digits + 0x7fff_7fff_7fff_7fff) & 0x8000_8000_8000_8000;
    // The multiplication moves the four bits, sixteen apart, side by side at the upper end.
    (flags.wrapping_mul(1 << 45 | 1 << 30 | 1 << 15 | 1) >> 60) as usize
}

/// A number of any count of digits.
pub(crate) struct Wide {
    /// The digits, the least significant first; `low..high` are those without zeros at either end.
    digits: [u16; MAX_DIGITS],
    low: usize,
    high: usize,
}

impl Wide {
    /// Splits the magnitude of an integer into digits.
    #[inline(never)]
    pub(crate) fn new(value: i256, point: Point) -> Self {
        /// Four digits at a time.
        const STEP: u64 = 10_u64.pow(16);
        let mut wide = Self {
            digits: [0; MAX_DIGITS],
            low: 0,
            high: 0,
        };
        // The least value is its own negation, which is right when read as unsigned.
        let mut rest = Limbs::of(value.wrapping_abs());
        if point.partial != 0 {
            let missing = POWERS[4 - point.partial as usize];
            wide.push(rest.divide(POWERS[point.partial as usize]) * missing);
        }
        while !rest.is_zero() {
            let mut four = rest.divide(STEP);
            for _ in 0..4 {
                // There may be no room for leading zeros.
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

/// An unsigned integer of 256 bits, the least significant 64 first.
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
                // In most numbers the upper limbs are zero, and a division of 64 bits is faster.
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

/// Writes a checked number to the beginning of `out`; returns its size.
#[inline]
pub(crate) fn put(
    digits: &impl Digits,
    negative: bool,
    point: Point,
    shown: u16,
    out: &mut [u8],
) -> usize {
    let size = HEADER + 2 * digits.count();
    let out = &mut out[..size];
    // The digits come first, since they may overwrite what is before them.
    digits.put(out);
    let sign = if negative { NEGATIVE } else { POSITIVE };
    put_header(digits.count(), digits.weight(point), sign, shown, out);
    size
}

/// Writes the header.
#[inline]
pub(crate) fn put_header(count: usize, weight: i16, sign: u16, shown: u16, out: &mut [u8]) {
    let header = u64::from(u32_size(count)) << 48
        | u64::from(weight.cast_unsigned()) << 32
        | u64::from(sign) << 16
        | u64::from(shown);
    out[..HEADER].copy_from_slice(&header.to_be_bytes());
}
