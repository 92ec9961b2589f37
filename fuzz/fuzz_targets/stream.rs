//! Streams of rows through gate and decoder: read or refused, no panic behind the gate, and no memory that
//! the input does not pay for.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| pgflight::flight::fuzzed::read_stream(input));
