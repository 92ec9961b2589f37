//! Any schema, types, conversions and values through plan and encoder: nothing panics, and PostgreSQL's receive
//! functions would accept all bytes.
//!
//! Case and judge are those of the encoder's own tests, which use only its public names.

#![no_main]

use libfuzzer_sys::fuzz_target;
// The shared files name these as parts of their own crate.
use arrow_pgcopy::*;

#[path = "../../crates/arrow-pgcopy/src/encode/tests/cases/mod.rs"]
#[allow(
    dead_code,
    unused_imports,
    reason = "the library's tests use more of it"
)]
mod cases;

fuzz_target!(|input: &[u8]| {
    // An input that is too short makes no case.
    drop(cases::run(input));
});
