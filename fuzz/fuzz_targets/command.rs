//! Commands, descriptors and schemas, in JSON and protobuf: they are parsed or rejected, and nothing panics.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| pgflight::flight::fuzzed::read_command(input));
