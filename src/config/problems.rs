//! Collects the problems of a configuration, to report all of them at once with their lines.

use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::error::Error;

/// The problems found so far.
#[derive(Debug)]
pub(super) struct Problems {
    file: Option<(PathBuf, String)>,
    found: Vec<Problem>,
}

#[derive(Debug)]
struct Problem {
    /// From 1; `None` for a problem without a line.
    line: Option<usize>,
    error: Error,
}

impl Problems {
    /// Collects problems of flags and environment.
    pub(super) fn without_file() -> Self {
        Self {
            file: None,
            found: Vec::new(),
        }
    }

    /// Collects problems of flags, environment and a file with this text.
    pub(super) fn of_file(path: &Path, text: &str) -> Self {
        Self {
            file: Some((path.to_owned(), text.to_owned())),
            found: Vec::new(),
        }
    }

    /// Adds a problem at a place of the file, in bytes.
    pub(super) fn at(&mut self, span: &Range<usize>, error: Error) {
        let text = self.file.as_ref().map_or("", |(_, text)| text);
        let before = text.as_bytes().iter().take(span.start);
        let line = before.filter(|byte| **byte == b'\n').count() + 1;
        let line = Some(line);
        self.found.push(Problem { line, error });
    }

    /// Adds a problem at its place of the file, if it has one.
    pub(super) fn add_at(&mut self, span: Option<&Range<usize>>, error: Error) {
        match span {
            Some(span) => self.at(span, error),
            None => self.add(error),
        }
    }

    /// Adds a problem without a line.
    pub(super) fn add(&mut self, error: Error) {
        let line = None;
        self.found.push(Problem { line, error });
    }

    /// Fails if there are problems.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidCommand`](crate::error::ErrorKind::InvalidCommand) with every problem on a line, those
    /// without a line number first.
    pub(super) fn into_result(mut self) -> Result<(), Error> {
        self.found.sort_by_key(|problem| problem.line);
        let place = |problem: &Problem| match (&self.file, problem.line) {
            (Some((path, _)), Some(line)) => format!("{}, line {line}: ", path.display()),
            _ => String::new(),
        };
        match &*self.found {
            [] => Ok(()),
            [only] => {
                let report = only.error.report();
                let message = format!("{}{}", place(only), report.fact());
                let error = Error::invalid_command(message);
                Err(match report.advice() {
                    Some(hint) => error.with_hint(hint),
                    None => error,
                })
            }
            all => {
                let lines = all
                    .iter()
                    .map(|problem| format!("\n  {}{}", place(problem), problem.error.report()));
                let message = format!("the configuration has {} problems", all.len());
                let message = lines.fold(message, |message, line| message + &line);
                Err(Error::invalid_command(message))
            }
        }
    }
}
