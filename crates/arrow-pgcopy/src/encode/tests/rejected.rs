//! Values that cannot be written, and the errors that they get.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::builder::{Int32Builder, ListBuilder, MapBuilder, StringBuilder};
use arrow_array::types::Int8Type;
use arrow_array::{Array, *};
use arrow_buffer::IntervalMonthDayNano;
use arrow_schema::{DataType, Field};

use super::golden::types::{list, structure};
use super::{array_of, batch, column, copy, encode, pg_type, relation};
use crate::conversion::{Conversion, Form};
use crate::encode::{BatchEncoder, Chunks, RejectKind, rejected_rows};
use crate::error::ErrorKind;
use crate::plan::EncodePlan;
use crate::table::{Attribute, Column, Ident, PgType, PgTypeKind as K};

/// Checks that row 1 is rejected with this SQLSTATE and words, and that the others are accepted.
pub(super) fn check(
    array: impl Array + 'static,
    kind: K,
    typmod: i32,
    sqlstate: &str,
    words: &str,
) {
    let array: ArrayRef = Arc::new(array);
    let error = copy(vec![(array.clone(), kind.clone(), typmod)]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DataRejected, "{error}");
    assert_eq!(error.sqlstate(), Some(sqlstate), "{error}");
    assert_eq!(
        (error.row(), error.column()),
        (Some(1), Some("c0")),
        "{error}"
    );
    assert!(format!("{error:#}").contains(words), "{error:#}");
    assert!(error.to_string().starts_with("value "), "{error}");
    let rows = batch(vec![array.clone()]);
    let table = relation(vec![column("c0", kind.clone(), typmod)]);
    let plan = EncodePlan::new(&rows.schema(), &table).unwrap();
    let rejected = rejected_rows(&plan, &rows, 0, 1).unwrap();
    assert_eq!(rejected.len(), 1, "{rejected:?}");
    assert_eq!(rejected[0].error.to_string(), error.to_string());
    for good in [array.slice(0, 1), array.slice(2, array.len() - 2)] {
        copy(vec![(good, kind.clone(), typmod)]).unwrap();
    }
}

#[test]
fn numbers_out_of_range_are_rejected() {
    let range = "is out of range for";
    check(
        Int64Array::from(vec![1, 1 << 31, 2]),
        K::Int4,
        -1,
        "22003",
        range,
    );
    check(Int8Array::from(vec![1, -1]), K::Oid, -1, "22003", range);
    check(
        UInt64Array::from(vec![1, 1 << 63]),
        K::Int8,
        -1,
        "22003",
        range,
    );
    check(
        Int64Array::from(vec![1, (1 << 53) + 1, 1 << 60]),
        K::Float8,
        -1,
        "22003",
        "exactly",
    );
    check(
        Int32Array::from(vec![1, (1 << 24) + 1]),
        K::Float4,
        -1,
        "22003",
        "exactly",
    );
}

#[test]
fn decimals_too_fine_or_out_of_range_are_rejected() {
    let typmod = |precision: i32, scale: i32| (precision << 16 | scale & 0x7ff) + 4;
    let decimal = |values: Vec<i128>, scale| {
        Decimal128Array::from(values)
            .with_precision_and_scale(20, scale)
            .unwrap()
    };
    let (range, finer) = (
        "is out of range for numeric(",
        "has a finer fraction than numeric(",
    );
    let values = decimal(vec![9_999_900, 9_999_910, -9_999_900], 4);
    check(values, K::Numeric, typmod(5, 2), "22003", finer);
    let values = decimal(vec![99_999, 100_000, -99_999], 2);
    check(values, K::Numeric, typmod(5, 2), "22003", range);
    let values = decimal(vec![1200, 1250, 99_900], 0);
    check(values, K::Numeric, typmod(3, -2), "22003", finer);
    let values = decimal(vec![99, 100], 4);
    check(values, K::Numeric, typmod(2, 4), "22003", range);
    check(
        decimal(vec![100, 150, -300], 2),
        K::Int4,
        -1,
        "22003",
        "finer fraction",
    );
    check(
        decimal(vec![100, 100 << 31], 2),
        K::Int4,
        -1,
        "22003",
        "out of range",
    );
    check(
        Float64Array::from(vec![0.25, 0.125]),
        K::Numeric,
        typmod(5, 2),
        "22003",
        finer,
    );
    let infinite = Float64Array::from(vec![f64::NAN, f64::INFINITY]);
    check(infinite, K::Numeric, typmod(5, 2), "22003", "infinite");
    check(
        Int64Array::from(vec![999, 1000]),
        K::Numeric,
        typmod(3, 0),
        "22003",
        range,
    );
}

#[test]
fn text_that_does_not_fit_is_rejected() {
    let text = |values: [&str; 3]| StringArray::from(values.to_vec());
    check(text(["a", "b\0", ""]), K::Text, -1, "22021", "NUL");
    check(text(["{}", "\0", "1"]), K::Jsonb, -1, "22021", "NUL");
    let long = text(["ééé", "éééé", "ééé   "]);
    check(
        long.clone(),
        K::Varchar,
        7,
        "22001",
        "more characters than character varying(3)",
    );
    check(long, K::Bpchar, 7, "22001", "more characters");
    let (most, more) = ("x".repeat(63), "x".repeat(64));
    check(text([&most, &more, ""]), K::Name, -1, "42622", "63 bytes");
    let uuid = "123e4567-e89b-12d3-a456-426614174000";
    check(
        text([uuid, "123e4567", uuid]),
        K::Uuid,
        -1,
        "22P02",
        "not a UUID",
    );
    let bad = "123e4567e-89b-12d3-a456-426614174000";
    check(text([uuid, bad, uuid]), K::Uuid, -1, "22P02", "not a UUID");
    let mood = || K::Enum(vec!["ok".into(), "sad".into()]);
    check(
        text(["ok", "OK", "sad"]),
        mood(),
        -1,
        "22P02",
        "label of mood (ok, sad)",
    );
    let dictionary = DictionaryArray::<Int8Type>::from_iter(["ok", "bad", "sad"]);
    check(dictionary, mood(), -1, "22P02", "label");
    let bytes: Vec<&[u8]> = vec![&[0; 16], &[0; 15]];
    check(BinaryArray::from(bytes), K::Uuid, -1, "22P03", "16 bytes");
}

#[test]
fn times_out_of_range_or_too_fine_are_rejected() {
    let (range, finer) = ("out of range", "finer fraction");
    check(
        Date32Array::from(vec![0, i32::MAX]),
        K::Date,
        -1,
        "22008",
        range,
    );
    check(
        Date32Array::from(vec![0, -2_440_589]),
        K::Date,
        -1,
        "22008",
        range,
    );
    check(
        Date64Array::from(vec![0, 1, 86_400_000]),
        K::Date,
        -1,
        "22008",
        finer,
    );
    let micros = TimestampMicrosecondArray::from(vec![0, i64::MIN]);
    check(micros, K::Timestamp, -1, "22008", range);
    let seconds = TimestampSecondArray::from(vec![0, i64::MAX]);
    check(seconds, K::Timestamp, -1, "22008", range);
    let nanos = TimestampNanosecondArray::from(vec![-1000, -1, 5000]);
    check(nanos, K::Timestamp, -1, "22008", finer);
    let micros = TimestampMicrosecondArray::from(vec![-1000, 1, 2000]);
    check(
        micros,
        K::Timestamp,
        3,
        "22008",
        "finer fraction than timestamp(3) without time zone",
    );
    let time = Time64MicrosecondArray::from(vec![86_400_000_000, 86_400_000_001]);
    check(time, K::Time, -1, "22008", range);
    check(
        DurationSecondArray::from(vec![0, -1]),
        K::Time,
        -1,
        "22008",
        range,
    );
    check(
        DurationSecondArray::from(vec![0, i64::MAX]),
        K::Interval,
        -1,
        "22008",
        range,
    );
    let nano = IntervalMonthDayNano::new(0, 0, 1);
    let intervals = IntervalMonthDayNanoArray::from(vec![IntervalMonthDayNano::ZERO, nano]);
    check(intervals, K::Interval, -1, "22008", finer);
}

#[test]
fn nested_values() {
    let mut ragged = ListBuilder::new(ListBuilder::new(Int32Builder::new()));
    for row in [[1, 1], [1, 2], [2, 2]] {
        for length in row {
            ragged.values().append_value(vec![Some(1); length]);
        }
        ragged.append(true);
    }
    check(
        ragged.finish(),
        array_of(K::Int4),
        -1,
        "2202E",
        "make the column jsonb",
    );
    let mut holes = ListBuilder::new(ListBuilder::new(Int32Builder::new()));
    holes.append(true);
    holes.values().append_null();
    holes.append(true);
    check(holes.finish(), array_of(K::Int4), -1, "2202E", "NULL list");
    let mut wide = ListBuilder::new(arrow_array::builder::Int64Builder::new());
    wide.append_value([Some(1)]);
    wide.append_value([Some(1), None, Some(1 << 40)]);
    check(
        wide.finish(),
        array_of(K::Int4),
        -1,
        "22003",
        "out of range",
    );
    let mut floats = ListBuilder::new(arrow_array::builder::Float64Builder::new());
    floats.append_value([Some(1.0)]);
    floats.append_value([Some(f64::NAN)]);
    check(floats.finish(), K::Jsonb, -1, "22003", "NaN");
    let mut map = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
    for value in ["a", "\0", "b"] {
        map.keys().append_value("key");
        map.values().append_value(value);
        map.append(true).unwrap();
    }
    check(map.finish(), K::Jsonb, -1, "22021", "NUL");
}

#[test]
fn slots_of_nulls_are_ignored() {
    let values = Int64Array::new(vec![1, i64::MAX].into(), Some(vec![true, false].into()));
    copy(vec![(Arc::new(values), K::Int2, -1)]).unwrap();
    let values = Decimal128Array::new(vec![1, i128::MAX].into(), Some(vec![true, false].into()));
    copy(vec![(Arc::new(values), K::Numeric, -1)]).unwrap();
    let values =
        TimestampMicrosecondArray::new(vec![1, i64::MIN].into(), Some(vec![true, false].into()));
    let field = Arc::new(Field::new("item", values.data_type().clone(), true));
    let list = FixedSizeListArray::new(field, 2, Arc::new(values), None);
    copy(vec![(Arc::new(list), array_of(K::Timestamp), -1)]).unwrap();
    let keys = Int8Array::from(vec![Some(0), Some(0)]);
    let values = StringArray::from(vec!["a", "\0"]);
    let dictionary = DictionaryArray::new(keys, Arc::new(values));
    copy(vec![(Arc::new(dictionary), K::Text, -1)]).unwrap();
}

#[test]
fn nulls_in_not_null_columns_name_their_row_of_the_stream() {
    let values: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), None]));
    let dictionary = DictionaryArray::<Int8Type>::new(
        Int8Array::from(vec![0, 1]),
        Arc::new(StringArray::from(vec![Some("a"), None])),
    );
    for (array, kind) in [(values, K::Int4), (Arc::new(dictionary), K::Text)] {
        let batch = batch(vec![array]);
        let strict = Column {
            nullable: false,
            ..column("c0", kind, -1)
        };
        let plan = EncodePlan::new(&batch.schema(), &relation(vec![strict])).unwrap();
        let error = BatchEncoder::new(&plan, &batch, 41_236).err().unwrap();
        assert_eq!(error.sqlstate(), Some("23502"));
        assert_eq!(error.row(), Some(41_237));
    }
}

#[test]
fn rejected_values_name_their_row_of_the_stream() {
    for row in [0, 15, 16, 47, 99] {
        let values = (0..100).map(|i| if i == row { 1 << 31 } else { i });
        let batch = batch(vec![Arc::new(Int64Array::from_iter_values(values))]);
        let plan = EncodePlan::new(&batch.schema(), &relation(vec![column("c0", K::Int4, -1)]));
        let plan = plan.unwrap();
        let mut encoder = BatchEncoder::new(&plan, &batch, 41_000).unwrap();
        let mut chunks = Chunks::new(64);
        let error = loop {
            match encoder.next_chunk(&mut chunks) {
                Ok(chunk) => assert!(chunk.is_some(), "row {row} was taken"),
                Err(error) => break error,
            }
        };
        assert_eq!(error.row(), Some(41_000 + row.unsigned_abs()));
    }
}

#[test]
fn modifiers_of_domains_apply() {
    let domain = K::Domain {
        base: Box::new(pg_type(K::Varchar)),
        typmod: 6,
    };
    check(
        StringArray::from(vec!["ab", "abc"]),
        domain.clone(),
        -1,
        "22001",
        "characters",
    );
    let mut list = ListBuilder::new(StringBuilder::new());
    list.append_value([Some("ab")]);
    list.append_value([Some("abc")]);
    check(list.finish(), array_of(domain), -1, "22001", "characters");
}

#[test]
fn a_batch_of_another_schema_is_an_internal_error() {
    let planned = batch(vec![Arc::new(Int32Array::from(vec![1]))]);
    let other = batch(vec![Arc::new(Int64Array::from(vec![1]))]);
    let relation = relation(vec![column("c0", K::Int4, -1)]);
    let plan = EncodePlan::new(&planned.schema(), &relation).unwrap();
    assert_eq!(
        encode(&plan, &other, 1).unwrap_err().kind(),
        ErrorKind::Internal
    );
    assert_eq!(encode(&plan, &planned, 1).unwrap().len(), 10);
    assert_eq!(planned.schema().field(0).data_type(), &DataType::Int32);
}

#[test]
fn nested_values_that_do_not_fit_are_rejected() {
    let of = |kind| Box::new(pg_type(kind));
    let numbers = |values: [Option<i32>; 2]| Arc::new(Int32Array::from(values.to_vec()));
    let flags = |values: [Option<bool>; 2]| Arc::new(BooleanArray::from(values.to_vec()));
    let bounds = |flags: Arc<BooleanArray>| {
        let numbers = numbers([Some(1), Some(1)]);
        structure(
            vec![
                ("lower", numbers.clone()),
                ("upper", numbers),
                ("lower_inc", flags),
            ],
            vec![true; 2],
        )
    };
    let absent = bounds(flags([Some(true), None]));
    check(
        absent,
        K::Range(of(K::Int4)),
        -1,
        "22004",
        "NULL for lower_inc",
    );
    let wide = Arc::new(Int64Array::from(vec![1, i64::MAX]));
    let wide = structure(
        vec![("lower", wide.clone()), ("upper", wide)],
        vec![true; 2],
    );
    check(
        wide.clone(),
        K::Range(of(K::Int4)),
        -1,
        "22003",
        "out of range",
    );
    let holes = structure(
        vec![("lower", numbers([None; 2])), ("upper", numbers([None; 2]))],
        vec![true, false],
    );
    let holes = list(Arc::new(holes), &[Some(1), Some(1)]);
    check(
        holes,
        K::Multirange(of(K::Int4)),
        -1,
        "22004",
        "holds a NULL",
    );
    let attributes = ["lower", "upper"].map(|name| Attribute {
        name: name.to_owned(),
        ty: pg_type(K::Int4),
        typmod: -1,
    });
    check(
        wide,
        K::Composite(attributes.to_vec()),
        -1,
        "22003",
        "out of range",
    );
    let mut maps = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
    for keys in [["a", "b"], ["a", "a"]] {
        for key in keys {
            maps.keys().append_value(key);
            maps.values().append_null();
        }
        maps.append(true).unwrap();
    }
    check(maps.finish(), K::Hstore, -1, "21000", "has a key twice");
}

#[test]
fn vectors_and_money_that_do_not_fit_are_rejected() {
    let vector = |items: Vec<Option<f64>>, lengths: [usize; 2]| {
        list(Arc::new(Float64Array::from(items)), &lengths.map(Some))
    };
    let exact = vector(vec![Some(0.5), Some(0.1)], [1, 1]);
    check(exact, K::Vector, -1, "22003", "held exactly");
    let nan = vector(vec![Some(0.5), Some(f64::NAN)], [1, 1]);
    check(nan, K::Vector, -1, "22003", "NaN or infinite");
    check(
        vector(vec![Some(0.5), None], [1, 1]),
        K::Vector,
        -1,
        "22004",
        "holds a NULL",
    );
    check(
        vector(vec![Some(0.5)], [1, 0]),
        K::Vector,
        -1,
        "22000",
        "number of elements",
    );
    let short = vector(vec![Some(0.5), Some(1.0), Some(1.0)], [2, 1]);
    check(short, K::Vector, 2, "22000", "number of elements");
    check(
        vector(vec![Some(0.5), Some(65537.0)], [1, 1]),
        K::Halfvec,
        -1,
        "22003",
        "exactly",
    );
    let dollars = K::Money { fraction_digits: 2 };
    check(
        Int64Array::from(vec![1, i64::MAX]),
        dollars.clone(),
        -1,
        "22003",
        "out of range",
    );
    let mills = Decimal128Array::from(vec![10, 1])
        .with_precision_and_scale(10, 3)
        .unwrap();
    check(mills, dollars, -1, "22003", "finer fraction");
}

#[test]
fn rejected_rows_have_the_kind_of_their_problem() {
    let utf8 = Conversion {
        form: Some(Form::Utf8),
        ..Conversion::default()
    };
    let check = |array: ArrayRef, mut column: Column, expected: RejectKind| {
        let rows = batch(vec![array]);
        column.nullable = expected != RejectKind::NotNull;
        let mut asked = BTreeMap::new();
        if expected == RejectKind::Utf8 {
            asked.insert("c0".to_owned(), utf8.clone());
        }
        let table = relation(vec![column]);
        let plan = EncodePlan::with_conversions(&rows.schema(), &table, &asked).unwrap();
        let rejected = rejected_rows(&plan, &rows, 0, usize::MAX).unwrap();
        let found: Vec<_> = rejected.iter().map(|row| (row.index, row.kind)).collect();
        assert_eq!(found, [(1, expected)]);
        assert_eq!(expected.as_str().parse::<RejectKind>().unwrap(), expected);
    };
    let texts = |bad: &str| -> ArrayRef { Arc::new(StringArray::from(vec!["1", bad, "1"])) };
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1, i64::MAX, 1]));
    let cents = Decimal128Array::from(vec![100, 101, 100]);
    let cents: ArrayRef = Arc::new(cents.with_precision_and_scale(10, 2).unwrap());
    let some: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), None, Some(1)]));
    let bytes: ArrayRef = Arc::new(BinaryArray::from(vec![&b"1"[..], b"\xff", b"1"]));
    check(
        texts("x"),
        column("c0", K::Int4, -1),
        RejectKind::Conversion,
    );
    check(cents, column("c0", K::Int4, -1), RejectKind::Conversion);
    check(numbers, column("c0", K::Int4, -1), RejectKind::Range);
    check(
        texts("123"),
        column("c0", K::Varchar, 2 + 4),
        RejectKind::Length,
    );
    check(texts("\0"), column("c0", K::Text, -1), RejectKind::Nul);
    check(bytes, column("c0", K::Text, -1), RejectKind::Utf8);
    check(
        texts("2"),
        column("c0", K::Enum(vec!["1".into()]), -1),
        RejectKind::Enum,
    );
    check(some, column("c0", K::Int4, -1), RejectKind::NotNull);
    let latin = texts("<?xml version='1.0' encoding='latin1'?><a/>");
    let xml = PgType::builtin(142).unwrap();
    let xml = Column::new(Ident::new("c0").unwrap(), xml);
    check(latin, xml, RejectKind::Document);
}

#[test]
fn the_search_for_rejected_rows_ends_after_the_limit() {
    let rows = batch(vec![Arc::new(Int64Array::from(vec![i64::MAX; 100]))]);
    let plan = EncodePlan::new(&rows.schema(), &relation(vec![column("c0", K::Int4, -1)])).unwrap();
    for (limit, found) in [
        (0, 1),
        (1, 2),
        (40, 41),
        (99, 100),
        (100, 100),
        (usize::MAX, 100),
    ] {
        let rejected = rejected_rows(&plan, &rows, 0, limit).unwrap();
        let indices: Vec<_> = rejected.iter().map(|row| row.index).collect();
        assert_eq!(indices, (0..found).collect::<Vec<_>>(), "limit {limit}");
    }
}

#[test]
fn floats_that_are_not_whole_and_times_that_are_not_midnights_are_rejected() {
    let doubles = |bad: f64| Float64Array::from(vec![1.0, bad, 2.0]);
    let fraction = "has a finer fraction";
    check(doubles(1.5), K::Int4, -1, "22003", fraction);
    check(doubles(1e-300), K::Int8, -1, "22003", fraction);
    check(doubles(f64::NAN), K::Int4, -1, "22003", "NaN or infinite");
    check(
        doubles(f64::INFINITY),
        K::Int8,
        -1,
        "22003",
        "overflow: null",
    );
    for (bad, kind) in [
        (9_223_372_036_854_775_808.0, K::Int8),
        (-9_223_372_036_854_777_856.0, K::Int8),
        (2_147_483_648.0, K::Int4),
        (-32_769.0, K::Int2),
    ] {
        check(doubles(bad), kind, -1, "22003", "is out of range for");
    }
    let times = TimestampMicrosecondArray::from(vec![0, 1, -86_400_000_000]);
    check(times, K::Date, -1, "22008", "write midnights only");
}
