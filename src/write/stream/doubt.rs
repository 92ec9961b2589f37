//! A COMMIT whose outcome is unknown.

use std::time::Duration;

use crate::error::Error;

/// Limit of the time that PostgreSQL is asked how a COMMIT ended. It covers a restart of PostgreSQL.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// Limit of the time for one answer, and the pause before the next query.
pub(crate) const ONE_ANSWER: Duration = Duration::from_secs(5);
pub(crate) const PAUSE: Duration = Duration::from_millis(500);

/// Wraps the error of a COMMIT whose outcome is unknown. It is not retryable: a retry could write the rows twice.
pub(crate) fn in_doubt(error: Error) -> Error {
    Error::internal(format!(
        "the connection to PostgreSQL broke during COMMIT, and PostgreSQL did not report its outcome for {}",
        humantime::format_duration(PATIENCE)
    ))
    .with_hint("look into the table before you write the rows again")
    .with_source(error)
}
