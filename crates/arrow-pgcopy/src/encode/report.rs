//! The table of problems: SQLSTATE, message and hint of each.

use arrow_schema::DataType;

use super::problem::Problem;
use crate::error::Error;
use crate::mapping::FieldPlan;
use crate::plan::ColumnPlan;

/// The report of a problem. SQLSTATEs are those of PostgreSQL's manual, appendix A.
struct Row {
    sqlstate: &'static str,
    /// The text after `value `.
    message: Message,
    hint: Hint,
}

/// A fact about the value.
enum Message {
    Plain(&'static str),
    /// The column's type stands between the two.
    WithType(&'static str, &'static str),
    /// The Arrow type stands between the two.
    WithArrowType(&'static str, &'static str),
    /// The column's type and the labels of its enum follow.
    WithLabels(&'static str),
}

/// The advice.
enum Hint {
    Plain(&'static str),
    /// Depends on how fractions of the column's type are rounded.
    Rounding,
    /// The form of text that the column's type is read from.
    Form,
}

/// Returns the row of a problem in the table.
fn row(problem: Problem, is_temporal: bool) -> Row {
    use Hint::{Form, Plain as Do, Rounding};
    use Message::{Plain, WithArrowType, WithLabels, WithType};
    const FILTER: Hint = Do("filter such values before writing");
    const FILTER_OR_CHANGE: Hint =
        Do("filter such values before writing, or change the column's type");
    const SPLIT: Hint = Do("split the data before writing");
    let by_type = |temporal, other| if is_temporal { temporal } else { other };
    let (sqlstate, message, hint) = match problem {
        Problem::Null => (
            "23502",
            Plain("is NULL, and the column is NOT NULL"),
            Do("fill or filter the NULLs before writing"),
        ),
        Problem::OutOfRange => (
            by_type("22008", "22003"),
            WithType("is out of range for ", ""),
            Do("widen the column, or filter such values before writing"),
        ),
        Problem::BeyondDeclaredPrecision => (
            "22003",
            WithArrowType("has more digits than its own type ", " declares"),
            Do("check the program that made the data"),
        ),
        Problem::LosesDigits => (
            by_type("22008", "22003"),
            WithType("has a finer fraction than ", " keeps"),
            Rounding,
        ),
        Problem::NotExact => (
            "22003",
            WithType("cannot be held exactly by ", ""),
            Do("make the column numeric, or cast the data before writing"),
        ),
        Problem::NotFinite => (
            "22003",
            WithType("is NaN or infinite, which ", " does not hold"),
            Do(
                "replace such values before writing, or ask for NULL in their place (conversion overflow: null)",
            ),
        ),
        Problem::Nul => (
            "22021",
            WithType("contains a NUL character, which ", " cannot hold"),
            Do("remove it before writing, or write the data as binary into bytea"),
        ),
        Problem::TooManyCharacters => (
            "22001",
            WithType("has more characters than ", " holds"),
            Do("shorten the data before writing, or widen the column"),
        ),
        Problem::NameTooLong => (
            "42622",
            Plain("has more than the 63 bytes that name holds"),
            Do("shorten the data before writing, or make the column text"),
        ),
        Problem::OtherEncoding => (
            "2200N",
            Plain("declares another encoding than UTF-8, which Arrow's strings are in"),
            Do("leave the encoding out of the XML declaration"),
        ),
        Problem::NotJson => (
            "22P02",
            Plain("holds text of arrow.json that is not JSON"),
            Do("fix or filter such documents before writing, or send them as plain strings"),
        ),
        Problem::NotUuid => (
            "22P02",
            Plain("is not a UUID"),
            Do("write 32 hexadecimal digits, with or without hyphens"),
        ),
        Problem::NotUtf8 => (
            "22021",
            Plain("is not UTF-8"),
            Do(
                "filter such values before writing, ask for another form (utf8_lossy, hex, base64), or make the column bytea",
            ),
        ),
        Problem::NotInForm => (
            "22P02",
            Plain("is not in the form that was asked for"),
            Do("filter such values before writing, or ask for another form"),
        ),
        Problem::NotSixteenBytes => (
            "22P03",
            Plain("is not 16 bytes long, as a UUID is"),
            Do("filter such values before writing, or make the column bytea"),
        ),
        Problem::UnknownLabel => (
            "22P02",
            WithLabels("is not a label of "),
            Do("add the label to the type, or map the data before writing"),
        ),
        Problem::NotRectangular => (
            "2202E",
            Plain(
                "holds lists of different lengths or a NULL list, which a PostgreSQL array of several dimensions cannot",
            ),
            Do("make the column jsonb"),
        ),
        Problem::NullKey => (
            "22004",
            Plain("has a NULL key"),
            Do("filter such keys before writing"),
        ),
        Problem::NotParsed => (
            by_type("22007", "22P02"),
            WithType("is not valid input for ", ""),
            Form,
        ),
        Problem::NullItem => (
            "22004",
            WithType("holds a NULL, which ", " does not"),
            FILTER,
        ),
        Problem::NullFlag => (
            "22004",
            Plain("has NULL for lower_inc, upper_inc or empty"),
            Do("write true or false there, or leave the field out of the struct"),
        ),
        Problem::DuplicateKey => (
            "21000",
            Plain("has a key twice"),
            Do("decide which of them counts before writing"),
        ),
        Problem::WrongDimensions => (
            "22000",
            WithType(
                "has another number of elements than ",
                ", or none, or more than 16000",
            ),
            FILTER_OR_CHANGE,
        ),
        Problem::WrongBitCount => (
            "22026",
            WithType("has another number of bits than ", " holds"),
            FILTER_OR_CHANGE,
        ),
        Problem::FieldTooLarge => (
            "54000",
            Plain("is larger than the 1 GiB that PostgreSQL holds in a field"),
            SPLIT,
        ),
        Problem::RowTooLarge => (
            "54000",
            Plain("makes its row larger than the 1 GiB that PostgreSQL holds"),
            SPLIT,
        ),
        Problem::Unplanned => (
            "XX000",
            WithArrowType("of Arrow type ", " has no encoder for its plan"),
            Do("report this as a defect"),
        ),
    };
    Row {
        sqlstate,
        message,
        hint,
    }
}

/// Makes the error of a problem with a value of this column in this row of the stream. It leaves out the value.
#[cold]
pub(super) fn report(problem: Problem, column: &ColumnPlan, number: u64) -> Error {
    let row = row(problem, is_temporal(&column.field));
    let (ty, arrow) = (&column.type_name, &column.data_type);
    let message = match row.message {
        Message::Plain(fact) => format!("value {fact}"),
        Message::WithType(before, after) => format!("value {before}{ty}{after}"),
        Message::WithArrowType(before, after) => format!("value {before}{arrow}{after}"),
        Message::WithLabels(before) => format!("value {before}{ty} ({})", labels(&column.field)),
    };
    let hint = match row.hint {
        Hint::Plain(hint) => hint,
        Hint::Rounding => coarser(&column.field, arrow),
        Hint::Form => form(&column.field),
    };
    if problem == Problem::Unplanned {
        return Error::internal(message)
            .with_hint(hint)
            .with_column(column.name.as_str());
    }
    Error::data_rejected(message)
        .with_hint(hint)
        .with_column(column.name.as_str())
        .with_row(number)
        .with_sqlstate(row.sqlstate)
}

fn is_temporal(field: &FieldPlan) -> bool {
    match field {
        FieldPlan::Date
        | FieldPlan::Time { .. }
        | FieldPlan::Timestamp { .. }
        | FieldPlan::Timestamptz { .. }
        | FieldPlan::Timetz { .. }
        | FieldPlan::Interval { .. } => true,
        FieldPlan::Array { element, .. } => is_temporal(element),
        FieldPlan::Range { bound } | FieldPlan::Multirange { bound } => is_temporal(bound),
        FieldPlan::Infinite(_) => true,
        FieldPlan::Null
        | FieldPlan::Bool
        | FieldPlan::Int2
        | FieldPlan::Int4
        | FieldPlan::Int8
        | FieldPlan::Oid
        | FieldPlan::Xid8
        | FieldPlan::Float4
        | FieldPlan::Float8
        | FieldPlan::Numeric { .. }
        | FieldPlan::Text { .. }
        | FieldPlan::Name
        | FieldPlan::JsonbText
        | FieldPlan::Xml
        | FieldPlan::Enum { .. }
        | FieldPlan::Uuid
        | FieldPlan::Bytea
        | FieldPlan::Money { .. }
        | FieldPlan::Bits { .. }
        | FieldPlan::Inet { .. }
        | FieldPlan::Macaddr { .. }
        | FieldPlan::VersionedText
        | FieldPlan::Hstore
        | FieldPlan::Vector { .. }
        | FieldPlan::Sparsevec { .. }
        | FieldPlan::Point
        | FieldPlan::Geometry
        | FieldPlan::Composite { .. }
        | FieldPlan::Opaque
        | FieldPlan::Cast { .. }
        | FieldPlan::Json { .. } => false,
    }
}

/// Returns the hint for a value with too fine a fraction.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "all other plans keep some fraction"
)]
fn coarser(field: &FieldPlan, data_type: &DataType) -> &'static str {
    match field {
        // Conversions change whole columns only, not values within them, and not whole numbers or days.
        _ if data_type.is_nested() => "round the data before writing",
        FieldPlan::Numeric { .. } if data_type.is_integer() => {
            "round the data before writing, or widen the column"
        }
        FieldPlan::Infinite(finite) => coarser(finite, data_type),
        _ if *data_type == DataType::Date64 => {
            "write whole days, or cast the data to a timestamp before writing"
        }
        FieldPlan::Int2 | FieldPlan::Int4 | FieldPlan::Int8 => {
            "round the data before writing, ask for it (conversion rounding), or make the column numeric"
        }
        FieldPlan::Date => {
            "write midnights only, ask for the date alone (conversion form: part), or make the column a timestamp"
        }
        field if is_temporal(field) => {
            "round the data before writing, or ask for it (conversion rounding)"
        }
        _ => "round the data before writing, ask for it (conversion rounding), or widen the column",
    }
}

/// Returns the hint for text that is not valid input: the form that is.
#[expect(clippy::wildcard_enum_match_arm, reason = "no other type is parsed")]
fn form(field: &FieldPlan) -> &'static str {
    use FieldPlan as F;
    match field {
        F::Array { element, .. } => form(element),
        F::Range { bound } | F::Multirange { bound } => form(bound),
        F::Bool => "write true or false",
        F::Int2 | F::Int4 | F::Int8 | F::Oid | F::Xid8 => {
            "write decimal digits, perhaps with a sign"
        }
        F::Float4 | F::Float8 | F::Numeric { .. } => {
            "write a decimal number such as -12.5 or 1.5e-7, NaN or Infinity"
        }
        F::Bytea => "write \\x and pairs of hexadecimal digits, or write the data as binary",
        F::Date => "write ISO 8601: 2013-01-01",
        F::Time { .. } => "write ISO 8601 without a zone: 12:30:00.25",
        F::Timetz { .. } => "write ISO 8601 with the offset from UTC: 12:30:00+02:00",
        F::Timestamp { .. } => "write ISO 8601 without a zone: 2013-01-01T12:30:00.25",
        F::Timestamptz { .. } => {
            "write ISO 8601 with the offset from UTC: 2013-01-01T12:30:00+02:00 or 2013-01-01T10:30:00Z"
        }
        F::Inet { cidr: false } => {
            "write an address such as 192.168.0.1, 10.0.0.0/8 or 2001:db8::1"
        }
        F::Inet { cidr: true } => {
            "write a network without bits to the right of its mask: 10.0.0.0/8"
        }
        F::Macaddr { .. } => "write pairs of hexadecimal digits: 08:00:2b:01:02:03",
        F::Bits { .. } => "write zeros and ones",
        _ => "cast the data before writing",
    }
}

/// Returns the labels of an enum, at most 20 of them.
fn labels(field: &FieldPlan) -> String {
    const SHOWN: usize = 20;
    if let FieldPlan::Array { element, .. } = field {
        return labels(element);
    }
    let FieldPlan::Enum { labels } = field else {
        return String::new();
    };
    let mut text = labels
        .iter()
        .take(SHOWN)
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join(", ");
    if labels.len() > SHOWN {
        text.push_str(", …");
    }
    text
}
