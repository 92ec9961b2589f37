//! Types of columns, and conversions, made from a fuzzer's bytes.

use arbitrary::{Result, Unstructured};

use super::tables::{array_of, pg_type};
use crate::conversion::{Form, Overflow, Rounding, Unit};
use crate::table::Attribute;
use crate::{Conversion, PgTypeKind as K};

/// A type that a column can have, with a modifier that PostgreSQL could give it.
pub(super) fn kind(u: &mut Unstructured<'_>, depth: usize) -> Result<(K, i32)> {
    const FLAT: [K; 39] = [
        K::Bool,
        K::Int2,
        K::Int4,
        K::Int8,
        K::Oid,
        K::Float4,
        K::Float8,
        K::Numeric,
        K::Numeric,
        K::Text,
        K::Varchar,
        K::Bpchar,
        K::Name,
        K::Bytea,
        K::Json,
        K::Jsonb,
        K::Uuid,
        K::Date,
        K::Time,
        K::Timestamp,
        K::Timestamptz,
        K::Interval,
        K::Timetz,
        K::Bit,
        K::Varbit,
        K::Inet,
        K::Cidr,
        K::Macaddr,
        K::Macaddr8,
        K::VersionedText,
        K::Hstore,
        K::Vector,
        K::Halfvec,
        K::Sparsevec,
        K::Point,
        K::Xid8,
        K::Geometry,
        K::Other,
        K::Money { fraction_digits: 2 },
    ];
    let boxed = |(kind, _): (K, i32)| Box::new(pg_type(kind));
    let chosen = u.int_in_range(0..=if depth == 0 { 39 } else { 45 })?;
    if let Some(kind) = FLAT.get(chosen) {
        let typmod = match kind {
            _ if u.arbitrary()? => -1,
            K::Numeric => (u.int_in_range(1..=40)? << 16 | (u.int_in_range(-3..=40)? & 0x7ff)) + 4,
            K::Varchar | K::Bpchar => u.int_in_range(1..=6)? + 4,
            K::Bit | K::Varbit | K::Vector | K::Halfvec | K::Sparsevec => u.int_in_range(1..=9)?,
            K::Time | K::Timetz | K::Timestamp | K::Timestamptz => u.int_in_range(0..=6)?,
            K::Interval => 0x7fff << 16 | u.int_in_range(0..=6)?,
            _ => -1,
        };
        return Ok((kind.clone(), typmod));
    }
    Ok(match chosen {
        39 => (K::Enum(vec!["red".into(), "0".into(), String::new()]), -1),
        40 | 41 => {
            let (element, typmod) = kind(u, 0)?;
            (array_of(element), typmod)
        }
        42 => {
            let names = *u.choose(&[&["a", "b"][..], &["b", "a", "c"], &["lower"]])?;
            let attributes = names.iter().map(|name| {
                let (kind, typmod) = kind(u, depth - 1)?;
                Ok(Attribute {
                    name: (*name).to_owned(),
                    ty: pg_type(kind),
                    typmod,
                })
            });
            (K::Composite(attributes.collect::<Result<_>>()?), -1)
        }
        43 => (K::Range(boxed(kind(u, 0)?)), -1),
        44 => (K::Multirange(boxed(kind(u, 0)?)), -1),
        _ => {
            let (base, typmod) = kind(u, depth - 1)?;
            (
                K::Domain {
                    base: Box::new(pg_type(base)),
                    typmod,
                },
                -1,
            )
        }
    })
}

/// A conversion, which has no meaning for most columns.
pub(super) fn conversion(u: &mut Unstructured<'_>) -> Result<Conversion> {
    fn maybe<T: Copy>(u: &mut Unstructured<'_>, values: &[T]) -> Result<Option<T>> {
        Ok(if u.ratio(1, 4)? {
            Some(*u.choose(values)?)
        } else {
            None
        })
    }
    use Form as F;
    let forms = [
        F::Text,
        F::Number,
        F::Part,
        F::Utf8,
        F::Utf8Lossy,
        F::Hex,
        F::Base64,
        F::Address,
    ];
    let units = [
        Unit::Days,
        Unit::Seconds,
        Unit::Milliseconds,
        Unit::Microseconds,
        Unit::Nanoseconds,
    ];
    let overflows = [Overflow::Clamp, Overflow::Null, Overflow::Infinity];
    Ok(Conversion {
        rounding: maybe(u, &[Rounding::Floor, Rounding::Nearest])?,
        zone: maybe(u, &["UTC", "-05:30", "+15:59", "x"])?.map(str::to_owned),
        nul: maybe(u, &["", "\u{fffd}", "\0"])?.map(str::to_owned),
        overflow: maybe(u, &overflows)?,
        infinity_sentinels: u.ratio(1, 6)?,
        truncate: u.ratio(1, 8)?,
        form: maybe(u, &forms)?,
        unit: maybe(u, &units)?,
        srid: maybe(u, &[1, 4326])?,
    })
}
