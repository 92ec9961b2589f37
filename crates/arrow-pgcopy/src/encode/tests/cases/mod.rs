//! Cases for plan and encoder, made from any bytes, and the judge of the result. The fuzz target in `fuzz/`
//! includes these files: they use only the crate's public names.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "all other types stay as they are"
)]

mod arrays;
mod judge;
mod run;
mod tables;
mod types;

pub(crate) use judge::{Tuple, judge, parse};
pub(crate) use run::run;
pub(crate) use tables::{array_of, batch, column, encode, pg_type, relation};
