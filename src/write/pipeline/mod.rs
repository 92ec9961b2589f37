//! The rows of one stream: from batches to COPY, over one connection or several, within the limits of volume.

pub(crate) mod batches;
pub(crate) mod envelope;
pub(crate) mod lanes;
mod rejected;
pub(crate) mod runs;
pub(crate) mod volume;
