//! The one table of what may be written where: Arrow type × PostgreSQL type → [`FieldPlan`].
//!
//! A pair is taken when every value either arrives exactly or is rejected; what would change a
//! value silently (rounding, a guessed time zone, a cast to text) is refused before the first row.

use arrow_schema::{DataType, Field, TimeUnit};

use super::field_plan::{FieldPlan, NumericLimit};
use super::relation::{Modifier, PgType, PgTypeKind};

/// `MAXDIM` of PostgreSQL's array.h.
const MAX_DIMENSIONS: u8 = 6;

/// Why a pair is refused: what is wrong and what would work, to follow `cannot write A into P`.
pub(super) type Refusal = String;

/// What an Arrow type is to the table below.
///
/// [`Source::of`] is exhaustive, so that a type which Arrow adds must be thought of here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source<'a> {
    Null,
    Boolean,
    Integer { unsigned_64: bool },
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
    Object,
    NotServed,
}

impl<'a> Source<'a> {
    fn of(data_type: &'a DataType) -> Self {
        use DataType as D;
        match data_type {
            D::Null => Self::Null,
            D::Boolean => Self::Boolean,
            D::Int8 | D::Int16 | D::Int32 | D::Int64 | D::UInt8 | D::UInt16 | D::UInt32 => {
                Self::Integer { unsigned_64: false }
            }
            D::UInt64 => Self::Integer { unsigned_64: true },
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
            D::List(item) | D::LargeList(item) | D::FixedSizeList(item, _) => Self::List { item },
            D::Struct(_) | D::Map(_, _) => Self::Object,
            D::Dictionary(_, values) => {
                let values = Self::of(values);
                if values.is_nested() {
                    Self::NotServed
                } else {
                    values
                }
            }
            D::ListView(_) | D::LargeListView(_) | D::Union(_, _) | D::RunEndEncoded(_, _) => {
                Self::NotServed
            }
        }
    }

    fn is_nested(self) -> bool {
        matches!(self, Self::List { .. } | Self::Object)
    }

    /// The PostgreSQL types that take it, for the message of a refusal.
    fn accepted(self) -> &'static str {
        match self {
            Self::Null => "any column that may be NULL",
            Self::Boolean => "boolean",
            Self::Integer { .. } => {
                "smallint, integer, bigint, oid, numeric, real or double precision"
            }
            Self::Float { double: false } => "real, double precision or numeric",
            Self::Float { double: true } => "double precision or numeric",
            Self::Decimal { .. } => "numeric, smallint, integer or bigint",
            Self::Text => "text, character varying, character, name, json, jsonb, uuid or an enum",
            Self::Binary => "bytea or uuid (16 bytes)",
            Self::FixedBinary { width: 16 } => "bytea or uuid",
            Self::FixedBinary { .. } => "bytea",
            Self::Date => "date or timestamp without time zone",
            Self::Time => "time without time zone or interval",
            Self::Timestamp => "timestamp without time zone",
            Self::TimestampWithZone => "timestamp with time zone",
            Self::Duration => "interval or time without time zone",
            Self::Interval => "interval",
            Self::List { .. } => "an array of what its elements go into, json or jsonb",
            Self::Object => "json or jsonb",
            Self::NotServed => "no PostgreSQL type yet",
        }
    }
}

/// Decides how values of an Arrow type are written into a column, or why they are not.
///
/// `ty` and `typmod` are the column's; a domain is looked through.
pub(super) fn field_plan(
    data_type: &DataType,
    ty: &PgType,
    typmod: i32,
) -> Result<FieldPlan, Refusal> {
    use FieldPlan as F;
    use PgTypeKind as K;
    use Source as S;
    let (ty, typmod) = ty.resolve(typmod);
    let modifier = Modifier::of(ty, typmod);
    let source = Source::of(data_type);
    Ok(match (source, &ty.kind) {
        (S::NotServed, _) => return Err(refuse(source, ty)),
        (S::Null, _) => F::Null,
        (S::Boolean, K::Bool) => F::Bool,

        (S::Integer { .. }, K::Int2) => F::Int2,
        (S::Integer { .. }, K::Int4) => F::Int4,
        (S::Integer { .. }, K::Int8) => F::Int8,
        (S::Integer { .. }, K::Oid) => F::Oid,
        (S::Integer { unsigned_64: false }, K::Float4) => F::Float4,
        (S::Integer { unsigned_64: false }, K::Float8) => F::Float8,
        (S::Integer { .. }, K::Numeric) => numeric(integer_digits(data_type), 0, modifier),

        (S::Float { double: false }, K::Float4) => F::Float4,
        (S::Float { .. }, K::Float8) => F::Float8,
        (S::Float { .. }, K::Numeric) => F::Numeric {
            limit: limit(modifier),
        },

        (S::Decimal { precision, scale }, K::Numeric) => numeric(precision, scale, modifier),
        (S::Decimal { .. }, K::Int2) => F::Int2,
        (S::Decimal { .. }, K::Int4) => F::Int4,
        (S::Decimal { .. }, K::Int8) => F::Int8,

        (S::Text, K::Text | K::Json) => F::Text { max_chars: None },
        (S::Text, K::Varchar | K::Bpchar) => F::Text {
            max_chars: length(modifier),
        },
        (S::Text, K::Name) => F::Name,
        (S::Text, K::Jsonb) => F::JsonbText,
        (S::Text, K::Uuid) => F::Uuid,
        (S::Text, K::Enum(labels)) => F::Enum {
            labels: labels.clone(),
        },

        (S::Binary | S::FixedBinary { .. }, K::Bytea) => F::Bytea,
        (S::Binary | S::FixedBinary { width: 16 }, K::Uuid) => F::Uuid,

        (S::Date, K::Date) => F::Date,
        // A date is midnight: no fraction to lose, whatever the column's precision.
        (S::Date, K::Timestamp) => F::Timestamp { precision: None },
        (S::Time | S::Duration, K::Time) => F::Time {
            precision: fraction(data_type, modifier),
        },
        (S::Timestamp, K::Timestamp) => F::Timestamp {
            precision: fraction(data_type, modifier),
        },
        (S::TimestampWithZone, K::Timestamptz) => F::Timestamptz {
            precision: fraction(data_type, modifier),
        },
        (S::Time | S::Duration | S::Interval, K::Interval) => {
            if modifier == Modifier::Fields {
                return Err("the column keeps certain fields only and would cut the others silently; make it plain interval".into());
            }
            F::Interval {
                precision: fraction(data_type, modifier),
            }
        }

        (S::List { .. }, K::Array(element)) => array(data_type, element, typmod)?,
        (S::List { .. } | S::Object, K::Json) => json(data_type, false)?,
        (S::List { .. } | S::Object, K::Jsonb) => json(data_type, true)?,
        _ => return Err(refuse(source, ty)),
    })
}

fn refuse(source: Source<'_>, ty: &PgType) -> Refusal {
    use PgTypeKind as K;
    use Source as S;
    let advice = match (source, &ty.kind) {
        (S::NotServed, _) => "; cast the column to another type before writing",
        (S::Timestamp, K::Timestamptz) => {
            "; which zone the times are in is not known, so convert the column to a timestamp with a zone before writing"
        }
        (S::TimestampWithZone, K::Timestamp) => {
            "; the zone would be lost, so convert the column to a timestamp without a zone before writing"
        }
        (S::Date, K::Timestamptz) => {
            "; which zone's midnight is meant is not known, so convert the column to a timestamp with a zone before writing"
        }
        (S::Float { .. }, K::Float4) | (S::Integer { .. }, K::Float4 | K::Float8) => {
            "; it would be rounded, so make the column numeric or cast the data before writing"
        }
        (S::Object | S::List { .. }, K::Text | K::Varchar | K::Bpchar) => {
            "; make the column jsonb, or turn the data into a string before writing"
        }
        (_, K::Text | K::Varchar | K::Bpchar) => "; cast the data to a string before writing",
        (S::Text, _) => "; strings are not parsed into it, so cast the data before writing",
        (_, K::Other) => "; nothing is written into that type yet",
        _ => "; cast the data or change the column's type",
    };
    format!("it goes into {}{advice}", source.accepted())
}

/// Decimals of the largest integer of so many bytes, with a sign or without.
fn integer_digits(data_type: &DataType) -> u8 {
    match data_type.primitive_width() {
        Some(1) => 3,
        Some(2) => 5,
        Some(4) => 10,
        // Or a dictionary, whose keys say nothing of its values.
        Some(_) | None => 20,
    }
}

/// A numeric from digits known in number: checked per value only where they might not fit.
fn numeric(precision: u8, scale: i8, modifier: Modifier) -> FieldPlan {
    let limit = limit(modifier).filter(|limit| {
        let (precision, scale) = (i32::from(precision), i32::from(scale));
        scale > limit.scale || precision - scale > limit.precision - limit.scale
    });
    FieldPlan::Numeric { limit }
}

fn limit(modifier: Modifier) -> Option<NumericLimit> {
    match modifier {
        Modifier::Numeric { precision, scale } => Some(NumericLimit { precision, scale }),
        Modifier::None | Modifier::Length(_) | Modifier::Precision(_) | Modifier::Fields => None,
    }
}

fn length(modifier: Modifier) -> Option<u32> {
    match modifier {
        Modifier::Length(chars) => Some(chars),
        Modifier::None | Modifier::Numeric { .. } | Modifier::Precision(_) | Modifier::Fields => {
            None
        }
    }
}

/// The digits of a second's fraction to check for: none where the data cannot have more.
fn fraction(data_type: &DataType, modifier: Modifier) -> Option<u8> {
    let Modifier::Precision(held) = modifier else {
        return None;
    };
    let (DataType::Timestamp(unit, _)
    | DataType::Time32(unit)
    | DataType::Time64(unit)
    | DataType::Duration(unit)) = data_type
    else {
        return Some(held);
    };
    let sent = match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 3,
        TimeUnit::Microsecond | TimeUnit::Nanosecond => 6,
    };
    (sent > held).then_some(held)
}

/// Lists around elements become the dimensions of one array.
fn array(list: &DataType, element: &PgType, typmod: i32) -> Result<FieldPlan, Refusal> {
    let mut dimensions = 0;
    let mut inner = list;
    while let Source::List { item } = Source::of(inner) {
        if matches!(inner, DataType::Dictionary(_, _)) {
            break;
        }
        dimensions += 1;
        inner = item.data_type();
        if dimensions > MAX_DIMENSIONS {
            return Err(
                "PostgreSQL's arrays have at most 6 dimensions; make the column jsonb".into(),
            );
        }
    }
    let plan = field_plan(inner, element, typmod).map_err(|reason| {
        format!(
            "its elements are {inner} and the array's are {}: {reason}",
            element.name
        )
    })?;
    Ok(FieldPlan::Array {
        element_oid: element.oid,
        dimensions,
        element: Box::new(plan),
    })
}

fn json(data_type: &DataType, binary: bool) -> Result<FieldPlan, Refusal> {
    match first_unrenderable(data_type) {
        None => Ok(FieldPlan::Json { binary }),
        Some(inner) => Err(format!(
            "a {inner} inside it cannot be rendered as JSON; cast that part before writing"
        )),
    }
}

/// The first type within that has no place in a JSON document.
fn first_unrenderable(data_type: &DataType) -> Option<&DataType> {
    if let Source::List { item } = Source::of(data_type) {
        return first_unrenderable(item.data_type());
    }
    if let DataType::Struct(fields) = data_type {
        return fields
            .iter()
            .find_map(|field| first_unrenderable(field.data_type()));
    }
    if let DataType::Map(entries, _) = data_type {
        // A key becomes text, which a nested value does not.
        let DataType::Struct(fields) = entries.data_type() else {
            return Some(data_type);
        };
        let key = fields.first().map(|key| key.data_type());
        let nested = key.filter(|key| Source::of(key).is_nested());
        return nested.or_else(|| first_unrenderable(entries.data_type()));
    }
    (Source::of(data_type) == Source::NotServed).then_some(data_type)
}
