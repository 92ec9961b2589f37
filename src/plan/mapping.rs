//! The one table of what may be written where: Arrow type × PostgreSQL type → [`FieldPlan`].
//!
//! A pair is taken when every value either arrives exactly or is rejected; what would change a
//! value silently (rounding, a guessed time zone, a cast to text) is refused before the first row.

use arrow_schema::{DataType, Field, Fields, TimeUnit};

use super::field_plan::{FieldPlan, NumericLimit};
use super::nested::{composite, hstore, multirange, range_bound, vector};
use super::opaque;
use super::relation::{Column, Modifier, PgType, PgTypeKind};

/// `MAXDIM` of PostgreSQL's array.h.
const MAX_DIMENSIONS: u8 = 6;

/// Why a pair is refused: what is wrong and what would work, to follow `cannot write A into P`.
pub(super) type Refusal = String;

/// What an Arrow type is to the table below.
///
/// [`Source::of`] is exhaustive, so that a type which Arrow adds must be thought of here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source<'a> {
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
    Struct { fields: &'a Fields },
    Map,
    NotServed,
}

impl<'a> Source<'a> {
    pub(super) fn of(data_type: &'a DataType) -> Self {
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
            D::List(item)
            | D::LargeList(item)
            | D::FixedSizeList(item, _)
            | D::ListView(item)
            | D::LargeListView(item) => Self::List { item },
            D::Struct(fields) => Self::Struct { fields },
            D::Map(_, _) => Self::Map,
            D::Dictionary(_, values) => Self::of(values),
            D::RunEndEncoded(_, values) => Self::of(values.data_type()),
            D::Union(_, _) => Self::NotServed,
        }
    }

    fn is_nested(self) -> bool {
        matches!(self, Self::List { .. } | Self::Struct { .. } | Self::Map)
    }

    /// The PostgreSQL types that take it, for the message of a refusal.
    fn accepted(self) -> &'static str {
        match self {
            Self::Null => "any column that may be NULL",
            Self::Boolean => "boolean",
            Self::Integer { .. } => {
                "smallint, integer, bigint, oid, numeric, money, real or double precision"
            }
            Self::Float { double: false } => "real, double precision or numeric",
            Self::Float { double: true } => "double precision or numeric",
            Self::Decimal { .. } => "numeric, money, smallint, integer or bigint",
            Self::Text => {
                "text, character varying, character, name, json, jsonb, uuid, an enum, numbers, boolean, bytea, dates, times, bits, addresses of networks or ltree"
            }
            Self::Binary => "bytea, bits, geometry or uuid (16 bytes)",
            Self::FixedBinary { width: 16 } => "bytea, bits, geometry or uuid",
            Self::FixedBinary { .. } => "bytea, bits or geometry",
            Self::Date => "date or timestamp without time zone",
            Self::Time => "time without time zone or interval",
            Self::Timestamp => "timestamp without time zone",
            Self::TimestampWithZone => "timestamp with time zone",
            Self::Duration => "interval or time without time zone",
            Self::Interval => "interval",
            Self::List { .. } => {
                "an array of what its elements go into, a multirange (of structs), a vector (of numbers), json or jsonb"
            }
            Self::Struct { .. } => {
                "a composite type of the same fields, a range (of lower and upper), hstore (of strings), json or jsonb"
            }
            Self::Map => "json, jsonb or hstore (of strings)",
            Self::NotServed => "no PostgreSQL type yet",
        }
    }
}

/// Decides how a field of the data is written into a column, or why it is not: by an encoder where
/// there is one, else, for text, by PostgreSQL's own cast.
pub(super) fn column_plan(field: &Field, ty: &PgType, typmod: i32) -> Result<FieldPlan, Refusal> {
    field_plan(field, ty, typmod).or_else(|refusal| cast(field, ty, typmod).ok_or(refusal))
}

/// Text, or lists of it for an array, where PostgreSQL reads the type from text and a modifier of the
/// type makes it reject what does not fit, and not round or cut it.
fn cast(field: &Field, ty: &PgType, typmod: i32) -> Option<FieldPlan> {
    use PgTypeKind as K;
    let (ty, typmod) = ty.resolve(typmod);
    let strict = typmod < 0 || matches!(ty.kind, K::Vector | K::Halfvec | K::Geometry);
    // A fraction finer than the currency's smallest unit would be rounded.
    if !strict || matches!(ty.kind, K::Money { .. }) {
        return None;
    }
    match (Source::of(field.data_type()), &ty.kind) {
        (Source::Text, _) => Some(FieldPlan::Cast { array: false }),
        (Source::List { .. }, K::Array(element)) => {
            let mut inner = field.data_type();
            while let Source::List { item } = Source::of(inner) {
                inner = item.data_type();
            }
            let element = matches!(element.base().kind, K::Money { .. });
            let castable = Source::of(inner) == Source::Text && !element;
            castable.then_some(FieldPlan::Cast { array: true })
        }
        _ => None,
    }
}

/// Whether values staged as text are what a write of text to this column has PostgreSQL cast.
pub fn is_cast(staged: &Column, target: &Column) -> bool {
    let text = Field::new("item", DataType::Utf8, true);
    let field = if staged.ty.kind == PgTypeKind::Text {
        text
    } else if let PgTypeKind::Array(element) = &staged.ty.kind
        && element.kind == PgTypeKind::Text
    {
        Field::new_list("staged", text, true)
    } else {
        return false;
    };
    let plan = column_plan(&field, &target.ty, target.typmod);
    matches!(plan, Ok(FieldPlan::Cast { .. }))
}

/// Decides how values of an Arrow type are encoded for a PostgreSQL type, or why they are not.
///
/// `ty` and `typmod` are the column's; a domain is looked through, and so are dictionaries and runs.
pub(super) fn field_plan(field: &Field, ty: &PgType, typmod: i32) -> Result<FieldPlan, Refusal> {
    use FieldPlan as F;
    use PgTypeKind as K;
    use Source as S;
    let (ty, typmod) = ty.resolve(typmod);
    let modifier = Modifier::of(ty, typmod);
    let data_type = values_type(field.data_type());
    let source = Source::of(data_type);
    if let (S::Binary | S::FixedBinary { .. }, Some(name)) = (source, opaque::type_name(field)) {
        return opaque::plan(&name, ty);
    }
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

        (S::Text, K::Bool) => F::Bool,
        (S::Text, K::Int2) => F::Int2,
        (S::Text, K::Int4) => F::Int4,
        (S::Text, K::Int8) => F::Int8,
        (S::Text, K::Oid) => F::Oid,
        (S::Text, K::Float4) => F::Float4,
        (S::Text, K::Float8) => F::Float8,
        (S::Text, K::Numeric) => F::Numeric {
            limit: limit(modifier),
        },
        (S::Text, K::Bytea) => F::Bytea,
        (S::Text, K::Date) => F::Date,
        (S::Text, K::Time) => F::Time {
            precision: fraction(data_type, modifier),
        },
        (S::Text, K::Timetz) => F::Timetz {
            precision: fraction(data_type, modifier),
        },
        (S::Text, K::Timestamp) => F::Timestamp {
            precision: fraction(data_type, modifier),
        },
        (S::Text, K::Timestamptz) => F::Timestamptz {
            precision: fraction(data_type, modifier),
        },
        (S::Text, K::Inet) => F::Inet { cidr: false },
        (S::Text, K::Cidr) => F::Inet { cidr: true },
        (S::Text, K::Macaddr) => F::Macaddr { bytes: 6 },
        (S::Text, K::Macaddr8) => F::Macaddr { bytes: 8 },
        (S::Text, K::VersionedText) => F::VersionedText,
        (S::Text | S::Binary | S::FixedBinary { .. }, K::Bit) => F::Bits {
            length: length(modifier),
            exact: true,
        },
        (S::Text | S::Binary | S::FixedBinary { .. }, K::Varbit) => F::Bits {
            length: length(modifier),
            exact: false,
        },
        (S::Binary | S::FixedBinary { .. }, K::Geometry) => F::Geometry,

        (S::Integer { .. } | S::Decimal { .. }, K::Money { fraction_digits }) => F::Money {
            fraction_digits: *fraction_digits,
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
        (S::List { item }, K::Vector) => vector(item, modifier, false)?,
        (S::List { item }, K::Halfvec) => vector(item, modifier, true)?,
        (S::List { item }, K::Multirange(subtype)) => multirange(item, subtype)?,
        (S::Struct { fields }, K::Range(subtype)) => F::Range {
            bound: range_bound(fields, subtype)?,
        },
        (S::Struct { fields }, K::Composite(attributes)) => composite(fields, attributes)?,
        (S::Struct { .. } | S::Map, K::Hstore) => hstore(data_type)?,
        (S::List { .. } | S::Struct { .. } | S::Map, K::Json) => json(data_type, false)?,
        (S::List { .. } | S::Struct { .. } | S::Map, K::Jsonb) => json(data_type, true)?,
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
        (S::Struct { .. } | S::Map | S::List { .. }, K::Text | K::Varchar | K::Bpchar) => {
            "; make the column jsonb, or turn the data into a string before writing"
        }
        (_, K::Text | K::Varchar | K::Bpchar) => "; cast the data to a string before writing",
        (S::Time | S::Timestamp | S::TimestampWithZone, K::Timetz) => {
            "; an offset from UTC belongs to every value, so write strings such as 12:30:00+02"
        }
        (S::Float { .. } | S::Text, K::Money { .. }) => {
            "; it would be rounded, so cast the data to a decimal before writing"
        }
        (S::Text, _) => {
            "; PostgreSQL casts strings to it only where they are a whole column (or its lists) and no length or precision would cut them, so cast the data before writing"
        }
        (_, K::Other) => {
            "; only PostgreSQL's own binary form is written into that type, as arrow.opaque"
        }
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

pub(super) fn length(modifier: Modifier) -> Option<u32> {
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

/// The type of the values behind dictionaries and runs.
pub fn values_type(data_type: &DataType) -> &DataType {
    if let DataType::Dictionary(_, values) = data_type {
        values_type(values)
    } else if let DataType::RunEndEncoded(_, values) = data_type {
        values_type(values.data_type())
    } else {
        data_type
    }
}

/// Lists around elements become the dimensions of one array.
fn array(list: &DataType, element: &PgType, typmod: i32) -> Result<FieldPlan, Refusal> {
    let mut dimensions = 0;
    let mut items = None;
    let mut inner = list;
    // Lists behind a dictionary or in runs are not side by side, as those of one array must be. Where
    // a list is an element, as for an array of vectors, it is not a dimension.
    while let (Source::List { item }, true) =
        (Source::of(inner), std::ptr::eq(values_type(inner), inner))
    {
        if dimensions > 0 && takes_lists(element) {
            break;
        }
        dimensions += 1;
        items = Some(item);
        inner = item.data_type();
        if dimensions > MAX_DIMENSIONS {
            return Err(
                "PostgreSQL's arrays have at most 6 dimensions; make the column jsonb".into(),
            );
        }
    }
    let Some(items) = items else {
        return Err("it is no list".into());
    };
    let plan = field_plan(items, element, typmod).map_err(|reason| {
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

/// Whether a list is one value of this type.
fn takes_lists(ty: &PgType) -> bool {
    use PgTypeKind as K;
    matches!(ty.base().kind, K::Vector | K::Halfvec | K::Multirange(_))
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
    let data_type = values_type(data_type);
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
