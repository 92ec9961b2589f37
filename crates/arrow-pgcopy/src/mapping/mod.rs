//! Which Arrow type may be written into which PostgreSQL type, and how.

mod arrow_to_postgres;
mod field_plan;
mod limits;
mod nested;

pub(crate) use arrow_to_postgres::column_plan;
pub use arrow_to_postgres::is_cast;
pub use field_plan::{CompositeField, FieldPlan, NumericLimit};
pub(crate) use nested::json;
