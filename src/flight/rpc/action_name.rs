//! The names and descriptions of the actions.

use arrow_flight::ActionType;

use crate::error::{Error, Result};
use crate::flight::ingress::gate::MAX_HEADER_BYTES;
use crate::flight::sql::SqlAction;

/// An action, by its name on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ActionName {
    Info,
    Begin,
    Commit,
    Abort,
    Status,
    Plan,
    Heartbeat,
}

impl ActionName {
    const ALL: [Self; 7] = [
        Self::Info,
        Self::Begin,
        Self::Commit,
        Self::Abort,
        Self::Status,
        Self::Plan,
        Self::Heartbeat,
    ];

    /// Parses the name of an action.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`](crate::error::ErrorKind::Unsupported) for an unknown name.
    pub(crate) fn parse(name: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|action| action.as_str() == name);
        found.ok_or_else(|| {
            let known: Vec<&str> = Self::ALL.into_iter().map(Self::as_str).collect();
            Error::unsupported(format!("unknown action {name:?}"))
                .with_hint(format!("call one of {}", known.join(", ")))
        })
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Begin => "begin",
            Self::Commit => "commit",
            Self::Abort => "abort",
            Self::Status => "status",
            Self::Plan => "plan",
            Self::Heartbeat => "heartbeat",
        }
    }

    /// Rejects a body that is larger than the action needs.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidCommand`](crate::error::ErrorKind::InvalidCommand) with the limit.
    pub(crate) fn check_size(self, body: &[u8]) -> Result<()> {
        let limit = match self {
            // A receipt for each partition. Their number has a limit.
            Self::Commit => return Ok(()),
            // A spec, and a schema in base64, which makes it a third larger.
            Self::Begin | Self::Plan => 2 * MAX_HEADER_BYTES,
            Self::Info | Self::Abort | Self::Status | Self::Heartbeat => MAX_HEADER_BYTES,
        };
        if body.len() <= limit {
            return Ok(());
        }
        Err(Error::invalid_command(format!(
            "the body of {} has {} bytes, more than the limit of {limit}",
            self.as_str(),
            body.len()
        )))
    }

    fn description(self) -> &'static str {
        match self {
            Self::Info => "InfoRequest -> InfoResponse: version and limits of this server",
            Self::Begin => "BeginRequest -> WriteStatus: open a write of many partitions",
            Self::Commit => {
                "CommitRequest -> WriteStatus: publish the accepted attempts, all or nothing"
            }
            Self::Abort => "AbortRequest -> WriteStatus: end a write without publishing",
            Self::Status => "StatusRequest -> WriteStatus: the state of a write",
            Self::Plan => "PlanRequest -> PlanResponse: what a write would do, by column",
            Self::Heartbeat => "HeartbeatRequest -> HeartbeatResponse: the driver is alive",
        }
    }
}

/// Returns the answer to ListActions.
pub(crate) fn list() -> Vec<ActionType> {
    let own = ActionName::ALL.map(|action| (action.as_str(), action.description()));
    let of_sql = SqlAction::ALL.map(|action| (action.as_str(), action.description()));
    own.into_iter()
        .chain(of_sql)
        .map(|(name, description)| ActionType {
            r#type: name.to_owned(),
            description: description.to_owned(),
        })
        .collect()
}
