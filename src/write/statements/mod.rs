//! Statements around the rows: SQL of the operator, which a write names, in the transaction that publishes its rows.

mod control;

use std::collections::BTreeMap;
use std::sync::Arc;

use self::control::{first_word, is_rejected};
use crate::error::{Error, ErrorKind, Result};
use crate::pg::Transaction;
use crate::write::spec::WriteSpec;

/// The length limit of a statement's name, which stands in commands and messages.
const MAX_NAME: usize = 63;

/// The statements of a target, by name. A clone shares them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Statements(Arc<BTreeMap<String, String>>);

impl Statements {
    /// Creates the statements from their texts, by name.
    pub fn new(texts: BTreeMap<String, String>) -> Self {
        Self(Arc::new(texts))
    }

    /// Checks the name and the text of a statement of the configuration.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidCommand`](crate::error::ErrorKind::InvalidCommand) when the name is not valid, or when the
    /// statement could end the transaction of a write.
    pub fn check_text(name: &str, sql: &str) -> Result<()> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(is_plain) {
            return Err(
                Error::invalid_command(format!("statement {name:?} has an invalid name"))
                    .with_hint(format!(
                        "use 1 to {MAX_NAME} ASCII letters, digits, _ and -"
                    )),
            );
        }
        if sql.trim().is_empty() || sql.contains('\0') {
            return Err(
                Error::invalid_command(format!("statement {name} is empty or has a NUL"))
                    .with_hint("write one SQL statement"),
            );
        }
        let word = first_word(sql);
        if is_rejected(&word) {
            return Err(Error::invalid_command(format!(
                "statement {name} begins with {}, which cannot run within a write",
                word.to_uppercase()
            ))
            .with_hint("the server begins and ends the transaction: leave such statements out"));
        }
        Ok(())
    }

    /// Checks that the statements exist that a write names.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::error::ErrorKind::NotFound) for the first that does not.
    pub(crate) fn check(&self, spec: &WriteSpec) -> Result<()> {
        let mut names = spec.before.iter().chain(&spec.after);
        names.try_for_each(|name| self.text(name).map(drop))
    }

    fn text(&self, name: &str) -> Result<&str> {
        let text = self.0.get(name).map(String::as_str);
        text.ok_or_else(|| {
            Error::not_found(format!("the target has no statement {name:?}")).with_hint(
                "add it to the target's statements in the server's configuration, or name another",
            )
        })
    }

    /// Runs statements, one after the other, in the role that writes the target and with the path of the session.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::error::ErrorKind::NotFound) for a statement that does not exist; any error that
    /// PostgreSQL reports.
    pub(crate) async fn run(&self, transaction: &Transaction, names: &[String]) -> Result<()> {
        for name in names {
            let text = self.text(name)?;
            // An earlier statement may have changed the role.
            transaction.assume_role().await?;
            let done = transaction.execute_configured(text).await;
            done.map_err(|error| failed(name, error))?;
        }
        Ok(())
    }
}

/// Returns the error of a statement. Hints about rows would be about the client's, which are not to blame.
fn failed(name: &str, error: Error) -> Error {
    let has_own_hint = error.kind().is_retryable() || error.kind() == ErrorKind::PermissionDenied;
    let error = error.caused(format!("statement {name} failed"));
    match has_own_hint {
        true => error,
        false => error.with_hint(
            "look at the statement in the server's configuration, and at its error in PostgreSQL's log",
        ),
    }
}
