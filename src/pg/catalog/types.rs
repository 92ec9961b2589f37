//! The types of columns, and the types that they consist of.

use std::collections::HashMap;

use tokio_postgres::Row;

use crate::error::{Error, Result};
use crate::pg::transaction::{Parameter, Transaction};
use arrow_pgcopy::table::Attribute;
use arrow_pgcopy::{PgType, PgTypeKind};

/// Depth limit of the types within a type. A domain over a domain counts as one more.
const MAX_DEPTH: usize = 64;
/// Limit of the types within the columns of a table, each counted as often as it is used. Types of types multiply.
const MAX_PARTS: usize = 10_000;
/// Limit of the labels of enums within the columns of a table, in bytes, counted in the same way.
const MAX_LABEL_BYTES: usize = 1 << 20;
/// Memory of a label besides its bytes.
const BYTES_PER_LABEL: usize = 32;

/// The catalog's rows about types.
pub(super) struct Types {
    by_oid: HashMap<u32, Row>,
    /// The attributes of composite types, by their relation.
    attributes: HashMap<u32, Vec<Row>>,
    /// Whether there are more than one table may have.
    is_cut: bool,
}

/// Reads the types of all columns of these tables, as far as one table may have so many. PostgreSQL counts them: types
/// of other roles may be larger than the server's memory.
///
/// # Errors
/// Any error that PostgreSQL reports.
pub(super) async fn types(transaction: &Transaction, relations: &[u32]) -> Result<Types> {
    let (most, most_label_bytes) = (as_bigint(MAX_PARTS + 1), as_bigint(MAX_LABEL_BYTES));
    let bytes_per_label = as_bigint(BYTES_PER_LABEL);
    let limits: [&dyn Parameter; 4] = [&relations, &most, &most_label_bytes, &bytes_per_label];
    let rows = transaction.query(TYPES, &limits).await?;
    let count: Option<i64> = rows.first().map(|row| row.get(12));
    let mut is_cut = count > Some(as_bigint(MAX_PARTS));
    let composites: Vec<u32> = rows
        .iter()
        .map(|row| row.get::<_, u32>(2))
        .filter(|relation| *relation != 0)
        .collect();
    let mut attributes: HashMap<u32, Vec<Row>> = HashMap::new();
    if !composites.is_empty() && !is_cut {
        let rows = transaction.query(ATTRIBUTES, &[&composites, &most]).await?;
        is_cut = rows.len() > MAX_PARTS;
        for row in rows {
            attributes.entry(row.get(0)).or_default().push(row);
        }
    }
    let by_oid = rows.into_iter().map(|row| (row.get(0), row)).collect();
    Ok(Types {
        by_oid,
        attributes,
        is_cut,
    })
}

fn as_bigint(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The room that is left for the types of one table.
pub(super) struct Room {
    parts: usize,
    label_bytes: usize,
}

impl Default for Room {
    fn default() -> Self {
        Self {
            parts: MAX_PARTS,
            label_bytes: MAX_LABEL_BYTES,
        }
    }
}

impl Room {
    fn take(&mut self, label_bytes: usize, depth: usize) -> Result<()> {
        let left = (
            self.parts.checked_sub(1),
            self.label_bytes.checked_sub(label_bytes),
        );
        match left {
            (Some(parts), Some(label_bytes)) if depth <= MAX_DEPTH => {
                *self = Self { parts, label_bytes };
                Ok(())
            }
            _ => Err(too_many()),
        }
    }
}

fn too_many() -> Error {
    Error::unsupported("the types of the table's columns are nested too deeply or widely")
        .with_hint("write to a table with simpler types")
}

impl Types {
    /// Builds the type of a column with the types that it consists of. No type of PostgreSQL can contain itself.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`](crate::error::ErrorKind::Unsupported) when the table's room is used up: any role may
    /// create types that would take all memory.
    pub(super) fn resolve(&self, oid: u32, room: &mut Room) -> Result<PgType> {
        self.resolve_at(oid, room, 0)
    }

    /// Returns whether the type is a domain that is NOT NULL itself. Whether the domain that it is over is so as well,
    /// PostgreSQL checks.
    pub(super) fn rejects_null(&self, oid: u32) -> bool {
        self.by_oid.get(&oid).is_some_and(|row| row.get(11))
    }

    fn resolve_at(&self, oid: u32, room: &mut Room, depth: usize) -> Result<PgType> {
        if self.is_cut {
            return Err(too_many());
        }
        let row = self
            .by_oid
            .get(&oid)
            .ok_or_else(|| Error::internal(format!("the catalog has no type with OID {oid}")))?;
        let labels: Option<Vec<String>> = row.get(7);
        let labels = labels.ok_or_else(too_many)?;
        let label_bytes = labels.iter().map(|label| label.len() + BYTES_PER_LABEL);
        room.take(label_bytes.sum(), depth)?;
        let mut inner = |oid: u32| self.resolve_at(oid, room, depth + 1).map(Box::new);
        let (base, element): (u32, u32) = (row.get(4), row.get(5));
        let subtype: Option<u32> = row.get(9);
        let kind = match (u8::try_from(row.get::<_, i8>(3)), subtype) {
            (Ok(b'd'), _) => PgTypeKind::Domain {
                base: inner(base)?,
                typmod: row.get(8),
            },
            _ if element != 0 => PgTypeKind::Array(inner(element)?),
            (Ok(b'e'), _) => PgTypeKind::Enum(labels),
            (Ok(b'c'), _) => PgTypeKind::Composite(self.attributes(row.get(2), room, depth + 1)?),
            (Ok(b'r'), Some(subtype)) => PgTypeKind::Range(inner(subtype)?),
            (Ok(b'm'), Some(subtype)) => PgTypeKind::Multirange(inner(subtype)?),
            _ => base_type(row.get(1), row.get(10)),
        };
        Ok(PgType {
            oid,
            name: row.get(6),
            kind,
        })
    }

    fn attributes(&self, relation: u32, room: &mut Room, depth: usize) -> Result<Vec<Attribute>> {
        let rows = self.attributes.get(&relation).into_iter().flatten();
        rows.map(|row| {
            Ok(Attribute {
                name: row.get(1),
                ty: self.resolve_at(row.get(2), room, depth)?,
                typmod: row.get(3),
            })
        })
        .collect()
    }
}

/// Returns the kind of a base type, by the C function that receives its binary form. `citext` uses the function of
/// `text`, and so is text. A type without a receive function has no binary form.
fn base_type(receive: Option<&str>, fraction_digits: Option<i32>) -> PgTypeKind {
    use PgTypeKind as K;
    match receive.unwrap_or_default() {
        "boolrecv" => K::Bool,
        "int2recv" => K::Int2,
        "int4recv" => K::Int4,
        "int8recv" => K::Int8,
        "oidrecv" | "xidrecv" | "cidrecv" => K::Oid,
        "xid8recv" => K::Xid8,
        "float4recv" => K::Float4,
        "float8recv" => K::Float8,
        "numeric_recv" => K::Numeric,
        "cash_recv" => K::Money {
            fraction_digits: fraction_digits
                .and_then(|digits| u8::try_from(digits).ok())
                .unwrap_or_default(),
        },
        // The text of an xml document is checked by the server.
        "textrecv" | "xml_recv" => K::Text,
        "varcharrecv" => K::Varchar,
        "bpcharrecv" => K::Bpchar,
        "namerecv" => K::Name,
        "bytearecv" => K::Bytea,
        "json_recv" => K::Json,
        "jsonb_recv" => K::Jsonb,
        "uuid_recv" => K::Uuid,
        "date_recv" => K::Date,
        "time_recv" => K::Time,
        "timetz_recv" => K::Timetz,
        "timestamp_recv" => K::Timestamp,
        "timestamptz_recv" => K::Timestamptz,
        "interval_recv" => K::Interval,
        "bit_recv" => K::Bit,
        "varbit_recv" => K::Varbit,
        "inet_recv" => K::Inet,
        "cidr_recv" => K::Cidr,
        "macaddr_recv" => K::Macaddr,
        "macaddr8_recv" => K::Macaddr8,
        "jsonpath_recv" | "ltree_recv" | "lquery_recv" | "ltxtq_recv" => K::VersionedText,
        "hstore_recv" => K::Hstore,
        "vector_recv" => K::Vector,
        "halfvec_recv" => K::Halfvec,
        "sparsevec_recv" => K::Sparsevec,
        "point_recv" => K::Point,
        // PostGIS gives the function of geometry its old name in the library.
        "LWGEOM_recv" | "geography_recv" => K::Geometry,
        _ => K::Other,
    }
}

/// The subtype of a range or multirange `t`. A multirange depends on its range (`RangeCreate`, catalog/pg_range.c). Of a
/// built-in one there is no such record, but a column that PostgreSQL has from 14 on, so it is read through jsonb.
macro_rules! subtype {
    () => {
        "(SELECT r.rngsubtype FROM pg_catalog.pg_range r WHERE r.rngtypid OPERATOR(pg_catalog.=)
              CASE WHEN t.typtype OPERATOR(pg_catalog.<>) 'm' THEN t.oid
                   WHEN t.oid OPERATOR(pg_catalog.<) 16384::pg_catalog.oid
                   THEN (SELECT b.rngtypid FROM pg_catalog.pg_range b
                         WHERE b.rngtypid OPERATOR(pg_catalog.<) 16384::pg_catalog.oid
                           AND pg_catalog.jsonb_extract_path_text(pg_catalog.to_jsonb(b), 'rngmultitypid')
                               OPERATOR(pg_catalog.=) t.oid::pg_catalog.text)
                   ELSE (SELECT d.refobjid FROM pg_catalog.pg_depend d
                         WHERE d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_type'::pg_catalog.regclass::pg_catalog.oid
                           AND d.objid OPERATOR(pg_catalog.=) t.oid AND d.refclassid OPERATOR(pg_catalog.=) d.classid
                           AND d.deptype OPERATOR(pg_catalog.=) 'i') END)"
    };
}

/// Reads the types of columns and the types that they consist of: domains, arrays, composites, ranges.
///
/// `$2` is the number of types, each counted as often as another one uses it, and `$3` that of the bytes of labels, each
/// of which counts `$4` more. The labels of types beyond it are NULL, and only those of `found` are counted. An array
/// type is the one that its element names as its array.
const TYPES: &str = concat!(
    "
    WITH RECURSIVE root(oid) AS (
        SELECT DISTINCT a.atttypid FROM pg_catalog.pg_attribute a
        WHERE a.attrelid OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.oid[]) AND a.attnum OPERATOR(pg_catalog.>) 0
          AND NOT a.attisdropped),
    used(oid) AS (
        SELECT root.oid FROM root
      UNION ALL
        SELECT part.oid FROM used JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) used.oid
        CROSS JOIN LATERAL (
            SELECT CASE WHEN t.typtype OPERATOR(pg_catalog.=) 'd' THEN t.typbasetype ELSE t.typelem END
            WHERE t.typtype OPERATOR(pg_catalog.=) 'd' OR t.typelem OPERATOR(pg_catalog.<>) 0::pg_catalog.oid
          UNION ALL
            SELECT a.atttypid FROM pg_catalog.pg_attribute a
            WHERE t.typtype OPERATOR(pg_catalog.=) 'c' AND a.attrelid OPERATOR(pg_catalog.=) t.typrelid
              AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped
          UNION ALL
            SELECT ",
    subtype!(),
    " WHERE t.typtype OPERATOR(pg_catalog.=) ANY (ARRAY['r', 'm']::pg_catalog.\"char\"[])
        ) part(oid)),
    -- PostgreSQL stops at the limit.
    found(oid, count) AS (
        SELECT cut.oid, pg_catalog.sum(pg_catalog.count(*)) OVER ()
        FROM (SELECT used.oid FROM used LIMIT $2::pg_catalog.int8) cut GROUP BY cut.oid)
    SELECT t.oid, p.prosrc, t.typrelid, t.typtype,
           CASE WHEN t.typtype OPERATOR(pg_catalog.=) 'd' THEN t.typbasetype ELSE 0::pg_catalog.oid END,
           CASE WHEN e.typarray OPERATOR(pg_catalog.=) t.oid THEN e.oid ELSE 0::pg_catalog.oid END,
           pg_catalog.format_type(t.oid, NULL),
           CASE WHEN pg_catalog.sum(labels.bytes) OVER (ORDER BY t.oid) OPERATOR(pg_catalog.<=) $3::pg_catalog.int8::pg_catalog.numeric
                THEN ARRAY(SELECT e.enumlabel::pg_catalog.text FROM pg_catalog.pg_enum e
                           WHERE e.enumtypid OPERATOR(pg_catalog.=) t.oid ORDER BY e.enumsortorder) END,
           t.typtypmod,
           CASE WHEN t.typtype OPERATOR(pg_catalog.=) ANY (ARRAY['r', 'm']::pg_catalog.\"char\"[]) THEN ",
    subtype!(),
    " END,
           CASE WHEN p.prosrc OPERATOR(pg_catalog.=) 'cash_recv'
                THEN pg_catalog.scale(0::numeric::pg_catalog.money::numeric) END,
           t.typnotnull, found.count::pg_catalog.int8
    FROM found
    JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) found.oid
    CROSS JOIN LATERAL (
        SELECT COALESCE(pg_catalog.sum(pg_catalog.octet_length(e.enumlabel::pg_catalog.text)::pg_catalog.int8
                                       OPERATOR(pg_catalog.+) $4::pg_catalog.int8), 0::pg_catalog.numeric)
        FROM pg_catalog.pg_enum e WHERE e.enumtypid OPERATOR(pg_catalog.=) found.oid) labels(bytes)
    LEFT JOIN pg_catalog.pg_proc p ON p.oid OPERATOR(pg_catalog.=) t.typreceive::pg_catalog.oid
    LEFT JOIN pg_catalog.pg_type e ON e.oid OPERATOR(pg_catalog.=) t.typelem"
);

/// Reads `$2` attributes of composite types, by their relations.
const ATTRIBUTES: &str = "
    SELECT a.attrelid, a.attname::pg_catalog.text, a.atttypid, a.atttypmod
    FROM pg_catalog.pg_attribute a
    WHERE a.attrelid OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.oid[]) AND a.attnum OPERATOR(pg_catalog.>) 0
      AND NOT a.attisdropped
    ORDER BY a.attrelid, a.attnum LIMIT $2::pg_catalog.int8";
