//! Streams of rows through gate and decoder: they are decoded or rejected, nothing behind the gate panics, and
//! memory stays in proportion to the input.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| pgflight::flight::fuzzed::read_stream(input));
