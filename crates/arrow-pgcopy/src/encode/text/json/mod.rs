//! Nested values rendered as JSON documents, for `json` and `jsonb` columns.
//!
//! Structs and maps become objects, lists become arrays, NULL becomes `null` and its key stays. Integers, decimals
//! (with all their digits) and floats (in the shortest form) become numbers; NaN and infinities are rejected. Text
//! is escaped, and rejected if it contains a NUL, which `jsonb` cannot hold. Binary becomes base64 (RFC 4648,
//! padded). Dates and times become ISO 8601 text, with `Z` for timestamps that have a zone; intervals become
//! `P1M2DT3S`. The key of a map becomes the text of its value. A union becomes the value that it holds. Values of
//! `arrow.uuid`, `arrow.json` and `arrow.bool8` become UUIDs, documents and booleans.

mod temporal;

use std::collections::HashMap;
use std::io::Write;
use std::ops::Range;

use arrow_array::cast::AsArray;
use arrow_array::types as t;
use arrow_array::types::{ArrowPrimitiveType, DecimalType};
use arrow_array::{Array, ArrayRef, ArrowNativeTypeOp, PrimitiveArray};
use arrow_buffer::NullBuffer;
use arrow_cast::cast;
use arrow_schema::{DataType, Field, FieldRef};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::de::IgnoredAny;
use uuid::Uuid;

use self::temporal::temporal;
use crate::encode::column::{Blobs, BoxedColumn, Level, prepared, run_values};
use crate::encode::format::JSONB_VERSION;
use crate::encode::problem::Problem;
use crate::encode::scalar::float_digits::{Digital, of_half, write_json};
use crate::encode::scalar::integer::largest;
use crate::field::Meaning;

/// Makes a column of documents, which are rendered as a whole here and copied later.
pub(crate) fn documents(array: &dyn Array, binary: bool) -> Result<BoxedColumn<'_>, Problem> {
    let renderer = Renderer::of(array, None)?;
    Ok(prepared(array, move |row, out| {
        if binary {
            out.push(JSONB_VERSION);
        }
        renderer.value(row, out)
    }))
}

/// Returns a function that writes a row of any array but text as text: as in a document without quotes, and NaN and
/// infinities as PostgreSQL prints them.
pub(crate) fn texts<'a>(array: &'a ArrayRef) -> Result<Render<'a>, Problem> {
    let renderer = Renderer::of(array, None)?;
    let doubles = if array.data_type().is_floating() {
        let doubles = cast(array, &DataType::Float64).map_err(|_| Problem::Unplanned)?;
        Some(doubles.as_primitive::<t::Float64Type>().clone())
    } else {
        None
    };
    let nested = array.data_type().is_nested();
    Ok(Box::new(move |row, out| {
        let double = doubles.as_ref().map(|doubles| doubles.value(row));
        if let Some(double) = double.filter(|double| !double.is_finite()) {
            let word = match (double.is_nan(), double > 0.0) {
                (true, _) => "NaN",
                (false, true) => "Infinity",
                (false, false) => "-Infinity",
            };
            out.extend_from_slice(word.as_bytes());
            return Ok(());
        }
        let start = out.len();
        renderer.value(row, out)?;
        if !nested && out.get(start) == Some(&b'"') {
            out.remove(start);
            out.pop();
        }
        Ok(())
    }))
}

pub(crate) type Render<'a> = Box<dyn Fn(usize, &mut Vec<u8>) -> Result<(), Problem> + 'a>;

/// A renderer of one array and its children.
struct Renderer<'a> {
    nulls: Option<NullBuffer>,
    render: Render<'a>,
}

impl<'a> Renderer<'a> {
    fn of(array: &'a dyn Array, meaning: Option<Meaning>) -> Result<Self, Problem> {
        let marked = meaning.and_then(|meaning| marked(array, meaning));
        Ok(Self {
            nulls: array.logical_nulls(),
            render: match marked {
                Some(render) => render,
                None => render(array, meaning)?,
            },
        })
    }

    fn is_null(&self, row: usize) -> bool {
        self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row))
    }

    fn value(&self, row: usize, out: &mut Vec<u8>) -> Result<(), Problem> {
        if self.is_null(row) {
            out.extend_from_slice(b"null");
            Ok(())
        } else {
            (self.render)(row, out)
        }
    }
}

/// Renders values of an extension type, if the array has the type that it is stored as.
fn marked(array: &dyn Array, meaning: Meaning) -> Option<Render<'_>> {
    fn document<'a>(text: impl Fn(usize) -> &'a str + 'a) -> Render<'a> {
        Box::new(move |row, out| {
            let text = text(row);
            // Text that is not a document could change the document around it.
            serde_json::from_str::<IgnoredAny>(text).map_err(|_| Problem::NotJson)?;
            out.extend_from_slice(text.as_bytes());
            Ok(())
        })
    }
    match meaning {
        Meaning::Uuid => {
            let array = array.as_fixed_size_binary_opt()?;
            (array.value_length() == 16).then(|| {
                quoted(move |row, out| {
                    let uuid = Uuid::from_slice(array.value(row)).map_err(std::io::Error::other)?;
                    write!(out, "{uuid}")
                })
            })
        }
        Meaning::Json => {
            if let Some(array) = array.as_string_opt::<i32>() {
                return Some(document(|row| array.value(row)));
            }
            if let Some(array) = array.as_string_opt::<i64>() {
                return Some(document(|row| array.value(row)));
            }
            let array = array.as_string_view_opt()?;
            Some(document(|row| array.value(row)))
        }
        Meaning::Bool => {
            let array = array.as_primitive_opt::<t::Int8Type>()?;
            Some(plain(move |row, out| {
                write!(out, "{}", array.value(row) != 0)
            }))
        }
    }
}

/// Renders values by their Arrow type. The values of a dictionary or of runs have the meaning of the whole.
fn render<'a>(array: &'a dyn Array, meaning: Option<Meaning>) -> Result<Render<'a>, Problem> {
    macro_rules! number {
        ($type:ty) => {{
            let array = array.as_primitive::<$type>();
            plain(move |row, out| write!(out, "{}", array.value(row)))
        }};
    }
    Ok(match array.data_type() {
        DataType::Null => plain(|_, out| out.write_all(b"null")),
        DataType::Boolean => {
            let array = array.as_boolean();
            plain(move |row, out| write!(out, "{}", array.value(row)))
        }
        DataType::Int8 => number!(t::Int8Type),
        DataType::Int16 => number!(t::Int16Type),
        DataType::Int32 => number!(t::Int32Type),
        DataType::Int64 => number!(t::Int64Type),
        DataType::UInt8 => number!(t::UInt8Type),
        DataType::UInt16 => number!(t::UInt16Type),
        DataType::UInt32 => number!(t::UInt32Type),
        DataType::UInt64 => number!(t::UInt64Type),
        DataType::Float16 => floats(array.as_primitive::<t::Float16Type>(), of_half),
        DataType::Float32 => floats(array.as_primitive::<t::Float32Type>(), |v| v),
        DataType::Float64 => floats(array.as_primitive::<t::Float64Type>(), |v| v),
        DataType::Decimal32(_, _) => decimals(array.as_primitive::<t::Decimal32Type>())?,
        DataType::Decimal64(_, _) => decimals(array.as_primitive::<t::Decimal64Type>())?,
        DataType::Decimal128(_, _) => decimals(array.as_primitive::<t::Decimal128Type>())?,
        DataType::Decimal256(_, _) => decimals(array.as_primitive::<t::Decimal256Type>())?,
        DataType::Utf8 => {
            let array = array.as_string::<i32>();
            Box::new(move |row, out| string(array.value(row), out))
        }
        DataType::LargeUtf8 => {
            let array = array.as_string::<i64>();
            Box::new(move |row, out| string(array.value(row), out))
        }
        DataType::Utf8View => {
            let array = array.as_string_view();
            Box::new(move |row, out| string(array.value(row), out))
        }
        DataType::Binary => bytes(array.as_binary::<i32>()),
        DataType::LargeBinary => bytes(array.as_binary::<i64>()),
        DataType::BinaryView => bytes(array.as_binary_view()),
        DataType::FixedSizeBinary(_) => bytes(array.as_fixed_size_binary()),
        DataType::Date32
        | DataType::Date64
        | DataType::Time32(_)
        | DataType::Time64(_)
        | DataType::Timestamp(_, _)
        | DataType::Duration(_)
        | DataType::Interval(_) => temporal(array)?,
        DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(_, _) => list(array)?,
        DataType::Map(_, _) => map(array)?,
        DataType::Struct(_) => object(array)?,
        DataType::Dictionary(_, _) => {
            let dictionary = array.as_any_dictionary();
            let values = Renderer::of(dictionary.values(), meaning)?;
            // Without values every row is NULL, and no key is used.
            let keys = if dictionary.values().is_empty() {
                Vec::new()
            } else {
                dictionary.normalized_keys()
            };
            Box::new(move |row, out| values.value(keys[row], out))
        }
        DataType::RunEndEncoded(_, _) => {
            let (values, keys) = run_values(array).ok_or(Problem::Unplanned)?;
            let values = Renderer::of(values, meaning)?;
            Box::new(move |row, out| values.value(keys[row], out))
        }
        DataType::Union(_, _) => union(array)?,
        // Views were converted to lists before.
        DataType::ListView(_) | DataType::LargeListView(_) => return Err(Problem::Unplanned),
    })
}

/// Renders values that cannot fail: writing into memory does not.
fn plain<'a>(render: impl Fn(usize, &mut Vec<u8>) -> std::io::Result<()> + 'a) -> Render<'a> {
    Box::new(move |row, out| render(row, out).map_err(|_| Problem::Unplanned))
}

/// Renders values as text that needs no escapes.
fn quoted<'a>(render: impl Fn(usize, &mut Vec<u8>) -> std::io::Result<()> + 'a) -> Render<'a> {
    plain(move |row, out| {
        out.push(b'"');
        render(row, out)?;
        out.push(b'"');
        Ok(())
    })
}

fn floats<'a, T: ArrowPrimitiveType, F>(
    array: &'a PrimitiveArray<T>,
    widen: fn(T::Native) -> F,
) -> Render<'a>
where
    F: Digital + 'a,
{
    Box::new(move |row, out| {
        let value = widen(array.value(row));
        if !value.into().is_finite() {
            return Err(Problem::NotFinite);
        }
        write_json(value, out)
    })
}

/// Renders all digits of decimals, with the point at their scale.
fn decimals<T: DecimalType>(array: &PrimitiveArray<T>) -> Result<Render<'_>, Problem> {
    let scale = array.scale();
    let declared = largest(array)?;
    Ok(Box::new(move |row, out| {
        let value = array.value(row);
        if value.is_gt(declared) || value.is_lt(declared.neg_wrapping()) {
            return Err(Problem::BeyondDeclaredPrecision);
        }
        if value.is_zero() && scale < 0 {
            out.push(b'0');
            return Ok(());
        }
        write!(
            out,
            "{}",
            T::format_decimal(value, array.precision(), scale)
        )
        .map_err(|_| Problem::Unplanned)
    }))
}

fn string(text: &str, out: &mut Vec<u8>) -> Result<(), Problem> {
    if memchr::memchr(0, text.as_bytes()).is_some() {
        return Err(Problem::Nul);
    }
    serde_json::to_writer(out, text).map_err(|_| Problem::Unplanned)
}

fn bytes<A: Blobs>(array: &A) -> Render<'_> {
    quoted(move |row, out| write!(out, "{}", BASE64_STANDARD.encode(array.blob(row))))
}

fn list(array: &dyn Array) -> Result<Render<'_>, Problem> {
    let level = Level::of(array).ok_or(Problem::Unplanned)?;
    let items = Renderer::of(level.items, item(array.data_type()).and_then(Meaning::of))?;
    Ok(Box::new(move |row, out| {
        let mut before = b'[';
        for item in level.range(row) {
            out.push(before);
            items.value(item, out)?;
            before = b',';
        }
        if before == b'[' {
            out.push(b'[');
        }
        out.push(b']');
        Ok(())
    }))
}

/// Returns the field of a list's items.
#[expect(clippy::wildcard_enum_match_arm, reason = "only lists have items")]
fn item(data_type: &DataType) -> Option<&Field> {
    match data_type {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            Some(item)
        }
        _ => None,
    }
}

/// Renders the value of the member that a row has.
fn union(array: &dyn Array) -> Result<Render<'_>, Problem> {
    let array = array.as_union_opt().ok_or(Problem::Unplanned)?;
    let DataType::Union(fields, _) = array.data_type() else {
        return Err(Problem::Unplanned);
    };
    let members = fields
        .iter()
        .map(|(id, field)| Ok((id, Renderer::of(array.child(id), Meaning::of(field))?)))
        .collect::<Result<HashMap<i8, Renderer<'_>>, Problem>>()?;
    Ok(Box::new(move |row, out| {
        let member = members.get(&array.type_id(row)).ok_or(Problem::Unplanned)?;
        member.value(array.value_offset(row), out)
    }))
}

fn object(array: &dyn Array) -> Result<Render<'_>, Problem> {
    let array = array.as_struct();
    let mut fields = Vec::with_capacity(array.num_columns());
    for (field, column) in array.fields().iter().zip(array.columns()) {
        let mut key = Vec::new();
        string(field.name(), &mut key)?;
        fields.push((key, Renderer::of(column, Meaning::of(field))?));
    }
    Ok(Box::new(move |row, out| {
        out.push(b'{');
        for (index, (key, values)) in fields.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            out.extend_from_slice(key);
            out.push(b':');
            values.value(row, out)?;
        }
        out.push(b'}');
        Ok(())
    }))
}

fn map(array: &dyn Array) -> Result<Render<'_>, Problem> {
    let level = Level::of(array).ok_or(Problem::Unplanned)?;
    let entries = array.as_map().entries();
    let column = |index| {
        let field: &FieldRef = entries.fields().get(index).ok_or(Problem::Unplanned)?;
        Renderer::of(entries.column(index), Meaning::of(field))
    };
    let (keys, values) = (column(0)?, column(1)?);
    Ok(Box::new(move |row, out| {
        out.push(b'{');
        let entries = level.range(row);
        let mut written: Vec<Range<usize>> = Vec::with_capacity(entries.len());
        for (index, entry) in entries.enumerate() {
            if index > 0 {
                out.push(b',');
            }
            if keys.is_null(entry) {
                return Err(Problem::NullKey);
            }
            let start = out.len();
            keys.value(entry, out)?;
            if out[start] != b'"' {
                out.insert(start, b'"');
                out.push(b'"');
            }
            written.push(start..out.len());
            out.push(b':');
            values.value(entry, out)?;
        }
        // jsonb would silently keep only the last of equal keys.
        written.sort_unstable_by(|one, other| out[one.clone()].cmp(&out[other.clone()]));
        let mut pairs = written.windows(2);
        if pairs.any(|pair| out[pair[0].clone()] == out[pair[1].clone()]) {
            return Err(Problem::DuplicateKey);
        }
        out.push(b'}');
        Ok(())
    }))
}
