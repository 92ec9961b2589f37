//! The plan of a stream: which field goes into which column, decided before the first row.

mod encode_plan;
#[cfg(test)]
mod tests;

pub use encode_plan::{ColumnPlan, EncodePlan};
