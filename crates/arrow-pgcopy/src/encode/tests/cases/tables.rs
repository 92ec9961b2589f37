//! Tables as the catalog would describe them, and batches for them.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{Field, Schema};

use crate::{
    BatchEncoder, Chunks, Column, EncodePlan, Ident, PgType, PgTypeKind, QualifiedName, Relation,
    Result,
};

/// A nullable column of a type, with the OIDs of PostgreSQL's pg_type.dat.
pub(crate) fn column(name: &str, kind: PgTypeKind, typmod: i32) -> Column {
    Column {
        typmod,
        ..Column::new(Ident::new(name).unwrap(), pg_type(kind))
    }
}

pub(crate) fn pg_type(kind: PgTypeKind) -> PgType {
    use PgTypeKind as K;
    let (oid, name) = match &kind {
        K::Bool => (16, "boolean".into()),
        K::Int2 => (21, "smallint".into()),
        K::Int4 => (23, "integer".into()),
        K::Int8 => (20, "bigint".into()),
        K::Oid => (26, "oid".into()),
        K::Xid8 => (5069, "xid8".into()),
        K::Float4 => (700, "real".into()),
        K::Float8 => (701, "double precision".into()),
        K::Numeric => (1700, "numeric".into()),
        K::Text => (25, "text".into()),
        K::Varchar => (1043, "character varying".into()),
        K::Bpchar => (1042, "character".into()),
        K::Name => (19, "name".into()),
        K::Bytea => (17, "bytea".into()),
        K::Json => (114, "json".into()),
        K::Jsonb => (3802, "jsonb".into()),
        K::Uuid => (2950, "uuid".into()),
        K::Date => (1082, "date".into()),
        K::Time => (1083, "time without time zone".into()),
        K::Timestamp => (1114, "timestamp without time zone".into()),
        K::Timestamptz => (1184, "timestamp with time zone".into()),
        K::Interval => (1186, "interval".into()),
        K::Timetz => (1266, "time with time zone".into()),
        K::Money { .. } => (790, "money".into()),
        K::Bit => (1560, "bit".into()),
        K::Varbit => (1562, "bit varying".into()),
        K::Inet => (869, "inet".into()),
        K::Cidr => (650, "cidr".into()),
        K::Macaddr => (829, "macaddr".into()),
        K::Macaddr8 => (774, "macaddr8".into()),
        K::VersionedText => (4072, "jsonpath".into()),
        K::Hstore => (16_100, "hstore".into()),
        K::Vector => (16_101, "vector".into()),
        K::Halfvec => (16_102, "halfvec".into()),
        K::Geometry => (16_103, "geometry".into()),
        K::Sparsevec => (16_104, "sparsevec".into()),
        K::Point => (600, "point".into()),
        K::Composite(_) => (16_400, "my_composite".into()),
        K::Range(_) => (3904, "int4range".into()),
        K::Multirange(_) => (4451, "int4multirange".into()),
        K::Enum(_) => (16_500, "mood".into()),
        K::Array(element) => (16_600, format!("{}[]", element.name)),
        K::Domain { .. } => (16_700, "my_domain".into()),
        K::Other => (16_800, "circle".into()),
    };
    PgType { oid, name, kind }
}

pub(crate) fn array_of(kind: PgTypeKind) -> PgTypeKind {
    PgTypeKind::Array(Box::new(pg_type(kind)))
}

/// A table with these columns.
pub(crate) fn relation(columns: Vec<Column>) -> Relation {
    let ident = |name| Ident::new(name).unwrap();
    Relation {
        oid: 1,
        name: QualifiedName {
            schema: ident("public"),
            name: ident("t"),
        },
        columns,
    }
}

/// A batch of these arrays, named `c0`, `c1`, and so on.
pub(crate) fn batch(arrays: Vec<ArrayRef>) -> RecordBatch {
    let fields = arrays
        .iter()
        .enumerate()
        .map(|(i, array)| Field::new(format!("c{i}"), array.data_type().clone(), true));
    RecordBatch::try_new(Arc::new(Schema::new(fields.collect::<Vec<_>>())), arrays).unwrap()
}

/// The bytes of tuples.
pub(crate) fn encode(plan: &EncodePlan, batch: &RecordBatch, target: usize) -> Result<Vec<u8>> {
    let mut encoder = BatchEncoder::new(plan, batch, 0)?;
    let mut chunks = Chunks::new(target);
    let mut bytes = Vec::new();
    while let Some(chunk) = encoder.next_chunk(&mut chunks)? {
        bytes.extend_from_slice(&chunk);
    }
    assert_eq!(encoder.row_count(), batch.num_rows());
    Ok(bytes)
}
