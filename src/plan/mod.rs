//! What will be written into which column, decided before the first row: pure, no I/O.

pub mod arrow_schema;
mod builtin;
mod conversion;
pub mod ddl;
mod encode_plan;
mod extension;
mod field_plan;
mod limits;
mod mapping;
mod name;
mod nested;
mod relation;
mod source;
mod table_options;
#[cfg(test)]
mod tests;
mod type_name;

pub use conversion::{Conversion, Form, Overflow, Rounding, Step, Unit};
pub use encode_plan::{ColumnPlan, EncodePlan};
pub(crate) use extension::Meaning;
pub use field_plan::{CompositeField, FieldPlan, NumericLimit};
pub use mapping::is_cast;
pub use name::{Ident, MAX_NAME_BYTES, QualifiedName, TableName};
pub use relation::{Attribute, Column, Modifier, PgType, PgTypeKind, Relation};
pub use source::values_type;
pub use table_options::TableOptions;
