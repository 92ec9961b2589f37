//! What was asked to be changed in values, and nothing else.

mod ends;
mod numbers;
mod text;
mod times;

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
fn what_is_converted_piece_by_piece_lands_whole_and_in_order() {
    let rows: Vec<Option<String>> = (0..500_usize)
        // Rows that are larger than a piece stand among small ones.
        .map(|row| (row % 7 > 0).then(|| "x\0".repeat(row % 5 + row / 499 * 9000)))
        .collect();
    let clean = rows
        .iter()
        .map(|row| row.as_ref().map(|text| text.replace('\0', "\u{fffd}")));
    let clean: ArrayRef = Arc::new(clean.collect::<StringArray>());
    let texts = || rows.iter().map(Option::as_deref);
    let replace = Conversion {
        nul: Some("\u{fffd}".to_owned()),
        ..Conversion::default()
    };
    let arrays: [ArrayRef; 4] = [
        Arc::new(texts().collect::<StringArray>()),
        Arc::new(texts().collect::<LargeStringArray>()),
        Arc::new(texts().collect::<StringViewArray>()),
        Arc::new(texts().collect::<DictionaryArray<Int32Type>>()),
    ];
    let file = copy(vec![(clean, K::Text, -1)]).unwrap();
    for array in arrays {
        let bytes = converted(&array, K::Text, -1, replace.clone()).unwrap();
        assert!(bytes == file[19..file.len() - 2], "{}", array.data_type());
    }
    // Beside a column that is as it was.
    let numbers: ArrayRef = Arc::new(Int32Array::from_iter_values(0..500));
    let texts: ArrayRef = Arc::new(texts().collect::<StringArray>());
    let rows = batch(vec![numbers, texts]);
    let relation = relation(vec![column("c0", K::Int4, -1), column("c1", K::Text, -1)]);
    let conversions = BTreeMap::from([("c1".to_owned(), replace)]);
    let plan = EncodePlan::with_conversions(&rows.schema(), &relation, &conversions).unwrap();
    assert!(encode(&plan, &rows, 1 << 20).unwrap() == encode(&plan, &rows, 300).unwrap());
}

#[test]
fn a_value_that_cannot_be_converted_is_told_with_its_row() {
    for bad in [0, 63, 64, 300, 499] {
        let blobs = (0..500).map(|row| if row == bad { &b"\xff"[..] } else { b"a" });
        let array: ArrayRef = Arc::new(BinaryArray::from_iter_values(blobs));
        let error = converted(&array, K::Text, -1, form(Form::Utf8)).unwrap_err();
        assert_eq!(error.context().row, Some(bad), "{error}");
        // One that is converted, and that the column does not hold.
        let values = (0..500).map(|row| if row == bad { 1e300 } else { 1.0 });
        let array: ArrayRef = Arc::new(Float64Array::from_iter_values(values));
        let asked = rounding(Rounding::Nearest);
        let error = converted(&array, K::Int2, -1, asked).unwrap_err();
        assert_eq!(error.context().row, Some(bad), "{error}");
    }
}

#[test]
fn what_replaces_nul_characters_is_short() {
    let array: ArrayRef = Arc::new(StringArray::from(vec!["\0"]));
    let replace = |length| Conversion {
        nul: Some("x".repeat(length)),
        ..Conversion::default()
    };
    converted(&array, K::Text, -1, replace(8)).unwrap();
    let error = converted(&array, K::Text, -1, replace(9)).unwrap_err();
    assert!(error.to_string().contains("has 9 bytes"), "{error}");
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
        "ask for rounding: nearest",
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
