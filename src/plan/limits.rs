//! What a column's modifier demands of values, where the Arrow type alone does not ensure it.

use arrow_schema::{DataType, TimeUnit};

use super::field_plan::{FieldPlan, NumericLimit};
use super::relation::Modifier;

/// Decimals of the largest integer of so many bytes, with a sign or without.
pub(super) fn integer_digits(data_type: &DataType) -> u8 {
    match data_type.primitive_width() {
        Some(1) => 3,
        Some(2) => 5,
        Some(4) => 10,
        Some(_) | None => 20,
    }
}

/// A numeric from digits known in number: checked per value only where they might not fit.
pub(super) fn numeric(precision: u8, scale: i8, modifier: Modifier) -> FieldPlan {
    let limit = limit(modifier).filter(|limit| {
        let (precision, scale) = (i32::from(precision), i32::from(scale));
        scale > limit.scale || precision - scale > limit.precision - limit.scale
    });
    FieldPlan::Numeric { limit }
}

pub(super) fn limit(modifier: Modifier) -> Option<NumericLimit> {
    match modifier {
        Modifier::Numeric { precision, scale } => Some(NumericLimit { precision, scale }),
        Modifier::None | Modifier::Length(_) | Modifier::Precision(_) | Modifier::Fields => None,
    }
}

pub(super) fn length(modifier: Modifier) -> Option<u32> {
    match modifier {
        Modifier::Length(chars) => Some(chars),
        Modifier::None | Modifier::Numeric { .. } | Modifier::Precision(_) | Modifier::Fields => {
            None
        }
    }
}

/// The digits of a second's fraction to check for: none where the data cannot have more.
pub(super) fn fraction(data_type: &DataType, modifier: Modifier) -> Option<u8> {
    let Modifier::Precision(held) = modifier else {
        return None;
    };
    let (DataType::Timestamp(unit, _)
    | DataType::Time32(unit)
    | DataType::Time64(unit)
    | DataType::Duration(unit)) = data_type
    else {
        return Some(held);
    };
    let sent = match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 3,
        TimeUnit::Microsecond | TimeUnit::Nanosecond => 6,
    };
    (sent > held).then_some(held)
}
