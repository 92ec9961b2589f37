//! The range of a column, in the unit of the data.

use arrow_buffer::i256;
use arrow_schema::{DataType, TimeUnit};

use super::{Overflow, Step};
use crate::field::Source;
use crate::table::{Modifier, PgType, PgTypeKind};

const NANOS_PER_MICRO: i128 = 1000;
const NANOS_PER_DAY: i128 = 86_400 * 1_000_000_000;

/// Days from 1970-01-01 to 2000-01-01; and since 1970 the first day, the end of dates and the end of timestamps
/// (`MIN_TIMESTAMP`, `DATE_END_JULIAN`, `END_TIMESTAMP`, datatype/timestamp.h).
const EPOCH: i128 = 10_957;
const FIRST_DAY: i128 = EPOCH - 2_451_545;
const END_OF_DATES: i128 = EPOCH + 2_145_031_949;
const END_OF_TIMESTAMPS: i128 = EPOCH + 106_751_983;

/// Returns the step that clamps data of this type to the column's range; `None` where that has no meaning.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "all other types have no range to clamp to"
)]
pub(crate) fn bounds(
    data_type: &DataType,
    ty: &PgType,
    modifier: Modifier,
    overflow: Overflow,
) -> Option<Step> {
    let infinity = match overflow {
        Overflow::Clamp => false,
        Overflow::Infinity => true,
        Overflow::Null => return None,
    };
    let (least, most) = match Source::of(data_type) {
        Source::Integer if !infinity => numbers(0, ty, modifier)?,
        Source::Decimal { scale, .. } if !infinity => numbers(scale.into(), ty, modifier)?,
        Source::Date | Source::Timestamp | Source::TimestampWithZone => {
            times(data_type, ty, modifier)?
        }
        Source::Time | Source::Duration if !infinity && ty.kind == PgTypeKind::Time => {
            let most = NANOS_PER_DAY / unit(data_type)?;
            (i256::ZERO, i256::from_i128(most))
        }
        _ => return None,
    };
    Some(Step::Clamp {
        least,
        most,
        infinity,
    })
}

/// Widens the range by a day on either side, since the step of the zone moves values near the ends.
pub(crate) fn widen(step: &mut Step, data_type: &DataType) {
    if let (Step::Clamp { least, most, .. }, Some(unit)) = (step, unit(data_type)) {
        let day = i256::from_i128(NANOS_PER_DAY / unit);
        (*least, *most) = (least.wrapping_sub(day), most.wrapping_add(day));
    }
}

/// Returns the step that clamps floats which become integers or money to the range of decimals between.
pub(crate) fn floats_bounds(kind: &PgTypeKind, overflow: Overflow) -> Option<Step> {
    use PgTypeKind as K;
    let whole = matches!(kind, K::Int2 | K::Int4 | K::Int8 | K::Money { .. });
    let most = i256::from_i128(10_i128.pow(30));
    (whole && overflow == Overflow::Clamp).then_some(Step::Clamp {
        least: most.wrapping_neg(),
        most,
        infinity: false,
    })
}

/// Returns the range of a column of numbers, as decimals of this scale.
fn numbers(scale: i32, ty: &PgType, modifier: Modifier) -> Option<(i256, i256)> {
    use PgTypeKind as K;
    let of = |least: i128, most: i128| (i256::from_i128(least), i256::from_i128(most));
    let ((least, most), column_scale) = match (&ty.kind, modifier) {
        (K::Int2, _) => (of(i16::MIN.into(), i16::MAX.into()), 0),
        (K::Int4, _) => (of(i32::MIN.into(), i32::MAX.into()), 0),
        (K::Int8, _) => (of(i64::MIN.into(), i64::MAX.into()), 0),
        (K::Oid, _) => (of(0, u32::MAX.into()), 0),
        (K::Xid8, _) => (of(0, u64::MAX.into()), 0),
        (K::Money { fraction_digits }, _) => {
            let digits = i32::from(*fraction_digits);
            (of(i64::MIN.into(), i64::MAX.into()), digits)
        }
        (K::Numeric, Modifier::Numeric { precision, scale }) => {
            let most = power(precision)?.checked_sub(i256::ONE)?;
            ((most.wrapping_neg(), most), scale)
        }
        _ => return None,
    };
    let shift = power((scale - column_scale).abs())?;
    Some(if scale >= column_scale {
        (least.checked_mul(shift)?, most.checked_mul(shift)?)
    } else {
        (least.checked_div(shift)?, most.checked_div(shift)?)
    })
}

/// Returns a power of ten, if it fits 256 bits.
fn power(exponent: i32) -> Option<i256> {
    i256::from_i128(10).checked_pow(u32::try_from(exponent).ok()?)
}

/// Returns the range of a column of dates or timestamps, in the unit of the data.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "all other types have no range to clamp to"
)]
fn times(data_type: &DataType, ty: &PgType, modifier: Modifier) -> Option<(i256, i256)> {
    use PgTypeKind as K;
    let end = match ty.kind {
        K::Date => END_OF_DATES,
        K::Timestamp | K::Timestamptz => END_OF_TIMESTAMPS,
        _ => return None,
    };
    // A clamped value that is then rounded must stay below the end.
    let step = match modifier {
        Modifier::Precision(digits) => 10_i128.pow(6_u32.saturating_sub(digits.into())),
        Modifier::None | Modifier::Length(_) | Modifier::Numeric { .. } | Modifier::Fields => 1,
    };
    let unit = unit(data_type)?;
    let least = FIRST_DAY * NANOS_PER_DAY / unit;
    let most = (end * NANOS_PER_DAY - step * NANOS_PER_MICRO).div_euclid(unit);
    let most = match data_type {
        // Dates in milliseconds are whole days as well.
        DataType::Date64 => most - most.rem_euclid(NANOS_PER_DAY / unit),
        // Midnights become dates.
        _ if ty.kind == K::Date => most - most.rem_euclid(NANOS_PER_DAY / unit),
        _ => most,
    };
    Some((i256::from_i128(least), i256::from_i128(most)))
}

/// Returns the unit of the data in nanoseconds.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "all other types count no time"
)]
fn unit(data_type: &DataType) -> Option<i128> {
    let unit = match data_type {
        DataType::Date32 => return Some(NANOS_PER_DAY),
        DataType::Date64 => TimeUnit::Millisecond,
        DataType::Timestamp(unit, _)
        | DataType::Time32(unit)
        | DataType::Time64(unit)
        | DataType::Duration(unit) => *unit,
        _ => return None,
    };
    Some(match unit {
        TimeUnit::Second => 1_000_000_000,
        TimeUnit::Millisecond => 1_000_000,
        TimeUnit::Microsecond => 1000,
        TimeUnit::Nanosecond => 1,
    })
}
