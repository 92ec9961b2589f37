//! The bytes that PostgreSQL makes of the same values.

mod pair;
mod text;
mod times;
pub(super) mod types;

use std::fs::OpenOptions;
use std::io::Write;
use std::sync::Arc;

use arrow_array::types::*;
use arrow_array::{Array, *};
use arrow_buffer::i256;
use arrow_schema::{DataType, Field};
use arrow_select::take::take;

use self::pair::pair;
use super::cases::{Tuple, parse};
use super::{HEADER, TRAILER, array_of, copy};
use crate::table::PgTypeKind::{self, *};

/// Compares the encoded arrays to `tests/golden/<name>.bin`.
pub(super) fn check(name: &str, columns: Vec<(ArrayRef, PgTypeKind)>) {
    check_with_modifiers(
        name,
        columns
            .into_iter()
            .map(|(array, kind)| (array, kind, -1))
            .collect(),
    );
}

pub(super) fn check_with_modifiers(name: &str, columns: Vec<(ArrayRef, PgTypeKind, i32)>) {
    let path = format!("{}/tests/golden/{name}.bin", env!("CARGO_MANIFEST_DIR"));
    let expected = std::fs::read(&path).unwrap();
    for (layout, of) in LAYOUTS {
        let columns = columns.iter();
        let columns = columns.map(|(array, kind, typmod)| (of(array), kind.clone(), *typmod));
        let bytes = copy(columns.collect()).unwrap();
        assert_eq!(hex(&bytes), hex(&expected), "{name}, {layout}");
    }
    for (array, kind, _) in &columns {
        record(&pair(array.data_type(), kind));
    }
    let tuples = parse(&expected[HEADER.len()..expected.len() - TRAILER.len()]);
    for (index, (array, kind, typmod)) in columns.into_iter().enumerate() {
        let cells = tuples.iter().map(|tuple| tuple[index].clone());
        let encode = |array: ArrayRef| {
            let bytes = copy(vec![(array, kind.clone(), typmod)]).unwrap();
            parse(&bytes[HEADER.len()..bytes.len() - TRAILER.len()])
        };
        let rows = array.len();
        let nulls = take(&array, &UInt32Array::new_null(rows), None).unwrap();
        assert_eq!(encode(nulls), vec![vec![None]; rows], "{name}, all NULL");
        assert_eq!(
            encode(array.slice(0, 0)),
            Vec::<Tuple>::new(),
            "{name}, empty"
        );
        let valid: UInt32Array = (0..)
            .zip(cells.clone())
            .filter_map(|(i, cell)| cell.map(|_| i))
            .collect();
        let without = encode(take(&array, &valid, None).unwrap());
        let cells: Vec<Tuple> = cells.flatten().map(|cell| vec![Some(cell)]).collect();
        assert_eq!(without, cells, "{name}, no NULL");
    }
}

/// Checks that a pair is listed in `tests/golden/pairs`, from which `docs/types.md` is made.
fn record(pair: &str) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/pairs");
    let known = std::fs::read_to_string(path).unwrap_or_default();
    if known.lines().any(|line| line == pair) {
        return;
    }
    assert!(
        std::env::var_os("PGFLIGHT_UPDATE").is_some(),
        "tests/golden/pairs lacks {pair}; run again with PGFLIGHT_UPDATE=1"
    );
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .unwrap();
    writeln!(file, "{pair}").unwrap();
}

type Layout = (&'static str, fn(&ArrayRef) -> ArrayRef);

/// The same values as they are, as a slice of a longer array, behind a dictionary, in runs, and as views.
const LAYOUTS: [Layout; 5] = [
    ("as they come", Clone::clone),
    ("sliced", |array| {
        let padding = array.slice(array.len() / 2, array.len() - array.len() / 2);
        let longer = arrow_select::concat::concat(&[&*padding, array, &*padding]).unwrap();
        longer.slice(padding.len(), array.len())
    }),
    ("behind a dictionary", |array| {
        // The dictionary's order differs from that of the rows.
        let count = i32::try_from(array.len()).unwrap();
        let order: UInt32Array = (0..)
            .take(array.len())
            .collect::<Vec<u32>>()
            .into_iter()
            .rev()
            .collect();
        let values = take(array, &order, None).unwrap();
        let keys = (0..count).rev().collect::<Int32Array>();
        Arc::new(DictionaryArray::new(keys, values))
    }),
    ("in runs", |array| {
        let ends: Int32Array = (1..).take(array.len()).collect();
        Arc::new(RunArray::<Int32Type>::try_new(&ends, array).unwrap())
    }),
    ("as views", as_views),
];

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "all other types have no view"
)]
fn as_views(array: &ArrayRef) -> ArrayRef {
    let views = match array.data_type() {
        DataType::Utf8 | DataType::LargeUtf8 => DataType::Utf8View,
        DataType::Binary | DataType::LargeBinary => DataType::BinaryView,
        DataType::List(item) => DataType::ListView(item.clone()),
        _ => return array.clone(),
    };
    arrow_cast::cast(array, &views).unwrap()
}

/// Sixteen bytes a line, so that a difference can be found.
fn hex(bytes: &[u8]) -> String {
    let line = |line: &[u8]| line.iter().map(|b| format!("{b:02x} ")).collect::<String>() + "\n";
    bytes.chunks(16).map(line).collect()
}

pub(super) fn array<A: Array + 'static>(array: impl Into<A>) -> ArrayRef {
    Arc::new(array.into())
}

pub(super) fn numeric(precision: i32, scale: i32) -> i32 {
    (precision << 16 | scale) + 4
}

#[test]
fn booleans() {
    check(
        "bool",
        vec![(
            array::<BooleanArray>(vec![Some(true), Some(false), None]),
            Bool,
        )],
    );
}

#[test]
fn integers_of_any_width_become_integers_of_the_columns_width() {
    let smallest = vec![Some(i16::MIN), Some(0), Some(i16::MAX), None];
    let middle = vec![Some(i32::MIN), Some(0), Some(i32::MAX), None];
    let largest = vec![Some(i64::MIN), Some(0), Some(i64::MAX), None];
    let oids = vec![Some(0), Some(1), Some(u32::MAX), None];
    let widen = |v: &Vec<Option<i32>>| v.iter().map(|v| v.map(i64::from)).collect::<Vec<_>>();
    let exact = array::<Int64Array>(largest.clone());
    check(
        "integers",
        vec![
            (array::<Int16Array>(smallest.clone()), Int2),
            (array::<Int32Array>(middle.clone()), Int4),
            (exact.clone(), Int8),
            (array::<UInt32Array>(oids.clone()), Oid),
        ],
    );
    let smallest = smallest
        .into_iter()
        .map(|v| v.map(i32::from))
        .collect::<Vec<_>>();
    let oids = oids
        .into_iter()
        .map(|v| v.map(u64::from))
        .collect::<Vec<_>>();
    let decimals = Decimal128Array::from(
        largest
            .iter()
            .map(|v| v.map(|v| i128::from(v) * 100))
            .collect::<Vec<_>>(),
    );
    check(
        "integers",
        vec![
            (array::<Int32Array>(smallest), Int2),
            (array::<Int64Array>(widen(&middle)), Int4),
            (
                Arc::new(decimals.with_precision_and_scale(38, 2).unwrap()),
                Int8,
            ),
            (array::<UInt64Array>(oids), Oid),
        ],
    );
}

#[test]
fn floats() {
    let single = [0.0, -0.0, 1.5, 1e-45, f32::MAX, f32::NAN, f32::INFINITY];
    let double = [
        0.0,
        -0.0,
        -1.5,
        5e-324,
        f64::MAX,
        f64::NAN,
        f64::NEG_INFINITY,
    ];
    let single = single
        .into_iter()
        .map(Some)
        .chain([None])
        .collect::<Vec<_>>();
    let double = double
        .into_iter()
        .map(Some)
        .chain([None])
        .collect::<Vec<_>>();
    check(
        "floats",
        vec![
            (array::<Float32Array>(single), Float4),
            (array::<Float64Array>(double), Float8),
        ],
    );
}

#[test]
fn decimals_keep_their_scale_and_their_groups_of_zeros() {
    let most = 10_i128.pow(38) - 1;
    let values = vec![
        0,
        1,
        -1,
        9,
        10,
        1234,
        9999,
        10_000,
        10_001,
        -99_999_999,
        100_000_000,
        120_000,
        1_000_000_000_001,
        i128::from(i64::MAX),
        i128::from(i64::MIN),
        i128::from(u64::MAX),
        i128::from(u64::MAX) + 1,
        10_000_000_000_000_000,
        10_i128.pow(35),
        10_i128.pow(37) + 1,
        most,
        -most,
    ];
    let values = values
        .into_iter()
        .map(Some)
        .chain([None])
        .collect::<Vec<_>>();
    let scales = [0, 1, 2, 3, 4, 5, 8, 18, 37];
    let narrow = scales.map(|scale: i8| {
        let array = Decimal128Array::from(values.clone());
        let array = array.with_precision_and_scale(38, scale).unwrap();
        (
            Arc::new(array) as ArrayRef,
            Numeric,
            numeric(38, scale.into()),
        )
    });
    let wide = scales.map(|scale: i8| {
        let array = values
            .iter()
            .map(|v| v.map(i256::from_i128))
            .collect::<Decimal256Array>();
        let array = array.with_precision_and_scale(38, scale).unwrap();
        (Arc::new(array) as ArrayRef, Numeric, -1)
    });
    check_with_modifiers("numeric", narrow.into());
    check_with_modifiers("numeric", wide.into());
}

#[test]
fn decimals_of_256_bits() {
    let power = |n| i256::from_i128(10).wrapping_pow(n);
    let values = [
        Some(i256::ZERO),
        Some(i256::ONE),
        Some(i256::from_i128(-10_000)),
        Some(i256::from_i128(1 << 64)),
        Some(i256::from_parts(0, 1)),
        Some(power(75)),
        Some(i256::ONE.wrapping_sub(power(76))),
        None,
    ];
    let columns = [0, 1, 2, 3, 38, 76].map(|scale| {
        let array = Decimal256Array::from_iter(values);
        let array = array.with_precision_and_scale(76, scale).unwrap();
        (
            Arc::new(array) as ArrayRef,
            Numeric,
            numeric(76, scale.into()),
        )
    });
    check_with_modifiers("numeric_wide", columns.into());
}

#[test]
fn floats_become_numerics_by_their_shortest_form() {
    let (nan, infinity) = (f64::NAN, f64::INFINITY);
    let values = [
        0.0,
        0.1,
        -1.5,
        123456.789,
        1.5e-7,
        1e20,
        0.1 + 0.2,
        nan,
        infinity,
        -infinity,
    ];
    let values = values
        .into_iter()
        .map(Some)
        .chain([None])
        .collect::<Vec<_>>();
    check(
        "numeric_floats",
        vec![(array::<Float64Array>(values), Numeric)],
    );
}

#[test]
fn text_of_any_layout() {
    let values = vec![
        Some(""),
        Some("a"),
        Some("été"),
        Some("日本"),
        Some("a\" \\"),
        None,
    ];
    let dictionary = values
        .iter()
        .copied()
        .collect::<DictionaryArray<Int8Type>>();
    check_with_modifiers(
        "text",
        vec![
            (array::<StringArray>(values.clone()), Text, -1),
            (array::<StringViewArray>(values.clone()), Varchar, 9),
            (Arc::new(dictionary), Name, -1),
        ],
    );
    check_with_modifiers(
        "text",
        vec![
            (array::<LargeStringArray>(values.clone()), Text, -1),
            (array::<StringArray>(values.clone()), Varchar, 9),
            (array::<LargeStringArray>(values), Name, -1),
        ],
    );
}

#[test]
fn bytes_and_uuids() {
    let bytes: Vec<Option<&[u8]>> = vec![Some(b""), Some(b"\0\xff"), None];
    let uuid = b"\x12\x3e\x45\x67\xe8\x9b\x12\xd3\xa4\x56\x42\x66\x14\x17\x40\0";
    let uuids: Vec<Option<&[u8]>> = vec![Some(&[0; 16]), Some(uuid), None];
    let fixed = FixedSizeBinaryArray::try_from_sparse_iter_with_size(uuids.iter().copied(), 16);
    let text = vec![
        Some("{00000000000000000000000000000000}"),
        Some("123E4567-e89b-12d3-a456-426614174000"),
        None,
    ];
    let both = |bytes: ArrayRef, uuids: ArrayRef| {
        check("bytea", vec![(bytes, Bytea), (uuids, Uuid)]);
    };
    both(
        array::<BinaryArray>(bytes.clone()),
        Arc::new(fixed.unwrap()),
    );
    both(
        array::<LargeBinaryArray>(bytes.clone()),
        array::<StringArray>(text),
    );
    both(array::<BinaryViewArray>(bytes), array::<BinaryArray>(uuids));
}

#[test]
fn text_of_json() {
    let values = vec![
        Some("{\"a\": 1}"),
        Some("[1, null, \"é\"]"),
        Some("null"),
        None,
    ];
    check(
        "json",
        vec![
            (array::<StringArray>(values.clone()), Json),
            (array::<LargeStringArray>(values), Jsonb),
        ],
    );
}

#[test]
fn labels_of_an_enum() {
    let values = vec![Some("ok"), Some("sad"), None, Some("Happy"), Some("ok")];
    let kind = Enum(["sad", "ok", "Happy"].map(String::from).into());
    let dictionary = values
        .iter()
        .copied()
        .collect::<DictionaryArray<Int32Type>>();
    check("enum", vec![(array::<StringArray>(values), kind.clone())]);
    check("enum", vec![(Arc::new(dictionary), kind)]);
}

#[test]
fn lists_of_any_layout_become_arrays() {
    let a = ListArray::from_iter_primitive::<Int32Type, _, _>([
        Some(vec![Some(1), Some(2), Some(3)]),
        Some(vec![]),
        Some(vec![None]),
        None,
    ]);
    let mut b = builder::LargeListBuilder::new(builder::StringBuilder::new());
    b.append_value([Some("a"), Some(""), None]);
    b.append_value([None::<&str>; 0]);
    b.append_value([Some("é")]);
    b.append_null();
    let decimals = builder::Decimal128Builder::new().with_data_type(DataType::Decimal128(10, 2));
    let mut c = builder::ListBuilder::new(decimals);
    c.append_value([Some(150), Some(0)]);
    c.append_value([None; 0]);
    c.append_value([None, Some(-9_999_999_999)]);
    c.append_null();
    let single = builder::ListBuilder::new(builder::Int64Builder::new());
    let mut d = builder::ListBuilder::new(single);
    for shape in [
        vec![vec![1, 2], vec![3, 4], vec![5, 0]],
        vec![],
        vec![vec![7]],
    ] {
        for list in shape {
            d.values()
                .append_value(list.into_iter().map(|v| (v != 0).then_some(v)));
        }
        d.append(true);
    }
    d.append_null();
    check_with_modifiers(
        "arrays",
        vec![
            (Arc::new(a), array_of(Int4), -1),
            (Arc::new(b.finish()), array_of(Text), -1),
            (Arc::new(c.finish()), array_of(Numeric), numeric(10, 2)),
            (Arc::new(d.finish()), array_of(Int8), -1),
        ],
    );
}

#[test]
fn null_lists_ignore_their_items() {
    let items = array::<Int32Array>(vec![1, 2, 3]);
    let field = Arc::new(Field::new("item", DataType::Int32, true));
    let list = ListArray::new(
        field,
        arrow_buffer::OffsetBuffer::new(vec![0, 2, 3].into()),
        items,
        Some(vec![false, true].into()),
    );
    let bytes = copy(vec![(Arc::new(list), array_of(Int4), -1)]).unwrap();
    let tuples = &bytes[19..bytes.len() - 2];
    let expected: &[u8] = &[
        0, 1, 255, 255, 255, 255, // NULL
        0, 1, 0, 0, 0, 28, // one field of 28 bytes
        0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 23, // one dimension, no NULLs, int4
        0, 0, 0, 1, 0, 0, 0, 1, // one element from subscript 1
        0, 0, 0, 4, 0, 0, 0, 3,
    ];
    assert_eq!(tuples, expected);
}
