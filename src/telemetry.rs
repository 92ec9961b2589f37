//! Logs: `tracing`, as text or JSON, on standard error.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line, for machines.
    Json,
}

/// Says what is wrong with a filter, if anything is.
///
/// # Errors
/// A text for people.
pub fn check_filter(filter: &str) -> Result<(), String> {
    let read = EnvFilter::try_new(filter);
    read.map(|_| ()).map_err(|error| error.to_string())
}

/// Starts logging, once per process.
///
/// `filter` is a level or directives as `tracing_subscriber` reads them: `info`, `pgflight=debug`.
///
/// # Errors
/// A text that says what is wrong with the filter.
pub fn start(format: LogFormat, filter: &str) -> Result<(), String> {
    let filter = EnvFilter::try_new(filter).map_err(|error| error.to_string())?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr);
    match format {
        LogFormat::Text => builder
            .with_target(false)
            .with_ansi(io::stderr().is_terminal())
            .try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    }
    .map_err(|error| error.to_string())
}
