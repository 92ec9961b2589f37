//! The encoding of one column: printable, comparable, and free of data.

use std::fmt;

/// The encoding of a column's values.
///
/// The variant names what PostgreSQL receives. The Arrow layout of the values is matched when a batch is bound, so
/// that `Int4` stands for every integer type, checked to fit four bytes.
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
    /// Four bytes, unsigned, range checked.
    Oid,
    /// Eight bytes, unsigned, range checked.
    Xid8,
    /// IEEE 754 single precision; an integer must be exact in it.
    Float4,
    /// IEEE 754 double precision; an integer must be exact in it.
    Float8,
    /// Base-10000 digits with the full display scale.
    Numeric {
        /// The precision and scale to check each value for; `None` where the Arrow type ensures them.
        limit: Option<NumericLimit>,
    },
    /// UTF-8 without NUL.
    Text {
        /// The most characters of `varchar(n)` or `char(n)`; excess trailing spaces do not count.
        max_chars: Option<u32>,
    },
    /// UTF-8 of at most 63 bytes without NUL.
    Name,
    /// The text of a JSON document after `jsonb`'s version byte. PostgreSQL parses it.
    JsonbText,
    /// A label of an enum.
    Enum {
        /// The enum's labels in its order.
        labels: Vec<String>,
    },
    /// Sixteen bytes, parsed from text or taken from binary.
    Uuid,
    /// Bytes, unchanged.
    Bytea,
    /// Days since 2000-01-01, range checked.
    Date,
    /// Microseconds since midnight.
    Time {
        /// The fraction digits of a second to check each value for; `None` where the column keeps all six or the
        /// data has no more.
        precision: Option<u8>,
    },
    /// Microseconds since 2000-01-01, local time, range checked.
    Timestamp {
        /// The fraction digits of a second to check each value for; `None` where the column keeps all six or the
        /// data has no more.
        precision: Option<u8>,
    },
    /// Microseconds since 2000-01-01 UTC, range checked.
    Timestamptz {
        /// The fraction digits of a second to check each value for; `None` where the column keeps all six or the
        /// data has no more.
        precision: Option<u8>,
    },
    /// Microseconds, days and months.
    Interval {
        /// The fraction digits of a second to check each value for; `None` where the column keeps all six or the
        /// data has no more.
        precision: Option<u8>,
    },
    /// An array, with one dimension for each list around the elements.
    Array {
        /// `pg_type.oid` of the element type, which PostgreSQL compares with the column's.
        element_oid: u32,
        /// The number of dimensions, 1 to 6.
        dimensions: u8,
        /// The encoding of an element.
        element: Box<FieldPlan>,
    },
    /// Microseconds since midnight and seconds west of Greenwich, parsed from text.
    Timetz {
        /// The fraction digits of a second to check each value for; `None` where the column keeps all six or the
        /// data has no more.
        precision: Option<u8>,
    },
    /// Eight bytes: a count of the currency's smallest unit.
    Money {
        /// Digits after the point that the server's currency has.
        fraction_digits: u8,
    },
    /// A count of bits and the bits, from text of zeros and ones, from bytes, or from lists of booleans.
    Bits {
        /// The `n` of `bit(n)` or `bit varying(n)`.
        length: Option<u32>,
        /// Whether the length must match exactly, as in `bit(n)`.
        exact: bool,
    },
    /// An IPv4 or IPv6 address and the bits of its network, parsed from text.
    Inet {
        /// Whether it is a `cidr`, which has no bits to the right of its mask.
        cidr: bool,
    },
    /// A MAC address, parsed from text.
    Macaddr {
        /// Its length in bytes: 6, or 8 for `macaddr8`.
        bytes: u8,
    },
    /// Text after a version byte. PostgreSQL parses it.
    VersionedText,
    /// Keys and values of text.
    Hstore,
    /// A count, and numbers of single or half precision, in which each value must be exact.
    Vector {
        /// The `n` of `vector(n)` or `halfvec(n)`.
        dimensions: Option<u32>,
        /// Whether the elements have half precision.
        half: bool,
    },
    /// The number of elements, and those that are not zero, in single precision.
    Sparsevec {
        /// The `n` of `sparsevec(n)`.
        dimensions: Option<u32>,
    },
    /// Two doubles, from a list of two floats or a struct of `x` and `y`.
    Point,
    /// A date or timestamp whose least and greatest Arrow values stand for infinity; others as in the inner plan.
    Infinite(Box<FieldPlan>),
    /// Well-known binary, with or without an SRID (EWKB), unchanged.
    Geometry,
    /// The attributes of a composite type, each with its type's OID.
    Composite {
        /// In the order of the composite type's attributes.
        fields: Vec<CompositeField>,
    },
    /// Two bounds, from a struct of `lower`, `upper` and perhaps `lower_inc`, `upper_inc`, `empty`.
    Range {
        /// The encoding of a bound.
        bound: Box<FieldPlan>,
    },
    /// Ranges, from a list of structs.
    Multirange {
        /// The encoding of a bound.
        bound: Box<FieldPlan>,
    },
    /// An XML document as text, which must not declare another encoding than UTF-8.
    Xml,
    /// The output of PostgreSQL's own send function, unchanged (the Arrow extension type `arrow.opaque`).
    Opaque,
    /// Text for a staging table, from which PostgreSQL casts it to the column's type.
    Cast {
        /// Whether it is an array of text.
        array: bool,
    },
    /// A nested value rendered as a JSON document.
    Json {
        /// Whether `jsonb`'s version byte comes first.
        binary: bool,
    },
}

/// One attribute of a composite type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompositeField {
    /// Index of the field in the Arrow struct.
    pub source: usize,
    /// `pg_type.oid` of the attribute's type, which PostgreSQL compares with its own.
    pub oid: u32,
    /// The encoding of the attribute.
    pub plan: FieldPlan,
}

/// The limits of a `numeric(precision,scale)` column: at most `precision - scale` digits before the point and
/// `scale` digits after it. A scale below zero means zeros before the point.
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
            Self::Xid8 => f.write_str("xid8"),
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
            Self::Xml => f.write_str("xml"),
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
            Self::Timetz { precision } => fraction(f, "timetz", precision),
            Self::Money { fraction_digits } => {
                write!(f, "money of {fraction_digits} digits after the point")
            }
            Self::Bits { length: None, .. } => f.write_str("bits"),
            Self::Bits {
                length: Some(n),
                exact: true,
            } => write!(f, "exactly {n} bits"),
            Self::Bits {
                length: Some(n),
                exact: false,
            } => write!(f, "at most {n} bits"),
            Self::Inet { cidr: false } => f.write_str("inet"),
            Self::Inet { cidr: true } => f.write_str("cidr"),
            Self::Macaddr { bytes } => write!(f, "MAC address of {bytes} bytes"),
            Self::VersionedText => f.write_str("text with a version"),
            Self::Hstore => f.write_str("hstore"),
            Self::Vector { dimensions, half } => {
                f.write_str(if *half { "halfvec" } else { "vector" })?;
                match dimensions {
                    Some(n) => write!(f, " of {n} elements"),
                    None => Ok(()),
                }
            }
            Self::Sparsevec { dimensions: None } => f.write_str("sparsevec"),
            Self::Sparsevec {
                dimensions: Some(n),
            } => write!(f, "sparsevec of {n} elements"),
            Self::Point => f.write_str("point"),
            Self::Infinite(inner) => write!(f, "{inner}, the ends of its range as infinity"),
            Self::Geometry => f.write_str("well-known binary"),
            Self::Composite { fields } => {
                f.write_str("composite of (")?;
                for (index, field) in fields.iter().enumerate() {
                    let comma = if index == 0 { "" } else { ", " };
                    write!(f, "{comma}{}", field.plan)?;
                }
                f.write_str(")")
            }
            Self::Range { bound } => write!(f, "range of {bound}"),
            Self::Multirange { bound } => write!(f, "multirange of {bound}"),
            Self::Opaque => f.write_str("PostgreSQL's own binary"),
            Self::Cast { array: false } => f.write_str("text, cast by PostgreSQL"),
            Self::Cast { array: true } => f.write_str("array of text, cast by PostgreSQL"),
            Self::Json { binary: true } => f.write_str("jsonb rendered from nested values"),
            Self::Json { binary: false } => f.write_str("json rendered from nested values"),
        }
    }
}
