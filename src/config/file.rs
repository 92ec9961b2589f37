//! The configuration file as it is written: TOML, every key optional, named like the option it stands for.
//!
//! Here is where another module's section is added: a field of [`File`] whose type denies unknown fields.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problems::Problems;
use super::value::{Address, Count, Number, Size, Time};
use crate::auth::{AuthConfig, PrincipalConfig};
use crate::telemetry::LogFormat;

/// A whole file.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct File {
    pub(super) server: ServerFile,
    pub(super) limits: LimitsFile,
    pub(super) writes: WritesFile,
    pub(super) log: LogFile,
    pub(super) metrics: MetricsFile,
    pub(super) targets: BTreeMap<String, Spanned<TargetFile>>,
    pub(super) auth: AuthConfig,
    pub(super) principals: BTreeMap<String, Spanned<PrincipalConfig>>,
}

/// `[server]`: the listener.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ServerFile {
    pub(super) listen: Option<Address>,
    pub(super) tls_cert: Option<Spanned<PathBuf>>,
    pub(super) tls_key: Option<Spanned<PathBuf>>,
    pub(super) tls_client_ca: Option<Spanned<PathBuf>>,
    pub(super) insecure: Option<bool>,
    pub(super) max_connection_age: Option<Time>,
    pub(super) drain_timeout: Option<Time>,
    pub(super) default_target: Option<Spanned<String>>,
}

/// `[limits]`: what the process and each of its streams may take. A target may have its own of some.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct LimitsFile {
    pub(super) max_copies: Option<Count<1000>>,
    pub(super) copy_wait: Option<Time>,
    pub(super) copy_stall_timeout: Option<Time>,
    pub(super) pool_idle_timeout: Option<Time>,
    pub(super) lock_timeout: Option<Time>,
    pub(super) fan_out: Option<Count<64>>,
    pub(super) fan_out_after: Option<Size>,
    pub(super) max_message_size: Option<Size>,
    pub(super) memory_limit: Option<Size>,
    pub(super) idle_timeout: Option<Time>,
    pub(super) stream_timeout: Option<Time>,
    pub(super) max_connections: Option<Count<{ u16::MAX }>>,
    pub(super) max_connections_per_peer: Option<Count<{ u16::MAX }>>,
    pub(super) max_rows_per_stream: Option<Number>,
    pub(super) max_bytes_per_stream: Option<Size>,
    pub(super) max_rows_per_write: Option<Number>,
    pub(super) max_bytes_per_write: Option<Size>,
    pub(super) max_expansion: Option<Count<{ u16::MAX }>>,
}

/// `[writes]`: how long writes of many partitions live.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct WritesFile {
    pub(super) write_ttl: Option<Time>,
    pub(super) prepared_ttl: Option<Time>,
    pub(super) driver_ttl: Option<Time>,
    pub(super) retention: Option<Time>,
    pub(super) reaper_interval: Option<Time>,
}

/// `[log]`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct LogFile {
    pub(super) format: Option<LogFormat>,
    pub(super) filter: Option<String>,
    pub(super) show_detail: Option<bool>,
}

/// `[metrics]`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct MetricsFile {
    pub(super) listen: Option<Address>,
}

/// `[targets.NAME]`: a database.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct TargetFile {
    pub(super) postgres: Option<Spanned<String>>,
    pub(super) password_env: Option<Spanned<String>>,
    pub(super) password_file: Option<Spanned<PathBuf>>,
    pub(super) password_command: Option<Spanned<Vec<String>>>,
    pub(super) password_lifetime: Option<Spanned<Time>>,
    pub(super) role: Option<Spanned<String>>,
    pub(super) max_copies: Option<Count<1000>>,
    pub(super) copy_wait: Option<Time>,
    pub(super) copy_stall_timeout: Option<Time>,
    pub(super) pool_idle_timeout: Option<Time>,
    pub(super) lock_timeout: Option<Time>,
    pub(super) max_rows_per_stream: Option<Number>,
    pub(super) max_bytes_per_stream: Option<Size>,
    pub(super) max_rows_per_write: Option<Number>,
    pub(super) max_bytes_per_write: Option<Size>,
    pub(super) max_expansion: Option<Count<{ u16::MAX }>>,
}

impl File {
    /// Reads a file, without what is wrong with it, which goes to `problems`.
    pub(super) fn parse(text: &str, problems: &mut Problems) -> Self {
        let (mut table, errors) = DeTable::parse_recoverable(text);
        let is_readable = errors.is_empty();
        for error in errors {
            let span = error.span().unwrap_or_default();
            let name = match (error.message(), text.get(span.clone())) {
                ("duplicate key", Some(name)) => format!(" {name}; it may stand here once"),
                _ => String::new(),
            };
            problems.at(&span, format!("not TOML: {}{name}", error.message()));
        }
        // What comes of broken TOML misleads.
        if !is_readable {
            return Self::default();
        }
        // serde stops at the first problem. So what holds it is taken out, and the rest read again.
        loop {
            match Self::deserialize(toml::de::Deserializer::from(table.clone())) {
                Ok(file) => return file,
                Err(error) => {
                    let span = error.span().unwrap_or_default();
                    let message = without_value(error.message());
                    let Some(key) = remove(table.get_mut(), &span) else {
                        problems.at(&span, message);
                        return Self::default();
                    };
                    // It names the key itself.
                    let is_unknown = message.starts_with("unknown field");
                    let key = if is_unknown {
                        String::new()
                    } else {
                        key + ": "
                    };
                    problems.at(&span, format!("{key}{message}"));
                }
            }
        }
    }
}

impl File {
    /// The files that it names.
    pub(super) fn paths_mut(&mut self) -> impl Iterator<Item = &mut Spanned<PathBuf>> {
        let server = &mut self.server;
        let of_targets = self.targets.values_mut();
        let of_targets = of_targets.map(|target| &mut target.get_mut().password_file);
        [
            &mut server.tls_cert,
            &mut server.tls_key,
            &mut server.tls_client_ca,
        ]
        .into_iter()
        .chain(of_targets)
        .flatten()
    }
}

/// Takes the innermost entry out whose key or value is at this place. Gives its name: `limits.max_copies`.
fn remove(table: &mut DeTable<'_>, span: &Range<usize>) -> Option<String> {
    let mut found = None;
    for (key, value) in table.iter_mut() {
        let (at_key, at_value) = (key.span() == *span, holds(&value.span(), span));
        if let DeValue::Table(inner) = value.get_mut()
            && let Some(name) = remove(inner, span)
        {
            return Some(format!("{}.{name}", key.get_ref()));
        }
        if at_key || at_value {
            found = Some(key.clone());
            break;
        }
    }
    let key = found?;
    table.remove(&key).map(|_| key.get_ref().to_string())
}

fn holds(outer: &Range<usize>, inner: &Range<usize>) -> bool {
    outer.start <= inner.start && inner.end <= outer.end
}

/// serde shows the text that it could not use, and that may be a secret in the wrong line.
fn without_value(message: &str) -> String {
    // What it expects it calls by names of Rust.
    let (message, expected) = match message.rsplit_once(", expected ") {
        Some((message, "i64")) => (message, ", expected a whole number"),
        Some((message, "a sequence")) => (message, ", expected a list"),
        Some((message, "a string")) => (message, ", expected a text in quotes"),
        Some((message, name)) if name.starts_with("struct ") => (message, ", expected a section"),
        _ => (message, ""),
    };
    let message = &format!("{message}{expected}");
    match (message.split_once("string \""), message.rsplit_once("\", ")) {
        (Some((before, _)), Some((_, after))) => format!("{before}a text, {after}"),
        _ => message.replace(['\n', '\r'], " "),
    }
}
