//! The databases that one server writes to, by name.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::auth::Caller;
use crate::error::{Error, Result};
use crate::write::writer::Writer;

/// Finds the writer of a target.
#[derive(Clone)]
pub struct Targets {
    writers: Arc<BTreeMap<String, Writer>>,
    default: Option<String>,
    caller: Caller,
}

impl Targets {
    /// Creates the targets from their writers, by name. `default` names the target of a command without one.
    pub fn new(writers: BTreeMap<String, Writer>, default: Option<String>) -> Self {
        Self {
            writers: Arc::new(writers),
            default,
            caller: Caller::anonymous(),
        }
    }

    /// Returns the targets for a caller. It sees only those that it may use, and their writers act on its behalf.
    pub fn on_behalf_of(&self, caller: Caller) -> Self {
        let (writers, default) = (Arc::clone(&self.writers), self.default.clone());
        Self {
            writers,
            default,
            caller,
        }
    }

    /// Returns the caller that the targets are for.
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Returns the target that a command names as `target`, and its writer. An empty `target` means the default.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::error::ErrorKind::NotFound) when there is no target of that name,
    /// [`ErrorKind::InvalidCommand`](crate::error::ErrorKind::InvalidCommand) when there is no default: both list the
    /// targets; [`ErrorKind::PermissionDenied`](crate::error::ErrorKind::PermissionDenied) when the caller may not use
    /// any target.
    pub fn find(&self, target: &str) -> Result<(&str, Writer)> {
        let name = match (target, &self.default) {
            ("", Some(default)) => default,
            ("", None) => {
                return Err(Error::invalid_command(
                    "the command names no target, and this server has no default",
                )
                .with_hint(format!("name one of {}", self.names())));
            }
            (name, _) => name,
        };
        let found = self.iter().find(|(found, _)| *found == name);
        found.ok_or_else(|| match self.iter().next() {
            Some(_) => Error::not_found(format!("this server has no target {name:?}"))
                .with_hint(format!("name one of {}", self.names())),
            None => Error::permission_denied(format!(
                "principal {} may not write to any target",
                self.caller.name().unwrap_or_default()
            ))
            .with_hint("add a grant to the server's configuration"),
        })
    }

    /// Returns the targets that the caller may use, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Writer)> {
        self.writers.iter().filter_map(|(name, writer)| {
            let is_default = self.default.as_ref() == Some(name);
            let caller = self.caller.clone().at(name, is_default);
            caller
                .may_use_target()
                .then(|| (name.as_str(), writer.on_behalf_of(caller)))
        })
    }

    /// Returns whether there is only one target. Requests then need not name it.
    pub fn is_alone(&self) -> bool {
        self.writers.len() == 1
    }

    fn names(&self) -> String {
        let names: Vec<&str> = self.iter().map(|(name, _)| name).collect();
        names.join(", ")
    }
}
