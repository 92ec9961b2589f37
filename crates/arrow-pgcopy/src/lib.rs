#![doc = include_str!("../README.md")]

pub mod conversion;
mod encode;
mod error;
mod field;
pub mod mapping;
mod plan;
mod refusal;
pub mod schema;
pub mod table;

pub use conversion::Conversion;
pub use encode::{
    BatchEncoder, Chunks, RejectKind, RejectedRow, format, memory_to_reject, rejected_rows,
};
pub use error::{Error, ErrorKind, Result};
pub use mapping::FieldPlan;
pub use plan::{ColumnPlan, EncodePlan};
pub use table::{Column, Ident, PgType, PgTypeKind, QualifiedName, Relation};
