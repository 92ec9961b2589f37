//! A plan meets an array: which encoder writes it.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types as t;
use arrow_array::{Array, downcast_integer};
use arrow_buffer::NullBuffer;
use arrow_schema::{DataType, FieldRef};

use super::column::{AllNull, Column};
use super::convert::Policy;
use super::problem::Problem;
use super::{
    array, bits, composite, dictionary, fixed, hstore, json, money, numeric, parse, point, range,
    temporal, varlen, vector,
};
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
    if matches!(array.data_type(), DataType::RunEndEncoded(_, _)) {
        return dictionary::runs(plan, array);
    }
    if let Some(lists) = without_views(array.data_type()) {
        let lists = arrow_cast::cast(array, &lists).map_err(|_| Problem::Unplanned)?;
        return dictionary::owned(plan, &lists, Policy::STRICT);
    }
    if is_text(array.data_type()) && parse::is_parsed(plan) {
        return parse::texts(plan, array);
    }
    match plan {
        F::Null => Ok(Box::new(AllNull) as BoxedColumn<'a>),
        F::Bool => match array.as_boolean_opt() {
            Some(array) => Ok(fixed::booleans(array)),
            None => fixed::bytes_as_booleans(array),
        },
        F::Int2
        | F::Int4
        | F::Int8
        | F::Oid
        | F::Xid8
        | F::Float4
        | F::Float8
        | F::Numeric { .. } => number(plan, array),
        F::Text { .. } | F::Name | F::JsonbText | F::Xml | F::Enum { .. } | F::Uuid | F::Bytea => {
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
        F::Money { fraction_digits } => money::amounts(array, *fraction_digits),
        F::Bits { length, exact } => bits::bits(array, *length, *exact),
        F::Hstore => hstore::pairs(array),
        F::Vector { dimensions, half } => vector::vectors(array, *dimensions, *half),
        F::Sparsevec { dimensions } => vector::sparse(array, *dimensions),
        F::Point => point::points(array),
        F::Infinite(finite) => temporal::with_infinities(array, finite),
        F::Composite { fields } => composite::structs(array, fields),
        F::Range { bound } => range::ranges(array, bound),
        F::Multirange { bound } => range::multiranges(array, bound),
        F::Geometry | F::Opaque => blob(&FieldPlan::Bytea, array),
        // Staging has a column of text for it, which has a plan of its own.
        F::Cast { .. } => Err(Problem::Unplanned),
        // Only from text, which was parsed above.
        F::Timetz { .. } | F::Inet { .. } | F::Macaddr { .. } | F::VersionedText => {
            Err(Problem::Unplanned)
        }
    }
}

/// As [`bind`], and prepares all rows, for encoders that write another column's values as part of
/// theirs, in any order.
pub(super) fn bind_whole<'a>(
    plan: &'a FieldPlan,
    array: &'a dyn Array,
) -> Result<BoxedColumn<'a>, Problem> {
    let mut column = bind(plan, array)?;
    column.prepare(0..array.len());
    Ok(column)
}

fn is_text(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
    )
}

/// The same type with lists in place of views of lists, where there are any: items in any order, or
/// shared by rows, are put side by side once.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "only what holds lists is of interest"
)]
fn without_views(data_type: &DataType) -> Option<DataType> {
    use DataType as D;
    let inner = |field: &FieldRef| {
        let data_type = without_views(field.data_type())?;
        Some(Arc::new(field.as_ref().clone().with_data_type(data_type)))
    };
    let or_same = |field: &FieldRef| inner(field).unwrap_or_else(|| field.clone());
    match data_type {
        D::ListView(item) => Some(D::List(or_same(item))),
        D::LargeListView(item) => Some(D::LargeList(or_same(item))),
        D::List(item) => inner(item).map(D::List),
        D::LargeList(item) => inner(item).map(D::LargeList),
        D::FixedSizeList(item, size) => inner(item).map(|item| D::FixedSizeList(item, *size)),
        D::Map(entries, sorted) => inner(entries).map(|entries| D::Map(entries, *sorted)),
        D::Struct(fields) => {
            let plain = fields.iter().map(inner).collect::<Vec<_>>();
            let any = plain.iter().any(Option::is_some);
            let pairs = plain.into_iter().zip(fields);
            any.then(|| {
                let fields = pairs.map(|(plain, field)| plain.unwrap_or_else(|| field.clone()));
                D::Struct(fields.collect())
            })
        }
        _ => None,
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
                FieldPlan::Numeric { .. } => fixed::floats(plan, array, super::float_digits::of_half),
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
