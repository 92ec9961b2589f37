//! An example of a configuration file, for `pgflight config example`.

/// Returns a commented file with each key at its default, or at an example if it has none.
pub fn example() -> &'static str {
    include_str!("example.toml")
}
