//! The actions of sessions and transactions: each takes its body, and returns that of its result, if it has one.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_flight::sql::{
    ActionBeginTransactionRequest, ActionBeginTransactionResult, ActionEndTransactionRequest,
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
use crate::flight::sql::command::{decode, unpack};
use crate::write::Targets;

/// The longest name of a catalog or schema that a session keeps.
const MAX_NAME_BYTES: usize = 256;

pub(in crate::flight::sql) fn begin(
    targets: &Targets,
    session: &CallSession,
    body: &[u8],
) -> Result<Bytes> {
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

pub(in crate::flight::sql) async fn end(
    targets: &Targets,
    session: &CallSession,
    body: &[u8],
) -> Result<()> {
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

pub(in crate::flight::sql) fn set(
    targets: &Targets,
    session: &CallSession,
    body: &[u8],
) -> Result<Bytes> {
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

pub(in crate::flight::sql) fn get(targets: &Targets, session: &CallSession) -> Result<Bytes> {
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

pub(in crate::flight::sql) async fn close(
    targets: &Targets,
    session: &CallSession,
) -> Result<Bytes> {
    let known = &session.sessions;
    if let Some(transaction) = known.close(targets.caller(), &session.claim)
        && transaction.has_work()
    {
        transaction.roll_back().await?;
    }
    let status = CloseStatus::Closed.into();
    Ok(CloseSessionResult { status }.encode_to_vec().into())
}
