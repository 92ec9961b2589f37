//! A plan meets an array: which encoder writes it.

use arrow_array::cast::AsArray;
use arrow_array::types as t;
use arrow_array::{Array, downcast_integer};
use arrow_buffer::NullBuffer;
use arrow_schema::DataType;

use super::column::{AllNull, Column};
use super::problem::Problem;
use super::{array, dictionary, fixed, json, numeric, temporal, varlen};
use crate::plan::FieldPlan;

pub(super) type BoxedColumn<'a> = Box<dyn Column + 'a>;

/// Finds the encoder for an array.
///
/// Nested values and dictionaries are prepared as a whole here; what is wrong with one of their
/// values is said when it is measured, with its row.
///
/// # Errors
/// [`Problem::Unplanned`] for a pair that `plan::mapping` takes and this does not know.
pub(super) fn bind<'a>(
    plan: &'a FieldPlan,
    array: &'a dyn Array,
) -> Result<BoxedColumn<'a>, Problem> {
    use FieldPlan as F;
    if matches!(array.data_type(), DataType::Dictionary(_, _)) {
        return dictionary::dictionary(plan, array);
    }
    match plan {
        F::Null => Ok(Box::new(AllNull) as BoxedColumn<'a>),
        F::Bool => match array.as_boolean_opt() {
            Some(array) => Ok(fixed::booleans(array)),
            None => Err(Problem::Unplanned),
        },
        F::Int2 | F::Int4 | F::Int8 | F::Oid | F::Float4 | F::Float8 | F::Numeric { .. } => {
            number(plan, array)
        }
        F::Text { .. } | F::Name | F::JsonbText | F::Enum { .. } | F::Uuid | F::Bytea => {
            blob(plan, array)
        }
        F::Date => temporal::dates(array),
        F::Time { precision } => temporal::times(array, *precision),
        F::Timestamp { precision } | F::Timestamptz { precision } => {
            temporal::timestamps(array, *precision)
        }
        F::Interval { precision } => temporal::intervals(array, *precision),
        F::Array {
            element_oid,
            dimensions,
            element,
        } => array::lists(array, *dimensions, *element_oid, element),
        F::Json { binary } => json::documents(array, *binary),
    }
}

/// The NULLs of an array, when it has any.
pub(super) fn valid(array: &dyn Array) -> Option<NullBuffer> {
    array
        .nulls()
        .filter(|nulls| nulls.null_count() > 0)
        .cloned()
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "plan::mapping is the exhaustive table"
)]
fn number<'a>(plan: &'a FieldPlan, array: &'a dyn Array) -> Result<BoxedColumn<'a>, Problem> {
    macro_rules! integers {
        ($type:ty) => {
            fixed::integers::<$type>(plan, array.as_primitive())
        };
    }
    downcast_integer! {
        array.data_type() => (integers),
        DataType::Float16 => {
            let array = array.as_primitive::<t::Float16Type>();
            match plan {
                FieldPlan::Float4 => Ok(fixed::fixed(array, |v| Ok(v.to_f32().to_be_bytes()))),
                _ => fixed::floats(plan, array, |v| v.to_f32()),
            }
        }
        DataType::Float32 => {
            let array = array.as_primitive::<t::Float32Type>();
            match plan {
                FieldPlan::Float4 => Ok(fixed::fixed(array, |v| Ok(v.to_be_bytes()))),
                _ => fixed::floats(plan, array, |v| v),
            }
        }
        DataType::Float64 => fixed::floats(plan, array.as_primitive::<t::Float64Type>(), |v| v),
        DataType::Decimal32(_, _) => numeric::decimals::<t::Decimal32Type>(plan, array.as_primitive()),
        DataType::Decimal64(_, _) => numeric::decimals::<t::Decimal64Type>(plan, array.as_primitive()),
        DataType::Decimal128(_, _) => numeric::decimals::<t::Decimal128Type>(plan, array.as_primitive()),
        DataType::Decimal256(_, _) => numeric::decimals::<t::Decimal256Type>(plan, array.as_primitive()),
        _ => Err(Problem::Unplanned),
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "plan::mapping is the exhaustive table"
)]
fn blob<'a>(plan: &'a FieldPlan, array: &'a dyn Array) -> Result<BoxedColumn<'a>, Problem> {
    match array.data_type() {
        DataType::Utf8 => varlen::text(plan, array.as_string::<i32>()),
        DataType::LargeUtf8 => varlen::text(plan, array.as_string::<i64>()),
        DataType::Utf8View => varlen::text(plan, array.as_string_view()),
        DataType::Binary => varlen::binary(plan, array.as_binary::<i32>()),
        DataType::LargeBinary => varlen::binary(plan, array.as_binary::<i64>()),
        DataType::BinaryView => varlen::binary(plan, array.as_binary_view()),
        DataType::FixedSizeBinary(_) => varlen::binary(plan, array.as_fixed_size_binary()),
        _ => Err(Problem::Unplanned),
    }
}
