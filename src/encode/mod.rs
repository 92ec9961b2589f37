//! From a plan and a batch to the bytes of binary COPY: pure, no I/O.

mod array;
mod batch;
mod bind;
mod bits;
mod chunks;
mod column;
mod composite;
mod convert;
mod dictionary;
mod digits;
mod fixed;
pub mod format;
mod hstore;
mod iso;
mod json;
mod money;
mod numeric;
mod parse;
mod point;
mod prepared;
mod problem;
mod range;
mod shortest;
mod temporal;
#[cfg(test)]
mod tests;
mod varlen;
mod vector;

pub use batch::BatchEncoder;
pub use chunks::Chunks;
