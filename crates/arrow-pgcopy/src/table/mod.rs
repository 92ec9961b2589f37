//! A PostgreSQL table as the catalog describes it: names, columns, types, modifiers, options.

mod builtin;
mod name;
mod pg_type;
mod relation;
mod table_options;
pub(crate) mod type_name;

pub use name::{Ident, MAX_NAME_BYTES, QualifiedName, TableName};
pub use pg_type::{Attribute, Modifier, PgType, PgTypeKind};
pub use relation::{Column, Relation};
pub use table_options::TableOptions;
