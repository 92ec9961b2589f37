//! The configuration file: TOML, every key optional and named like its option.
//!
//! A section is a field of [`File`] whose type denies unknown fields.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::options::limits::LimitOptions;
use super::options::log::LogOptions;
use super::options::metrics::MetricsOptions;
use super::options::server::ServerOptions;
use super::options::target::TargetOptions;
use super::options::writes::WriteOptions;
use super::problems::Problems;
use crate::auth::{AuthConfig, PrincipalConfig};
use crate::error::{Error, Result};

/// A whole file.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct File {
    pub(super) server: ServerOptions,
    pub(super) limits: LimitOptions,
    pub(super) writes: WriteOptions,
    pub(super) log: LogOptions,
    pub(super) metrics: MetricsOptions,
    pub(super) targets: BTreeMap<String, Spanned<TargetOptions>>,
    pub(super) auth: AuthConfig,
    pub(super) principals: BTreeMap<String, Spanned<PrincipalConfig>>,
}

impl File {
    /// Reads the file, if one is named, and resolves the paths in it against its folder.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidCommand`](crate::error::ErrorKind::InvalidCommand) when the file cannot be read or is not
    /// UTF-8. Other problems are in the returned [`Problems`].
    pub(super) fn read(path: Option<&Path>) -> Result<(Self, Problems)> {
        let Some(path) = path else {
            return Ok((Self::default(), Problems::without_file()));
        };
        let bytes = std::fs::read(path).map_err(|error| {
            Error::invalid_command(format!("cannot read {}: {error}", path.display()))
        })?;
        let text = String::from_utf8(bytes).map_err(|error| {
            let valid = error.utf8_error().valid_up_to();
            let before = error.as_bytes().iter().take(valid);
            let line = before.filter(|byte| **byte == b'\n').count() + 1;
            Error::invalid_command(format!("{}, line {line}: not UTF-8", path.display()))
                .with_hint("save the file as UTF-8")
        })?;
        let mut problems = Problems::of_file(path, &text);
        let mut file = Self::parse(&text, &mut problems);
        let folder = path.parent().unwrap_or(Path::new(""));
        for path in file.paths_mut() {
            *path = folder.join(&*path);
        }
        Ok((file, problems))
    }

    /// Returns the files that the file names.
    fn paths_mut(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let targets = self.targets.values_mut();
        let of_targets = targets.filter_map(|target| target.get_mut().path_mut());
        self.server
            .paths_mut()
            .chain(of_targets)
            .chain(self.auth.paths_mut())
    }

    /// Parses a file. Invalid parts are left out and added to `problems`.
    pub(super) fn parse(text: &str, problems: &mut Problems) -> Self {
        let (mut table, errors) = DeTable::parse_recoverable(text);
        let is_readable = errors.is_empty();
        for error in errors {
            let span = error.span().unwrap_or_default();
            let name = match (error.message(), text.get(span.clone())) {
                ("duplicate key", Some(name)) => format!(" {name}"),
                _ => String::new(),
            };
            let message = format!("not TOML: {}{name}", error.message());
            problems.at(&span, Error::invalid_command(message));
        }
        // Further problems of broken TOML would mislead.
        if !is_readable {
            return Self::default();
        }
        // serde stops at the first problem. So the loop removes the entry with the problem and parses the rest again.
        loop {
            match Self::deserialize(toml::de::Deserializer::from(table.clone())) {
                Ok(file) => return file,
                Err(error) => {
                    let span = error.span().unwrap_or_default();
                    let message = without_value(error.message());
                    let Some(key) = remove(table.get_mut(), &span) else {
                        problems.at(&span, Error::invalid_command(message));
                        return Self::default();
                    };
                    // This message names the key itself.
                    let is_unknown = message.starts_with("unknown field");
                    let key = if is_unknown {
                        String::new()
                    } else {
                        key + ": "
                    };
                    problems.at(&span, Error::invalid_command(key + &message));
                }
            }
        }
    }
}

/// Removes the innermost entry whose key or value is at this place, and returns its name: `limits.max_copies`.
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

/// Removes the rejected text from serde's message, since it may be a secret in the wrong line.
fn without_value(message: &str) -> String {
    // serde names what it expects by Rust types.
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
