//! The server's background work: the reaper, signs of life, and sequences.

pub(crate) mod liveness;
pub(crate) mod reaper;
pub(crate) mod sequences;
