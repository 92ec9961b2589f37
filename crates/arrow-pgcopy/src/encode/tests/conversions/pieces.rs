//! Conversions run piece by piece.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::types::*;
use arrow_array::*;

use super::super::{batch, column, copy, encode, relation};
use super::{converted, form, rounding};
use crate::conversion::{Conversion, Form, Rounding};
use crate::plan::EncodePlan;
use crate::table::PgTypeKind as K;

#[test]
fn pieces_are_converted_completely_and_in_order() {
    let rows: Vec<Option<String>> = (0..500_usize)
        // Some rows are larger than a piece.
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
    // Beside a column without a conversion.
    let numbers: ArrayRef = Arc::new(Int32Array::from_iter_values(0..500));
    let texts: ArrayRef = Arc::new(texts().collect::<StringArray>());
    let rows = batch(vec![numbers, texts]);
    let relation = relation(vec![column("c0", K::Int4, -1), column("c1", K::Text, -1)]);
    let conversions = BTreeMap::from([("c1".to_owned(), replace)]);
    let plan = EncodePlan::with_conversions(&rows.schema(), &relation, &conversions).unwrap();
    assert!(encode(&plan, &rows, 1 << 20).unwrap() == encode(&plan, &rows, 300).unwrap());
}

#[test]
fn a_failed_conversion_reports_its_row() {
    for bad in [0, 63, 64, 300, 499] {
        let blobs = (0..500).map(|row| if row == bad { &b"\xff"[..] } else { b"a" });
        let array: ArrayRef = Arc::new(BinaryArray::from_iter_values(blobs));
        let error = converted(&array, K::Text, -1, form(Form::Utf8)).unwrap_err();
        assert_eq!(error.row(), Some(bad), "{error}");
        // A value that is converted, and is out of the column's range.
        let values = (0..500).map(|row| if row == bad { 1e300 } else { 1.0 });
        let array: ArrayRef = Arc::new(Float64Array::from_iter_values(values));
        let asked = rounding(Rounding::Nearest);
        let error = converted(&array, K::Int2, -1, asked).unwrap_err();
        assert_eq!(error.row(), Some(bad), "{error}");
    }
}

#[test]
fn a_long_replacement_for_nul_is_rejected() {
    let array: ArrayRef = Arc::new(StringArray::from(vec!["\0"]));
    let replace = |length| Conversion {
        nul: Some("x".repeat(length)),
        ..Conversion::default()
    };
    converted(&array, K::Text, -1, replace(8)).unwrap();
    let error = converted(&array, K::Text, -1, replace(9)).unwrap_err();
    assert!(format!("{error:#}").contains("has 9 bytes"), "{error:#}");
}
