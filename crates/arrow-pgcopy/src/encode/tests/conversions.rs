//! Conversions change what was asked for, and nothing else.

mod ends;
mod numbers;
mod pieces;
mod text;
mod times;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::types::*;
use arrow_array::*;

use super::{batch, column, copy, encode, relation};
use crate::conversion::{Conversion, Form, Overflow, Rounding, Unit};
use crate::plan::EncodePlan;
use crate::table::PgTypeKind as K;

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

/// Checks that the converted array encodes as the other one does without a conversion, whole and sliced.
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

#[test]
fn conversions_without_a_meaning_are_rejected() {
    let refuse = |array: ArrayRef, kind: K, asked: Conversion, words: &str| {
        let error = converted(&array, kind, -1, asked).unwrap_err();
        assert!(format!("{error:#}").contains(words), "{error:#}");
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
        "ask for rounding: nearest",
    );
    refuse(integers(), K::Int8, remove, "from strings only");
    refuse(local.clone(), K::Timestamp, zone("UTC"), "has no meaning");
    refuse(
        local,
        K::Timestamptz,
        zone("Europe/Bonn"),
        "there is no zone \"Europe/Bonn\"",
    );
    let times: ArrayRef = Arc::new(Time64MicrosecondArray::from(vec![1]));
    refuse(times, K::Timetz, zone("Europe/Berlin"), "has no date");
}

#[test]
fn whole_floats_and_midnights_are_clamped_or_nulled_only_as_asked() {
    let doubles = || Float64Array::from(vec![Some(3.0), None, Some(f64::NAN), Some(1e300)]);
    let held = Int32Array::from(vec![Some(3), None, None, None]);
    check(doubles(), &overflow(Overflow::Null), held, K::Int4, -1);
    let array: ArrayRef = Arc::new(doubles());
    let refused = converted(&array, K::Int4, -1, overflow(Overflow::Clamp)).unwrap_err();
    assert!(
        refused.to_string().contains("overflow was asked for"),
        "{refused}"
    );
    let seconds = TimestampSecondArray::from(vec![i64::MIN, 86_400, i64::MAX]);
    let days = Date32Array::from(vec![-2_440_588, 1, 2_145_042_905]);
    check(seconds, &overflow(Overflow::Clamp), days, K::Date, -1);
}
