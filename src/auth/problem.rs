//! What is wrong with a configuration of principals.

use std::fmt;

/// One thing that is wrong. Displays as a line that begins with its section: `principals.etl: …`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The principal whose section it is in; `None` for the section `auth.jwt`.
    pub principal: Option<String>,
    message: String,
}

impl Problem {
    pub(super) fn of_principal(name: &str, message: impl Into<String>) -> Self {
        Self {
            principal: Some(name.to_owned()),
            message: message.into(),
        }
    }

    pub(super) fn of_jwt(message: impl Into<String>) -> Self {
        Self {
            principal: None,
            message: message.into(),
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
