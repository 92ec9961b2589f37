//! Everything that is wrong with a configuration, told at once and with the lines.

use std::fmt::Write as _;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::error::Error;

/// What is wrong, as far as it was found.
#[derive(Debug)]
pub(super) struct Problems {
    file: Option<(PathBuf, String)>,
    found: Vec<(usize, String)>,
}

impl Problems {
    /// Of flags and environment alone.
    pub(super) fn without_file() -> Self {
        Self {
            file: None,
            found: Vec::new(),
        }
    }

    /// Of a file with this text, too.
    pub(super) fn of_file(path: &Path, text: &str) -> Self {
        Self {
            file: Some((path.to_owned(), text.to_owned())),
            found: Vec::new(),
        }
    }

    /// Adds one at a place of the file, in bytes.
    pub(super) fn at(&mut self, span: &Range<usize>, problem: impl Into<String>) {
        let text = self.file.as_ref().map_or("", |(_, text)| text);
        let before = text.as_bytes().iter().take(span.start);
        let line = before.filter(|byte| **byte == b'\n').count() + 1;
        self.found.push((line, problem.into()));
    }

    /// Adds one that no line is to blame for.
    pub(super) fn add(&mut self, problem: impl Into<String>) {
        self.found.push((0, problem.into()));
    }

    /// Nothing when there are none, else an error that names them all, those of no line first.
    pub(super) fn into_result(mut self) -> Result<(), Error> {
        self.found.sort();
        let place = |line: usize| match &self.file {
            Some((path, _)) if line > 0 => format!("{}, line {line}: ", path.display()),
            _ => String::new(),
        };
        let mut lines = self
            .found
            .iter()
            .map(|(line, problem)| format!("{}{problem}", place(*line)));
        match (lines.next(), self.found.len()) {
            (None, _) => Ok(()),
            (Some(only), 1) => Err(Error::invalid_command(only)),
            (Some(first), count) => {
                let mut text = format!("the configuration has {count} problems\n  {first}");
                for line in lines {
                    // Writing to a String cannot fail.
                    write!(text, "\n  {line}").ok();
                }
                Err(Error::invalid_command(text))
            }
        }
    }
}
