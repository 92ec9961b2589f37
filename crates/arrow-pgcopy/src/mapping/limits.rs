//! The checks that a column's modifier requires, where the Arrow type alone does not ensure them.

use arrow_schema::{DataType, TimeUnit};

use super::field_plan::{FieldPlan, NumericLimit};
use crate::table::Modifier;

/// Returns the decimal digits of the largest integer of a type's width, signed or unsigned.
pub(crate) fn integer_digits(data_type: &DataType) -> u8 {
    match data_type.primitive_width() {
        Some(1) => 3,
        Some(2) => 5,
        Some(4) => 10,
        Some(_) | None => 20,
    }
}

/// Plans a numeric from numbers of this precision and scale: values are checked only where they might not fit.
pub(crate) fn numeric(precision: u8, scale: i8, modifier: Modifier) -> FieldPlan {
    let limit = limit(modifier).filter(|limit| {
        let (precision, scale) = (i32::from(precision), i32::from(scale));
        scale > limit.scale || precision - scale > limit.precision - limit.scale
    });
    FieldPlan::Numeric { limit }
}

pub(crate) fn limit(modifier: Modifier) -> Option<NumericLimit> {
    match modifier {
        Modifier::Numeric { precision, scale } => Some(NumericLimit { precision, scale }),
        Modifier::None | Modifier::Length(_) | Modifier::Precision(_) | Modifier::Fields => None,
    }
}

pub(crate) fn length(modifier: Modifier) -> Option<u32> {
    match modifier {
        Modifier::Length(chars) => Some(chars),
        Modifier::None | Modifier::Numeric { .. } | Modifier::Precision(_) | Modifier::Fields => {
            None
        }
    }
}

/// Returns the fraction digits of a second to check for; `None` where the data cannot have more.
pub(crate) fn fraction(data_type: &DataType, modifier: Modifier) -> Option<u8> {
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
