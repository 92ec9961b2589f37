//! A configuration file with everything in it, for `pgflight config example`.

/// A commented file: each key at its default, or at an example where there is none.
pub fn example() -> &'static str {
    include_str!("example.toml")
}
