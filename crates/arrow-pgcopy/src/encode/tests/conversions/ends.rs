//! Values outside of a column's range.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::*;

use super::{check, converted, numeric, overflow};
use crate::conversion::{Conversion, Form, Overflow, Rounding};
use crate::encode::tests::{batch, column, relation};
use crate::plan::EncodePlan;
use crate::table::PgTypeKind as K;

#[test]
fn values_out_of_range_become_clamped_null_or_infinite() {
    let (clamp, null) = (overflow(Overflow::Clamp), overflow(Overflow::Null));
    let infinity = overflow(Overflow::Infinity);
    let integers = || Int64Array::from(vec![Some(i64::MIN), Some(-7), None, Some(40_000)]);
    let held = Int64Array::from(vec![Some(-32_768), Some(-7), None, Some(32_767)]);
    check(integers(), &clamp, held, K::Int2, -1);
    let held = Int64Array::from(vec![None, Some(-7), None, None]);
    check(integers(), &null, held, K::Int2, -1);
    let oids = UInt64Array::from(vec![0, 0, 5_000_000_000]);
    let negative = Int64Array::from(vec![-1, 0, 5_000_000_000]);
    check(negative, &clamp, oids.clone(), K::Xid8, -1);
    check(
        oids,
        &clamp,
        UInt32Array::from(vec![0, 0, u32::MAX]),
        K::Oid,
        -1,
    );
    let decimals = |values: Vec<i128>, scale| {
        let array = Decimal128Array::from(values);
        array.with_precision_and_scale(38, scale).unwrap()
    };
    let large = decimals(vec![10_000_000, -10_000_000, 9_999_900], 4);
    let held = decimals(vec![9_999_900, -9_999_900, 9_999_900], 4);
    check(large, &clamp, held, K::Numeric, numeric(5, 2));
    let both = Conversion {
        rounding: Some(Rounding::Nearest),
        ..clamp.clone()
    };
    let floats = Float64Array::from(vec![1e300, -1e300, f64::INFINITY, 2.5]);
    let held = Int64Array::from(vec![i64::MAX, i64::MIN, i64::MAX, 3]);
    check(floats.clone(), &both, held, K::Int8, -1);
    let held = Float32Array::from(vec![f32::MAX, f32::MIN, f32::INFINITY, 2.5]);
    check(floats.clone(), &both, held, K::Float4, -1);
    let nulled = Conversion {
        rounding: Some(Rounding::Nearest),
        ..null.clone()
    };
    let held = Int64Array::from(vec![None, None, None, Some(3)]);
    check(floats, &nulled, held, K::Int8, -1);
    let texts = StringArray::from(vec!["1", "99999999999", "2"]);
    let held = StringArray::from(vec![Some("1"), None, Some("2")]);
    check(texts, &null, held, K::Int4, -1);
    let days = || Date32Array::from(vec![Some(i32::MIN), None, Some(0), Some(i32::MAX)]);
    let held = Date32Array::from(vec![
        Some(10_957 - 2_451_545),
        None,
        Some(0),
        Some(10_957 + 2_145_031_948),
    ]);
    check(days(), &clamp, held, K::Date, -1);
    let held = StringArray::from(vec![
        Some("-infinity"),
        None,
        Some("1970-01-01"),
        Some("infinity"),
    ]);
    check(days(), &infinity, held.clone(), K::Date, -1);
    check(days(), &infinity, held.clone(), K::Timestamp, -1);
    let seconds = TimestampSecondArray::from(vec![Some(i64::MIN), None, Some(0), Some(i64::MAX)]);
    let both = Conversion {
        rounding: Some(Rounding::Floor),
        zone: Some("+02:00".to_owned()),
        ..infinity.clone()
    };
    check(seconds.clone(), &infinity, held, K::Timestamp, -1);
    let zoned = StringArray::from(vec![
        Some("-infinity"),
        None,
        Some("1970-01-01+02:00"),
        Some("infinity"),
    ]);
    check(seconds, &both, zoned, K::Timestamptz, -1);
    // The last valid second is out of the range of microseconds since 1970.
    let late = TimestampSecondArray::from(vec![Some(i64::MAX), Some(0)]);
    let held = StringArray::from(vec!["294276-12-31T23:59:59", "1970-01-01"]);
    check(late, &clamp, held, K::Timestamp, -1);
    // A value that the zone moves into the column's range is not clamped before.
    let early = || TimestampSecondArray::from(vec![-210_866_846_400, i64::MIN]);
    let shifted = |asked: &Conversion| Conversion {
        zone: Some("+14:00".to_owned()),
        ..asked.clone()
    };
    let held = TimestampSecondArray::from(vec![-210_866_796_000, -210_866_803_200]);
    check(
        early().with_timezone("UTC"),
        &shifted(&clamp),
        held,
        K::Timestamp,
        -1,
    );
    let small: ArrayRef = Arc::new(Int16Array::from(vec![1]));
    let error = converted(&small, K::Bool, -1, clamp).unwrap_err();
    assert!(format!("{error:#}").contains("has no meaning"), "{error:#}");
}

#[test]
fn invalid_times_and_dates_are_not_written_as_text() {
    let text = Conversion {
        form: Some(Form::Text),
        ..Conversion::default()
    };
    let values: [(ArrayRef, &str); 3] = [
        (
            Arc::new(Time64MicrosecondArray::from(vec![0, -5])),
            "out of range",
        ),
        (
            Arc::new(Time32SecondArray::from(vec![86_400, 86_401])),
            "out of range",
        ),
        (Arc::new(Date64Array::from(vec![0, 1])), "fraction"),
    ];
    for (array, says) in values {
        let error = converted(&array, K::Text, -1, text.clone()).unwrap_err();
        assert!(format!("{error:#}").contains(says), "{error:#}");
        assert_eq!(error.row(), Some(1), "{error}");
    }
}

#[test]
fn not_null_columns_reject_nulls() {
    let batch = batch(vec![Arc::new(Int64Array::from(vec![1]))]);
    let mut strict = column("c0", K::Int2, -1);
    strict.nullable = false;
    let conversions = BTreeMap::from([("c0".to_owned(), overflow(Overflow::Null))]);
    let relation = relation(vec![strict]);
    let plan = EncodePlan::with_conversions(&batch.schema(), &relation, &conversions);
    let error = plan.unwrap_err().to_string();
    assert!(error.contains("NOT NULL"), "{error}");
}
