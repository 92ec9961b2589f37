//! What was asked to be changed in values, and nothing else.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::types::*;
use arrow_array::*;

use super::{batch, column, copy, encode, relation};
use crate::plan::{Conversion, EncodePlan, Form, Overflow, PgTypeKind as K, Rounding, Unit};

fn converted(
    array: &ArrayRef,
    kind: K,
    typmod: i32,
    asked: Conversion,
) -> crate::error::Result<Vec<u8>> {
    let batch = batch(vec![array.clone()]);
    let relation = relation(vec![column("c0", kind, typmod)]);
    let conversions = BTreeMap::from([("c0".to_owned(), asked)]);
    let plan = EncodePlan::with_conversions(&batch.schema(), &relation, &conversions)?;
    encode(&plan, &batch, 1 << 20)
}

fn rounding(rounding: Rounding) -> Conversion {
    Conversion {
        rounding: Some(rounding),
        ..Conversion::default()
    }
}

/// Expects the converted array to be encoded as the other is without a conversion, whole and sliced.
fn check(
    array: impl Array + 'static,
    asked: &Conversion,
    plain: impl Array + 'static,
    kind: K,
    typmod: i32,
) {
    let (array, plain): (ArrayRef, ArrayRef) = (Arc::new(array), Arc::new(plain));
    for from in 0..array.len() {
        let rest = array.len() - from;
        let file = copy(vec![(plain.slice(from, rest), kind.clone(), typmod)]).unwrap();
        let bytes = converted(
            &array.slice(from, rest),
            kind.clone(),
            typmod,
            asked.clone(),
        );
        assert_eq!(
            bytes.unwrap(),
            file[19..file.len() - 2],
            "{asked:?} from {from}"
        );
    }
}

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
fn decimals_and_doubles_are_rounded_as_asked() {
    let (floor, nearest) = (rounding(Rounding::Floor), rounding(Rounding::Nearest));
    let decimals = |values: [i128; 6], scale| {
        let values = values.map(Some).into_iter().chain([None]);
        let array = values.collect::<Decimal128Array>();
        array.with_precision_and_scale(20, scale).unwrap()
    };
    let from = || decimals([1_005, 1_004, -1_005, -1_001, 0, 99_999], 3);
    let typmod = (10 << 16 | 2) + 4;
    check(
        from(),
        &nearest,
        decimals([101, 100, -101, -100, 0, 10_000], 2),
        K::Numeric,
        typmod,
    );
    check(
        from(),
        &floor,
        decimals([100, 100, -101, -101, 0, 9_999], 2),
        K::Numeric,
        typmod,
    );
    check(
        from(),
        &nearest,
        decimals([1, 1, -1, -1, 0, 100], 0),
        K::Int4,
        -1,
    );
    let dollars = K::Money { fraction_digits: 2 };
    check(
        from(),
        &nearest,
        decimals([101, 100, -101, -100, 0, 10_000], 2),
        dollars,
        -1,
    );
    let doubles = Float64Array::from(vec![Some(0.1), None, Some(f64::NAN), Some(f64::INFINITY)]);
    let singles = Float32Array::from(vec![Some(0.1), None, Some(f32::NAN), Some(f32::INFINITY)]);
    check(doubles, &nearest, singles, K::Float4, -1);
    let large: ArrayRef = Arc::new(Float64Array::from(vec![1e39]));
    let error = converted(&large, K::Float4, -1, nearest).unwrap_err();
    assert!(error.to_string().contains("out of range"), "{error}");
}

#[test]
fn zones_and_nul_characters() {
    let zone = |zone: &str| Conversion {
        zone: Some(zone.to_owned()),
        ..Conversion::default()
    };
    let hour = 3_600_000_000;
    let local = || TimestampMicrosecondArray::from(vec![Some(2 * hour), None]);
    let utc = || TimestampMicrosecondArray::from(vec![Some(0), None]).with_timezone("UTC");
    check(local(), &zone("+02:00"), utc(), K::Timestamptz, -1);
    check(utc(), &zone("+02:00"), local(), K::Timestamp, -1);
    let both = Conversion {
        rounding: Some(Rounding::Floor),
        ..zone("-01:00")
    };
    let nanos = TimestampNanosecondArray::from(vec![Some(-3_600_000_000_001), None]);
    let utc = TimestampMicrosecondArray::from(vec![Some(-1), None]).with_timezone("UTC");
    check(nanos, &both, utc, K::Timestamptz, -1);
    let remove = Conversion {
        nul: Some(String::new()),
        ..Conversion::default()
    };
    let texts = vec![Some("a\0b\0"), None, Some("é"), Some("a\0b\0")];
    let clean = || StringArray::from(vec![Some("ab"), None, Some("é"), Some("ab")]);
    check(
        StringViewArray::from(texts.clone()),
        &remove,
        clean(),
        K::Text,
        -1,
    );
    let dictionary: DictionaryArray<Int8Type> = texts.into_iter().collect();
    check(dictionary, &remove, clean(), K::Jsonb, -1);
}

fn form(form: Form) -> Conversion {
    Conversion {
        form: Some(form),
        ..Conversion::default()
    }
}

fn unit(unit: Unit) -> Conversion {
    Conversion {
        unit: Some(unit),
        ..Conversion::default()
    }
}

fn overflow(overflow: Overflow) -> Conversion {
    Conversion {
        overflow: Some(overflow),
        ..Conversion::default()
    }
}

/// `numeric(precision,scale)`.
fn numeric(precision: i32, scale: i32) -> i32 {
    (precision << 16 | scale) + 4
}

#[test]
fn floats_are_rounded_by_their_shortest_decimal_form() {
    let (floor, nearest) = (rounding(Rounding::Floor), rounding(Rounding::Nearest));
    let doubles = || Float64Array::from(vec![Some(2.5), Some(-2.5), Some(1e15), None, Some(-0.1)]);
    let whole = |values: [i64; 4]| {
        let [a, b, c, d] = values.map(Some);
        Int64Array::from(vec![a, b, c, None, d])
    };
    let large = 1_000_000_000_000_000;
    check(doubles(), &nearest, whole([3, -3, large, 0]), K::Int8, -1);
    check(doubles(), &floor, whole([2, -3, large, -1]), K::Int8, -1);
    // As a double 1.005 is less than it is as a decimal, and so it would be rounded down.
    let prices = Float64Array::from(vec![1.005, -1.005, 0.1, 1e-300]);
    let cents = |cents: Vec<i128>| {
        let cents = Decimal128Array::from(cents);
        cents.with_precision_and_scale(20, 2).unwrap()
    };
    let dollars = K::Money { fraction_digits: 2 };
    check(
        prices.clone(),
        &nearest,
        cents(vec![101, -101, 10, 0]),
        dollars,
        -1,
    );
    let singles = Float32Array::from(vec![1.005, -1.005, f32::NAN]);
    let rounded = Float32Array::from(vec![1.01, -1.01, f32::NAN]);
    check(singles, &nearest, rounded, K::Numeric, numeric(5, 2));
    let floored = Float64Array::from(vec![1.0, -1.01, 0.1, 0.0]);
    check(prices, &floor, floored, K::Numeric, numeric(5, 2));
    let nan: ArrayRef = Arc::new(Float64Array::from(vec![f64::NAN]));
    let error = converted(&nan, K::Int4, -1, nearest).unwrap_err();
    assert!(error.to_string().contains("NaN or infinite"), "{error}");
}

#[test]
fn numbers_are_rounded_to_the_nearest_float() {
    let nearest = rounding(Rounding::Nearest);
    let integers = Int64Array::from(vec![(1 << 53) + 1, i64::MAX, -16_777_217]);
    let doubles = Float64Array::from(vec![
        9_007_199_254_740_992.0,
        9_223_372_036_854_775_808.0,
        -16_777_217.0,
    ]);
    check(integers.clone(), &nearest, doubles, K::Float8, -1);
    let singles = Float32Array::from(vec![9_007_199_254_740_992.0, 9.223_372e18, -16_777_216.0]);
    check(integers, &nearest, singles, K::Float4, -1);
    let decimals = Decimal128Array::from(vec![Some(1), Some(-123_456_789), None]);
    let decimals = decimals.with_precision_and_scale(20, 1).unwrap();
    let doubles = Float64Array::from(vec![Some(0.1), Some(-12_345_678.9), None]);
    check(decimals.clone(), &nearest, doubles, K::Float8, -1);
    let singles = Float32Array::from(vec![Some(0.1), Some(-12_345_679.0), None]);
    check(decimals, &nearest, singles, K::Float4, -1);
}

#[test]
fn what_is_beyond_the_column_is_clamped_null_or_infinite() {
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
    // The last second that there is lies beyond what microseconds from 1970 can be counted to.
    let late = TimestampSecondArray::from(vec![Some(i64::MAX), Some(0)]);
    let held = StringArray::from(vec!["294276-12-31T23:59:59", "1970-01-01"]);
    check(late, &clamp, held, K::Timestamp, -1);
    // What the zone brings back into the column is not held back before it.
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
    assert!(error.to_string().contains("has no meaning"), "{error}");
}

#[test]
fn what_is_no_time_of_day_or_no_whole_day_is_not_written_out_either() {
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
        assert!(error.to_string().contains(says), "{error}");
        assert_eq!(error.context().row, Some(1), "{error}");
    }
}

#[test]
fn sentinels_are_infinities_only_when_that_is_asked_for() {
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
fn integers_are_times_and_times_integers_of_the_unit_that_is_said() {
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
    assert!(error.to_string().contains("finer fraction"), "{error}");
    let large: ArrayRef = Arc::new(UInt64Array::from(vec![u64::MAX]));
    let error = converted(&large, K::Timestamp, -1, unit(Unit::Nanoseconds)).unwrap_err();
    assert!(error.to_string().contains("out of range"), "{error}");
}

#[test]
fn dates_times_and_timestamps_are_parts_of_each_other_where_a_zone_is_said() {
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

#[test]
fn values_that_are_no_text_are_written_out() {
    let text = form(Form::Text);
    let check_text = |array: ArrayRef, expected: [&str; 2]| {
        let [a, b] = expected.map(Some);
        let expected: ArrayRef = Arc::new(StringArray::from(vec![a, None, b]));
        check(array, &text, expected, K::Text, -1);
    };
    check_text(
        Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)])),
        ["true", "false"],
    );
    check_text(
        Arc::new(UInt64Array::from(vec![Some(u64::MAX), None, Some(0)])),
        ["18446744073709551615", "0"],
    );
    let decimals = Decimal128Array::from(vec![Some(-120), None, Some(5)]);
    check_text(
        Arc::new(decimals.with_precision_and_scale(9, 2).unwrap()),
        ["-1.20", "0.05"],
    );
    check_text(
        Arc::new(Float64Array::from(vec![
            Some(0.1),
            None,
            Some(f64::NEG_INFINITY),
        ])),
        ["0.1", "-Infinity"],
    );
    check_text(
        Arc::new(Date32Array::from(vec![Some(0), None, Some(-1)])),
        ["1970-01-01", "1969-12-31"],
    );
    let micros = TimestampMicrosecondArray::from(vec![Some(1), None, Some(0)]).with_timezone("UTC");
    check_text(
        Arc::new(micros),
        ["1970-01-01T00:00:00.000001Z", "1970-01-01T00:00:00Z"],
    );
    let list = Int32Array::from(vec![Some(1), None, Some(3)]);
    let list = super::golden_types::list(Arc::new(list), &[Some(2), None, Some(1)]);
    check_text(Arc::new(list), ["[1,null]", "[3]"]);
    let too_long: ArrayRef = Arc::new(Int32Array::from(vec![1, 12_345]));
    let error = converted(&too_long, K::Varchar, 4 + 4, text.clone()).unwrap_err();
    assert!(error.to_string().contains("more characters"), "{error}");
}

#[test]
fn booleans_and_bytes_are_what_was_said() {
    let number = form(Form::Number);
    let flags = || BooleanArray::from(vec![Some(true), None, Some(false)]);
    let bits = || Int8Array::from(vec![Some(1), None, Some(0)]);
    check(flags(), &number, bits(), K::Int2, -1);
    check(flags(), &number, bits(), K::Numeric, numeric(1, 0));
    check(
        flags(),
        &number,
        StringArray::from(vec![Some("1"), None, Some("0")]),
        K::Bit,
        1,
    );
    check(bits(), &number, flags(), K::Bool, -1);
    let other: ArrayRef = Arc::new(Int8Array::from(vec![2]));
    assert!(converted(&other, K::Bool, -1, number).is_err());

    let blobs = || BinaryArray::from_opt_vec(vec![Some(b"{}"), None, Some("é".as_bytes())]);
    let texts = |texts: [&'static str; 2]| {
        let [a, b] = texts.map(Some);
        StringArray::from(vec![a, None, b])
    };
    check(blobs(), &form(Form::Utf8), texts(["{}", "é"]), K::Jsonb, -1);
    check(
        blobs(),
        &form(Form::Hex),
        texts(["7b7d", "c3a9"]),
        K::Text,
        -1,
    );
    check(
        blobs(),
        &form(Form::Base64),
        texts(["e30=", "w6k="]),
        K::Varchar,
        -1,
    );
    check(
        texts(["7b7d", "C3a9"]),
        &form(Form::Hex),
        blobs(),
        K::Bytea,
        -1,
    );
    check(
        texts(["e30=", "w6k="]),
        &form(Form::Base64),
        blobs(),
        K::Bytea,
        -1,
    );
    check(texts(["{}", "é"]), &form(Form::Utf8), blobs(), K::Bytea, -1);
    let broken = || BinaryArray::from_opt_vec(vec![Some(b"a\xff"), None, Some(b"b")]);
    check(
        broken(),
        &form(Form::Utf8Lossy),
        texts(["a\u{fffd}", "b"]),
        K::Text,
        -1,
    );
    let array: ArrayRef = Arc::new(broken());
    let error = converted(&array, K::Text, -1, form(Form::Utf8)).unwrap_err();
    assert_eq!(
        error.context().sqlstate.as_deref(),
        Some("22021"),
        "{error}"
    );
    let array: ArrayRef = Arc::new(StringArray::from(vec!["e3"]));
    let error = converted(&array, K::Bytea, -1, form(Form::Base64)).unwrap_err();
    assert!(
        error.to_string().contains("form that was asked for"),
        "{error}"
    );

    let address = form(Form::Address);
    let hosts = BinaryArray::from_opt_vec(vec![Some(&[10, 0, 0, 1]), None, Some(&[0; 16])]);
    check(hosts, &address, texts(["10.0.0.1", "::"]), K::Inet, -1);
    let cards = BinaryArray::from_opt_vec(vec![Some(&[8, 0, 43, 1, 2, 3]), None, Some(&[255; 6])]);
    check(
        cards,
        &address,
        texts(["08002b010203", "ffffffffffff"]),
        K::Macaddr,
        -1,
    );
    let array: ArrayRef = Arc::new(BinaryArray::from_vec(vec![b"abcde"]));
    assert!(converted(&array, K::Inet, -1, address).is_err());
}

#[test]
fn text_is_cut_and_cleaned() {
    let truncate = Conversion {
        truncate: true,
        ..Conversion::default()
    };
    let texts = || StringViewArray::from(vec![Some("étéé"), None, Some("a"), Some("")]);
    let cut = StringArray::from(vec![Some("été"), None, Some("a"), Some("")]);
    check(texts(), &truncate, cut, K::Varchar, 3 + 4);
    let long = format!("{}é", "x".repeat(62));
    let names = StringArray::from(vec![Some(long.as_str()), None]);
    let cut = StringArray::from(vec![Some("x".repeat(62)), None]);
    check(names, &truncate, cut, K::Name, -1);
    let replace = Conversion {
        nul: Some("?".to_owned()),
        ..Conversion::default()
    };
    let texts = StringArray::from(vec![Some("a\0\0b"), None]);
    check(
        texts,
        &replace,
        StringArray::from(vec![Some("a??b"), None]),
        K::Text,
        -1,
    );
}

#[test]
fn well_known_binary_is_given_a_reference_system() {
    let asked = Conversion {
        srid: Some(4326),
        ..Conversion::default()
    };
    // POINT(1 2), by PostGIS's ST_AsBinary and ST_AsEWKB in both byte orders.
    let little = b"\x01\x01\0\0\0\0\0\0\0\0\0\xf0\x3f\0\0\0\0\0\0\0\x40";
    let named = b"\x01\x01\0\0\x20\xe6\x10\0\0\0\0\0\0\0\0\xf0\x3f\0\0\0\0\0\0\0\x40";
    let big = b"\0\0\0\0\x01\x3f\xf0\0\0\0\0\0\0\x40\0\0\0\0\0\0\0";
    let named_big = b"\0\x20\0\0\x01\0\0\x10\xe6\x3f\xf0\0\0\0\0\0\0\x40\0\0\0\0\0\0\0";
    let plain = BinaryArray::from_vec(vec![little, named, big]);
    let expected = BinaryArray::from_vec(vec![named, named, named_big]);
    check(plain, &asked, expected, K::Geometry, -1);
}

#[test]
fn a_column_that_takes_no_null_is_not_given_any() {
    let batch = batch(vec![Arc::new(Int64Array::from(vec![1]))]);
    let mut strict = column("c0", K::Int2, -1);
    strict.nullable = false;
    let conversions = BTreeMap::from([("c0".to_owned(), overflow(Overflow::Null))]);
    let relation = relation(vec![strict]);
    let plan = EncodePlan::with_conversions(&batch.schema(), &relation, &conversions);
    let error = plan.unwrap_err().to_string();
    assert!(error.contains("NOT NULL"), "{error}");
}

#[test]
fn what_has_no_meaning_is_refused() {
    let refuse = |array: ArrayRef, kind: K, asked: Conversion, words: &str| {
        let error = converted(&array, kind, -1, asked).unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
    };
    let integers = || -> ArrayRef { Arc::new(Int64Array::from(vec![1])) };
    let doubles: ArrayRef = Arc::new(Float64Array::from(vec![0.1]));
    let local: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![1]));
    let zone = |zone: &str| Conversion {
        zone: Some(zone.to_owned()),
        ..Conversion::default()
    };
    let remove = Conversion {
        nul: Some(String::new()),
        ..Conversion::default()
    };
    refuse(
        integers(),
        K::Int4,
        rounding(Rounding::Floor),
        "has no meaning for Int64 into integer",
    );
    refuse(
        doubles,
        K::Float4,
        rounding(Rounding::Floor),
        "has no meaning",
    );
    refuse(integers(), K::Int8, remove, "from strings alone");
    refuse(local.clone(), K::Timestamp, zone("UTC"), "has no meaning");
    refuse(
        local,
        K::Timestamptz,
        zone("Europe/Berlin"),
        "neither UTC nor an offset",
    );
}
