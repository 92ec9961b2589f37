//! What goes over the wire for one column: printable, comparable, and free of any data.

use std::fmt;

/// How a column's values are written, decided from the Arrow type and the PostgreSQL type.
///
/// The variant names what PostgreSQL receives. How that is made from the Arrow values follows from
/// the array's own type when a batch is bound, so `Int4` stands for every integer that is checked
/// to fit four bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FieldPlan {
    /// NULL in every row.
    Null,
    /// One byte.
    Bool,
    /// Two bytes, range checked.
    Int2,
    /// Four bytes, range checked.
    Int4,
    /// Eight bytes, range checked.
    Int8,
    /// Four bytes without a sign, range checked.
    Oid,
    /// IEEE 754 single precision; an integer must be exact in it.
    Float4,
    /// IEEE 754 double precision; an integer must be exact in it.
    Float8,
    /// Base-10000 digits with the full display scale.
    Numeric {
        /// What `numeric(p,s)` demands of a value, where the Arrow type alone does not ensure it.
        limit: Option<NumericLimit>,
    },
    /// UTF-8 without NUL, as it is.
    Text {
        /// Characters that `varchar(n)` or `char(n)` holds; excess spaces do not count.
        max_chars: Option<u32>,
    },
    /// UTF-8 of at most 63 bytes without NUL.
    Name,
    /// The text of a JSON document behind `jsonb`'s version byte; the server parses it.
    JsonbText,
    /// A label of an enum.
    Enum {
        /// The labels there are, in the enum's order.
        labels: Vec<String>,
    },
    /// Sixteen bytes, parsed from text or taken as they are.
    Uuid,
    /// Bytes as they are.
    Bytea,
    /// Days since 2000-01-01, range checked.
    Date,
    /// Microseconds since midnight.
    Time {
        /// Digits of the fraction that must suffice, where the column keeps fewer than six.
        precision: Option<u8>,
    },
    /// Microseconds since 2000-01-01, local time, range checked.
    Timestamp {
        /// Digits of the fraction that must suffice, where the column keeps fewer than six.
        precision: Option<u8>,
    },
    /// Microseconds since 2000-01-01 UTC, range checked.
    Timestamptz {
        /// Digits of the fraction that must suffice, where the column keeps fewer than six.
        precision: Option<u8>,
    },
    /// Microseconds, days and months.
    Interval {
        /// Digits of the fraction that must suffice, where the column keeps fewer than six.
        precision: Option<u8>,
    },
    /// An array; one dimension for each list around the elements.
    Array {
        /// `pg_type.oid` of the element type, which PostgreSQL compares with its own.
        element_oid: u32,
        /// Lists in lists that lead to the elements, 1 to 6.
        dimensions: u8,
        /// How an element is written.
        element: Box<FieldPlan>,
    },
    /// A nested value rendered as a JSON document.
    Json {
        /// Whether `jsonb`'s version byte goes first.
        binary: bool,
    },
}

/// What a `numeric(precision,scale)` column holds: at most `precision - scale` digits before the
/// point and `scale` digits after it, where a scale below zero means zeros before the point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NumericLimit {
    /// Digits in all, 1 to 1000.
    pub precision: i32,
    /// Digits after the point, −1000 to 1000.
    pub scale: i32,
}

impl fmt::Display for FieldPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fraction = |f: &mut fmt::Formatter<'_>, name: &str, precision: &Option<u8>| {
            f.write_str(name)?;
            match precision {
                Some(digits) => write!(f, ", at most {digits} digits of a second"),
                None => Ok(()),
            }
        };
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool => f.write_str("bool"),
            Self::Int2 => f.write_str("int2"),
            Self::Int4 => f.write_str("int4"),
            Self::Int8 => f.write_str("int8"),
            Self::Oid => f.write_str("oid"),
            Self::Float4 => f.write_str("float4"),
            Self::Float8 => f.write_str("float8"),
            Self::Numeric { limit: None } => f.write_str("numeric"),
            Self::Numeric { limit: Some(limit) } => {
                write!(f, "numeric, must fit ({},{})", limit.precision, limit.scale)
            }
            Self::Text { max_chars: None } => f.write_str("text"),
            Self::Text { max_chars: Some(n) } => write!(f, "text, at most {n} characters"),
            Self::Name => f.write_str("name"),
            Self::JsonbText => f.write_str("jsonb from text"),
            Self::Enum { labels } => write!(f, "enum of {} labels", labels.len()),
            Self::Uuid => f.write_str("uuid"),
            Self::Bytea => f.write_str("bytea"),
            Self::Date => f.write_str("date"),
            Self::Time { precision } => fraction(f, "time", precision),
            Self::Timestamp { precision } => fraction(f, "timestamp", precision),
            Self::Timestamptz { precision } => fraction(f, "timestamptz", precision),
            Self::Interval { precision } => fraction(f, "interval", precision),
            Self::Array {
                element,
                dimensions: 1,
                ..
            } => write!(f, "array of {element}"),
            Self::Array {
                element,
                dimensions,
                ..
            } => {
                write!(f, "array of {dimensions} dimensions of {element}")
            }
            Self::Json { binary: true } => f.write_str("jsonb rendered from nested values"),
            Self::Json { binary: false } => f.write_str("json rendered from nested values"),
        }
    }
}
