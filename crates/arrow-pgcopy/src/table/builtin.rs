//! PostgreSQL's built-in types by OID, for callers without a catalog at hand.

use super::pg_type::{PgType, PgTypeKind};

/// The OID, the OID of the array type, the name and the kind (catalog/pg_type.dat).
fn types() -> [(u32, u32, &'static str, PgTypeKind); 34] {
    use PgTypeKind as K;
    [
        (16, 1000, "boolean", K::Bool),
        (17, 1001, "bytea", K::Bytea),
        (19, 1003, "name", K::Name),
        (20, 1016, "bigint", K::Int8),
        (21, 1005, "smallint", K::Int2),
        (23, 1007, "integer", K::Int4),
        (25, 1009, "text", K::Text),
        (26, 1028, "oid", K::Oid),
        (28, 1011, "xid", K::Oid),
        (29, 1012, "cid", K::Oid),
        (114, 199, "json", K::Json),
        (142, 143, "xml", K::Text),
        (600, 1017, "point", K::Point),
        (650, 651, "cidr", K::Cidr),
        (700, 1021, "real", K::Float4),
        (701, 1022, "double precision", K::Float8),
        (774, 775, "macaddr8", K::Macaddr8),
        (829, 1040, "macaddr", K::Macaddr),
        (869, 1041, "inet", K::Inet),
        (1042, 1014, "character", K::Bpchar),
        (1043, 1015, "character varying", K::Varchar),
        (1082, 1182, "date", K::Date),
        (1083, 1183, "time without time zone", K::Time),
        (1114, 1115, "timestamp without time zone", K::Timestamp),
        (1184, 1185, "timestamp with time zone", K::Timestamptz),
        (1186, 1187, "interval", K::Interval),
        (1266, 1270, "time with time zone", K::Timetz),
        (1560, 1561, "bit", K::Bit),
        (1562, 1563, "bit varying", K::Varbit),
        (1700, 1231, "numeric", K::Numeric),
        (2950, 2951, "uuid", K::Uuid),
        (3802, 3807, "jsonb", K::Jsonb),
        (4072, 4073, "jsonpath", K::VersionedText),
        (5069, 271, "xid8", K::Xid8),
    ]
}

impl PgType {
    /// Returns the built-in type with this OID, or the array of one.
    ///
    /// Returns `None` for ranges, and for `money`, whose number of fraction digits only the server knows.
    ///
    /// ```
    /// use arrow_pgcopy::{PgType, PgTypeKind};
    ///
    /// assert_eq!(PgType::builtin(1700).unwrap().kind, PgTypeKind::Numeric);
    /// assert_eq!(PgType::builtin(1007).unwrap().name, "integer[]");
    /// assert_eq!(PgType::builtin(16_384), None);
    /// ```
    pub fn builtin(oid: u32) -> Option<Self> {
        types().into_iter().find_map(|(own, array, name, kind)| {
            let element = Self {
                oid: own,
                name: name.to_owned(),
                kind,
            };
            if oid == own {
                Some(element)
            } else if oid == array {
                Some(Self {
                    oid,
                    name: format!("{name}[]"),
                    kind: PgTypeKind::Array(Box::new(element)),
                })
            } else {
                None
            }
        })
    }
}
