//! The kinds of values that the mapping distinguishes, whatever their width and layout.

use arrow_schema::{DataType, Field, Fields};

/// A kind of Arrow values.
///
/// [`Source::of`] is exhaustive, so that a new Arrow type does not compile until it is mapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source<'a> {
    Null,
    Boolean,
    Integer,
    Float { double: bool },
    Decimal { precision: u8, scale: i8 },
    Text,
    Binary,
    FixedBinary { width: i32 },
    Date,
    Time,
    Timestamp,
    TimestampWithZone,
    Duration,
    Interval,
    List { item: &'a Field },
    Struct { fields: &'a Fields },
    Map { entries: &'a Field },
    Union,
}

impl<'a> Source<'a> {
    pub(crate) fn of(data_type: &'a DataType) -> Self {
        use DataType as D;
        match data_type {
            D::Null => Self::Null,
            D::Boolean => Self::Boolean,
            D::Int8 | D::Int16 | D::Int32 | D::Int64 => Self::Integer,
            D::UInt8 | D::UInt16 | D::UInt32 | D::UInt64 => Self::Integer,
            D::Float16 | D::Float32 => Self::Float { double: false },
            D::Float64 => Self::Float { double: true },
            D::Decimal32(p, s) | D::Decimal64(p, s) | D::Decimal128(p, s) | D::Decimal256(p, s) => {
                Self::Decimal {
                    precision: *p,
                    scale: *s,
                }
            }
            D::Utf8 | D::LargeUtf8 | D::Utf8View => Self::Text,
            D::Binary | D::LargeBinary | D::BinaryView => Self::Binary,
            D::FixedSizeBinary(width) => Self::FixedBinary { width: *width },
            D::Date32 | D::Date64 => Self::Date,
            D::Time32(_) | D::Time64(_) => Self::Time,
            D::Timestamp(_, None) => Self::Timestamp,
            D::Timestamp(_, Some(_)) => Self::TimestampWithZone,
            D::Duration(_) => Self::Duration,
            D::Interval(_) => Self::Interval,
            D::List(item)
            | D::LargeList(item)
            | D::FixedSizeList(item, _)
            | D::ListView(item)
            | D::LargeListView(item) => Self::List { item },
            D::Struct(fields) => Self::Struct { fields },
            D::Map(entries, _) => Self::Map { entries },
            D::Dictionary(_, values) => Self::of(values),
            D::RunEndEncoded(_, values) => Self::of(values.data_type()),
            D::Union(_, _) => Self::Union,
        }
    }

    pub(crate) fn is_nested(self) -> bool {
        match self {
            Self::List { .. } | Self::Struct { .. } | Self::Map { .. } | Self::Union => true,
            Self::Null
            | Self::Boolean
            | Self::Integer
            | Self::Float { .. }
            | Self::Decimal { .. }
            | Self::Text
            | Self::Binary
            | Self::FixedBinary { .. }
            | Self::Date
            | Self::Time
            | Self::Timestamp
            | Self::TimestampWithZone
            | Self::Duration
            | Self::Interval => false,
        }
    }

    /// Returns the PostgreSQL types that take the kind, for messages.
    pub(crate) fn accepted(self) -> &'static str {
        match self {
            Self::Null => "any column that may be NULL",
            Self::Boolean => "boolean",
            Self::Integer => {
                "smallint, integer, bigint, oid, xid8, numeric, money, real or double precision"
            }
            Self::Float { double: false } => {
                "real, double precision, numeric, smallint, integer or bigint"
            }
            Self::Float { double: true } => {
                "double precision, numeric, smallint, integer or bigint"
            }
            Self::Decimal { .. } => "numeric, money, smallint, integer or bigint",
            Self::Text => {
                "text, character varying, character, name, json, jsonb, uuid, an enum, numbers, boolean, bytea, dates, times, bits, addresses of networks or ltree"
            }
            Self::Binary => "bytea, bits, geometry or uuid (16 bytes)",
            Self::FixedBinary { width: 16 } => "bytea, bits, geometry or uuid",
            Self::FixedBinary { .. } => "bytea, bits or geometry",
            Self::Date => "date or timestamp without time zone",
            Self::Time => "time without time zone or interval",
            Self::Timestamp => "timestamp without time zone or date",
            Self::TimestampWithZone => "timestamp with time zone",
            Self::Duration => "interval or time without time zone",
            Self::Interval => "interval",
            Self::List { .. } => {
                "an array of a type that its elements go into, a multirange (of structs), a vector (of numbers), bits (of booleans), a point (of two floats), json or jsonb"
            }
            Self::Struct { .. } => {
                "a composite type of the same fields, a range (of lower and upper), a point (of x and y), hstore (of strings), json or jsonb"
            }
            Self::Map { .. } => {
                "json, jsonb, hstore (of strings) or an array of a composite type of key and value"
            }
            Self::Union => "json or jsonb",
        }
    }
}

/// Returns the type of the values behind dictionaries and runs.
pub(crate) fn values_type(data_type: &DataType) -> &DataType {
    if let DataType::Dictionary(_, values) = data_type {
        values_type(values)
    } else if let DataType::RunEndEncoded(_, values) = data_type {
        values_type(values.data_type())
    } else {
        data_type
    }
}
