//! Nested values as JSON documents.

use std::sync::Arc;

use arrow_array::builder::{Int32Builder, MapBuilder, StringBuilder};
use arrow_array::types::{Int8Type, Int32Type};
use arrow_array::*;
use arrow_buffer::IntervalMonthDayNano;
use arrow_schema::Field;

use super::copy;
use crate::table::PgTypeKind;

/// Returns the document of each row, `None` for NULL.
fn render(array: ArrayRef, kind: PgTypeKind) -> Vec<Option<String>> {
    let bytes = copy(vec![(array, kind, -1)]).unwrap();
    let mut rest = &bytes[19..bytes.len() - 2];
    let mut documents = Vec::new();
    while !rest.is_empty() {
        let length = i32::from_be_bytes(rest[2..6].try_into().unwrap());
        rest = &rest[6..];
        documents.push(usize::try_from(length).ok().map(|length| {
            let document = String::from_utf8(rest[..length].to_vec()).unwrap();
            rest = &rest[length..];
            document
        }));
    }
    documents
}

/// Renders a value as the field of a struct.
fn check(value: impl Array + 'static, expected: &str) {
    let value: ArrayRef = Arc::new(value);
    let field = Arc::new(Field::new("a", value.data_type().clone(), true));
    let row: ArrayRef = Arc::new(StructArray::from(vec![(field, value)]));
    let documents = render(row.clone(), PgTypeKind::Json);
    assert_eq!(documents, [Some(format!("{{\"a\":{expected}}}"))]);
    let documents = render(row, PgTypeKind::Jsonb);
    assert_eq!(documents, [Some(format!("\u{1}{{\"a\":{expected}}}"))]);
}

#[test]
fn numbers_keep_all_their_digits() {
    check(Int64Array::from(vec![i64::MIN]), "-9223372036854775808");
    check(UInt64Array::from(vec![u64::MAX]), "18446744073709551615");
    check(Float64Array::from(vec![0.1]), "0.1");
    check(Float64Array::from(vec![1e300]), "1e+300");
    check(Float32Array::from(vec![0.1]), "0.1");
    let decimal = |value, scale| {
        Decimal128Array::from(vec![value])
            .with_precision_and_scale(38, scale)
            .unwrap()
    };
    check(decimal(-5, 2), "-0.05");
    check(decimal(150, 2), "1.50");
    check(decimal(15, -2), "1500");
    check(decimal(0, -2), "0");
    let long = 12_345_678_901_234_567_890_123_456_789_012_345_678;
    check(decimal(long, 18), "12345678901234567890.123456789012345678");
}

#[test]
fn text_is_escaped_and_bytes_are_base64() {
    check(BooleanArray::from(vec![true]), "true");
    check(
        StringArray::from(vec!["a\"\\\n\u{1}é"]),
        "\"a\\\"\\\\\\n\\u0001é\"",
    );
    check(StringViewArray::from(vec!["x"]), "\"x\"");
    check(BinaryArray::from(vec![&b"\0\xff"[..]]), "\"AP8=\"");
    check(NullArray::new(1), "null");
    check(Int32Array::from(vec![None]), "null");
    check(DictionaryArray::<Int8Type>::from_iter([Some("a")]), "\"a\"");
    check(
        DictionaryArray::<Int8Type>::from_iter([None::<&str>]),
        "null",
    );
}

#[test]
fn dates_and_times_are_iso_8601() {
    check(Date32Array::from(vec![16_070]), "\"2013-12-31\"");
    check(Date64Array::from(vec![-86_400_000]), "\"1969-12-31\"");
    check(
        Time64NanosecondArray::from(vec![1]),
        "\"00:00:00.000000001\"",
    );
    check(
        TimestampMillisecondArray::from(vec![1500]),
        "\"1970-01-01T00:00:01.5\"",
    );
    let zoned = TimestampMicrosecondArray::from(vec![0]).with_timezone("Europe/Berlin");
    check(zoned, "\"1970-01-01T00:00:00Z\"");
    check(DurationSecondArray::from(vec![90]), "\"PT90S\"");
    let interval = IntervalMonthDayNano::new(1, 2, 3_500_000_000);
    check(
        IntervalMonthDayNanoArray::from(vec![interval]),
        "\"P1M2DT3.5S\"",
    );
}

#[test]
fn lists_maps_and_nulls_within() {
    let list = ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1), None])]);
    check(list, "[1,null]");
    check(
        ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![])]),
        "[]",
    );
    let mut map = MapBuilder::new(None, Int32Builder::new(), StringBuilder::new());
    map.keys().append_value(7);
    map.values().append_value("a");
    map.keys().append_value(8);
    map.values().append_null();
    map.append(true).unwrap();
    map.append(true).unwrap();
    map.append(false).unwrap();
    let map = map.finish();
    check(map.slice(0, 1), "{\"7\":\"a\",\"8\":null}");
    let documents = render(Arc::new(map), PgTypeKind::Json);
    let expected = [
        Some("{\"7\":\"a\",\"8\":null}".into()),
        Some("{}".into()),
        None,
    ];
    assert_eq!(documents, expected);
}
