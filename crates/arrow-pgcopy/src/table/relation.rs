//! A table as PostgreSQL's catalog describes it.

use super::name::{Ident, QualifiedName};
use super::pg_type::PgType;

/// A table (or partitioned table) and its columns, read from `pg_class` and `pg_attribute`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation {
    /// `pg_class.oid`.
    pub oid: u32,
    /// Schema and name.
    pub name: QualifiedName,
    /// Columns in the order of `attnum`, without dropped ones.
    pub columns: Vec<Column>,
}

/// A column, read from `pg_attribute`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// `attname`.
    pub name: Ident,
    /// The type, down to the types it is made of.
    pub ty: PgType,
    /// `atttypmod`: length, precision and scale as the type encodes them; −1 for none.
    pub typmod: i32,
    /// False when `attnotnull`.
    pub nullable: bool,
    /// Whether PostgreSQL fills in a value when the COPY leaves the column out: `atthasdef` or identity.
    pub has_default: bool,
    /// Whether `attgenerated` is set: such a column cannot be written.
    pub generated: bool,
    /// Whether `attidentity = 'a'`: INSERT needs OVERRIDING SYSTEM VALUE to write such a column.
    pub identity_always: bool,
}

impl Column {
    /// Makes a column that takes NULL, has no modifier and no default, and may be written.
    pub fn new(name: Ident, ty: PgType) -> Self {
        Self {
            name,
            ty,
            typmod: -1,
            nullable: true,
            has_default: false,
            generated: false,
            identity_always: false,
        }
    }

    /// Returns the name of the type with its modifier, as `format_type` prints it: `numeric(10,2)`.
    pub fn type_name(&self) -> String {
        self.ty.name_with_modifier(self.typmod)
    }
}
