//! Panics of Arrow's decoder. Like the panic hook, they belong to the process and not to a server.

use std::sync::atomic::{AtomicU64, Ordering};

static DECODE_PANICS: AtomicU64 = AtomicU64::new(0);

/// Counts a panic of the Arrow decoder, which ended its stream, and returns the number of all.
pub fn count_decode_panic() -> u64 {
    DECODE_PANICS.fetch_add(1, Ordering::Relaxed) + 1
}

/// Returns the number of panics since the process started. The gate is meant to keep it at 0.
pub fn decode_panics() -> u64 {
    DECODE_PANICS.load(Ordering::Relaxed)
}
