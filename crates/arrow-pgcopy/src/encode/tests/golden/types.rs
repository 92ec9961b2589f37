//! Nested types, types of extensions and parsed text, compared to PostgreSQL's bytes.

use std::sync::Arc;

use arrow_array::builder::{MapBuilder, StringBuilder};
use arrow_array::types::*;
use arrow_array::*;
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_schema::{Field, Fields};

use super::{array, check, check_with_modifiers, numeric};
use crate::encode::tests::{array_of, pg_type};
use crate::table::{Attribute, PgTypeKind as K};

pub(crate) fn text<const N: usize>(values: [&str; N]) -> ArrayRef {
    array::<StringArray>(
        values
            .map(Some)
            .into_iter()
            .chain([None])
            .collect::<Vec<_>>(),
    )
}

/// A struct of these fields, NULL where `valid` says so.
pub(crate) fn structure(fields: Vec<(&str, ArrayRef)>, valid: Vec<bool>) -> StructArray {
    let (names, arrays): (Vec<_>, Vec<_>) = fields.into_iter().unzip();
    let fields = names.iter().zip(&arrays);
    let fields = fields.map(|(name, array)| Field::new(*name, array.data_type().clone(), true));
    StructArray::new(
        fields.collect::<Fields>(),
        arrays,
        Some(NullBuffer::from(valid)),
    )
}

/// Lists of these lengths; `None` is NULL.
pub(crate) fn list(items: ArrayRef, lengths: &[Option<usize>]) -> ListArray {
    let field = Arc::new(Field::new("item", items.data_type().clone(), true));
    let offsets = OffsetBuffer::from_lengths(lengths.iter().map(|n| n.unwrap_or(0)));
    let nulls = NullBuffer::from(lengths.iter().map(Option::is_some).collect::<Vec<_>>());
    ListArray::new(field, offsets, items, Some(nulls))
}

#[test]
fn addresses_of_networks() {
    check(
        "network",
        vec![
            (
                text([
                    "192.168.0.1",
                    "192.168.0.1/24",
                    "2001:db8::1",
                    "::ffff:1.2.3.4/128",
                ]),
                K::Inet,
            ),
            (
                text([
                    "10.0.0.0/8",
                    "0.0.0.0/0",
                    "2001:db8::/32",
                    "255.255.255.255",
                ]),
                K::Cidr,
            ),
            (
                text([
                    "08:00:2b:01:02:03",
                    "08002b-010203",
                    "0800.2b01.0203",
                    "08002B010203",
                ]),
                K::Macaddr,
            ),
            (
                text([
                    "08:00:2b:01:02:03:04:05",
                    "08002b01.02030405",
                    "0800.2b01.0203.0405",
                    "08-00-2b-01-02-03-04-05",
                ]),
                K::Macaddr8,
            ),
        ],
    );
}

#[test]
fn bits_from_text_and_from_bytes() {
    let binary = |values: [&[u8]; 3]| {
        array::<BinaryArray>(
            values
                .map(Some)
                .into_iter()
                .chain([None])
                .collect::<Vec<_>>(),
        )
    };
    let odd = (text(["", "1", "10101010101010101"]), K::Varbit, -1);
    let most = (text(["1", "111111111111", ""]), K::Varbit, 12);
    check_with_modifiers(
        "bits",
        vec![
            (text(["1011001110", "0000000000", "1111111111"]), K::Bit, 10),
            odd.clone(),
            most.clone(),
            (
                text(["0000000000000001", "1111111111111111", "1000000000000000"]),
                K::Bit,
                16,
            ),
        ],
    );
    check_with_modifiers(
        "bits",
        vec![
            (binary([b"\xb3\x80", b"\0\0", b"\xff\xc0"]), K::Bit, 10),
            odd,
            most,
            (binary([b"\0\x01", b"\xff\xff", b"\x80\0"]), K::Bit, 16),
        ],
    );
}

#[test]
fn amounts_of_money() {
    let dollars = || K::Money { fraction_digits: 2 };
    let whole = [0, 7, -7, 92_233_720_368_547_758, -92_233_720_368_547_758];
    let cents = [0, 1234, -1, i64::MAX, i64::MIN];
    let with_null = |values: [i64; 5]| values.map(Some).into_iter().chain([None]);
    let decimals = with_null(cents).map(|v| v.map(i128::from));
    let finer = with_null(cents).map(|v| v.map(|v| i128::from(v) * 100));
    let of = |values: Decimal128Array, scale| -> ArrayRef {
        Arc::new(values.with_precision_and_scale(38, scale).unwrap())
    };
    for amounts in [of(decimals.collect(), 2), of(finer.collect(), 4)] {
        check(
            "money",
            vec![
                (amounts, dollars()),
                (
                    Arc::new(with_null(whole).collect::<Int64Array>()),
                    dollars(),
                ),
            ],
        );
    }
}

#[test]
fn times_of_day_with_a_zone() {
    check(
        "timetz",
        vec![(
            text([
                "00:00:00Z",
                "12:30:00.25+02",
                "23:59:59.999999-0530",
                "24:00:00+15:59:59",
            ]),
            K::Timetz,
        )],
    );
}

#[test]
fn structs_become_composites() {
    let attribute = |name: &str, kind, typmod| Attribute {
        name: name.to_owned(),
        ty: pg_type(kind),
        typmod,
    };
    let kind = K::Composite(vec![
        attribute("id", K::Int4, -1),
        attribute("name", K::Varchar, 9),
        attribute("amount", K::Numeric, numeric(10, 2)),
    ]);
    let structs =
        |ids: Vec<Option<i64>>, names: Vec<Option<&str>>, amounts: Vec<Option<i128>>, valid| {
            let amounts = Decimal128Array::from(amounts)
                .with_precision_and_scale(10, 2)
                .unwrap();
            // The fields are in another order than the attributes.
            structure(
                vec![
                    ("amount", Arc::new(amounts) as ArrayRef),
                    (
                        "name",
                        Arc::new(names.into_iter().collect::<DictionaryArray<Int8Type>>()),
                    ),
                    ("id", array::<Int64Array>(ids)),
                ],
                valid,
            )
        };
    let single = structs(
        vec![Some(1), None, None, Some(9)],
        vec![
            Some("été"),
            Some(""),
            None,
            Some("garbage that is too long"),
        ],
        vec![Some(150), None, None, Some(1)],
        vec![true, true, true, false],
    );
    check("composite", vec![(Arc::new(single), kind)]);
}

#[test]
fn structs_of_bounds_become_ranges() {
    let flags =
        |values: [bool; 4]| -> ArrayRef { array::<BooleanArray>(values.map(Some).to_vec()) };
    let of = |kind| Box::new(pg_type(kind));
    let a = structure(
        vec![
            (
                "upper",
                array::<Int32Array>(vec![Some(5), Some(5), None, None]),
            ),
            (
                "lower",
                array::<Int32Array>(vec![Some(1), None, None, None]),
            ),
            ("empty", flags([false, false, true, false])),
        ],
        vec![true, true, true, false],
    );
    let decimals = |values: Vec<Option<i128>>, scale| -> ArrayRef {
        Arc::new(
            Decimal128Array::from(values)
                .with_precision_and_scale(10, scale)
                .unwrap(),
        )
    };
    let b = structure(
        vec![
            // PostgreSQL keeps the scale of each bound, so the bounds are given as text.
            ("lower", text(["1.5", "1", "1"])),
            (
                "upper",
                array::<StringArray>(vec![Some("2.50"), None, None, None]),
            ),
            ("lower_inc", flags([true, false, false, false])),
            ("upper_inc", flags([true, true, false, false])),
            ("empty", flags([false, false, true, false])),
        ],
        vec![true, true, true, false],
    );
    let day = 86_400_000_000_i64;
    let at = |days: i64, rest: i64| Some(days * day + rest);
    let c = structure(
        vec![
            (
                "lower",
                array::<TimestampMicrosecondArray>(vec![at(15_706, 0), None, at(10_957, 0), None]),
            ),
            (
                "upper",
                array::<TimestampMicrosecondArray>(vec![
                    at(15_707, 45_000_000_000),
                    None,
                    None,
                    None,
                ]),
            ),
        ],
        vec![true, true, true, false],
    );
    let parts = structure(
        vec![
            ("lower", decimals(vec![Some(1), Some(3), None, Some(2)], 0)),
            ("upper", decimals(vec![Some(2), Some(4), Some(1), None], 0)),
            ("lower_inc", flags([true, false, false, true])),
            ("upper_inc", flags([false, true, true, false])),
        ],
        vec![true; 4],
    );
    let d = list(Arc::new(parts), &[Some(2), Some(0), Some(2), None]);
    check(
        "ranges",
        vec![
            (Arc::new(a), K::Range(of(K::Int8))),
            (Arc::new(b), K::Range(of(K::Numeric))),
            (Arc::new(c), K::Range(of(K::Timestamp))),
            (Arc::new(d), K::Multirange(of(K::Numeric))),
        ],
    );
}

#[test]
fn maps_and_structs_of_text_become_hstore() {
    let mut maps = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
    let rows = [
        Some(vec![("a", Some("1")), ("b", None), ("été", Some(""))]),
        Some(vec![]),
        Some(vec![("a", Some("x y")), ("b", Some("2")), ("été", None)]),
        None,
    ];
    for row in &rows {
        for (key, value) in row.iter().flatten() {
            maps.keys().append_value(key);
            maps.values().append_option(*value);
        }
        maps.append(row.is_some()).unwrap();
    }
    check("hstore", vec![(Arc::new(maps.finish()), K::Hstore)]);
    let whole = structure(
        vec![
            ("a", array::<StringArray>(vec![Some("1")])),
            ("b", array::<StringViewArray>(vec![None::<&str>])),
            ("été", array::<LargeStringArray>(vec![Some("")])),
        ],
        vec![true],
    );
    let expected = std::fs::read(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/golden/hstore.bin"
    ));
    let bytes = super::copy(vec![(Arc::new(whole), K::Hstore, -1)]).unwrap();
    let tuple = &bytes[..bytes.len() - 2];
    assert!(expected.unwrap().starts_with(tuple), "the first row");
}

#[test]
fn text_behind_a_version() {
    check(
        "versioned",
        vec![
            (text(["top.science", ""]), K::VersionedText),
            (text(["*.science.*{1,2}", "a|b"]), K::VersionedText),
            (text(["science & !astro", "a"]), K::VersionedText),
            (text(["$.\"a\"[*]?(@ > 1)", "$"]), K::VersionedText),
        ],
    );
}

#[test]
fn lists_of_numbers_become_vectors() {
    let singles = vec![1.0_f32, -2.5, 0.0, 3.4e38, 1e-45, 0.1];
    let doubles = singles.iter().map(|v| f64::from(*v)).collect::<Vec<_>>();
    let halves = array::<Float32Array>(vec![0.5_f32, -65504.0, 0.0, 1.0]);
    let lengths = |n| [Some(n), Some(n), None];
    let halves: ArrayRef = Arc::new(list(halves, &lengths(2)));
    for items in [
        array::<Float32Array>(singles),
        array::<Float64Array>(doubles),
    ] {
        check_with_modifiers(
            "vector",
            vec![
                (Arc::new(list(items, &lengths(3))), K::Vector, 3),
                (halves.clone(), K::Halfvec, 2),
            ],
        );
    }
}

#[test]
fn lists_of_numbers_become_sparse_vectors() {
    let lengths = [Some(4), Some(4), None, Some(4)];
    let singles = vec![
        1.5_f32, 0.0, 0.0, -2.0, 0.0, -0.0, 0.0, 0.0, 0.0, 1e-45, 0.0, 0.0,
    ];
    let doubles = singles.iter().map(|v| f64::from(*v)).collect::<Vec<_>>();
    for items in [
        array::<Float32Array>(singles),
        array::<Float64Array>(doubles),
    ] {
        let lists: ArrayRef = Arc::new(list(items, &lengths));
        check_with_modifiers("sparsevec", vec![(lists, K::Sparsevec, 4)]);
    }
}

#[test]
fn lists_become_points_bits_and_dimensions() {
    let coordinates = vec![1.5, -2.0, 0.0, f64::INFINITY];
    let lengths = |n| [Some(n), Some(n), None];
    let pairs = |items: ArrayRef| -> ArrayRef { Arc::new(list(items, &lengths(2))) };
    let singles = vec![1.5_f32, -2.0, 0.0, f32::INFINITY];
    let (x, y): (Vec<_>, Vec<_>) = (vec![1.5, 0.0, 7.0], vec![-2.0, f64::INFINITY, 7.0]);
    let structs = structure(
        vec![
            ("y", array::<Float64Array>(y)),
            ("x", array::<Float64Array>(x)),
        ],
        vec![true, true, false],
    );
    let transactions = array::<UInt64Array>(vec![Some(0), Some(u64::MAX), None]);
    let bits: Vec<bool> = (0..9).map(|bit| bit % 2 == 0).chain([false; 9]).collect();
    let bits: ArrayRef = Arc::new(list(array::<BooleanArray>(bits), &lengths(9)));
    let varbits = list(array::<BooleanArray>(vec![true]), &[Some(0), Some(1), None]);
    let varbits: ArrayRef = Arc::new(varbits);
    let numbers = array::<Int32Array>((1..=12).collect::<Vec<_>>());
    let rows: ArrayRef = Arc::new(list(numbers, &[Some(3), Some(3), Some(3), Some(3)]));
    let matrices: ArrayRef = Arc::new(list(rows, &lengths(2)));
    for points in [
        pairs(array::<Float64Array>(coordinates)),
        pairs(array::<Float32Array>(singles)),
        Arc::new(structs),
    ] {
        check_with_modifiers(
            "lists",
            vec![
                (points, K::Point, -1),
                (transactions.clone(), K::Xid8, -1),
                (bits.clone(), K::Bit, 9),
                (varbits.clone(), K::Varbit, -1),
                (matrices.clone(), array_of(K::Int4), -1),
            ],
        );
    }
}
