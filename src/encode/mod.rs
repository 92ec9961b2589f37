//! From a plan and a batch to the bytes of binary COPY: pure, no I/O.

mod array;
mod batch;
mod bind;
mod chunks;
mod column;
mod dictionary;
mod digits;
mod fixed;
pub mod format;
mod iso;
mod json;
mod numeric;
mod problem;
mod shortest;
mod temporal;
#[cfg(test)]
mod tests;
mod varlen;

pub use batch::BatchEncoder;
pub use chunks::Chunks;
