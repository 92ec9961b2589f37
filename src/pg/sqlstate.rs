//! From what PostgreSQL says to our [`Error`]: the kind by exact SQLSTATE, then by class.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio_postgres::error::DbError;

use super::staging::SHADOW_PREFIX;
use super::words::{self, SYNTAX_ERROR};

use crate::error::{Error, ErrorKind, chain};

/// Turns an error of the driver into ours.
///
/// PostgreSQL's DETAIL, HINT and CONTEXT may hold values of rows, so only the primary message, the
/// names and the SQLSTATE are kept, and DETAIL where [`show_detail`] says so.
pub(super) fn from_postgres(error: &tokio_postgres::Error, about: About) -> Error {
    if let Some(db) = error.as_db_error() {
        return Told::from(db).to_error(about);
    }
    if error.is_closed() {
        return Error::unavailable(
            "PostgreSQL closed the connection; it was stopped or the session was ended; try again",
        );
    }
    let text = chain(error);
    match std::error::Error::source(error)
        .and_then(|source| source.downcast_ref::<std::io::Error>())
    {
        Some(_) => Error::unavailable(format!(
            "the connection to PostgreSQL failed: {text}; try again"
        )),
        None if text.contains("timed out") => Error::unavailable(format!(
            "the connection to PostgreSQL failed: {text}; try again"
        )),
        None => Error::internal(format!("the PostgreSQL driver failed: {text}")),
    }
}

/// What PostgreSQL was doing as it reported an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum About {
    /// It carried out a statement of the server's own that touches no rows of a user's table.
    Statement,
    /// It read or wrote rows of a table, and may have run the code of that table.
    Rows,
}

/// Whether DETAIL is told; else it is not even read.
static SHOW_DETAIL: AtomicBool = AtomicBool::new(false);

/// Makes errors of PostgreSQL tell its DETAIL from now on, which holds values of rows: `Key (id)=(7) already
/// exists.` Said once, when the process starts.
pub fn show_detail(show: bool) {
    SHOW_DETAIL.store(show, Ordering::Relaxed);
}

/// What PostgreSQL says in an ErrorResponse, of which we make use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) sqlstate: String,
    pub(super) message: String,
    /// It ended the connection.
    is_fatal: bool,
    schema: Option<String>,
    table: Option<String>,
    column: Option<String>,
    constraint: Option<String>,
    /// Which row of a COPY, and perhaps its values.
    context: Option<String>,
    /// Values of rows; none unless they are to be told.
    detail: Option<String>,
}

impl From<&DbError> for Told {
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
        }
    }
}

impl Told {
    /// Reads the body of an ErrorResponse: fields of a letter and a text that ends in NUL (PostgreSQL
    /// manual, 55.8).
    pub(super) fn parse(body: &[u8]) -> Self {
        let mut told = Self::default();
        for field in body.split(|byte| *byte == 0) {
            let Some((letter, text)) = field.split_first() else {
                continue;
            };
            let text = String::from_utf8_lossy(text).into_owned();
            match letter {
                b'C' => told.sqlstate = text,
                b'M' => told.message = text,
                b'S' => told.is_fatal = text == FATAL,
                b's' => told.schema = Some(text),
                b't' => told.table = Some(text),
                b'c' => told.column = Some(text),
                b'n' => told.constraint = Some(text),
                b'W' => told.context = Some(text),
                b'D' if SHOW_DETAIL.load(Ordering::Relaxed) => told.detail = Some(text),
                _ => {}
            }
        }
        told
    }

    /// Our error, without what may be a value of a row, unless DETAIL is wanted. HINT is never read.
    pub(super) fn to_error(&self, about: About) -> Error {
        let sqlstate = self.sqlstate.as_str();
        let advice = match sqlstate {
            "55P03" => {
                "; somebody else holds a lock that this needs: end their transaction or raise --lock-timeout"
            }
            PROTOCOL_VIOLATION if self.is_fatal => {
                "; a pooler between pgflight and PostgreSQL says so: look at its limits and timeouts, and try again"
            }
            _ => "",
        };
        // A context is of a COPY, of a function or of a document. INSERT … SELECT has none.
        let beside_rows = about == About::Rows || self.context.is_some();
        let message = words::told(sqlstate, &self.message, beside_rows);
        let message = format!("{message} ({sqlstate}){advice}");
        let message = match &self.detail {
            Some(detail) => format!("{message}; {detail}"),
            None => message,
        };
        // Two CREATE TABLE at once: the loser meets an index of the catalog.
        let kind = match (sqlstate, self.schema.as_deref()) {
            ("23505", Some("pg_catalog")) => ErrorKind::AlreadyExists,
            (PROTOCOL_VIOLATION, _) if self.is_fatal => ErrorKind::Unavailable,
            _ => kind(sqlstate),
        };
        Error::new(kind, message).with_context(|context| {
            context.sqlstate = Some(sqlstate.to_owned());
            context.column = self.column.clone();
            // Of an error that no row is to blame for, the place says where the COPY happened to be.
            if kind == ErrorKind::DataRejected
                && let Some((row, column)) = self.context.as_deref().and_then(copied_place)
            {
                context.row = row.checked_sub(1);
                context.column = context.column.take().or(column);
            }
            context.constraint = self.constraint.clone();
            // Tables of the catalog and staging tables mean nothing to the caller, who knows the target.
            context.table = match (&self.schema, &self.table) {
                (Some(schema), _) if schema == "pg_catalog" || schema == "pgflight" => None,
                (Some(_), Some(table)) if table.starts_with(SHADOW_PREFIX) => None,
                (Some(schema), Some(table)) => Some(format!("{schema}.{table}")),
                _ => None,
            };
        })
    }
}

/// Line, counted from 1, and column that an error in COPY is about: PostgreSQL gives them in a line of
/// the error's context (`CopyFromErrorCallback` in copyfrom.c). The rest of it may hold values.
fn copied_place(context: &str) -> Option<(u64, Option<String>)> {
    // The last line is of what was begun first; those before may be of statements that have values.
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

/// The severity, as pgbouncer writes it.
const FATAL: &str = "FATAL";

/// What a receive function says of bytes that are cut short, and the connection is as good as before; and what
/// pgbouncer says of everything for which it closes a connection.
const PROTOCOL_VIOLATION: &str = "08P01";

/// Appendix A of PostgreSQL's manual lists the codes.
fn kind(sqlstate: &str) -> ErrorKind {
    match sqlstate {
        "0A000" | "42809" => ErrorKind::Unsupported,
        "3D000" | "3F000" | "42P01" => ErrorKind::NotFound,
        "42P06" | "42P07" | "42710" => ErrorKind::AlreadyExists,
        "42501" | "28000" | "28P01" => ErrorKind::PermissionDenied,
        "42703" | "42704" | "42804" | "42701" | "42883" => ErrorKind::SchemaMismatch,
        // Behind a pooler, another client of the session has made or closed a statement of this name.
        "26000" | "42P05" => ErrorKind::Unavailable,
        "57P01" | "57P02" | "57P03" | "57P05" | "25P03" | "25006" | "40001" | "40P01" | "55P03"
        | "57014" => ErrorKind::Unavailable,
        "P0001" | "44000" | PROTOCOL_VIOLATION | SYNTAX_ERROR => ErrorKind::DataRejected,
        "2BP01" => ErrorKind::Conflict,
        _ => match sqlstate.get(..2) {
            Some("22" | "23" | "54") => ErrorKind::DataRejected,
            Some("08" | "53") => ErrorKind::Unavailable,
            _ => ErrorKind::Internal,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::{About, Told, copied_place, kind};
    use crate::error::ErrorKind;

    #[test]
    fn a_sqlstate_becomes_a_kind_by_exact_code_then_by_class() {
        let check = |sqlstate, expected| assert_eq!(kind(sqlstate), expected, "{sqlstate}");
        check("23505", ErrorKind::DataRejected);
        check("22003", ErrorKind::DataRejected);
        check("42P01", ErrorKind::NotFound);
        check("53300", ErrorKind::Unavailable);
        check("57P01", ErrorKind::Unavailable);
        check("40001", ErrorKind::Unavailable);
        check("42501", ErrorKind::PermissionDenied);
        check("42809", ErrorKind::Unsupported);
        check("42883", ErrorKind::SchemaMismatch);
        check("XX000", ErrorKind::Internal);
        check("", ErrorKind::Internal);
    }

    #[test]
    fn what_a_pooler_says_as_it_closes_a_connection_is_retryable() {
        for (severity, expected) in [
            ("FATAL", ErrorKind::Unavailable),
            ("ERROR", ErrorKind::DataRejected),
        ] {
            let body = format!("S{severity}\0C08P01\0Mquery_timeout\0\0");
            let error = Told::parse(body.as_bytes()).to_error(About::Statement);
            assert_eq!(error.kind(), expected, "{error}");
        }
    }

    #[test]
    fn the_place_of_an_error_in_copy_comes_from_its_context() {
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
