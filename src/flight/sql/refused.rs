//! What Flight SQL has and this server has not, by name.

use arrow_flight::sql::Command;

use super::command::name;
use crate::error::Error;

/// Returns the error for a command that a call does not serve.
pub(super) fn refused(command: &Command, call: &str) -> Error {
    let name = name(command);
    let hint = match name {
        "CommandPreparedStatementQuery" | "CommandPreparedStatementUpdate" => {
            "send rows with CommandStatementIngest (adbc_ingest)"
        }
        "CommandStatementSubstraitPlan" => "query with any PostgreSQL driver",
        _ => {
            "send rows with CommandStatementIngest (adbc_ingest), and query with any PostgreSQL driver"
        }
    };
    Error::unsupported(format!("{name} is not served by {call}")).with_hint(hint)
}
