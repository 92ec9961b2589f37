//! From a plan and a batch to the bytes of binary COPY.

mod batch;
mod bind;
mod chunks;
mod column;
mod convert;
pub mod format;
mod nested;
mod piece;
mod problem;
mod rejects;
mod report;
mod scalar;
#[cfg(test)]
mod tests;
mod text;

pub use batch::BatchEncoder;
pub use chunks::Chunks;
pub use rejects::{RejectKind, RejectedRow, memory_to_reject, rejected_rows};
