//! Binds a plan to an array: chooses the encoder, and recurses into nested values.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types as t;
use arrow_array::{Array, downcast_integer};
use arrow_schema::{DataType, FieldRef};

use super::column::{AllNull, BoxedColumn, Policy, fixed, keyed, run_values};
use super::nested::{array, bits, composite, hstore, point, range, vector};
use super::problem::Problem;
use super::scalar::float_digits::of_half;
use super::scalar::{boolean, bytes, integer, money, numeric, numeric_float, temporal, text};
use super::text::{json, parse};
use crate::field::values_type;
use crate::mapping::FieldPlan;

/// Returns the encoder of an array.
///
/// Nested values and dictionaries are prepared as a whole. A problem with one of their values is reported when its
/// row is measured.
///
/// # Errors
/// [`Problem::Unplanned`] for a pair that `mapping` accepts and no encoder handles.
pub(crate) fn bind<'a>(
    plan: &'a FieldPlan,
    array: &'a dyn Array,
) -> Result<BoxedColumn<'a>, Problem> {
    use FieldPlan as F;
    if matches!(array.data_type(), DataType::Dictionary(_, _)) {
        return dictionary(plan, array);
    }
    if matches!(array.data_type(), DataType::RunEndEncoded(_, _)) {
        return runs(plan, array);
    }
    if let Some(lists) = without_views(array.data_type()) {
        let lists = arrow_cast::cast(array, &lists).map_err(|_| Problem::Unplanned)?;
        return owned(plan, &lists, Policy::STRICT);
    }
    if is_text(array.data_type()) && parse::is_parsed(plan) {
        return parse::texts(plan, array);
    }
    match plan {
        F::Null => Ok(Box::new(AllNull) as BoxedColumn<'a>),
        F::Bool => match array.as_boolean_opt() {
            Some(array) => Ok(boolean::booleans(array)),
            None => boolean::bytes_as_booleans(array),
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
        } => array::lists(array, *dimensions, *element_oid, element, bind_whole),
        F::Json { binary } => json::documents(array, *binary),
        F::Money { fraction_digits } => money::amounts(array, *fraction_digits),
        F::Bits { length, exact } => bits::bits(array, *length, *exact),
        F::Hstore => hstore::pairs(array, bind_text),
        F::Vector { dimensions, half } => vector::vectors(array, *dimensions, *half),
        F::Sparsevec { dimensions } => vector::sparse(array, *dimensions),
        F::Point => point::points(array),
        F::Infinite(finite) => {
            let values = bind_whole(finite, array)?;
            temporal::with_infinities(array, &*values, **finite == F::Date)
        }
        F::Composite { fields } => composite::structs(array, fields, bind_whole),
        F::Range { bound } => range::ranges(array, bound, bind_whole),
        F::Multirange { bound } => range::multiranges(array, bound, bind_whole),
        F::Geometry | F::Opaque => blob(&FieldPlan::Bytea, array),
        // The staging column is text and has its own plan.
        F::Cast { .. } => Err(Problem::Unplanned),
        // These come from text only, which is parsed above.
        F::Timetz { .. } | F::Inet { .. } | F::Macaddr { .. } | F::VersionedText => {
            Err(Problem::Unplanned)
        }
    }
}

/// Binds as [`bind`] does, and prepares all rows, for encoders that write the values of another column in any
/// order.
pub(crate) fn bind_whole<'a>(
    plan: &'a FieldPlan,
    array: &'a dyn Array,
) -> Result<BoxedColumn<'a>, Problem> {
    let mut column = bind(plan, array)?;
    column.prepare(0..array.len());
    Ok(column)
}

/// Binds keys or values of pairs, which are text or NULL in every row.
fn bind_text(array: &dyn Array) -> Result<BoxedColumn<'_>, Problem> {
    if *values_type(array.data_type()) == DataType::Null {
        bind_whole(&FieldPlan::Null, array)
    } else {
        bind_whole(&FieldPlan::Text { max_chars: None }, array)
    }
}

/// Binds a dictionary. Each value that a row refers to is encoded once.
fn dictionary<'a>(plan: &FieldPlan, array: &dyn Array) -> Result<BoxedColumn<'a>, Problem> {
    let dictionary = array.as_any_dictionary_opt().ok_or(Problem::Unplanned)?;
    let values = dictionary.values();
    if values.is_empty() {
        return Ok(Box::new(AllNull));
    }
    // Both a key and the value that it refers to may be NULL.
    let (keys, nulls) = (dictionary.normalized_keys(), array.logical_nulls());
    let column = bind_whole(plan, values)?;
    Ok(keyed(&*column, values.len(), keys, nulls, Policy::STRICT))
}

/// Binds runs. The value of each run is encoded once.
fn runs<'a>(plan: &FieldPlan, array: &dyn Array) -> Result<BoxedColumn<'a>, Problem> {
    let (values, keys) = run_values(array).ok_or(Problem::Unplanned)?;
    let (nulls, column) = (array.logical_nulls(), bind_whole(plan, values)?);
    Ok(keyed(&*column, values.len(), keys, nulls, Policy::STRICT))
}

/// Binds an array that does not outlive this call, by encoding all of it.
///
/// A value outside the column's range becomes NULL if `policy` is lenient.
pub(crate) fn owned<'a>(
    plan: &FieldPlan,
    array: &dyn Array,
    policy: Policy,
) -> Result<BoxedColumn<'a>, Problem> {
    let (keys, nulls) = ((0..array.len()).collect(), array.logical_nulls());
    let column = bind_whole(plan, array)?;
    Ok(keyed(&*column, array.len(), keys, nulls, policy))
}

fn is_text(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
    )
}

/// Returns the type with lists in place of list views, if it has any: a cast then makes the items of each row
/// contiguous.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "all other types hold no lists"
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

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the table in mapping is exhaustive"
)]
fn number<'a>(plan: &'a FieldPlan, array: &'a dyn Array) -> Result<BoxedColumn<'a>, Problem> {
    macro_rules! integers {
        ($type:ty) => {{
            let array = array.as_primitive::<$type>();
            match plan {
                FieldPlan::Numeric { limit } => Ok(numeric::integers(array, *limit)),
                _ => integer::integers(plan, array),
            }
        }};
    }
    macro_rules! decimals {
        ($type:ty) => {{
            let array = array.as_primitive::<$type>();
            match plan {
                FieldPlan::Numeric { limit } => numeric::decimals(array, *limit),
                _ => integer::decimals(plan, array),
            }
        }};
    }
    downcast_integer! {
        array.data_type() => (integers),
        DataType::Float16 => {
            let array = array.as_primitive::<t::Float16Type>();
            match plan {
                FieldPlan::Float4 => Ok(fixed(array, |v| Ok(v.to_f32().to_be_bytes()))),
                FieldPlan::Float8 => Ok(boolean::doubles(array, |v| v.to_f64())),
                FieldPlan::Numeric { limit } => Ok(numeric_float::floats(array, *limit, of_half)),
                _ => integer::floats(plan, array, |v| v.to_f64()),
            }
        }
        DataType::Float32 => {
            let array = array.as_primitive::<t::Float32Type>();
            match plan {
                FieldPlan::Float4 => Ok(fixed(array, |v| Ok(v.to_be_bytes()))),
                FieldPlan::Float8 => Ok(boolean::doubles(array, f64::from)),
                FieldPlan::Numeric { limit } => Ok(numeric_float::floats(array, *limit, |v| v)),
                _ => integer::floats(plan, array, f64::from),
            }
        }
        DataType::Float64 => {
            let array = array.as_primitive::<t::Float64Type>();
            match plan {
                FieldPlan::Float8 => Ok(boolean::doubles(array, |v| v)),
                FieldPlan::Numeric { limit } => Ok(numeric_float::floats(array, *limit, |v| v)),
                _ => integer::floats(plan, array, |v| v),
            }
        }
        DataType::Decimal32(_, _) => decimals!(t::Decimal32Type),
        DataType::Decimal64(_, _) => decimals!(t::Decimal64Type),
        DataType::Decimal128(_, _) => decimals!(t::Decimal128Type),
        DataType::Decimal256(_, _) => decimals!(t::Decimal256Type),
        _ => Err(Problem::Unplanned),
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the table in mapping is exhaustive"
)]
fn blob<'a>(plan: &'a FieldPlan, array: &'a dyn Array) -> Result<BoxedColumn<'a>, Problem> {
    match array.data_type() {
        DataType::Utf8 => text::text(plan, array.as_string::<i32>()),
        DataType::LargeUtf8 => text::text(plan, array.as_string::<i64>()),
        DataType::Utf8View => text::text(plan, array.as_string_view()),
        DataType::Binary => bytes::binary(plan, array.as_binary::<i32>()),
        DataType::LargeBinary => bytes::binary(plan, array.as_binary::<i64>()),
        DataType::BinaryView => bytes::binary(plan, array.as_binary_view()),
        DataType::FixedSizeBinary(_) => bytes::binary(plan, array.as_fixed_size_binary()),
        _ => Err(Problem::Unplanned),
    }
}
