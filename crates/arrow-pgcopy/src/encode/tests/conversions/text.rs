//! Text and binary: other forms, cuts, cleaning.

use std::sync::Arc;

use arrow_array::*;

use super::{check, converted, form, numeric};
use crate::conversion::{Conversion, Form};
use crate::table::PgTypeKind as K;

#[test]
fn other_values_are_written_as_text() {
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
    let list = crate::encode::tests::golden::types::list(Arc::new(list), &[Some(2), None, Some(1)]);
    check_text(Arc::new(list), ["[1,null]", "[3]"]);
    let too_long: ArrayRef = Arc::new(Int32Array::from(vec![1, 12_345]));
    let error = converted(&too_long, K::Varchar, 4 + 4, text.clone()).unwrap_err();
    assert!(
        format!("{error:#}").contains("more characters"),
        "{error:#}"
    );
}

#[test]
fn booleans_and_bytes_take_the_requested_form() {
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
    assert_eq!(error.sqlstate(), Some("22021"), "{error}");
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
fn well_known_binary_gets_the_requested_srid() {
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
