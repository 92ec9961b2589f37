//! Arrays of any type, layout and values, made from a fuzzer's bytes.

use std::collections::HashMap;
use std::sync::Arc;

use arbitrary::{Arbitrary, Result, Unstructured};
use arrow_array::types::*;
use arrow_array::*;
use arrow_buffer::{
    IntervalDayTime, IntervalMonthDayNano, NullBuffer, OffsetBuffer, ScalarBuffer, i256,
};
use arrow_schema::{DataType, Field, Fields, UnionFields};

/// Depth of nested arrays and types.
pub(super) const DEPTH: usize = 3;
/// Bytes of an input: enough for a few columns of a few rows.
type F16 = <Float16Type as ArrowPrimitiveType>::Native;

/// Rows of an optional value each.
fn values<T>(
    u: &mut Unstructured<'_>,
    rows: usize,
    mut value: impl FnMut(&mut Unstructured<'_>) -> Result<T>,
) -> Result<Vec<Option<T>>> {
    (0..rows)
        .map(|_| {
            if u.ratio(1, 6)? {
                Ok(None)
            } else {
                value(u).map(Some)
            }
        })
        .collect()
}

/// A small number, and sometimes an extreme or any other.
fn integer<T>(u: &mut Unstructured<'_>, least: T, most: T) -> Result<T>
where
    T: for<'a> Arbitrary<'a> + TryFrom<i8>,
{
    Ok(match u.int_in_range(0..=30)? {
        1 => least,
        2 => most,
        3 => u.arbitrary()?,
        _ => {
            let small = u.int_in_range(-4..=20_i8)?;
            T::try_from(small).unwrap_or(least)
        }
    })
}

const WORDS: [&str; 24] = [
    "true",
    "NaN",
    "-Infinity",
    "1e-7",
    "2013-01-01",
    "T",
    " ",
    "12:30:00.25",
    "Z",
    "+02:00",
    "10.0.0.0/8",
    "::1",
    "08:00:2b:01:02:03",
    "6ba7b810-9dad-11d1-80b4-00c04fd430c8",
    "\\x00ff",
    "red",
    "{}",
    "\"",
    "\\",
    "é",
    "\0",
    "0",
    "-",
    "99999999999999999999",
];

/// Rows of one word, which may be valid for a type, and sometimes of any text.
fn texts(u: &mut Unstructured<'_>, rows: usize) -> Result<Vec<Option<String>>> {
    let word = *u.choose(&WORDS)?;
    values(u, rows, |u| match u.int_in_range(0..=24)? {
        1 => u.arbitrary(),
        2 => Ok(u.choose(&WORDS)?.repeat(u.int_in_range(1..=3)?)),
        _ => Ok(word.to_owned()),
    })
}

/// Zero, or a value of random bits.
fn float<B, T>(u: &mut Unstructured<'_>, from_bits: fn(B) -> T) -> Result<T>
where
    B: for<'a> Arbitrary<'a> + From<u8>,
{
    Ok(from_bits(if u.ratio(1, 4)? {
        u.arbitrary()?
    } else {
        B::from(0)
    }))
}

fn zone(u: &mut Unstructured<'_>) -> Result<Option<Arc<str>>> {
    Ok(u.choose(&[
        None,
        Some("UTC"),
        Some("+02:00"),
        Some("Europe/Berlin"),
        Some("?"),
    ])?
    .map(Arc::from))
}

/// An array of a random type.
pub(super) fn array(u: &mut Unstructured<'_>, rows: usize, depth: usize) -> Result<ArrayRef> {
    macro_rules! integers {
        ($t:ty) => {{
            type N = <$t as ArrowPrimitiveType>::Native;
            let values = values(u, rows, |u| integer::<N>(u, N::MIN, N::MAX))?;
            PrimitiveArray::<$t>::from(values)
        }};
    }
    macro_rules! decimals {
        ($t:ty, $values:expr) => {{
            let precision = u.int_in_range(1..=<$t as DecimalType>::MAX_PRECISION)?;
            let most = i8::try_from(precision).unwrap();
            let scale = u.int_in_range(-5..=most)?;
            let array = PrimitiveArray::<$t>::from($values);
            Arc::new(array.with_precision_and_scale(precision, scale).unwrap())
        }};
    }
    let flat = 36;
    Ok(
        match u.int_in_range(0..=if depth == 0 { flat } else { flat + 9 })? {
            0 => Arc::new(NullArray::new(rows)),
            1 => Arc::new(BooleanArray::from(values(u, rows, |u| {
                u.arbitrary::<bool>()
            })?)),
            2 => Arc::new(integers!(Int8Type)),
            3 => Arc::new(integers!(Int16Type)),
            4 => Arc::new(integers!(Int32Type)),
            5 => Arc::new(integers!(Int64Type)),
            6 => Arc::new(integers!(UInt8Type)),
            7 => Arc::new(integers!(UInt16Type)),
            8 => Arc::new(integers!(UInt32Type)),
            9 => Arc::new(integers!(UInt64Type)),
            10 => Arc::new(Float16Array::from(values(u, rows, |u| {
                float(u, F16::from_bits)
            })?)),
            11 => Arc::new(Float32Array::from(values(u, rows, |u| {
                float(u, f32::from_bits)
            })?)),
            12 => Arc::new(Float64Array::from(values(u, rows, |u| {
                float(u, f64::from_bits)
            })?)),
            13 => decimals!(
                Decimal32Type,
                values(u, rows, |u| integer(u, i32::MIN, i32::MAX))?
            ),
            14 => decimals!(
                Decimal64Type,
                values(u, rows, |u| integer(u, i64::MIN, i64::MAX))?
            ),
            15 => decimals!(
                Decimal128Type,
                values(u, rows, |u| integer(u, i128::MIN, i128::MAX))?
            ),
            16 => decimals!(
                Decimal256Type,
                values(u, rows, |u| Ok(i256::from_parts(
                    u.arbitrary()?,
                    integer(u, i128::MIN, i128::MAX)?
                )))?
            ),
            17 => Arc::new(StringArray::from(texts(u, rows)?)),
            18 => Arc::new(LargeStringArray::from(texts(u, rows)?)),
            19 => Arc::new(texts(u, rows)?.into_iter().collect::<StringViewArray>()),
            20 => Arc::new(
                values(u, rows, |u| u.arbitrary::<Vec<u8>>())?
                    .into_iter()
                    .collect::<BinaryArray>(),
            ),
            21 => Arc::new(
                values(u, rows, |u| u.arbitrary::<Vec<u8>>())?
                    .into_iter()
                    .collect::<BinaryViewArray>(),
            ),
            22 => {
                let width = *u.choose(&[16_usize, 16, 1, 4, 6, 8])?;
                let values = values(u, rows, |u| Ok(u.bytes(width)?.to_vec()))?.into_iter();
                let width = i32::try_from(width).unwrap();
                Arc::new(
                    FixedSizeBinaryArray::try_from_sparse_iter_with_size(values, width).unwrap(),
                )
            }
            23 => Arc::new(integers!(Date32Type)),
            24 => Arc::new(integers!(Date64Type)),
            25 => Arc::new(integers!(Time32SecondType)),
            26 => Arc::new(integers!(Time32MillisecondType)),
            27 => Arc::new(integers!(Time64MicrosecondType)),
            28 => Arc::new(integers!(Time64NanosecondType)),
            29 => Arc::new(integers!(TimestampSecondType).with_timezone_opt(zone(u)?)),
            30 => Arc::new(integers!(TimestampMillisecondType).with_timezone_opt(zone(u)?)),
            31 => Arc::new(integers!(TimestampMicrosecondType).with_timezone_opt(zone(u)?)),
            32 => Arc::new(integers!(TimestampNanosecondType).with_timezone_opt(zone(u)?)),
            33 => Arc::new(integers!(DurationSecondType)),
            34 => Arc::new(integers!(DurationNanosecondType)),
            35 => Arc::new(IntervalDayTimeArray::from(values(u, rows, |u| {
                Ok(IntervalDayTime::new(
                    u.arbitrary()?,
                    integer(u, i32::MIN, i32::MAX)?,
                ))
            })?)),
            36 => Arc::new(IntervalMonthDayNanoArray::from(values(u, rows, |u| {
                Ok(IntervalMonthDayNano::new(
                    u.arbitrary()?,
                    u.arbitrary()?,
                    integer(u, i64::MIN, i64::MAX)?,
                ))
            })?)),
            37..=39 => list(u, rows, depth)?,
            40 => {
                let size = u.int_in_range(0..=3)?;
                let items = array(u, rows * size, depth - 1)?;
                let field = Arc::new(Field::new("item", items.data_type().clone(), true));
                let size = i32::try_from(size).unwrap();
                let made = FixedSizeListArray::try_new(field, size, items, validity(u, rows)?);
                // With a size of 0, the array does not know its number of rows.
                made.ok().filter(|made| made.len() == rows).map_or_else(
                    || Arc::new(NullArray::new(rows)) as ArrayRef,
                    |made| Arc::new(made),
                )
            }
            41 => {
                let names = *u.choose(&[&["a", "b"][..], &["a"], &["lower", "upper"]])?;
                let arrays = names.iter().map(|_| array(u, rows, depth - 1));
                let arrays = arrays.collect::<Result<Vec<_>>>()?;
                let fields: Fields = names
                    .iter()
                    .zip(&arrays)
                    .map(|(name, array)| Field::new(*name, array.data_type().clone(), true))
                    .collect();
                Arc::new(StructArray::new(fields, arrays, validity(u, rows)?))
            }
            42 => {
                let lengths = lengths(u, rows)?;
                let count = lengths.iter().sum();
                let keys: ArrayRef = Arc::new(
                    (0..count)
                        .map(|_| u.choose(&WORDS).map(Some))
                        .collect::<Result<StringArray>>()?,
                );
                let items = array(u, count, depth - 1)?;
                let fields = Fields::from(vec![
                    Field::new("key", DataType::Utf8, false),
                    Field::new("value", items.data_type().clone(), true),
                ]);
                let entries = StructArray::new(fields.clone(), vec![keys, items], None);
                let field = Arc::new(Field::new("entries", DataType::Struct(fields), false));
                let offsets = OffsetBuffer::from_lengths(lengths);
                Arc::new(MapArray::new(
                    field,
                    offsets,
                    entries,
                    validity(u, rows)?,
                    false,
                ))
            }
            43 => {
                let items = array(u, 3, depth - 1)?;
                let keys = values(u, rows, |u| u.int_in_range(0..=2_i32))?;
                Arc::new(DictionaryArray::new(Int32Array::from(keys), items))
            }
            44 => union(u, rows, depth)?,
            _ => {
                let length = i32::try_from(rows).unwrap();
                let ends = [length / 2, length];
                let ends: Vec<i32> = ends.into_iter().filter(|end| *end > 0).take(2).collect();
                let ends: Vec<i32> = match ends[..] {
                    [a, b] if a == b => vec![a],
                    _ => ends,
                };
                let items = array(u, ends.len(), depth - 1)?;
                Arc::new(RunArray::<Int32Type>::try_new(&Int32Array::from(ends), &items).unwrap())
            }
        },
    )
}

fn lengths(u: &mut Unstructured<'_>, rows: usize) -> Result<Vec<usize>> {
    (0..rows).map(|_| u.int_in_range(0..=3)).collect()
}

fn validity(u: &mut Unstructured<'_>, rows: usize) -> Result<Option<NullBuffer>> {
    let valid: Vec<bool> = (0..rows).map(|_| u.ratio(4, 5)).collect::<Result<_>>()?;
    Ok(Some(NullBuffer::from(valid)))
}

fn list(u: &mut Unstructured<'_>, rows: usize, depth: usize) -> Result<ArrayRef> {
    let lengths = lengths(u, rows)?;
    let items = array(u, lengths.iter().sum(), depth - 1)?;
    let field = Arc::new(Field::new("item", items.data_type().clone(), true));
    let nulls = validity(u, rows)?;
    Ok(if u.arbitrary()? {
        Arc::new(ListArray::new(
            field,
            OffsetBuffer::from_lengths(lengths),
            items,
            nulls,
        ))
    } else {
        Arc::new(LargeListArray::new(
            field,
            OffsetBuffer::from_lengths(lengths),
            items,
            nulls,
        ))
    })
}

/// A union of two types, sparse or dense.
fn union(u: &mut Unstructured<'_>, rows: usize, depth: usize) -> Result<ArrayRef> {
    let ids: Vec<i8> = (0..rows)
        .map(|_| u.int_in_range(0..=1))
        .collect::<Result<_>>()?;
    let dense = u.arbitrary()?;
    let members = [array(u, rows, depth - 1)?, array(u, rows, depth - 1)?];
    let fields = members
        .iter()
        .enumerate()
        .map(|(id, member)| Field::new(format!("m{id}"), member.data_type().clone(), true));
    let fields = UnionFields::try_new([0, 1], fields).unwrap();
    let offsets: ScalarBuffer<i32> = (0..).take(rows).collect::<Vec<_>>().into();
    let offsets = Some(offsets).filter(|_| dense);
    let union = UnionArray::try_new(fields, ids.into(), offsets, members.into());
    Ok(Arc::new(union.unwrap()))
}

/// A field for an array, sometimes of an extension type with such storage.
pub(super) fn field(u: &mut Unstructured<'_>, name: &str, data_type: &DataType) -> Result<Field> {
    let field = Field::new(name, data_type.clone(), true);
    let (extension, metadata) = match data_type {
        DataType::Int8 => ("arrow.bool8", String::new()),
        DataType::FixedSizeBinary(16) => ("arrow.uuid", String::new()),
        DataType::Binary => (
            "arrow.opaque",
            r#"{"type_name": "circle", "vendor_name": "PostgreSQL"}"#.to_owned(),
        ),
        DataType::FixedSizeList(_, size) => (
            "arrow.fixed_shape_tensor",
            u.choose(&[
                format!("{{\"shape\": [1, {size}]}}"),
                format!("{{\"shape\": [{size}]}}"),
                format!("{{\"shape\": [{size}, 1], \"permutation\": [0, 1]}}"),
                "{}".to_owned(),
            ])?
            .clone(),
        ),
        _ => return Ok(field),
    };
    Ok(if u.arbitrary()? {
        field.with_metadata(HashMap::from([
            ("ARROW:extension:name".to_owned(), extension.to_owned()),
            ("ARROW:extension:metadata".to_owned(), metadata),
        ]))
    } else {
        field
    })
}
