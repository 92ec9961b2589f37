//! What was asked to be changed in values, and nothing else.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::types::*;
use arrow_array::*;

use super::{batch, column, copy, encode, relation};
use crate::plan::{Conversion, EncodePlan, PgTypeKind as K, Rounding};

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
        remove_nul: true,
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
        remove_nul: true,
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
