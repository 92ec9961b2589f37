//! Maps Arrow types to the PostgreSQL types that they may be written into.

mod arrow_to_postgres;
mod field_plan;
mod limits;
mod nested;

pub(crate) use arrow_to_postgres::column_plan;
pub use arrow_to_postgres::is_cast;
pub use field_plan::{CompositeField, FieldPlan, NumericLimit};
pub(crate) use nested::json;
