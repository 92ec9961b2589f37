//! Between Arrow schemas and tables: columns for CREATE TABLE, and the schema that a table takes.

mod column_definition;
mod to_arrow;

pub use column_definition::{ColumnDefinition, asks_for_geometry, column_definitions};
pub use to_arrow::to_arrow_schema;
