//! Panics of Arrow's decoder. Like the panic hook, they belong to the process and not to a server.

use std::sync::LazyLock;

use prometheus_client::metrics::counter::Counter;

/// The metric, which every server of the process registers.
pub(super) static DECODE_PANICS: LazyLock<Counter> = LazyLock::new(Counter::default);

/// Counts a panic of the Arrow decoder, which ended its stream, and returns the number of all.
pub fn count_decode_panic() -> u64 {
    DECODE_PANICS.inc() + 1
}

/// Returns the number of panics since the process started. The gate is meant to keep it at 0.
#[cfg(any(test, fuzzing))]
pub fn decode_panics() -> u64 {
    DECODE_PANICS.get()
}
