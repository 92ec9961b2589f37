//! What to do about an error of PostgreSQL.

use super::redact::{Origin, hides_name, is_of_postgresql};
use super::server_error::{Grantee, PROTOCOL_VIOLATION, ServerError};
use arrow_pgcopy::Ident;

/// `query_canceled`, `transaction_timeout` and `lock_not_available` (PostgreSQL manual, appendix A).
pub(in crate::pg) const QUERY_CANCELED: &str = "57014";
pub(super) const TRANSACTION_TIMEOUT: &str = "25P04";
pub(crate) const LOCK_NOT_AVAILABLE: &str = "55P03";

/// Returns whether `statement_timeout` or `transaction_timeout` of the login ended the statement: a retry takes as long.
/// PostgreSQL has one SQLSTATE for that timeout and for a cancellation by another session. In other languages than
/// English it counts as the latter.
pub(super) fn is_timeout_of_login(error: &ServerError) -> bool {
    error.sqlstate == TRANSACTION_TIMEOUT
        || error.sqlstate == QUERY_CANCELED && error.message.contains("statement timeout")
}

/// Returns whether a row does not fit into a page. PostgreSQL then has read up to 1,000 further rows (copyfrom.c), so
/// that the place in its context is another row's.
pub(super) fn is_row_too_big(error: &ServerError) -> bool {
    error.sqlstate == "54000" && error.message.starts_with("row is too big")
}

/// Returns whether code of the table raised it with a SQLSTATE of its own choice. Such code may also report errors of
/// PostgreSQL, except those of class XX, which are bugs.
pub(super) fn is_of_code(error: &ServerError, origin: Origin) -> bool {
    // PostgreSQL's own errors of class 23 name the table.
    let is_own =
        error.sqlstate.len() == 5 && !is_of_postgresql(&error.sqlstate) && error.table.is_none();
    is_own || origin == Origin::Code && !error.sqlstate.starts_with("XX")
}

/// Returns whether a type could not read a value: the types of extensions report that as an internal error. PostgreSQL
/// calls a type for a column of a COPY. For a cast only the source file says so, which in PostGIS is `lwgeom_pg.c`.
pub(super) fn is_of_type(error: &ServerError, origin: Origin) -> bool {
    let is_of_postgis = error
        .file
        .as_deref()
        .is_some_and(|file| file.starts_with("lwgeom"));
    let is_in_column = matches!(error.copied_place(), Some((_, Some(_))));
    let is_about_rows = origin != Origin::Statement;
    error.sqlstate == "XX000" && is_about_rows && (is_of_postgis || is_in_column)
}

/// Returns what to do, by the SQLSTATE.
pub(super) fn hint(error: &ServerError, origin: Origin) -> Option<String> {
    let hint = match error.sqlstate.as_str() {
        LOCK_NOT_AVAILABLE => {
            "end the transaction that holds the lock; streams and commits wait for it for --lock-timeout"
        }
        TRANSACTION_TIMEOUT => "raise transaction_timeout of the server's login",
        QUERY_CANCELED if is_timeout_of_login(error) => {
            "raise statement_timeout of the server's login: it limits a COPY too, which takes as long as its stream"
        }
        QUERY_CANCELED => "try again: another session, or a timeout, cancelled the statement",
        PROTOCOL_VIOLATION if error.is_fatal => {
            "look at the limits and timeouts of the pooler that reports this, and try again"
        }
        "54000" if is_row_too_big(error) => {
            "write fewer columns: PostgreSQL keeps each row in a page of 8 KiB, except for long texts and bytes"
        }
        NO_PREREQUISITE if lacks_replica_identity(error) => {
            "give the table a REPLICA IDENTITY, or take its updates and deletes out of the publication"
        }
        sqlstate if hides_name(sqlstate, &error.message, origin) => {
            "look for the name in PostgreSQL's log"
        }
        "22P05" => "replace such characters before writing, or write to a database in UTF8",
        "23502" => "fill or filter the NULLs before writing",
        _ => {
            let of_code = "a trigger, a default or a check of the table raised it";
            let own = error.hint.clone();
            return own.or_else(|| is_of_code(error, origin).then(|| of_code.to_owned()));
        }
    };
    Some(hint.to_owned())
}

/// `object_not_in_prerequisite_state`.
pub(super) const NO_PREREQUISITE: &str = "55000";

/// Returns whether a table that is published lacks what identifies its rows (execReplication.c).
fn lacks_replica_identity(error: &ServerError) -> bool {
    error.message.contains("replica identity")
}

/// Returns the GRANT that a statement needs, where PostgreSQL's message says which object lacks it.
pub(super) fn missing_grant(
    error: &ServerError,
    origin: Origin,
    grantee: Grantee<'_>,
) -> Option<String> {
    if error.sqlstate != "42501" || hides_name(&error.sqlstate, &error.message, origin) {
        return None;
    }
    let denied = error.message.strip_prefix("permission denied for ")?;
    let (kind, name) = denied.split_once(' ')?;
    let (privilege, kind) = match kind {
        "schema" if grantee.defines => ("USAGE, CREATE", "SCHEMA"),
        "schema" => ("USAGE", "SCHEMA"),
        "sequence" => ("USAGE", "SEQUENCE"),
        _ => return None,
    };
    let name = Ident::new(name.to_owned()).ok()?;
    Some(format!(
        "GRANT {privilege} ON {kind} {name} TO {};",
        grantee.role
    ))
}
