//! The errors of files: each names its file and, in text, line and column. None holds the value of a field.

use std::io;

use arrow::error::ArrowError;
use parquet::errors::ParquetError;

use crate::error::{Error, chain};

/// Returns the error for a file that cannot be read, with the reason.
pub(super) fn unreadable(name: &str, reason: &str) -> Error {
    Error::invalid_command(format!("cannot read {name}: {reason}"))
}

/// Returns the error for a failed read or a failed decompression.
pub(super) fn io_fault(name: &str, error: &io::Error) -> Error {
    unreadable(name, &reason(error))
}

/// Returns the error of a library of Arrow, whose messages hold no values.
pub(super) fn arrow_fault(name: &str, error: &ArrowError) -> Error {
    unreadable(name, &chain(error))
}

/// Returns the error of the Parquet library.
pub(super) fn parquet_fault(name: &str, error: &ParquetError) -> Error {
    unreadable(name, &chain(error))
}

/// Returns the error for a line of text, and for one of its columns.
pub(super) fn line_fault(name: &str, line: u64, column: Option<&str>, reason: &str) -> Error {
    let column = column.map_or_else(String::new, |column| format!(", column {column}"));
    Error::invalid_command(format!("cannot read {name}: line {line}{column}: {reason}"))
}

/// Returns why a read failed. The end within compressed data means that a part is missing.
pub(super) fn reason(error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        return "the file is cut off".to_owned();
    }
    chain(error)
}
