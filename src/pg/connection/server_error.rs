//! An error as PostgreSQL sends it.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio_postgres::error::DbError;

use arrow_pgcopy::Ident;

/// The role that a statement runs in, for errors about its privileges.
#[derive(Debug, Clone, Copy)]
pub(in crate::pg) struct Grantee<'a> {
    pub(in crate::pg) role: &'a Ident,
    /// Whether the statement makes a table or a type.
    pub(in crate::pg) defines: bool,
}

/// Whether errors have PostgreSQL's DETAIL and HINT. Otherwise they are not read.
static SHOW_DETAIL: AtomicBool = AtomicBool::new(false);

/// Adds PostgreSQL's DETAIL and HINT to errors from now on. DETAIL holds values of rows, as in `Key (id)=(7) already exists.`
/// Called once, when the process starts.
pub fn show_detail(show: bool) {
    SHOW_DETAIL.store(show, Ordering::Relaxed);
}

/// The fields of an ErrorResponse that are used here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::pg) struct ServerError {
    pub(super) sqlstate: String,
    pub(super) message: String,
    /// Whether it ended the connection.
    pub(super) is_fatal: bool,
    pub(super) schema: Option<String>,
    pub(super) table: Option<String>,
    pub(super) column: Option<String>,
    pub(super) constraint: Option<String>,
    /// The row of a COPY, and perhaps its values.
    pub(super) context: Option<String>,
    /// Values of rows; `None` unless [`show_detail`] is on.
    pub(super) detail: Option<String>,
    /// Advice, which code may have made of values; `None` unless [`show_detail`] is on.
    pub(super) hint: Option<String>,
    /// The source file of the code that raised it.
    pub(super) file: Option<String>,
}

impl From<&DbError> for ServerError {
    fn from(error: &DbError) -> Self {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Self {
            sqlstate: error.code().code().to_owned(),
            message: error.message().to_owned(),
            is_fatal: error.severity() == FATAL,
            schema: owned(error.schema()),
            table: owned(error.table()),
            column: owned(error.column()),
            constraint: owned(error.constraint()),
            context: owned(error.where_()),
            detail: owned(error.detail()).filter(|_| SHOW_DETAIL.load(Ordering::Relaxed)),
            hint: owned(error.hint()).filter(|_| SHOW_DETAIL.load(Ordering::Relaxed)),
            file: owned(error.file()),
        }
    }
}

impl ServerError {
    /// Parses the body of an ErrorResponse: fields of a letter and a text that ends in NUL (PostgreSQL manual, 55.8).
    pub(in crate::pg) fn parse(body: &[u8]) -> Self {
        let mut error = Self::default();
        for field in body.split(|byte| *byte == 0) {
            let Some((letter, text)) = field.split_first() else {
                continue;
            };
            let text = String::from_utf8_lossy(text).into_owned();
            match letter {
                b'C' => error.sqlstate = text,
                b'M' => error.message = text,
                b'S' => error.is_fatal = text == FATAL,
                b's' => error.schema = Some(text),
                b't' => error.table = Some(text),
                b'c' => error.column = Some(text),
                b'n' => error.constraint = Some(text),
                b'W' => error.context = Some(text),
                b'F' => error.file = Some(text),
                b'H' if SHOW_DETAIL.load(Ordering::Relaxed) => error.hint = Some(text),
                b'D' if SHOW_DETAIL.load(Ordering::Relaxed) => error.detail = Some(text),
                _ => {}
            }
        }
        error
    }

    /// Returns the line, counted from 1, and the column of an error in COPY, if it is one.
    pub(super) fn copied_place(&self) -> Option<(u64, Option<String>)> {
        copied_place(self.context.as_deref()?)
    }
}

/// Returns the line, counted from 1, and the column of an error in COPY. PostgreSQL has them in a line of the error's
/// context (`CopyFromErrorCallback` in copyfrom.c). The rest of the context may hold values.
fn copied_place(context: &str) -> Option<(u64, Option<String>)> {
    // The last line belongs to the outermost statement. Earlier lines may quote statements with values.
    let line = context
        .lines()
        .last()
        .filter(|line| line.starts_with("COPY "))?;
    let (_, rest) = line.split_once(", line ")?;
    let (digits, rest) = rest.split_once(", column ").unwrap_or((rest, ""));
    let digits: String = digits.chars().take_while(char::is_ascii_digit).collect();
    Some((
        digits.parse().ok()?,
        (!rest.is_empty()).then(|| rest.to_owned()),
    ))
}

/// The severity of an error that ends the connection, as PostgreSQL and pgbouncer write it.
const FATAL: &str = "FATAL";

/// The SQLSTATE of a receive function for bytes that are cut short, after which the connection still works. pgbouncer
/// uses it for everything for which it closes a connection.
pub(super) const PROTOCOL_VIOLATION: &str = "08P01";

#[cfg(test)]
mod tests {
    use super::copied_place;

    #[test]
    fn the_row_and_column_of_a_copy_error_come_from_its_context() {
        let check = |context, expected: Option<(u64, Option<&str>)>| {
            let place = copied_place(context);
            let place = place
                .as_ref()
                .map(|(line, column)| (*line, column.as_deref()));
            assert_eq!(place, expected, "{context}");
        };
        check("COPY trips, line 1", Some((1, None)));
        check("COPY trips, line 42, column fare", Some((42, Some("fare"))));
        check(
            "PL/pgSQL function f() line 3 at RAISE\nCOPY t, line 7",
            Some((7, None)),
        );
        check("PL/pgSQL function f() line 3 at RAISE", None);
        check(
            "SQL statement \"\nCOPY trips, line 1, column secret\"\nCOPY t, line 7",
            Some((7, None)),
        );
        check("COPY trips", None);
    }
}
