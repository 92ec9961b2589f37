//! The databases that one server writes to, by name.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::writer::Writer;
use crate::error::{Error, Result};

/// Finds the writer of a target.
#[derive(Clone)]
pub struct Targets {
    writers: Arc<BTreeMap<String, Writer>>,
    default: Option<String>,
}

impl Targets {
    /// Of these writers, by name; `default` is the one of a command that names none.
    pub fn new(writers: BTreeMap<String, Writer>, default: Option<String>) -> Self {
        Self {
            writers: Arc::new(writers),
            default,
        }
    }

    /// The name that a command means by `target`, which is empty where it names none, and its writer.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::error::ErrorKind::NotFound) when there is none of that name,
    /// [`ErrorKind::InvalidCommand`](crate::error::ErrorKind::InvalidCommand) when there is no default;
    /// both name those that there are.
    pub fn find(&self, target: &str) -> Result<(&str, &Writer)> {
        let name = match (target, &self.default) {
            ("", Some(default)) => default,
            ("", None) => {
                return Err(Error::invalid_command(format!(
                    "the command names no target, and this server has no default; name one of {}",
                    self.names()
                )));
            }
            (name, _) => name,
        };
        let found = self.writers.get_key_value(name);
        found
            .map(|(name, writer)| (name.as_str(), writer))
            .ok_or_else(|| {
                Error::not_found(format!(
                    "this server has no target {name:?}; it has {}",
                    self.names()
                ))
            })
    }

    /// All of them, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Writer)> {
        self.writers
            .iter()
            .map(|(name, writer)| (name.as_str(), writer))
    }

    /// Whether there is but one, so that nobody needs its name.
    pub fn is_alone(&self) -> bool {
        self.writers.len() == 1
    }

    fn names(&self) -> String {
        let names: Vec<&str> = self.writers.keys().map(String::as_str).collect();
        names.join(", ")
    }
}
