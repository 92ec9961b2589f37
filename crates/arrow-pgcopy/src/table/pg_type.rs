//! PostgreSQL types and their modifiers.

/// A PostgreSQL type, read from `pg_type`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PgType {
    /// `pg_type.oid`; goes into array headers.
    pub oid: u32,
    /// The name, as `format_type` prints it without a modifier: `timestamp with time zone`, `my_schema.mood`.
    pub name: String,
    /// The input of the type's receive function.
    pub kind: PgTypeKind,
}

/// The input of a type's receive function: built-in types by name, others by structure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PgTypeKind {
    /// `boolean`.
    Bool,
    /// `smallint`.
    Int2,
    /// `integer`.
    Int4,
    /// `bigint`.
    Int8,
    /// `oid`, and `xid` and `cid`, whose receive functions read the same bytes.
    Oid,
    /// `xid8`.
    Xid8,
    /// `real`.
    Float4,
    /// `double precision`.
    Float8,
    /// `numeric(p,s)`.
    Numeric,
    /// `text`, and types that receive text unchanged.
    Text,
    /// `character varying(n)`.
    Varchar,
    /// `character(n)`.
    Bpchar,
    /// `name`.
    Name,
    /// `bytea`.
    Bytea,
    /// `json`.
    Json,
    /// `jsonb`.
    Jsonb,
    /// `uuid`.
    Uuid,
    /// `date`.
    Date,
    /// `time without time zone`.
    Time,
    /// `timestamp without time zone`.
    Timestamp,
    /// `timestamp with time zone`.
    Timestamptz,
    /// `interval`.
    Interval,
    /// `time with time zone`.
    Timetz,
    /// `money`.
    Money {
        /// Digits after the point in the server's `lc_monetary`: 2 for dollars, 0 for yen.
        fraction_digits: u8,
    },
    /// `bit(n)`.
    Bit,
    /// `bit varying(n)`.
    Varbit,
    /// `inet`.
    Inet,
    /// `cidr`.
    Cidr,
    /// `macaddr`.
    Macaddr,
    /// `macaddr8`.
    Macaddr8,
    /// `jsonpath`, and `ltree`, `lquery`, `ltxtquery` of the extension ltree: text behind a version.
    VersionedText,
    /// `hstore` of the extension hstore.
    Hstore,
    /// `vector(n)` of the extension vector: single-precision elements.
    Vector,
    /// `halfvec(n)` of the extension vector: half-precision elements.
    Halfvec,
    /// `sparsevec(n)` of the extension vector: the elements that are not zero, in single precision.
    Sparsevec,
    /// `point`: two doubles.
    Point,
    /// `geometry` and `geography` of PostGIS: well-known binary.
    Geometry,
    /// A composite type with its attributes in order, without dropped ones.
    Composite(Vec<Attribute>),
    /// A range over a subtype.
    Range(Box<PgType>),
    /// A multirange over a range's subtype.
    Multirange(Box<PgType>),
    /// An enum with its labels in sort order.
    Enum(Vec<String>),
    /// An array of any dimension.
    Array(Box<PgType>),
    /// A domain. It is sent as its base type, and PostgreSQL checks its constraints.
    Domain {
        /// The base type, which may be another domain.
        base: Box<PgType>,
        /// `pg_type.typtypmod`: the modifier of the base type, −1 for none.
        typmod: i32,
    },
    /// Any other type. It takes strings, which PostgreSQL casts, and PostgreSQL's own binary form (`arrow.opaque`).
    Other,
}

/// An attribute of a composite type, read from `pg_attribute`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute {
    /// `attname`.
    pub name: String,
    /// The attribute's type.
    pub ty: PgType,
    /// `atttypmod`, as in [`Column`](super::relation::Column).
    pub typmod: i32,
}

impl PgType {
    /// Returns the type itself, or the base type of a domain.
    pub fn base(&self) -> &PgType {
        self.resolve(-1).0
    }

    /// Resolves domains: returns the type that is sent, and the modifier that applies to it.
    pub fn resolve(&self, typmod: i32) -> (&PgType, i32) {
        if let PgTypeKind::Domain { base, typmod } = &self.kind {
            base.resolve(*typmod)
        } else {
            (self, typmod)
        }
    }

    /// Returns the name with a modifier, as `format_type` prints it: `timestamp(3) without time zone`.
    pub fn name_with_modifier(&self, typmod: i32) -> String {
        if let PgTypeKind::Array(element) = &self.kind {
            return format!("{}[]", element.name_with_modifier(typmod));
        }
        let modifier = match Modifier::of(self, typmod) {
            Modifier::None => return self.name.clone(),
            Modifier::Length(n) => format!("({n})"),
            Modifier::Precision(n) => format!("({n})"),
            Modifier::Numeric { precision, scale } => format!("({precision},{scale})"),
            // The modifier does not keep the fields here. The name alone is a type as well.
            Modifier::Fields => return self.name.clone(),
        };
        // `timestamp without time zone` has its modifier after the first word.
        match self.name.split_once(' ') {
            Some((first, rest))
                if !matches!(self.kind, PgTypeKind::Varchar | PgTypeKind::Varbit) =>
            {
                format!("{first}{modifier} {rest}")
            }
            _ => format!("{}{modifier}", self.name),
        }
    }
}

/// A type modifier, unpacked from the integer that the catalog keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Modifier {
    /// No modifier.
    None,
    /// The length: characters of `varchar(n)` or `char(n)`, bits of `bit(n)`, elements of `vector(n)`.
    Length(u32),
    /// Digits of a second's fraction that a time, timestamp or interval keeps, 0 to 6.
    Precision(u8),
    /// `numeric(precision, scale)`; a scale below zero rounds to the left of the point.
    Numeric {
        /// Digits in all, 1 to 1000.
        precision: i32,
        /// Digits after the point, −1000 to 1000.
        scale: i32,
    },
    /// An interval that keeps only certain fields: `interval year to month`.
    Fields,
}

impl Modifier {
    /// Unpacks `atttypmod` for a type that is not a domain. For an array, it applies to the elements.
    ///
    /// Each type packs it in its own way: `anychar_typmodin` in varchar.c, `make_numeric_typmod` in numeric.c,
    /// `anytimestamp_typmodin` and `intervaltypmodin` in timestamp.c.
    pub fn of(ty: &PgType, typmod: i32) -> Self {
        /// `VARHDRSZ`, which is part of lengths and of numeric modifiers.
        const HEADER: i32 = 4;
        /// The fields of an interval (all of them for plain `interval`), and `INTERVAL_FULL_PRECISION`
        /// (timestamp.h).
        const FIELDS: i32 = 0x7fff;
        const FULL_PRECISION: i32 = 0xffff;
        /// `INTERVAL_MASK(SECOND)`. A range of fields cuts only what is finer than its last field
        /// (`AdjustIntervalForTypmod`, timestamp.c).
        const TO_SECONDS: i32 = 1 << 12;
        if typmod < 0 {
            return Self::None;
        }
        let precision = |digits: i32| u8::try_from(digits).map_or(Self::None, Self::Precision);
        use PgTypeKind as K;
        match &ty.kind {
            // `bit(n)` and `vector(n)` store n itself.
            K::Bit | K::Varbit | K::Vector | K::Halfvec | K::Sparsevec => {
                u32::try_from(typmod).map_or(Self::None, Self::Length)
            }
            K::Varchar | K::Bpchar => {
                u32::try_from(typmod - HEADER).map_or(Self::None, Self::Length)
            }
            K::Numeric if typmod >= HEADER => {
                let packed = typmod - HEADER;
                Self::Numeric {
                    precision: packed >> 16 & 0xffff,
                    // Eleven bits with a sign.
                    scale: ((packed & 0x7ff) ^ 1024) - 1024,
                }
            }
            K::Time | K::Timetz | K::Timestamp | K::Timestamptz => precision(typmod),
            K::Interval => match (typmod >> 16 & FIELDS, typmod & FULL_PRECISION) {
                (range, _) if range & TO_SECONDS == 0 => Self::Fields,
                (_, FULL_PRECISION) => Self::None,
                (_, digits) => precision(digits),
            },
            K::Array(element) => {
                let (element, typmod) = element.resolve(typmod);
                Self::of(element, typmod)
            }
            K::Domain { base, typmod } => Self::of(base, *typmod),
            K::Bool | K::Int2 | K::Int4 | K::Int8 | K::Oid | K::Xid8 => Self::None,
            K::Float4 | K::Float8 | K::Numeric | K::Point => Self::None,
            K::Text | K::Name | K::Bytea | K::Json | K::Jsonb | K::Uuid | K::Date => Self::None,
            K::Money { .. } | K::Inet | K::Cidr | K::Macaddr | K::Macaddr8 => Self::None,
            K::VersionedText | K::Hstore | K::Geometry => Self::None,
            K::Composite(_) | K::Range(_) | K::Multirange(_) => Self::None,
            K::Enum(_) | K::Other => Self::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Modifier, PgType, PgTypeKind};

    fn check(kind: PgTypeKind, name: &str, typmod: i32, modifier: Modifier, printed: &str) {
        let ty = PgType {
            oid: 0,
            name: name.into(),
            kind,
        };
        assert_eq!(Modifier::of(&ty, typmod), modifier, "{printed}");
        assert_eq!(ty.name_with_modifier(typmod), printed);
    }

    #[test]
    fn modifiers_are_unpacked_and_printed_as_format_type_does() {
        use Modifier::{Fields, Length, None, Numeric, Precision};
        use PgTypeKind as K;
        // SELECT atttypmod, format_type(atttypid, atttypmod) FROM pg_attribute.
        check(
            K::Varchar,
            "character varying",
            14,
            Length(10),
            "character varying(10)",
        );
        check(K::Bpchar, "character", 5, Length(1), "character(1)");
        check(
            K::Numeric,
            "numeric",
            655366,
            Numeric {
                precision: 10,
                scale: 2,
            },
            "numeric(10,2)",
        );
        check(
            K::Numeric,
            "numeric",
            198658,
            Numeric {
                precision: 3,
                scale: -2,
            },
            "numeric(3,-2)",
        );
        check(K::Numeric, "numeric", -1, None, "numeric");
        let timestamp = "timestamp without time zone";
        check(
            K::Timestamp,
            timestamp,
            3,
            Precision(3),
            "timestamp(3) without time zone",
        );
        check(K::Timestamp, timestamp, -1, None, timestamp);
        check(
            K::Interval,
            "interval",
            2147418115,
            Precision(3),
            "interval(3)",
        );
        check(K::Interval, "interval", 458751, Fields, "interval");
        let element = PgType {
            oid: 1700,
            name: "numeric".into(),
            kind: K::Numeric,
        };
        let array = K::Array(Box::new(element));
        let numeric = Numeric {
            precision: 10,
            scale: 2,
        };
        check(array, "numeric[]", 655366, numeric, "numeric(10,2)[]");
    }
}
