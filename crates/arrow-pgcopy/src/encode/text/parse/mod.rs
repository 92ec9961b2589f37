//! Text parsed into other types, as PostgreSQL's input functions do, or more strictly: a form that is ambiguous, or
//! that depends on a setting of the session, is rejected.

mod bits;
mod date;
mod network;
mod number;
mod reader;
mod time;

use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_schema::DataType;

use crate::encode::column::{Blobs, BoxedColumn, prepared};
use crate::encode::format::JSONB_VERSION;
use crate::encode::problem::Problem;
use crate::mapping::FieldPlan;

pub(crate) use time::stamp;

type Parse = Box<dyn Fn(&[u8], &mut Vec<u8>) -> Result<(), Problem>>;

/// Returns whether text is parsed for a column with this plan.
pub(crate) fn is_parsed(plan: &FieldPlan) -> bool {
    parser(plan).is_some()
}

/// Makes a column from text of any layout, parsed as a whole.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the table in mapping is exhaustive"
)]
pub(crate) fn texts<'a>(plan: &FieldPlan, array: &dyn Array) -> Result<BoxedColumn<'a>, Problem> {
    fn of<'a, A: Blobs>(array: &A, parse: &Parse) -> BoxedColumn<'a> {
        prepared(array, |row, out| parse(array.blob(row), out))
    }
    let parse = parser(plan).ok_or(Problem::Unplanned)?;
    match array.data_type() {
        DataType::Utf8 => Ok(of(array.as_string::<i32>(), &parse)),
        DataType::LargeUtf8 => Ok(of(array.as_string::<i64>(), &parse)),
        DataType::Utf8View => Ok(of(array.as_string_view(), &parse)),
        _ => Err(Problem::Unplanned),
    }
}

fn parser(plan: &FieldPlan) -> Option<Parse> {
    use FieldPlan as F;
    Some(match plan {
        F::Bool => fixed(|text| number::boolean(text).map(|v| [v.into()])),
        F::Int2 => fixed(|text| number::integer::<i16>(text).map(i16::to_be_bytes)),
        F::Int4 => fixed(|text| number::integer::<i32>(text).map(i32::to_be_bytes)),
        F::Int8 => fixed(|text| number::integer::<i64>(text).map(i64::to_be_bytes)),
        F::Oid => fixed(|text| number::integer::<u32>(text).map(u32::to_be_bytes)),
        F::Xid8 => fixed(|text| number::integer::<u64>(text).map(u64::to_be_bytes)),
        F::Float4 => fixed(|text| number::float::<f32>(text).map(f32::to_be_bytes)),
        F::Float8 => fixed(|text| number::float::<f64>(text).map(f64::to_be_bytes)),
        F::Numeric { limit } => {
            let limit = *limit;
            Box::new(move |text, out| number::numeric(text, limit, out))
        }
        F::Bytea => Box::new(escaped),
        F::Date => fixed(|text| time::date(text).map(i32::to_be_bytes)),
        F::Time { precision } => {
            let precision = *precision;
            fixed(move |text| time::time(text, precision).map(i64::to_be_bytes))
        }
        F::Timetz { precision } => {
            let precision = *precision;
            fixed(move |text| time::time_with_zone(text, precision))
        }
        F::Timestamp { precision } => {
            let precision = *precision;
            fixed(move |text| time::timestamp(text, precision, false).map(i64::to_be_bytes))
        }
        F::Timestamptz { precision } => {
            let precision = *precision;
            fixed(move |text| time::timestamp(text, precision, true).map(i64::to_be_bytes))
        }
        F::Inet { cidr } => {
            let cidr = *cidr;
            Box::new(move |text, out| network::address(text, cidr, out))
        }
        F::Macaddr { bytes } => {
            let bytes = usize::from(*bytes);
            Box::new(move |text, out| network::hardware_address(text, bytes, out))
        }
        F::Bits { length, exact } => {
            let (length, exact) = (*length, *exact);
            Box::new(move |text, out| bits::parse(text, length, exact, out))
        }
        F::VersionedText => Box::new(versioned),
        F::Null
        | F::Text { .. }
        | F::Name
        | F::JsonbText
        | F::Xml
        | F::Enum { .. }
        | F::Uuid
        | F::Interval { .. }
        | F::Array { .. }
        | F::Money { .. }
        | F::Hstore
        | F::Vector { .. }
        | F::Sparsevec { .. }
        | F::Point
        | F::Infinite(_)
        | F::Geometry
        | F::Composite { .. }
        | F::Range { .. }
        | F::Multirange { .. }
        | F::Opaque
        | F::Cast { .. }
        | F::Json { .. } => return None,
    })
}

fn fixed<const W: usize>(parse: impl Fn(&[u8]) -> Result<[u8; W], Problem> + 'static) -> Parse {
    Box::new(move |text, out| {
        out.extend_from_slice(&parse(text)?);
        Ok(())
    })
}

/// Parses `\x` and pairs of hexadecimal digits: PostgreSQL's output form, and not its older escapes.
fn escaped(text: &[u8], out: &mut Vec<u8>) -> Result<(), Problem> {
    hexadecimal(text.strip_prefix(b"\\x").ok_or(Problem::NotParsed)?, out)
}

/// Parses pairs of hexadecimal digits.
pub(crate) fn hexadecimal(digits: &[u8], out: &mut Vec<u8>) -> Result<(), Problem> {
    let (pairs, rest) = digits.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(Problem::NotParsed);
    }
    for [high, low] in pairs {
        match (nibble(*high), nibble(*low)) {
            (Some(high), Some(low)) => out.push(high << 4 | low),
            _ => return Err(Problem::NotParsed),
        }
    }
    Ok(())
}

fn nibble(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

/// Writes a version byte and the text (`jsonpath_recv` of jsonpath.c, `ltree_recv` of contrib/ltree).
fn versioned(text: &[u8], out: &mut Vec<u8>) -> Result<(), Problem> {
    if memchr::memchr(0, text).is_some() {
        return Err(Problem::Nul);
    }
    // All these types, and jsonb, have the same version.
    out.push(JSONB_VERSION);
    out.extend_from_slice(text);
    Ok(())
}

/// Returns text without the blanks around it that PostgreSQL skips.
fn trimmed(text: &[u8]) -> Result<&str, Problem> {
    let blank = |c: char| matches!(c, ' ' | '\t' | '\n' | '\u{b}' | '\u{c}' | '\r');
    let text = std::str::from_utf8(text).map_err(|_| Problem::NotParsed)?;
    Ok(text.trim_matches(blank))
}
