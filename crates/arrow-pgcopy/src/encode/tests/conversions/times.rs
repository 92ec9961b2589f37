//! Dates, times and timestamps: fractions, zones, parts, units, infinities.

use std::sync::Arc;

use arrow_array::*;

use super::{check, converted, form, rounding, unit};
use crate::conversion::{Conversion, Form, Rounding, Unit};
use crate::table::PgTypeKind as K;

#[test]
fn fractions_of_a_second_are_rounded_as_asked() {
    let (floor, nearest) = (rounding(Rounding::Floor), rounding(Rounding::Nearest));
    let nanos = vec![
        Some(-1),
        Some(-500),
        Some(-501),
        Some(499),
        Some(500),
        Some(1999),
        None,
    ];
    let at = |micros: [i64; 6]| -> TimestampMicrosecondArray {
        micros.map(Some).into_iter().chain([None]).collect()
    };
    let from = || TimestampNanosecondArray::from(nanos.clone());
    check(from(), &floor, at([-1, -1, -1, 0, 0, 1]), K::Timestamp, -1);
    check(from(), &nearest, at([0, -1, -1, 0, 1, 2]), K::Timestamp, -1);
    let utc = |array: TimestampMicrosecondArray| array.with_timezone("UTC");
    let zoned = from().with_timezone("Europe/Berlin");
    check(
        zoned,
        &floor,
        utc(at([-1, -1, -1, 0, 0, 1])),
        K::Timestamptz,
        -1,
    );
    let micros = TimestampMicrosecondArray::from(vec![1_499, 1_500, -1]);
    let millis = TimestampMicrosecondArray::from(vec![1_000, 2_000, 0]);
    check(micros, &nearest, millis, K::Timestamp, 3);
    let times = Time64NanosecondArray::from(vec![1_999, 86_399_999_999_999]);
    let whole = Time64MicrosecondArray::from(vec![1, 86_399_999_999]);
    check(times, &floor, whole, K::Time, -1);
    let durations = DurationNanosecondArray::from(vec![-1, 1_500]);
    let whole = DurationMicrosecondArray::from(vec![-1, 1]);
    check(durations, &floor, whole, K::Interval, -1);
}

#[test]
fn sentinels_become_infinities_only_on_request() {
    let sentinels = Conversion {
        infinity_sentinels: true,
        ..Conversion::default()
    };
    let micros =
        || TimestampMicrosecondArray::from(vec![Some(i64::MIN), Some(0), None, Some(i64::MAX)]);
    let texts = |zero: &'static str| {
        StringArray::from(vec![Some("-infinity"), Some(zero), None, Some("infinity")])
    };
    check(micros(), &sentinels, texts("1970-01-01"), K::Timestamp, -1);
    let rounded = Conversion {
        rounding: Some(Rounding::Floor),
        ..sentinels.clone()
    };
    let nanos = TimestampNanosecondArray::from(vec![Some(i64::MIN), Some(1), None, Some(i64::MAX)])
        .with_timezone("UTC");
    check(nanos, &rounded, texts("1970-01-01Z"), K::Timestamptz, -1);
    let days = Date32Array::from(vec![Some(i32::MIN), Some(0), None, Some(i32::MAX)]);
    check(days, &sentinels, texts("1970-01-01"), K::Date, -1);
    let array: ArrayRef = Arc::new(micros());
    assert!(converted(&array, K::Timestamp, -1, Conversion::default()).is_err());
}

#[test]
fn integers_and_times_convert_by_their_unit() {
    let days = Int64Array::from(vec![Some(0), None, Some(-1)]);
    let dates = || Date32Array::from(vec![Some(0), None, Some(-1)]);
    check(days, &unit(Unit::Days), dates(), K::Date, -1);
    let counts = || Int32Array::from(vec![Some(0), None, Some(-1)]);
    let seconds = || TimestampSecondArray::from(vec![Some(0), None, Some(-1)]);
    check(counts(), &unit(Unit::Seconds), seconds(), K::Timestamp, -1);
    check(
        counts(),
        &unit(Unit::Seconds),
        seconds().with_timezone("UTC"),
        K::Timestamptz,
        -1,
    );
    let durations = || DurationMillisecondArray::from(vec![Some(0), None, Some(-1)]);
    check(
        counts(),
        &unit(Unit::Milliseconds),
        durations(),
        K::Interval,
        -1,
    );
    check(
        durations(),
        &unit(Unit::Milliseconds),
        counts(),
        K::Int4,
        -1,
    );
    check(seconds(), &unit(Unit::Seconds), counts(), K::Numeric, -1);
    let floor = Conversion {
        rounding: Some(Rounding::Floor),
        ..unit(Unit::Seconds)
    };
    check(durations(), &floor, counts(), K::Int8, -1);
    let fine: ArrayRef = Arc::new(durations());
    let error = converted(&fine, K::Int8, -1, unit(Unit::Seconds)).unwrap_err();
    assert!(format!("{error:#}").contains("finer fraction"), "{error:#}");
    let large: ArrayRef = Arc::new(UInt64Array::from(vec![u64::MAX]));
    let error = converted(&large, K::Timestamp, -1, unit(Unit::Seconds)).unwrap_err();
    assert!(format!("{error:#}").contains("out of range"), "{error:#}");
}

#[test]
fn timestamps_become_dates_and_times_in_a_zone() {
    let zone = Conversion {
        zone: Some("-05:30".to_owned()),
        ..Conversion::default()
    };
    let days = Date32Array::from(vec![Some(0), None, Some(-1)]);
    let texts = vec![
        Some("1970-01-01 00:00-05:30"),
        None,
        Some("1969-12-31 00:00-05:30"),
    ];
    check(days, &zone, StringArray::from(texts), K::Timestamptz, -1);
    let times = Time32MillisecondArray::from(vec![Some(0), None, Some(86_400_000), Some(1)]);
    let texts = vec![
        Some("00:00:00-05:30"),
        None,
        Some("24:00:00-05:30"),
        Some("00:00:00.001-05:30"),
    ];
    check(times, &zone, StringArray::from(texts), K::Timetz, -1);
    let micros = || TimestampMicrosecondArray::from(vec![Some(-1), None, Some(86_400_000_000)]);
    let dates = Date32Array::from(vec![Some(-1), None, Some(1)]);
    check(micros(), &form(Form::Part), dates.clone(), K::Date, -1);
    let times = Time64MicrosecondArray::from(vec![Some(86_399_999_999), None, Some(0)]);
    check(micros(), &form(Form::Part), times, K::Time, -1);
    let millis = TimestampMillisecondArray::from(vec![Some(-1), None]);
    let times = Time32MillisecondArray::from(vec![Some(86_399_999), None]);
    check(millis, &form(Form::Part), times, K::Time, -1);
    let local = Conversion {
        zone: Some("+00:01".to_owned()),
        ..form(Form::Part)
    };
    let dates = Date32Array::from(vec![Some(0), None, Some(1)]);
    check(micros().with_timezone("UTC"), &local, dates, K::Date, -1);
}
