//! The records of a file, and the errors for what is wrong with them.

use std::io::Read;

use encoding_rs::Encoding;

use super::dialect::Dialect;
use super::encoding::{is_malformed, utf8};
use super::split::{Characters, Fault, Reason, Record, Splitter};
use crate::error::{Error, Result};
use crate::files::fault::{io_fault, line_fault, reason};
use crate::files::source::Source;

/// The hint for text that is not UTF-8.
pub(super) const ENCODING_HINT: &str =
    "name the file's encoding with --encoding, as in --encoding windows-1252";

/// The records of a file. One can be put back.
pub(super) struct Records {
    splitter: Splitter<Box<dyn Read + Send>>,
    record: Record,
    put_back: bool,
}

impl Records {
    /// Returns the next record; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<&Record>, Fault> {
        let more = std::mem::take(&mut self.put_back) || self.splitter.next(&mut self.record)?;
        Ok(more.then_some(&self.record))
    }

    /// Lets [`Records::next`] return the same record again.
    pub(super) fn put_back(&mut self) {
        self.put_back = true;
    }
}

impl std::fmt::Debug for Records {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Records")
    }
}

/// Opens the records of a source.
///
/// # Errors
/// The errors of [`Source::reader`].
pub(super) fn records(
    source: &Source,
    dialect: &Dialect,
    characters: Characters,
    encoding: Option<&'static Encoding>,
) -> Result<Records> {
    let content =
        utf8(source.reader()?, encoding).map_err(|error| io_fault(&source.name, &error))?;
    Ok(Records {
        splitter: Splitter::new(content, characters, dialect.skip),
        record: Record::default(),
        put_back: false,
    })
}

/// Returns the error for a fault of a file, and of a column if its name is known.
pub(super) fn fault_of(name: &str, fault: &Fault, column: Option<&str>) -> Error {
    let error = |reason: &str| line_fault(name, fault.line, column, reason);
    match &fault.reason {
        Reason::OpenQuote => error("the quoted field does not end").with_hint(
            "end it with a quote, double the quotes in quoted fields, or name another quote with --quote, which may be `none`",
        ),
        Reason::CarriageReturn => error("a carriage return is not in quotes, and other lines end with a newline")
            .with_hint("quote the field, or make all lines end alike"),
        Reason::Newline => error("a newline is not in quotes, and other lines end with a carriage return")
            .with_hint("quote the field, or make all lines end alike"),
        Reason::TooLong => error("the line is longer than 1 GiB")
            .with_hint("look for a quote that does not end"),
        Reason::Io(cause) if is_malformed(cause) => {
            error(&reason(cause)).with_hint(ENCODING_HINT)
        }
        Reason::Io(cause) => error(&reason(cause)),
    }
}
