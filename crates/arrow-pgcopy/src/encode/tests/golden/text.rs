//! Strings that are parsed, compared to PostgreSQL's bytes for the same text.

use std::sync::Arc;

use arrow_array::builder::{ListBuilder, StringBuilder};
use arrow_array::types::Int32Type;
use arrow_array::*;
use arrow_schema::DataType;

use super::types::text;
use super::{check, check_with_modifiers, numeric};
use crate::encode::tests::array_of;
use crate::table::PgTypeKind as K;

#[test]
fn numbers_parsed_from_text() {
    let columns = vec![
        (
            text(["true", "f", "YES", "off", "1", "n", "on", "0", "t", "t"]),
            K::Bool,
            -1,
        ),
        (
            text(["-32768", "32767", " 7", "0", "1", "1", "1", "1", "1", "1"]),
            K::Int2,
            -1,
        ),
        (
            text([
                "-2147483648",
                "2147483647",
                "+7",
                "0",
                "1",
                "1",
                "1",
                "1",
                "1",
                "1",
            ]),
            K::Int4,
            -1,
        ),
        (
            text([
                "-9223372036854775808",
                "9223372036854775807",
                "7 ",
                "0",
                "1",
                "1",
                "1",
                "1",
                "1",
                "1",
            ]),
            K::Int8,
            -1,
        ),
        (
            text(["0", "4294967295", "7", "1", "1", "1", "1", "1", "1", "1"]),
            K::Oid,
            -1,
        ),
        (
            text([
                "1.5",
                "-0",
                "NaN",
                "Infinity",
                "3.4028235e38",
                "1e-45",
                "16777217",
                "0.1",
                "1e10",
                "1",
            ]),
            K::Float4,
            -1,
        ),
        (
            text([
                "0.1",
                "-1e-320",
                "nan",
                "-inf",
                "1.7976931348623157e308",
                "5e-324",
                "9007199254740993",
                "1e23",
                "1e22",
                "1",
            ]),
            K::Float8,
            -1,
        ),
        (
            text([
                "0",
                "-12.340",
                "100000000",
                "0.00001234",
                "1.5e-7",
                "12345678901234567890123456789012345678901234567890.5",
                "1.50e3",
                "NaN",
                "-Infinity",
                "10000e-4",
            ]),
            K::Numeric,
            -1,
        ),
    ];
    // PostgreSQL made the bytes of the last column with the scale of its type, which the text spells out.
    let scaled = text([
        "12345678.90",
        "-0.01",
        "0.00",
        "1000.00",
        "0.50",
        "5.00",
        "100.00",
        "nan",
        "0.00",
        "12.00",
    ]);
    check_with_modifiers(
        "parsed_numbers",
        columns
            .into_iter()
            .chain([(scaled, K::Numeric, numeric(10, 2))])
            .collect(),
    );
}

#[test]
fn dates_times_and_bytes_parsed_from_text() {
    check(
        "parsed_times",
        vec![
            (
                text([
                    "2000-01-01",
                    "2013-12-31",
                    "0001-01-01",
                    "9999-12-31",
                    "infinity",
                    "+010000-02-29",
                    "2000-02-29",
                ]),
                K::Date,
            ),
            (
                text([
                    "00:00:00",
                    "12:30",
                    "23:59:59.999999000",
                    "24:00:00",
                    "01:02:03.1",
                    "01:02:03.100000",
                    "00:00:00.000001",
                ]),
                K::Time,
            ),
            (
                text([
                    "2000-01-01 00:00:00",
                    "2013-07-01T12:30:00.25",
                    "0001-01-01T00:00:00",
                    "9999-12-31T23:59:59.999999",
                    "infinity",
                    "10000-02-29",
                    "1999-12-31T23:59:59.000001",
                ]),
                K::Timestamp,
            ),
            (
                text([
                    "2000-01-01T00:00:00Z",
                    "2013-07-01 12:30:00.25+02",
                    "0001-01-01T00:00:00-05:30",
                    "9999-12-31T24:00:00+0000",
                    "-infinity",
                    "10000-02-29 01:02:03+00",
                    "1900-03-01T00:00:00+01:02:03",
                ]),
                K::Timestamptz,
            ),
            (
                text(["\\x", "\\x00fF", "\\x61", "\\x", "\\x", "\\x", "\\x"]),
                K::Bytea,
            ),
        ],
    );
    assert_eq!(text(["a"]).data_type(), &DataType::Utf8);
    let mut lists = ListBuilder::new(StringBuilder::new());
    lists.append_value([Some("1"), None]);
    let numbers = ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1), None])]);
    let of = |array: ArrayRef| super::copy(vec![(array, array_of(K::Int4), -1)]).unwrap();
    assert_eq!(of(Arc::new(lists.finish())), of(Arc::new(numbers)));
}
