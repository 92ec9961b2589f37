//! Strings that are not valid input for their column.

use arrow_array::*;

use super::rejected::check;
use crate::table::PgTypeKind as K;

#[test]
fn invalid_text_is_rejected() {
    let of = |good: &'static str, bad: &'static str| StringArray::from(vec![good, bad, good]);
    let form = "is not valid input for";
    check(of("t", "o"), K::Bool, -1, "22P02", "write true or false");
    check(of("1", "1.0"), K::Int4, -1, "22P02", form);
    check(of("1", "0x1"), K::Int4, -1, "22P02", form);
    check(of("1", ""), K::Int8, -1, "22P02", form);
    check(of("1", "32768"), K::Int2, -1, "22003", "is out of range");
    check(of("1", "-1"), K::Oid, -1, "22P02", form);
    check(of("1", "1e400"), K::Float8, -1, "22003", "is out of range");
    check(of("1", "1e-50"), K::Float4, -1, "22003", "is out of range");
    check(
        of("0e-999", "1e-400"),
        K::Float8,
        -1,
        "22003",
        "is out of range",
    );
    check(of("1", "1,5"), K::Numeric, -1, "22P02", form);
    check(of("1", "."), K::Numeric, -1, "22P02", form);
    check(
        of("1", "1e99999999999999999999"),
        K::Numeric,
        -1,
        "22003",
        "out of range",
    );
    check(of("1", "1e131072"), K::Numeric, -1, "22003", "out of range");
    let money = (5 << 16 | 2) + 4;
    check(
        of("999.99", "1000"),
        K::Numeric,
        money,
        "22003",
        "out of range",
    );
    check(
        of("1.100", "1.001"),
        K::Numeric,
        money,
        "22003",
        "a finer fraction",
    );
    check(of("1", "Infinity"), K::Numeric, money, "22003", "infinite");
    check(
        of("\\x00", "00"),
        K::Bytea,
        -1,
        "22P02",
        "hexadecimal digits",
    );
    check(of("\\x00", "\\x0"), K::Bytea, -1, "22P02", form);
}

#[test]
fn invalid_dates_and_times_are_rejected() {
    let of = |good: &'static str, bad: &'static str| StringArray::from(vec![good, bad, good]);
    let form = "is not valid input for";
    check(
        of("2000-02-29", "1900-02-29"),
        K::Date,
        -1,
        "22008",
        "out of range",
    );
    check(of("2000-01-01", "01/02/2000"), K::Date, -1, "22007", form);
    check(
        of("2000-01-01T00:00:00", "2000-01-01T00:00:01"),
        K::Date,
        -1,
        "22008",
        "finer",
    );
    check(
        of("2000-01-01", "5874898-01-01"),
        K::Date,
        -1,
        "22008",
        "out of range",
    );
    check(
        of("24:00:00", "24:00:01"),
        K::Time,
        -1,
        "22008",
        "out of range",
    );
    check(of("12:30", "12:30:00Z"), K::Time, -1, "22007", form);
    check(
        of("12:30:00.5", "12:30:00.1234567"),
        K::Time,
        -1,
        "22008",
        "finer",
    );
    check(
        of("12:30:00.5", "12:30:00.25"),
        K::Time,
        1,
        "22008",
        "finer",
    );
    check(
        of("12:30Z", "12:30"),
        K::Timetz,
        -1,
        "22007",
        "offset from UTC",
    );
    check(
        of("12:30-15:59", "12:30+16"),
        K::Timetz,
        -1,
        "22008",
        "out of range",
    );
    let local = of("2000-01-01T00:00:00", "2000-01-01T00:00:00Z");
    check(local, K::Timestamp, -1, "22007", "without a zone");
    let zoned = of("2000-01-01T00:00:00Z", "2000-01-01T00:00:00");
    check(zoned, K::Timestamptz, -1, "22007", "offset from UTC");
}

#[test]
fn invalid_addresses_and_bits_are_rejected() {
    let of = |good: &'static str, bad: &'static str| StringArray::from(vec![good, bad, good]);
    let form = "is not valid input for";
    check(of("::1", "localhost"), K::Inet, -1, "22P02", form);
    check(of("1.2.3.4/32", "1.2.3.4/33"), K::Inet, -1, "22P02", form);
    check(of("1.2.3.4/32", "1.2.3.4/+3"), K::Inet, -1, "22P02", form);
    check(
        of("10.0.0.0/8", "10.0.0.1/8"),
        K::Cidr,
        -1,
        "22P02",
        "right of its mask",
    );
    check(
        of("080020:010203", "08:00:20:01:02"),
        K::Macaddr,
        -1,
        "22P02",
        form,
    );
    check(
        of("080020010203", "08002001020304ff"),
        K::Macaddr,
        -1,
        "22P02",
        form,
    );
    check(
        of("080020010203", "08002001020é"),
        K::Macaddr8,
        -1,
        "22P02",
        form,
    );
    check(of("101", "1012"), K::Varbit, -1, "22P02", "zeros and ones");
    check(of("101", "10"), K::Bit, 3, "22026", "number of bits");
    check(of("101", "1010"), K::Varbit, 3, "22026", "number of bits");
    let bytes = BinaryArray::from_vec(vec![b"\xe0", b"\xe1", b"\0"]);
    check(bytes, K::Bit, 3, "22026", "number of bits");
    check(of("$", "\0"), K::VersionedText, -1, "22021", "NUL");
}
