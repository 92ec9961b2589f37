//! Any schema, types, conversions and values through plan and encoder: no panic, and no byte that
//! PostgreSQL's receive functions would not take.
//!
//! Case and judge are those of the library's own tests, which name nothing but its public parts.

#![no_main]

use libfuzzer_sys::fuzz_target;
// What the shared files call the crate that they are in.
use arrow_pgcopy::*;

#[path = "../../crates/arrow-pgcopy/src/encode/tests/cases/mod.rs"]
#[allow(
    dead_code,
    unused_imports,
    reason = "the library's tests use more of it"
)]
mod cases;

fuzz_target!(|input: &[u8]| {
    // An input that is too short for a case is no case.
    drop(cases::run(input));
});
