//! What Flight SQL has and this server has not, by name.

use arrow_flight::sql::Command;

use super::command::name;
use crate::error::Error;

/// What to do instead of a query.
const QUERY: &str =
    "send rows with CommandStatementIngest (adbc_ingest), and query with any PostgreSQL driver";

/// Returns the error for a command that a call does not serve.
pub(super) fn refused(command: &Command, call: &str) -> Error {
    let name = name(command);
    let hint = match name {
        "CommandStatementIngest" => "send it with DoPut",
        "CommandGetExportedKeys" | "CommandGetImportedKeys" | "CommandGetCrossReference" => {
            "read PostgreSQL's catalog with any PostgreSQL driver"
        }
        _ => QUERY,
    };
    Error::unsupported(format!("{name} is not served by {call}")).with_hint(hint)
}

/// Returns the error for an action of Flight SQL; `None` if the action is not one of it.
pub(crate) fn refused_action(action: &str) -> Option<Error> {
    let hint = match action {
        "BeginSavepoint" | "EndSavepoint" => "roll the whole transaction back, or use several",
        "CreatePreparedSubstraitPlan" => QUERY,
        "CancelQuery" | "CancelFlightInfo" => "cancel the call: an ingest is then rolled back",
        "RenewFlightEndpoint" => "get the flight info again: tickets do not expire",
        _ => return None,
    };
    let error = Error::unsupported(format!("{action} is not served"));
    Some(error.with_hint(hint).in_full())
}
