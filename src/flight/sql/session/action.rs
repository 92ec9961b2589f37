//! The actions of sessions and transactions.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_flight::Action;
use arrow_flight::sql::{
    ActionBeginTransactionRequest, ActionBeginTransactionResult, ActionEndTransactionRequest, Any,
    EndTransaction, ProstMessageExt,
};
use bytes::Bytes;
use prost::Message;

use super::CallSession;
use super::messages::{
    CloseSessionResult, CloseStatus, OptionError, OptionErrorValue, OptionValue,
    SessionOptionValue, SessionOptions, SetSessionOptionsResult,
};
use super::registry::Names;
use super::transaction::ClientTransaction;
use crate::error::{Error, Result};
use crate::flight::ingress::gate::MAX_HEADER_BYTES;
use crate::write::Targets;

/// The longest name of a catalog or schema that a session keeps.
const MAX_NAME_BYTES: usize = 256;

/// An action of Flight SQL that is served, by its name on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SqlAction {
    BeginTransaction,
    EndTransaction,
    SetSessionOptions,
    GetSessionOptions,
    CloseSession,
}

impl SqlAction {
    /// All served actions.
    pub(crate) const ALL: [Self; 5] = [
        Self::BeginTransaction,
        Self::EndTransaction,
        Self::SetSessionOptions,
        Self::GetSessionOptions,
        Self::CloseSession,
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
        }
    }

    /// Returns whether the answer gives the client a token for its session.
    pub(crate) fn opens_session(self) -> bool {
        match self {
            Self::BeginTransaction | Self::SetSessionOptions => true,
            Self::EndTransaction | Self::GetSessionOptions | Self::CloseSession => false,
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
    match name {
        SqlAction::BeginTransaction => begin(targets, session, &action.body).map(Some),
        SqlAction::EndTransaction => end(targets, session, &action.body).await.map(|()| None),
        SqlAction::SetSessionOptions => set(targets, session, &action.body).map(Some),
        SqlAction::GetSessionOptions => get(targets, session).map(Some),
        SqlAction::CloseSession => close(targets, session).await.map(Some),
    }
}

fn begin(targets: &Targets, session: &CallSession, body: &[u8]) -> Result<Bytes> {
    let ActionBeginTransactionRequest {} = unpack(body)?;
    let caller = targets.caller();
    // A caller without a grant gets its error now.
    if targets.iter().next().is_none() {
        targets.find("")?;
    }
    let transaction = ClientTransaction::new(caller, session.calls.clone());
    let transaction_id = Bytes::from(transaction.id().to_owned());
    let known = &session.sessions;
    known.add(caller, &session.claim, Arc::new(transaction))?;
    let result = ActionBeginTransactionResult { transaction_id };
    Ok(result.as_any().encode_to_vec().into())
}

async fn end(targets: &Targets, session: &CallSession, body: &[u8]) -> Result<()> {
    let request: ActionEndTransactionRequest = unpack(body)?;
    let commit = match EndTransaction::try_from(request.action) {
        Ok(EndTransaction::Commit) => true,
        Ok(EndTransaction::Rollback) => false,
        Ok(EndTransaction::Unspecified) | Err(_) => {
            return Err(Error::invalid_command(
                "the end of a transaction says neither commit nor rollback",
            )
            .with_hint("set the action to END_TRANSACTION_COMMIT or END_TRANSACTION_ROLLBACK"));
        }
    };
    match session.transaction(targets, Some(&request.transaction_id))? {
        Some(transaction) if commit => transaction.commit(targets.clone()).await,
        Some(transaction) => transaction.roll_back().await,
        None => Ok(()),
    }
}

fn set(targets: &Targets, session: &CallSession, body: &[u8]) -> Result<Bytes> {
    if session.claim.id.is_empty() {
        return Err(Error::unsupported("callers with a JWT or a certificate have no sessions")
            .with_hint(
                "name catalog and schema in each ingest, as catalog_name and db_schema_name of adbc_ingest",
            ));
    }
    let request: SessionOptions = decode(body)?;
    let mut errors = HashMap::new();
    let mut change = None::<Names>;
    let before = session.names(targets)?;
    for (name, value) in request.session_options {
        let problem = match (name.as_str(), value.option_value) {
            ("catalog" | "schema", Some(value)) => match value {
                OptionValue::Text(value) if value.len() > MAX_NAME_BYTES => {
                    Some(OptionErrorValue::InvalidValue)
                }
                OptionValue::Text(value) if name == "catalog" => {
                    let is_known = value.is_empty() || targets.find(&value).is_ok();
                    let names = change.get_or_insert_with(|| before.clone());
                    names.catalog = value;
                    (!is_known).then_some(OptionErrorValue::InvalidValue)
                }
                OptionValue::Text(value) => {
                    let names = change.get_or_insert_with(|| before.clone());
                    names.schema = value;
                    None
                }
                OptionValue::Bool(_)
                | OptionValue::Int64(_)
                | OptionValue::Double(_)
                | OptionValue::Texts(_) => Some(OptionErrorValue::InvalidValue),
            },
            ("catalog", None) => {
                change.get_or_insert_with(|| before.clone()).catalog = String::new();
                None
            }
            ("schema", None) => {
                change.get_or_insert_with(|| before.clone()).schema = String::new();
                None
            }
            _ => Some(OptionErrorValue::InvalidName),
        };
        if let Some(problem) = problem {
            let value = problem.into();
            errors.insert(name, OptionError { value });
        }
    }
    // All or none: a half-set session would send rows somewhere else.
    if let (Some(change), true) = (change, errors.is_empty()) {
        session
            .sessions
            .set_names(targets.caller(), &session.claim, |names| *names = change)?;
    }
    Ok(SetSessionOptionsResult { errors }.encode_to_vec().into())
}

fn get(targets: &Targets, session: &CallSession) -> Result<Bytes> {
    let Names { catalog, schema } = session.names(targets)?;
    let text = |text: String| SessionOptionValue {
        option_value: Some(OptionValue::Text(text)),
    };
    let mut session_options = HashMap::new();
    if let Ok((target, _)) = targets.find(&catalog) {
        session_options.insert("catalog".to_owned(), text(target.to_owned()));
    }
    if !schema.is_empty() {
        session_options.insert("schema".to_owned(), text(schema));
    }
    Ok(SessionOptions { session_options }.encode_to_vec().into())
}

async fn close(targets: &Targets, session: &CallSession) -> Result<Bytes> {
    let known = &session.sessions;
    if let Some(transaction) = known.close(targets.caller(), &session.claim)
        && transaction.has_work()
    {
        transaction.roll_back().await?;
    }
    let status = CloseStatus::Closed.into();
    Ok(CloseSessionResult { status }.encode_to_vec().into())
}

fn unpack<T: ProstMessageExt + Default>(body: &[u8]) -> Result<T> {
    let any: Any = decode(body)?;
    match any.unpack() {
        Ok(Some(message)) => Ok(message),
        Ok(None) | Err(_) => Err(unreadable()),
    }
}

fn decode<T: Message + Default>(body: &[u8]) -> Result<T> {
    T::decode(body).map_err(|error| unreadable().with_source(error))
}

fn unreadable() -> Error {
    Error::invalid_command("cannot read the body of the action")
}
