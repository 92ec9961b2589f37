//! What will be written into which column, decided before the first row: pure, no I/O.

mod name;
mod relation;

pub use name::{Ident, MAX_NAME_BYTES, QualifiedName, TableName};
pub use relation::{Column, PgType, PgTypeKind, Relation};
