//! A table as PostgreSQL's catalog has it: what the plan is made against.

use super::name::{Ident, QualifiedName};

/// A table (or partitioned table) and its columns, read from `pg_class` and `pg_attribute`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation {
    /// `pg_class.oid`.
    pub oid: u32,
    /// Schema and name.
    pub name: QualifiedName,
    /// Columns in the order of `attnum`, dropped ones left out.
    pub columns: Vec<Column>,
}

/// A column, read from `pg_attribute`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// `attname`.
    pub name: Ident,
    /// The type, resolved down to what goes over the wire.
    pub ty: PgType,
    /// `atttypmod`: length, precision and scale as the type encodes them; −1 for none.
    pub typmod: i32,
    /// False when `attnotnull`.
    pub nullable: bool,
    /// Whether PostgreSQL fills the column when the COPY leaves it out: `atthasdef` or identity.
    pub has_default: bool,
    /// `attgenerated` is set: the column cannot be written.
    pub generated: bool,
    /// `attidentity = 'a'`: INSERT needs OVERRIDING SYSTEM VALUE to write it.
    pub identity_always: bool,
}

/// A PostgreSQL type, read from `pg_type`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PgType {
    /// `pg_type.oid`; goes into array headers.
    pub oid: u32,
    /// As `format_type` prints it without a modifier: `timestamp with time zone`, `my_schema.mood`.
    pub name: String,
    /// What its receive function expects.
    pub kind: PgTypeKind,
}

/// What a type's receive function expects; built-in types by name, user-made ones by structure.
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
    /// `oid`.
    Oid,
    /// `real`.
    Float4,
    /// `double precision`.
    Float8,
    /// `numeric(p,s)`.
    Numeric,
    /// `text`, and types that receive text as it is.
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
    /// An enum, with its labels in sort order.
    Enum(Vec<String>),
    /// An array of any dimension.
    Array(Box<PgType>),
    /// A domain; goes over the wire as its base type, and the server checks its constraints.
    Domain(Box<PgType>),
    /// A type that nothing can be written into yet.
    Other,
}

impl PgType {
    /// The type itself, or what a domain is over.
    pub fn base(&self) -> &PgType {
        match &self.kind {
            PgTypeKind::Domain(base) => base.base(),
            _ => self,
        }
    }
}
