//! Cases for plan and encoder that are made of any bytes, and the judge of what comes out. The fuzz target
//! under `fuzz/` is made of these files too: they name nothing but the library's public parts.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "what is not named is left as it is"
)]

mod arrays;
mod judge;
mod run;
mod tables;
mod types;

pub(crate) use judge::{Tuple, judge, parse};
pub(crate) use run::run;
pub(crate) use tables::{array_of, batch, column, encode, pg_type, relation};
