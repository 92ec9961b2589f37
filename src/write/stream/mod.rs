//! Streams of rows, from batches to COPY.

pub(crate) mod fan_out;
pub(crate) mod lanes;
pub(crate) mod pipeline;
pub(crate) mod single;
pub(crate) mod volume;
