//! The input of a stream: HTTP/2 frames become metered messages, and these become checked batches.

mod body_end;
mod columns;
pub(crate) mod decode;
mod expansion;
pub(crate) mod gate;
pub(crate) mod meter;
