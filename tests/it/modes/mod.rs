//! The effect of each mode and publish method on its rows and its table.

mod evolution;
mod insert_only;
pub(crate) mod keyed;
mod keyed_missing;
mod put;
mod rejected;
mod sequences;
mod swap;
mod two_phase;
