//! A problem in the configuration of principals.

use std::fmt;

use crate::error::Error;

/// A problem of one section. It displays as a line that begins with the section: `principals.etl: …`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The principal whose section has the problem; `None` for the section `auth.jwt`.
    pub principal: Option<String>,
    message: String,
    hint: Option<String>,
}

impl Problem {
    pub(in crate::auth) fn of_principal(name: &str, message: impl Into<String>) -> Self {
        Self {
            principal: Some(name.to_owned()),
            message: message.into(),
            hint: None,
        }
    }

    pub(in crate::auth) fn of_jwt(message: impl Into<String>) -> Self {
        Self {
            principal: None,
            message: message.into(),
            hint: None,
        }
    }

    pub(in crate::auth) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        let error = Self::invalid_command(problem.to_string());
        match problem.hint {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.principal {
            Some(name) => write!(f, "principals.{name}: {}", self.message),
            None => write!(f, "auth.jwt: {}", self.message),
        }
    }
}
