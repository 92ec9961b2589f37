//! Converts errors of PostgreSQL to our [`Error`]: the kind by exact SQLSTATE, then by class.

use super::advice::{
    NO_PREREQUISITE, hint, is_of_code, is_of_type, is_row_too_big, is_timeout_of_login,
    missing_grant,
};
use super::redact::{Origin, SYNTAX_ERROR, constraint_violation, redact, without_quoted};
use super::server_error::{Grantee, PROTOCOL_VIOLATION, ServerError};
use super::tls::NoTlsOffered;
use crate::error::{Error, ErrorKind, chain};
use crate::pg::names::{SCHEMA, SHADOW_PREFIX};

/// Converts an error of the driver.
///
/// PostgreSQL's DETAIL, HINT and CONTEXT may hold values of rows. So only the primary message, the names and the
/// SQLSTATE are kept, and DETAIL and HINT if [`show_detail`](super::show_detail) is on. `grantee` is the role of the statement, for the GRANT
/// that it lacks.
pub(in crate::pg) fn from_postgres(
    error: &tokio_postgres::Error,
    about: About,
    grantee: Option<Grantee<'_>>,
) -> Error {
    if let Some(db) = error.as_db_error() {
        return ServerError::from(db).to_error(about, grantee);
    }
    if error.is_closed() {
        return Error::unavailable("PostgreSQL closed the connection")
            .with_hint("try again: PostgreSQL was stopped, or the session was ended");
    }
    let text = chain(error);
    let io_error =
        std::error::Error::source(error).and_then(|source| source.downcast_ref::<std::io::Error>());
    if io_error.is_none() && !text.contains("timed out") {
        return Error::internal(format!("the PostgreSQL driver failed: {text}"));
    }
    let has_no_tls = io_error
        .and_then(std::io::Error::get_ref)
        .is_some_and(|inner| inner.is::<NoTlsOffered>());
    let hint = if has_no_tls {
        "turn PostgreSQL's setting ssl on"
    } else {
        "try again"
    };
    Error::unavailable(format!("the connection to PostgreSQL failed: {text}")).with_hint(hint)
}

/// The work of PostgreSQL when it reported an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::pg) enum About {
    /// A statement of the server's own that touches no rows of a user's table.
    Statement,
    /// Reading or writing rows of a table, which may run the code of that table.
    Rows,
}

impl ServerError {
    /// Returns what PostgreSQL was doing. A context comes from a COPY, from a function, from a statement of a function
    /// or from a document. INSERT … SELECT has none.
    fn origin(&self, about: About) -> Origin {
        match &self.context {
            Some(context) if context.lines().any(|line| !line.starts_with("COPY ")) => Origin::Code,
            Some(_) => Origin::Rows,
            None if about == About::Rows => Origin::Rows,
            None => Origin::Statement,
        }
    }

    /// Converts it, without values of rows unless [`show_detail`](super::show_detail) is on.
    pub(in crate::pg) fn to_error(&self, about: About, grantee: Option<Grantee<'_>>) -> Error {
        let sqlstate = self.sqlstate.as_str();
        let origin = self.origin(about);
        let message = match constraint_violation(sqlstate) {
            Some(words) if self.constraint.is_some() || self.column.is_some() => words.to_owned(),
            // A row that no partition takes.
            Some(_) if self.table.is_some() && origin != Origin::Statement => {
                format!("PostgreSQL: {}", without_quoted(&self.message))
            }
            // Without a name, a function of the table's owner raised it: the words are the owner's.
            _ => redact(sqlstate, &self.message, origin),
        };
        let message = match &self.detail {
            Some(detail) => format!("{message}; {detail}"),
            None => message,
        };
        // One of two concurrent CREATE TABLE statements violates a unique index of the catalog.
        let kind = match (sqlstate, self.schema.as_deref()) {
            ("23505", Some("pg_catalog")) => ErrorKind::AlreadyExists,
            (PROTOCOL_VIOLATION, _) if self.is_fatal => ErrorKind::Unavailable,
            _ if is_timeout_of_login(self) => ErrorKind::Timeout,
            (NO_PREREQUISITE, _) if origin == Origin::Rows => ErrorKind::Unsupported,
            _ if kind(sqlstate) == ErrorKind::Internal && is_of_code(self, origin) => {
                ErrorKind::DataRejected
            }
            _ if is_of_type(self, origin) => ErrorKind::DataRejected,
            _ => kind(sqlstate),
        };
        let grant = grantee.and_then(|grantee| missing_grant(self, origin, grantee));
        let error = Error::new(kind, message);
        let error = match (grant, hint(self, origin)) {
            (Some(grant), _) => error
                .with_hint("grant the missing privilege")
                .with_fix_sql(grant),
            (None, Some(hint)) => error.with_hint(hint),
            (None, None) => error,
        };
        error.with_context(|context| {
            context.sqlstate = Some(sqlstate.to_owned());
            // The names in the fields are those of the target and its partitions, except in an error of code, which
            // may have made the names of other tables of values.
            let is_of_target = origin != Origin::Code;
            context.column = self.column.clone().filter(|_| is_of_target);
            // For other kinds, the place is only where the COPY was when the error came.
            if kind == ErrorKind::DataRejected
                && !is_row_too_big(self)
                && let Some((row, column)) = self.copied_place()
            {
                context.row = row.checked_sub(1);
                context.column = context.column.take().or(column);
            }
            context.constraint = self.constraint.clone().filter(|_| is_of_target);
            // Tables of the catalog and staging tables mean nothing to the client, who knows the target.
            context.table = match (&self.schema, &self.table) {
                _ if !is_of_target => None,
                (Some(schema), _) if schema == "pg_catalog" || schema == SCHEMA => None,
                (Some(schema), _) if schema.starts_with("pg_temp_") => None,
                (Some(_), Some(table)) if table.starts_with(SHADOW_PREFIX) => None,
                (Some(schema), Some(table)) => Some(format!("{schema}.{table}")),
                _ => None,
            };
        })
    }
}

/// Returns the kind of an error with this SQLSTATE (PostgreSQL manual, appendix A).
fn kind(sqlstate: &str) -> ErrorKind {
    match sqlstate {
        "0A000" | "42809" => ErrorKind::Unsupported,
        "3D000" | "3F000" | "42P01" => ErrorKind::NotFound,
        "42P06" | "42P07" | "42710" => ErrorKind::AlreadyExists,
        "42501" | "28000" | "28P01" => ErrorKind::PermissionDenied,
        "42703" | "42704" | "42804" | "42701" | "42883" => ErrorKind::SchemaMismatch,
        // Behind a pooler, another client of the session has created or closed a statement of this name.
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
    use super::{About, ServerError, kind};
    use crate::error::ErrorKind;

    #[test]
    fn a_sqlstate_maps_to_a_kind_by_code_then_by_class() {
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
    fn a_fatal_error_of_a_pooler_is_retryable() {
        for (severity, expected) in [
            ("FATAL", ErrorKind::Unavailable),
            ("ERROR", ErrorKind::DataRejected),
        ] {
            let body = format!("S{severity}\0C08P01\0Mquery_timeout\0\0");
            let error = ServerError::parse(body.as_bytes()).to_error(About::Statement, None);
            assert_eq!(error.kind(), expected, "{error}");
        }
    }
}
