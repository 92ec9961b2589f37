//! `[log]`: the log.

use clap::{ArgAction, Args};
use serde::Deserialize;

use crate::config::problems::Problems;
use crate::config::value::{impl_or, required};
use crate::error::{Error, Result};
use crate::telemetry::{LogFormat, check_filter};

/// The configuration of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    /// The format of lines.
    pub format: LogFormat,
    /// A level or directives.
    pub filter: String,
    /// Whether errors and logs show PostgreSQL's DETAIL, which holds values of rows.
    pub show_detail: bool,
}

/// The options of the log.
#[derive(Debug, Clone, Default, Args, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct LogOptions {
    /// Format of log lines.
    #[arg(
        id = "log_format",
        long = "log-format",
        env = "PGFLIGHT_LOG_FORMAT",
        value_name = "FORMAT",
        default_value = "text"
    )]
    format: Option<LogFormat>,

    /// Filter of the log: a level (error, warn, info, debug, trace) or directives (pgflight=debug,info).
    #[arg(
        id = "log",
        long = "log",
        env = "PGFLIGHT_LOG",
        value_name = "FILTER",
        default_value = "info,tokio_postgres=warn"
    )]
    filter: Option<String>,

    /// Show, in errors and logs, the DETAIL and HINT of PostgreSQL's errors. They hold values of rows.
    #[arg(long, env = "PGFLIGHT_SHOW_DETAIL", action = ArgAction::SetTrue)]
    show_detail: Option<bool>,
}

impl_or!(LogOptions {
    format,
    filter,
    show_detail,
});

impl LogOptions {
    /// Builds the configuration of the log.
    pub(in crate::config) fn build(self, problems: &mut Problems) -> Result<LogConfig> {
        let filter = required(self.filter, "log")?;
        if let Err(problem) = check_filter(&filter) {
            problems.add(Error::invalid_command(format!(
                "cannot read --log (in the file log.filter) {filter:?}: {problem}"
            )));
        }
        Ok(LogConfig {
            format: required(self.format, "log_format")?,
            filter,
            show_detail: self.show_detail == Some(true),
        })
    }
}
