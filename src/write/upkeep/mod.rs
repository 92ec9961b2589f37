//! What the server does beside writes: it reaps, keeps writes alive, moves sequences.

pub(crate) mod liveness;
pub(crate) mod reaper;
pub(crate) mod sequences;
