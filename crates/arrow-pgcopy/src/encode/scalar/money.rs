//! `money`, as `cash_recv` of cash.c reads it: a count of the currency's smallest unit.

use arrow_array::cast::AsArray;
use arrow_array::types as t;
use arrow_array::types::{ArrowPrimitiveType, DecimalType};
use arrow_array::{Array, ArrowNativeTypeOp, PrimitiveArray, downcast_integer};
use arrow_buffer::i256;
use arrow_schema::DataType;

use super::integer::{Unscaled, largest};
use crate::encode::column::{BoxedColumn, fixed};
use crate::encode::problem::Problem;

/// Makes a column of `money`. Integers count whole units of the currency; decimals must not be finer than its
/// smallest.
pub(crate) fn amounts(array: &dyn Array, fraction_digits: u8) -> Result<BoxedColumn<'_>, Problem> {
    macro_rules! integers {
        ($type:ty) => {{
            let array = array.as_primitive::<$type>();
            Ok(fixed(array, move |v| amount(v.wide(), 0, fraction_digits)))
        }};
    }
    downcast_integer! {
        array.data_type() => (integers),
        DataType::Decimal32(_, _) => decimals(array.as_primitive::<t::Decimal32Type>(), fraction_digits),
        DataType::Decimal64(_, _) => decimals(array.as_primitive::<t::Decimal64Type>(), fraction_digits),
        DataType::Decimal128(_, _) => decimals(array.as_primitive::<t::Decimal128Type>(), fraction_digits),
        DataType::Decimal256(_, _) => decimals(array.as_primitive::<t::Decimal256Type>(), fraction_digits),
        _ => Err(Problem::Unplanned),
    }
}

fn decimals<T>(array: &PrimitiveArray<T>, fraction_digits: u8) -> Result<BoxedColumn<'_>, Problem>
where
    T: DecimalType + ArrowPrimitiveType,
    T::Native: Unscaled,
{
    let (scale, declared) = (array.scale(), largest(array)?);
    Ok(fixed(array, move |v| {
        if v.is_gt(declared) || v.is_lt(declared.neg_wrapping()) {
            return Err(Problem::BeyondDeclaredPrecision);
        }
        amount(v.wide(), scale, fraction_digits)
    }))
}

/// Returns `value` × 10^−`scale` in the smallest unit.
fn amount(value: i256, scale: i8, fraction_digits: u8) -> Result<[u8; 8], Problem> {
    let shift = i32::from(fraction_digits) - i32::from(scale);
    let power = i256::from_i128(10)
        .checked_pow(shift.unsigned_abs())
        .ok_or(Problem::OutOfRange)?;
    let units = if shift >= 0 {
        value.checked_mul(power)
    } else if value.checked_rem(power) == Some(i256::ZERO) {
        value.checked_div(power)
    } else {
        return Err(Problem::LosesDigits);
    };
    let units = units
        .and_then(i256::to_i128)
        .and_then(|units| i64::try_from(units).ok());
    units.map(i64::to_be_bytes).ok_or(Problem::OutOfRange)
}
