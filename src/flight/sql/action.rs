//! The actions of Flight SQL.

use arrow_flight::Action;
use bytes::Bytes;

use super::prepared;
use super::session::{CallSession, action as of_session};
use crate::error::{Error, Result};
use crate::flight::ingress::gate::MAX_HEADER_BYTES;
use crate::write::Targets;

/// An action of Flight SQL that is served, by its name on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SqlAction {
    BeginTransaction,
    EndTransaction,
    SetSessionOptions,
    GetSessionOptions,
    CloseSession,
    CreatePreparedStatement,
    ClosePreparedStatement,
}

impl SqlAction {
    /// All served actions.
    pub(crate) const ALL: [Self; 7] = [
        Self::BeginTransaction,
        Self::EndTransaction,
        Self::SetSessionOptions,
        Self::GetSessionOptions,
        Self::CloseSession,
        Self::CreatePreparedStatement,
        Self::ClosePreparedStatement,
    ];

    /// Parses the name of an action; `None` if it is another one.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.as_str() == name)
    }

    /// Returns its name.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::BeginTransaction => "BeginTransaction",
            Self::EndTransaction => "EndTransaction",
            Self::SetSessionOptions => "SetSessionOptions",
            Self::GetSessionOptions => "GetSessionOptions",
            Self::CloseSession => "CloseSession",
            Self::CreatePreparedStatement => "CreatePreparedStatement",
            Self::ClosePreparedStatement => "ClosePreparedStatement",
        }
    }

    /// Returns what ListActions says about it.
    pub(crate) fn description(self) -> &'static str {
        match self {
            Self::BeginTransaction => "Flight SQL: begin a transaction",
            Self::EndTransaction => "Flight SQL: commit a transaction or roll it back",
            Self::SetSessionOptions => "Flight SQL: set the catalog and the schema of the session",
            Self::GetSessionOptions => "Flight SQL: the catalog and the schema of the session",
            Self::CloseSession => "Flight SQL: end the session, and roll its transaction back",
            Self::CreatePreparedStatement => {
                "Flight SQL: prepare an INSERT whose rows come by DoPut"
            }
            Self::ClosePreparedStatement => "Flight SQL: forget a prepared INSERT",
        }
    }

    /// Returns whether the answer gives the client a token for its session.
    pub(crate) fn opens_session(self) -> bool {
        match self {
            Self::BeginTransaction | Self::SetSessionOptions => true,
            Self::EndTransaction
            | Self::GetSessionOptions
            | Self::CloseSession
            | Self::CreatePreparedStatement
            | Self::ClosePreparedStatement => false,
        }
    }
}

/// Runs an action, and returns the body of its result, if it has one.
///
/// # Errors
/// [`ErrorKind::InvalidCommand`](crate::error::ErrorKind::InvalidCommand) for a body that cannot be read, and any error
/// of the action.
pub(crate) async fn run(
    targets: &Targets,
    session: &CallSession,
    name: SqlAction,
    action: &Action,
) -> Result<Option<Bytes>> {
    if action.body.len() > MAX_HEADER_BYTES {
        return Err(Error::invalid_command(format!(
            "the body of {} is larger than {MAX_HEADER_BYTES} bytes",
            name.as_str()
        )));
    }
    let body = &action.body;
    match name {
        SqlAction::BeginTransaction => of_session::begin(targets, session, body).map(Some),
        SqlAction::EndTransaction => {
            let ended = of_session::end(targets, session, body).await;
            ended.map(|()| None)
        }
        SqlAction::SetSessionOptions => of_session::set(targets, session, body).map(Some),
        SqlAction::GetSessionOptions => of_session::get(targets, session).map(Some),
        SqlAction::CloseSession => of_session::close(targets, session).await.map(Some),
        // Boxed, since the future is large.
        SqlAction::CreatePreparedStatement => {
            let prepared = Box::pin(prepared::prepare(targets, session, body)).await;
            prepared.map(Some)
        }
        SqlAction::ClosePreparedStatement => prepared::close(body).map(|()| None),
    }
}
