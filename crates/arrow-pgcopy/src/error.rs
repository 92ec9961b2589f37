//! The error of this crate: one fact, where it happened, and what to do about it.

use std::borrow::Cow;
use std::fmt;

/// The result of anything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The kind of an [`Error`].
///
/// The enum is closed: a new kind is a breaking change, so that a `match` over kinds is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// A name, a type's name, a table option or a conversion cannot be read or has no meaning here.
    InvalidInput,
    /// The columns or types of the data do not fit the table.
    SchemaMismatch,
    /// A value cannot be written into its column.
    DataRejected,
    /// A batch has other columns than its plan, or this crate has a defect.
    Internal,
}

/// The reason why something could not be planned or encoded.
///
/// `{error}` prints the message alone: one fact in lower case, without a place or advice. `{error:#}` prints the
/// place and the hint as well. No part of an error holds the value of a cell.
///
/// ```
/// use arrow_pgcopy::{ErrorKind, Ident};
///
/// let error = Ident::new("").unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::InvalidInput);
/// assert_eq!(error.to_string(), "the name \"\" is empty");
/// ```
#[derive(Debug, thiserror::Error)]
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: ErrorKind,
    message: Cow<'static, str>,
    hint: Option<Cow<'static, str>>,
    table: Option<String>,
    column: Option<String>,
    row: Option<u64>,
    sqlstate: Option<&'static str>,
}

impl Error {
    fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner {
            kind,
            message: message.into(),
            hint: None,
            table: None,
            column: None,
            row: None,
            sqlstate: None,
        }))
    }

    pub(crate) fn invalid_input(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::InvalidInput, message)
    }

    pub(crate) fn schema_mismatch(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::SchemaMismatch, message)
    }

    pub(crate) fn data_rejected(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::DataRejected, message)
    }

    pub(crate) fn internal(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    /// Returns the kind.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Returns the message: one fact in lower case, without a place or advice.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Returns what to do about it: an imperative in lower case.
    pub fn hint(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// Returns the table, quoted where SQL needs it.
    pub fn table(&self) -> Option<&str> {
        self.0.table.as_deref()
    }

    /// Returns the column, as the data or the catalog names it.
    pub fn column(&self) -> Option<&str> {
        self.0.column.as_deref()
    }

    /// Returns the row of a rejected value, counted from the `first_row` that
    /// [`BatchEncoder::new`](crate::BatchEncoder::new) was given.
    pub fn row(&self) -> Option<u64> {
        self.0.row
    }

    /// Returns the SQLSTATE that PostgreSQL would report (manual, appendix A).
    pub fn sqlstate(&self) -> Option<&'static str> {
        self.0.sqlstate
    }

    pub(crate) fn with_hint(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    pub(crate) fn with_table(mut self, table: impl fmt::Display) -> Self {
        self.0.table = Some(table.to_string());
        self
    }

    pub(crate) fn with_column(mut self, column: impl Into<String>) -> Self {
        self.0.column = Some(column.into());
        self
    }

    pub(crate) fn with_row(mut self, row: u64) -> Self {
        self.0.row = Some(row);
        self
    }

    pub(crate) fn with_sqlstate(mut self, sqlstate: &'static str) -> Self {
        self.0.sqlstate = Some(sqlstate);
        self
    }

    /// Makes it a mismatch of the data and the table.
    pub(crate) fn into_schema_mismatch(mut self) -> Self {
        self.0.kind = ErrorKind::SchemaMismatch;
        self
    }
}

/// Prints the message; in the alternate form the place and the hint as well.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let error = &self.0;
        f.write_str(&error.message)?;
        if !f.alternate() {
            return Ok(());
        }
        let row = error.row.map(|row| row.to_string());
        let places = [
            ("table", error.table.as_deref()),
            ("column", error.column.as_deref()),
            ("row", row.as_deref()),
            ("SQLSTATE", error.sqlstate),
        ];
        let places = places.iter().filter_map(|(what, name)| {
            let name = name.as_ref()?;
            Some(format!("{what} {name}"))
        });
        let place = places.collect::<Vec<_>>().join(", ");
        if !place.is_empty() {
            write!(f, " [{place}]")?;
        }
        match &error.hint {
            Some(hint) => write!(f, ". Hint: {hint}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Error;

    #[test]
    fn the_alternate_form_prints_place_and_hint() {
        let error = Error::data_rejected("value is out of range for integer")
            .with_hint("widen the column")
            .with_column("n")
            .with_row(7)
            .with_sqlstate("22003");
        assert_eq!(error.to_string(), "value is out of range for integer");
        assert_eq!(
            format!("{error:#}"),
            "value is out of range for integer [column n, row 7, SQLSTATE 22003]. Hint: widen the column"
        );
    }
}
