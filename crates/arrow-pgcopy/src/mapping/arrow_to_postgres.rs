//! The table of pairs that may be written: Arrow type × PostgreSQL type → [`FieldPlan`].
//!
//! A pair is accepted when each value either arrives exactly or is rejected. A pair that would change values
//! silently (rounding, a guessed time zone, a cast to text) is refused before the first row.

use arrow_schema::{DataType, Field};

use super::field_plan::FieldPlan;
use super::limits::{fraction, integer_digits, length, limit, numeric};
use super::nested::{
    array, composite, entries, hstore, json, multirange, point, range_bound, vector,
};
use crate::field::{Source, extension, values_type};
use crate::refusal::Refusal;
use crate::table::{Column, Modifier, PgType, PgTypeKind, type_name};

/// The OID of `xml`, which is received like text, apart from its declaration.
const XML_OID: u32 = 142;

/// Decides how a field is written into a column: by an encoder, or else, for strings, by PostgreSQL's cast.
pub(crate) fn column_plan(field: &Field, ty: &PgType, typmod: i32) -> Result<FieldPlan, Refusal> {
    field_plan(field, ty, typmod).or_else(|refusal| cast(field, ty, typmod).ok_or(refusal))
}

/// Plans a cast for strings, or for lists of strings into an array, if PostgreSQL's input function for the type
/// rejects what does not fit.
fn cast(field: &Field, ty: &PgType, typmod: i32) -> Option<FieldPlan> {
    if !is_strict(ty, typmod) {
        return None;
    }
    match (Source::of(field.data_type()), &ty.base().kind) {
        (Source::Text, _) => Some(FieldPlan::Cast { array: false }),
        (Source::List { .. }, PgTypeKind::Array(_)) => {
            let mut inner = field.data_type();
            while let Source::List { item } = Source::of(inner) {
                inner = item.data_type();
            }
            (Source::of(inner) == Source::Text).then_some(FieldPlan::Cast { array: true })
        }
        _ => None,
    }
}

/// Returns whether the input function of a type, and of the types it is made of, rejects what does not fit instead
/// of rounding or cutting it.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "field_plan is exhaustive; the exceptions are named here"
)]
fn is_strict(ty: &PgType, typmod: i32) -> bool {
    use PgTypeKind as K;
    /// `"char"`, which keeps only the first byte of a text.
    const CHAR_OID: u32 = 18;
    let (ty, typmod) = ty.resolve(typmod);
    match &ty.kind {
        K::Vector | K::Halfvec | K::Sparsevec | K::Geometry => true,
        // PostgreSQL rounds money to the currency's smallest unit, cuts long names, and takes a time without an
        // offset for one in the session's zone.
        K::Money { .. } | K::Name | K::Timestamptz => false,
        K::Array(element) => is_strict(element, typmod),
        K::Range(bound) | K::Multirange(bound) => is_strict(bound, -1),
        K::Composite(attributes) => attributes
            .iter()
            .all(|attribute| is_strict(&attribute.ty, attribute.typmod)),
        _ => typmod < 0 && ty.oid != CHAR_OID,
    }
}

/// Returns whether a staging column holds text that PostgreSQL casts into the target column.
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

/// Decides how values of an Arrow type are encoded for a PostgreSQL type.
///
/// `ty` and `typmod` are the column's. Domains, dictionaries and runs are resolved first.
pub(crate) fn field_plan(field: &Field, ty: &PgType, typmod: i32) -> Result<FieldPlan, Refusal> {
    use FieldPlan as F;
    use PgTypeKind as K;
    use Source as S;
    let (ty, typmod) = ty.resolve(typmod);
    let modifier = Modifier::of(ty, typmod);
    let data_type = values_type(field.data_type());
    let source = Source::of(data_type);
    if let (S::Binary | S::FixedBinary { .. }, Some(name)) = (source, extension::opaque(field)) {
        return opaque(&name, ty, modifier);
    }
    if extension::is_variant(field) {
        return Err(
            Refusal::new("it is a variant, whose bytes only Spark and Parquet read")
                .with_hint("write to_json(…) of it as a string"),
        );
    }
    let precision = fraction(data_type, modifier);
    Ok(match (source, &ty.kind) {
        (S::Null, _) => F::Null,

        (S::Boolean | S::Text, K::Bool) => F::Bool,
        (S::Integer, K::Bool) if extension::is_bool8(field) => F::Bool,
        // Decimals and floats that are whole.
        (S::Integer | S::Decimal { .. } | S::Float { .. } | S::Text, K::Int2) => F::Int2,
        (S::Integer | S::Decimal { .. } | S::Float { .. } | S::Text, K::Int4) => F::Int4,
        (S::Integer | S::Decimal { .. } | S::Float { .. } | S::Text, K::Int8) => F::Int8,
        (S::Integer | S::Text, K::Oid) => F::Oid,
        (S::Integer | S::Text, K::Xid8) => F::Xid8,
        (S::Integer | S::Float { double: false } | S::Text, K::Float4) => F::Float4,
        (S::Integer | S::Float { .. } | S::Text, K::Float8) => F::Float8,
        (S::Integer, K::Numeric) => numeric(integer_digits(data_type), 0, modifier),
        (S::Decimal { precision, scale }, K::Numeric) => numeric(precision, scale, modifier),
        (S::Float { .. } | S::Text, K::Numeric) => F::Numeric {
            limit: limit(modifier),
        },
        (S::Integer | S::Decimal { .. }, K::Money { fraction_digits }) => F::Money {
            fraction_digits: *fraction_digits,
        },

        (S::Text, K::Text) if ty.oid == XML_OID => F::Xml,
        (S::Text, K::Text | K::Json) => F::Text { max_chars: None },
        (S::Text, K::Varchar | K::Bpchar) => F::Text {
            max_chars: length(modifier),
        },
        (S::Text, K::Name) => F::Name,
        (S::Text, K::Jsonb) => F::JsonbText,
        (S::Text, K::VersionedText) => F::VersionedText,
        (S::Text, K::Enum(labels)) => F::Enum {
            labels: labels.clone(),
        },
        (S::Text | S::Binary | S::FixedBinary { .. }, K::Bytea) => F::Bytea,
        (S::Text | S::Binary | S::FixedBinary { width: 16 }, K::Uuid) => F::Uuid,
        (S::Binary | S::FixedBinary { .. }, K::Geometry) => F::Geometry,
        (S::Text | S::Binary | S::FixedBinary { .. }, K::Bit | K::Varbit) => F::Bits {
            length: length(modifier),
            exact: ty.kind == K::Bit,
        },
        (S::Text, K::Inet | K::Cidr) => F::Inet {
            cidr: ty.kind == K::Cidr,
        },
        (S::Text, K::Macaddr) => F::Macaddr { bytes: 6 },
        (S::Text, K::Macaddr8) => F::Macaddr { bytes: 8 },

        // Timestamps that are midnights.
        (S::Date | S::Timestamp | S::Text, K::Date) => F::Date,
        (S::Time | S::Duration | S::Text, K::Time) => F::Time { precision },
        (S::Text, K::Timetz) => F::Timetz { precision },
        // A date is midnight and has no fraction, whatever the column's precision.
        (S::Date, K::Timestamp) => F::Timestamp { precision: None },
        (S::Timestamp | S::Text, K::Timestamp) => F::Timestamp { precision },
        (S::TimestampWithZone | S::Text, K::Timestamptz) => F::Timestamptz { precision },
        (S::Time | S::Duration | S::Interval, K::Interval) => {
            if modifier == Modifier::Fields {
                return Err(Refusal::new(
                    "the column keeps certain fields only and would cut the others",
                )
                .with_hint("make the column plain interval"));
            }
            F::Interval { precision }
        }

        (S::List { .. }, K::Array(element)) => array(data_type, element, typmod)?,
        (S::List { item }, K::Vector | K::Halfvec | K::Sparsevec) => {
            vector(item, &ty.kind, modifier)?
        }
        (S::List { item }, K::Multirange(subtype)) => multirange(item, subtype)?,
        (S::List { item }, K::Bit | K::Varbit)
            if Source::of(item.data_type()) == Source::Boolean =>
        {
            F::Bits {
                length: length(modifier),
                exact: ty.kind == K::Bit,
            }
        }
        (S::List { .. } | S::Struct { .. }, K::Point) => point(data_type)?,
        (S::Struct { fields }, K::Range(subtype)) => F::Range {
            bound: range_bound(fields, subtype)?,
        },
        (S::Struct { fields }, K::Composite(attributes)) => composite(fields, attributes)?,
        (S::Map { entries: map }, K::Array(element)) => entries(map, element)?,
        (S::Struct { .. } | S::Map { .. }, K::Hstore) => hstore(data_type)?,
        (S::List { .. } | S::Struct { .. } | S::Map { .. } | S::Union, K::Json) => {
            json(data_type, false)?
        }
        (S::List { .. } | S::Struct { .. } | S::Map { .. } | S::Union, K::Jsonb) => {
            json(data_type, true)?
        }

        // All other pairs, without a wildcard: a new kind on either side does not compile until it is mapped.
        (
            S::Boolean
            | S::Integer
            | S::Float { .. }
            | S::Decimal { .. }
            | S::Text
            | S::Binary
            | S::FixedBinary { .. }
            | S::Date
            | S::Time
            | S::Timestamp
            | S::TimestampWithZone
            | S::Duration
            | S::Interval
            | S::List { .. }
            | S::Struct { .. }
            | S::Map { .. }
            | S::Union,
            K::Bool
            | K::Int2
            | K::Int4
            | K::Int8
            | K::Oid
            | K::Xid8
            | K::Float4
            | K::Float8
            | K::Numeric
            | K::Money { .. }
            | K::Text
            | K::Varchar
            | K::Bpchar
            | K::Name
            | K::Bytea
            | K::Json
            | K::Jsonb
            | K::VersionedText
            | K::Uuid
            | K::Date
            | K::Time
            | K::Timetz
            | K::Timestamp
            | K::Timestamptz
            | K::Interval
            | K::Bit
            | K::Varbit
            | K::Inet
            | K::Cidr
            | K::Macaddr
            | K::Macaddr8
            | K::Hstore
            | K::Vector
            | K::Halfvec
            | K::Sparsevec
            | K::Point
            | K::Geometry
            | K::Composite(_)
            | K::Range(_)
            | K::Multirange(_)
            | K::Enum(_)
            | K::Array(_)
            | K::Domain { .. }
            | K::Other,
        ) => return Err(refuse(source, ty)),
    })
}

/// Accepts PostgreSQL's own bytes for a column of the same type, named with or without its schema, unless
/// PostgreSQL would round them to the column's precision.
fn opaque(name: &str, ty: &PgType, modifier: Modifier) -> Result<FieldPlan, Refusal> {
    let bare = ty.name.rsplit_once('.').map_or(&*ty.name, |(_, bare)| bare);
    if [&*ty.name, bare].contains(&name) || type_name::printed(name) == ty.name {
        match modifier {
            Modifier::None | Modifier::Length(_) => Ok(FieldPlan::Opaque),
            Modifier::Precision(_) | Modifier::Numeric { .. } | Modifier::Fields => Err(Refusal::new(
                "the data is arrow.opaque, and PostgreSQL would round it to the column's precision",
            )
            .with_hint("take the precision off, or cast the data before writing")),
        }
    } else {
        Err(Refusal::new(format!(
            "the data is arrow.opaque of the PostgreSQL type {name:?}, which goes only into columns of that type"
        ))
        .with_hint("cast the data or the column"))
    }
}

/// Refuses a pair, and says what would be lost and what would work.
fn refuse(source: Source<'_>, ty: &PgType) -> Refusal {
    use PgTypeKind as K;
    use Source as S;
    let (reason, hint, conversion) = match (source, &ty.kind) {
        (S::Timestamp, K::Timestamptz) => (
            Some("its times do not say which zone they are in"),
            "convert the column to a timestamp with a zone before writing",
            Some("name the zone (conversion zone)"),
        ),
        (S::TimestampWithZone, K::Timestamp) => (
            Some("its zone would be lost"),
            "convert the column to a timestamp without a zone before writing",
            Some(
                "name the zone whose local time it becomes (conversion zone, or option localTimestamps in Spark)",
            ),
        ),
        (S::Date, K::Timestamptz) => (
            Some("its dates do not say in which zone they begin"),
            "convert the column to a timestamp with a zone before writing",
            Some("name the zone (conversion zone)"),
        ),
        (S::Time, K::Timetz) => (
            Some("its times have no offset from UTC"),
            "write strings such as 12:30:00+02",
            Some("name the offset (conversion zone)"),
        ),
        (S::Timestamp | S::TimestampWithZone, K::Timetz) => {
            (None, "write strings such as 12:30:00+02", None)
        }
        (S::Timestamp, K::Time) => (
            Some("the other part of its timestamps would be lost"),
            "cast the data before writing",
            Some("ask for it (conversion form: part)"),
        ),
        (S::TimestampWithZone, K::Date | K::Time) => (
            Some("its timestamps do not say in which zone their day begins"),
            "cast the data before writing",
            Some("ask for it (conversions zone and form: part)"),
        ),
        (S::Float { .. }, K::Float4) | (S::Decimal { .. }, K::Float4 | K::Float8) => (
            Some("it would be rounded"),
            "make the column numeric, or cast the data before writing",
            Some("ask for it (conversion rounding)"),
        ),
        (S::Float { .. }, K::Money { .. }) => (
            Some("it would be rounded"),
            "cast the data to a decimal before writing",
            Some("ask for it (conversion rounding)"),
        ),
        (S::Text, K::Money { .. }) => (
            Some("it would be rounded"),
            "cast the data to a decimal before writing",
            None,
        ),
        (S::Boolean, K::Int2 | K::Int4 | K::Int8 | K::Numeric | K::Bit | K::Varbit)
        | (S::Integer, K::Bool) => (
            None,
            "cast the data before writing",
            Some("ask for 0 and 1 in place of false and true (conversion form: number)"),
        ),
        (S::Integer, K::Date | K::Timestamp | K::Timestamptz | K::Interval)
        | (
            S::Duration | S::Timestamp | S::TimestampWithZone,
            K::Int2 | K::Int4 | K::Int8 | K::Numeric,
        ) => (
            None,
            "cast the data before writing",
            Some("name the unit that is counted (conversion unit)"),
        ),
        (
            S::Binary | S::FixedBinary { .. },
            K::Text | K::Varchar | K::Bpchar | K::Name | K::Json | K::Jsonb,
        ) => (
            None,
            "cast the data before writing",
            Some("name the form of the text (conversion form: utf8, hex or base64)"),
        ),
        (S::Binary | S::FixedBinary { .. }, K::Inet | K::Cidr | K::Macaddr | K::Macaddr8) => (
            None,
            "write strings",
            Some("ask for an address (conversion form: address)"),
        ),
        (
            S::Struct { .. } | S::Map { .. } | S::List { .. } | S::Union,
            K::Text | K::Varchar | K::Bpchar,
        ) => (
            None,
            "make the column jsonb",
            Some("ask for JSON as text (conversion form: text)"),
        ),
        (_, K::Text | K::Varchar | K::Bpchar) => (
            None,
            "cast the data to a string before writing",
            Some("ask for it (conversion form: text)"),
        ),
        (S::Text, _) => (
            Some(
                "PostgreSQL casts strings only as whole columns, and only where no length, precision or session time zone would change them",
            ),
            "cast the data before writing",
            None,
        ),
        (_, K::Other) => (
            Some(
                "that type takes only strings, which PostgreSQL casts, and its own binary form, as arrow.opaque",
            ),
            "cast the data or change the column's type",
            None,
        ),
        _ => (None, "cast the data or change the column's type", None),
    };
    let reason = match reason {
        Some(reason) => Refusal::new(reason),
        None => Refusal::new(format!("it goes into {}", source.accepted())),
    };
    reason.with_hint(hint).with_conversion(conversion)
}
