//! Why a value cannot be written, small enough for the inner loops.

use arrow_schema::DataType;

use crate::error::Error;
use crate::plan::{ColumnPlan, FieldPlan};

/// What is wrong with one value; becomes an [`Error`] where column and row are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Problem {
    /// NULL in a NOT NULL column.
    Null,
    /// Beyond what the PostgreSQL type holds.
    OutOfRange,
    /// More digits than the Arrow type declares.
    BeyondDeclaredPrecision,
    /// Digits that the column does not keep.
    LosesDigits,
    /// A number that a floating-point column, or an element of a vector, would round.
    NotExact,
    /// NaN or an infinity where only numbers go.
    NotFinite,
    /// A NUL in text.
    Nul,
    /// More characters than the column holds.
    TooManyCharacters,
    /// A `name` of 64 bytes or more.
    NameTooLong,
    /// A document that says it is in another encoding than UTF-8.
    OtherEncoding,
    /// Text that is no document, where it says that it is one.
    NotJson,
    /// Text that is no UUID.
    NotUuid,
    /// Bytes that are no UTF-8.
    NotUtf8,
    /// Text or bytes that are not in the form that was asked for.
    NotInForm,
    /// A binary UUID that is not of 16 bytes.
    NotSixteenBytes,
    /// Not a label of the enum.
    UnknownLabel,
    /// A list in a list is NULL, or as long as no other.
    NotRectangular,
    /// A NULL key of a map.
    NullKey,
    /// Text that the type is not read from.
    NotParsed,
    /// A NULL where the type has none: in a vector or a multirange.
    NullItem,
    /// A NULL flag of a range.
    NullFlag,
    /// A key that comes twice in one map.
    DuplicateKey,
    /// As many elements as a vector does not have.
    WrongDimensions,
    /// As many bits as the column does not hold.
    WrongBitCount,
    /// More than PostgreSQL holds in one field.
    FieldTooLarge,
    /// More than PostgreSQL holds in one row.
    RowTooLarge,
    /// A plan that does not fit the array: a bug of ours, and not the value's fault.
    Unplanned,
}

/// A problem and the row it is in, counted within the batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rejected {
    pub(crate) row: usize,
    pub(crate) problem: Problem,
}

impl Rejected {
    /// The same of rows that begin at this one.
    pub(crate) fn after(self, first: usize) -> Self {
        Self {
            row: self.row + first,
            ..self
        }
    }
}

impl Problem {
    pub(crate) fn at(self, row: usize) -> Rejected {
        Rejected { row, problem: self }
    }

    /// Whether the value is one, and the column does not hold it.
    pub(crate) fn is_unheld(self) -> bool {
        matches!(self, Self::OutOfRange | Self::NotFinite)
    }

    /// The error with everything but the value: column, row within the stream, and the SQLSTATE
    /// that the server would have answered with.
    #[cold]
    pub(crate) fn into_error(self, column: &ColumnPlan, row: u64) -> Error {
        let (ty, arrow) = (&column.type_name, &column.data_type);
        let name = column.name.as_str();
        let (what, advice) = match self {
            Self::Null => (
                "is NULL, and the column is NOT NULL".to_owned(),
                "fill or filter the NULLs before writing",
            ),
            Self::OutOfRange => (
                format!("is out of range for {ty}"),
                "widen the column, or filter such values before writing",
            ),
            Self::BeyondDeclaredPrecision => (
                format!("has more digits than its own type {arrow} declares"),
                "the data is damaged where it was made",
            ),
            Self::LosesDigits => (
                format!("has a finer fraction than {ty} keeps"),
                coarser(&column.field, arrow),
            ),
            Self::NotExact => (
                format!("cannot be held exactly by {ty}"),
                "make the column numeric, or cast the data before writing",
            ),
            Self::NotFinite => (
                format!("is NaN or infinite, which {ty} does not hold"),
                "replace such values before writing",
            ),
            Self::Nul => (
                format!("contains a NUL character, which {ty} cannot hold"),
                "remove it before writing, or write the data as binary into bytea",
            ),
            Self::TooManyCharacters => (
                format!("has more characters than {ty} holds"),
                "shorten the data before writing, or widen the column",
            ),
            Self::NameTooLong => (
                "has more than the 63 bytes that name holds".to_owned(),
                "shorten the data before writing, or make the column text",
            ),
            Self::OtherEncoding => (
                "declares another encoding than UTF-8, which Arrow's strings are in".to_owned(),
                "leave the encoding out of the XML declaration",
            ),
            Self::NotJson => (
                "holds text of arrow.json that is not JSON".to_owned(),
                "mend or filter such documents before writing, or send them as plain strings",
            ),
            Self::NotUuid => (
                "is not a UUID".to_owned(),
                "write 32 hexadecimal digits, with or without hyphens",
            ),
            Self::NotUtf8 => (
                "is not UTF-8".to_owned(),
                "filter such values before writing, ask for another form (utf8_lossy, hex, base64), or make the column bytea",
            ),
            Self::NotInForm => (
                "is not in the form that was asked for".to_owned(),
                "filter such values before writing, or ask for another form",
            ),
            Self::NotSixteenBytes => (
                "is not 16 bytes long, as a UUID is".to_owned(),
                "filter such values before writing, or make the column bytea",
            ),
            Self::UnknownLabel => (
                format!("is not a label of {ty} ({})", labels(&column.field)),
                "add the label to the type, or map the data before writing",
            ),
            Self::NotRectangular => (
                "holds lists of different lengths or a NULL list, which a PostgreSQL array of several dimensions cannot".to_owned(),
                "make the column jsonb",
            ),
            Self::NullKey => ("has a NULL key".to_owned(), "filter such keys before writing"),
            Self::NotParsed => (
                format!("is not text that {ty} is read from here"),
                form(&column.field),
            ),
            Self::NullItem => (
                format!("holds a NULL, which {ty} does not"),
                "filter such values before writing",
            ),
            Self::NullFlag => (
                "has NULL for lower_inc, upper_inc or empty".to_owned(),
                "say true or false there, or leave the field out of the struct",
            ),
            Self::DuplicateKey => (
                "has a key twice".to_owned(),
                "decide which of them counts before writing",
            ),
            Self::WrongDimensions => (
                format!("has another number of elements than {ty}, or none, or more than 16000"),
                "filter such values before writing, or change the column's type",
            ),
            Self::WrongBitCount => (
                format!("has another number of bits than {ty} holds"),
                "filter such values before writing, or change the column's type",
            ),
            Self::FieldTooLarge => (
                "is larger than the 1 GiB that PostgreSQL holds in a field".to_owned(),
                "split the data before writing",
            ),
            Self::RowTooLarge => (
                "makes its row larger than the 1 GiB that PostgreSQL holds".to_owned(),
                "split the data before writing",
            ),
            Self::Unplanned => {
                return Error::internal(format!("no encoder for {arrow} as {}", column.field))
                    .with_column(name);
            }
        };
        Error::data_rejected(format!(
            "value at row {row} of column {name:?} {what}; {advice}"
        ))
        .with_column(name)
        .with_row(row)
        .with_context(|context| context.sqlstate = Some(self.sqlstate(&column.field).into()))
    }

    /// Appendix A of PostgreSQL's manual.
    fn sqlstate(self, field: &FieldPlan) -> &'static str {
        match self {
            Self::Null => "23502",
            Self::OutOfRange | Self::LosesDigits if is_temporal(field) => "22008",
            Self::OutOfRange
            | Self::BeyondDeclaredPrecision
            | Self::LosesDigits
            | Self::NotExact
            | Self::NotFinite => "22003",
            Self::Nul | Self::NotUtf8 => "22021",
            Self::TooManyCharacters => "22001",
            Self::NameTooLong => "42622",
            Self::OtherEncoding => "2200N",
            Self::NotJson | Self::NotUuid | Self::UnknownLabel | Self::NotInForm => "22P02",
            Self::NotSixteenBytes => "22P03",
            Self::NotRectangular => "2202E",
            Self::NullKey | Self::NullItem | Self::NullFlag => "22004",
            Self::NotParsed if is_temporal(field) => "22007",
            Self::NotParsed => "22P02",
            Self::DuplicateKey => "21000",
            Self::WrongDimensions => "22000",
            Self::WrongBitCount => "22026",
            Self::FieldTooLarge | Self::RowTooLarge => "54000",
            Self::Unplanned => "XX000",
        }
    }
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

/// What makes a value fit that has too fine a fraction.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "only what has no fractions at all is of interest"
)]
fn coarser(field: &FieldPlan, data_type: &DataType) -> &'static str {
    match field {
        // Conversions change whole columns, and neither what is in them, nor whole numbers and days.
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
        FieldPlan::Date => "write dates alone, or make the column a timestamp",
        field if is_temporal(field) => {
            "round the data before writing, or ask for it (conversion rounding)"
        }
        _ => "round the data before writing, ask for it (conversion rounding), or widen the column",
    }
}

/// The form of text that is read into a column with this plan.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "only what is parsed has a form"
)]
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

/// The labels that there are, which are the table's and not the data's, as far as they fit a line.
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
