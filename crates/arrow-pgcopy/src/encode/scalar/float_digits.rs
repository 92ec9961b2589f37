//! The decimal digits of floats, as PostgreSQL prints them with `extra_float_digits = 1`.
//!
//! PostgreSQL prints the shortest decimal between the midpoints to both neighbours. It differs from the standard
//! library in three ways, and each shows in numeric:
//!
//! - An integer that the type holds exactly is printed with all its digits.
//!
//! - A decimal that is itself a midpoint is not used.
//!
//! - Of two decimals that are equally near, the even one is used.
//!
//! All three concern floats near short decimals, which are computed here with exact integers. The others have one
//! shortest decimal, which the standard library finds.

use std::io::Write;
use std::ops::RangeInclusive;

use arrow_array::types::{ArrowPrimitiveType, Float16Type};

use crate::encode::problem::Problem;

/// Above these powers, no float and no midpoint is a short decimal: neither 2 nor 5 to such a power divides its
/// integer mantissa.
const MAX_HALVINGS: u32 = 55;
const MAX_FIVES: u32 = 21;

/// A float type whose digits can be computed.
pub(crate) trait Digital: Copy + Into<f64> + Send + Sync {
    /// Writes a finite float as `-1.25e-7`.
    fn write(self, out: &mut dyn Write) -> std::io::Result<()>;

    /// Splits the float into mantissa and exponent.
    fn binary(self) -> Binary;

    /// The powers of ten of the first digit for which JSON has no exponent.
    const PLAIN: RangeInclusive<i32>;
}

impl Digital for f32 {
    fn write(self, out: &mut dyn Write) -> std::io::Result<()> {
        write!(out, "{self:e}")
    }

    fn binary(self) -> Binary {
        Binary::of(self.to_bits().into(), 23, 8)
    }

    const PLAIN: RangeInclusive<i32> = -6..=12;
}

impl Digital for f64 {
    fn write(self, out: &mut dyn Write) -> std::io::Result<()> {
        write!(out, "{self:e}")
    }

    fn binary(self) -> Binary {
        Binary::of(self.to_bits(), 52, 11)
    }

    const PLAIN: RangeInclusive<i32> = -5..=15;
}

/// The native type of a half-precision float.
type Half = <Float16Type as ArrowPrimitiveType>::Native;

/// Returns the double that prints like the half: 0.1, where widening alone gives 0.0999755859375. Five digits
/// distinguish a half from its neighbours.
pub(crate) fn of_half(half: Half) -> f64 {
    let exact = half.to_f64();
    let read = |digits: usize| format!("{exact:.digits$e}").parse::<f64>().ok();
    let mut read = (0..5).filter_map(read);
    read.find(|double| Half::from_f64(*double) == half)
        .unwrap_or(exact)
}

/// Returns the digits of a finite float without its sign, and how many of them follow the point; below zero, that
/// many zeros follow the digits.
#[inline]
pub(crate) fn decimal(value: impl Digital) -> Result<(u64, i32), Problem> {
    match value.binary().decimal() {
        Some(decimal) => Ok(decimal),
        None => shortest(value),
    }
}

/// Returns the same for a float that has one shortest decimal.
fn shortest(value: impl Digital) -> Result<(u64, i32), Problem> {
    // At most 24 bytes: 17 digits, sign, point, exponent.
    let mut text = [0; 32];
    let mut rest = &mut text[..];
    value.write(&mut rest).map_err(|_| Problem::Unplanned)?;
    let unused = rest.len();
    let text = &text[..text.len() - unused];
    let (mut magnitude, mut scale, mut exponent) = (0_u64, 0, 0_i32);
    let (mut after_point, mut in_exponent, mut down) = (false, false, false);
    for byte in text.strip_prefix(b"-").unwrap_or(text) {
        match byte {
            b'.' => after_point = true,
            b'e' => in_exponent = true,
            b'-' => down = true,
            digit if in_exponent => exponent = exponent * 10 + i32::from(digit - b'0'),
            digit => {
                magnitude = magnitude * 10 + u64::from(digit - b'0');
                scale += i32::from(after_point);
            }
        }
    }
    scale -= if down { -exponent } else { exponent };
    Ok((magnitude, scale))
}

/// Appends a finite float to JSON, with the digits that PostgreSQL prints: `100.0`, `0.5`, `1e20`.
pub(crate) fn write_json<F: Digital>(value: F, out: &mut Vec<u8>) -> Result<(), Problem> {
    let (magnitude, scale) = decimal(value)?;
    let sign = if value.into().is_sign_negative() {
        "-"
    } else {
        ""
    };
    let text = magnitude.to_string();
    let digits = text.trim_end_matches('0');
    let first = i32::try_from(text.len()).unwrap_or(0) - 1 - scale;
    let written = if magnitude == 0 {
        write!(out, "{sign}0.0")
    } else if !F::PLAIN.contains(&first) {
        let (head, tail) = digits.split_at(1);
        let point = if tail.is_empty() { "" } else { "." };
        write!(out, "{sign}{head}{point}{tail}e{first:+}")
    } else if let Ok(whole) = usize::try_from(first + 1)
        && whole > 0
    {
        match digits.split_at_checked(whole) {
            Some((head, tail)) if !tail.is_empty() => write!(out, "{sign}{head}.{tail}"),
            _ => write!(out, "{sign}{digits:0<whole$}.0"),
        }
    } else {
        let zeros = first.unsigned_abs() as usize - 1;
        write!(out, "{sign}0.{:0<zeros$}{digits}", "")
    };
    written.map_err(|_| Problem::Unplanned)
}

/// A float as an integer times a power of two.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Binary {
    mantissa: u64,
    exponent: i32,
    /// Bits of the mantissa without its first.
    bits: u32,
    /// Whether the neighbour below is only half as far away, because the float is a power of two.
    near_below: bool,
}

impl Binary {
    fn of(float: u64, bits: u32, exponent_bits: u32) -> Self {
        let fraction = float & ((1 << bits) - 1);
        let biased = (float >> bits) & ((1 << exponent_bits) - 1);
        let bias = (1 << (exponent_bits - 1)) - 1;
        let exponent = i32::try_from(biased.max(1)).unwrap_or(0) - bias - bits.cast_signed();
        Self {
            mantissa: match biased {
                0 => fraction,
                _ => fraction | 1 << bits,
            },
            exponent,
            bits,
            near_below: fraction == 0 && biased > 1,
        }
    }

    /// Returns the digits and how many of them follow the point; `None` where the standard library finds the same.
    fn decimal(self) -> Option<(u64, i32)> {
        let halvings = self.exponent.min(0).unsigned_abs();
        if self.mantissa == 0 {
            return Some((0, 0));
        }
        if self.exponent <= 0 && halvings <= self.bits && self.mantissa.trailing_zeros() >= halvings
        {
            return Some((self.mantissa >> halvings, 0));
        }
        let is_single = self.bits < 24;
        // The unit is a quarter of the last bit, so that midpoints are integers too.
        let unit = Unit::of(self.exponent - 2, is_single)?;
        let value = 4 * self.mantissa;
        let mut at = unit.count(value);
        let mut below = unit.count(value - if self.near_below { 1 } else { 2 });
        let mut above = unit.count(value + 2);
        // PostgreSQL rounds singles by one more digit where it drops none.
        let mut last = if is_single && (above - 1) / 10 <= below / 10 {
            unit.next_digit(value)
        } else {
            0
        };
        above -= u64::from(unit.is_whole(value + 2));
        let mut is_exact = unit.is_nearly_whole(value);
        let mut place = unit.place;
        while above / 10 > below / 10 {
            is_exact &= last == 0;
            last = at % 10;
            (at, below, above) = (at / 10, below / 10, above / 10);
            place += 1;
        }
        let is_half = is_exact && last == 5;
        let up = if is_half { at % 2 == 1 } else { last >= 5 };
        Some((at + u64::from(up || at == below), -place))
    }
}

/// The unit in which multiples of a power of two are counted: a power of ten that leaves a digit or two to drop.
struct Unit {
    /// The power of ten.
    place: i32,
    /// A multiple of the power of two times `times`, without `halvings` bits, divided by `by`, is a count of units.
    times: u128,
    halvings: u32,
    by: u128,
}

impl Unit {
    /// Chooses the unit for multiples of a power of two; `None` where 64 bits and exact integers are not enough.
    fn of(exponent: i32, is_single: bool) -> Option<Self> {
        let size = exponent.unsigned_abs();
        let spare = u32::from(!is_single);
        if exponent >= 0 {
            // The digits of the power of two after its first.
            let fives = ((size * 78_913) >> 18) - if size > 3 { spare } else { 0 };
            return (fives <= MAX_FIVES).then(|| Self {
                place: fives.cast_signed(),
                times: 1 << (size - fives),
                halvings: 0,
                by: FIVES[fives as usize],
            });
        }
        // The digits of the power of five after its first.
        let halvings = ((size * 732_923) >> 20) - if size > 1 { spare } else { 0 };
        (halvings <= MAX_HALVINGS).then(|| Self {
            place: halvings.cast_signed() + exponent,
            times: FIVES[(size - halvings) as usize],
            halvings,
            by: 1,
        })
    }

    /// Returns the whole units in a number of multiples.
    #[inline]
    fn count(&self, multiples: u64) -> u64 {
        self.quotient(u128::from(multiples) * self.times)
    }

    /// Returns the decimal digit after the whole units.
    fn next_digit(&self, multiples: u64) -> u64 {
        self.quotient(u128::from(multiples) * self.times * 10) % 10
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "a unit is chosen so that they fit"
    )]
    #[inline]
    fn quotient(&self, product: u128) -> u64 {
        let shifted = product >> self.halvings;
        match self.by {
            1 => shifted as u64,
            by => (shifted / by) as u64,
        }
    }

    fn is_whole(&self, multiples: u64) -> bool {
        match self.by {
            1 => multiples.trailing_zeros() >= self.halvings,
            by => u128::from(multiples) % by == 0,
        }
    }

    /// Returns whether a number of multiples is a whole number of units. PostgreSQL does not look for a half at the
    /// end, and rounds as if there were none.
    fn is_nearly_whole(&self, multiples: u64) -> bool {
        match self.by {
            1 => multiples.trailing_zeros() >= self.halvings.saturating_sub(1),
            _ => self.is_whole(multiples),
        }
    }
}

const FIVES: [u128; 32] = {
    let mut powers = [1; 32];
    let mut power = 1;
    while power < powers.len() {
        powers[power] = powers[power - 1] * 5;
        power += 1;
    }
    powers
};

#[cfg(test)]
mod tests {
    use super::{Digital, decimal, shortest, write_json};

    #[test]
    fn floats_have_the_digits_that_postgresql_prints() {
        // PostgreSQL 15 printed each; the server's tests/it/types/floats.rs compares many more.
        let check = |value: f64, digits, scale| {
            assert_eq!(decimal(value).unwrap(), (digits, scale), "{value}");
        };
        check(0.1, 1, 1);
        check(100.0, 100, 0);
        check(5e-324, 5, 324);
        check(-4.661_947_060_781_742e16, 46_619_470_607_817_424, 0);
        check(9_007_199_254_740_993.0, 9_007_199_254_740_992, 0);
        let check = |value: f32, digits, scale| {
            assert_eq!(decimal(value).unwrap(), (digits, scale), "{value}");
        };
        check(0.1, 1, 1);
        check(343_126.13, 34_312_612, 2);
        check(64_311_768.0, 64_311_768, 0);
    }

    /// Whether serde, which writes the shortest digits, prints the same.
    fn is_shortest(value: impl Digital) -> bool {
        let [one, other] = [decimal(value).unwrap(), shortest(value).unwrap()];
        let trimmed = |(mut digits, mut scale): (u64, i32)| {
            while digits != 0 && digits % 10 == 0 {
                (digits, scale) = (digits / 10, scale - 1);
            }
            (digits, scale)
        };
        trimmed(one) == trimmed(other)
    }

    fn check_json(value: impl Digital + serde::Serialize + std::fmt::LowerExp) -> usize {
        if !value.into().is_finite() || !is_shortest(value) {
            return 0;
        }
        let mut out = Vec::new();
        write_json(value, &mut out).unwrap();
        assert_eq!(out, serde_json::to_vec(&value).unwrap(), "{value:e}");
        1
    }

    #[test]
    fn floats_in_json_look_as_serde_writes_them() {
        let mut rng = fastrand::Rng::with_seed(3);
        let mut checked = 0;
        for _ in 0..50_000 {
            let tenth = f64::from(rng.i32(..)) / 1000.0 * 10_f64.powi(rng.i32(-12..12));
            checked += check_json(f64::from_bits(rng.u64(..)));
            checked += check_json(tenth);
            checked += check_json(tenth.trunc());
            checked += check_json(f32::from_bits(rng.u32(..)));
        }
        assert!(checked > 190_000, "{checked}");
    }
}
