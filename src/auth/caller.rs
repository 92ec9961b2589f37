//! The caller of an RPC, and its permissions.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use super::mode::WriteMode;
use super::principal::{Grant, Limits, Principal};
use crate::error::{Error, Result};
use arrow_pgcopy::{Ident, QualifiedName};

/// Separates a principal from its write ids in the ledger.
const SEPARATOR: char = '/';

/// The caller of an RPC, at a target. Without configured principals every caller may do everything.
#[derive(Debug, Clone, Default)]
pub struct Caller {
    principal: Option<Arc<Principal>>,
    peer: Option<SocketAddr>,
    target: Arc<str>,
    is_default_target: bool,
}

impl Caller {
    /// Returns the caller for a principal.
    pub fn new(principal: Arc<Principal>) -> Self {
        Self {
            principal: Some(principal),
            ..Self::default()
        }
    }

    /// Returns the caller without a principal, for servers without principals and for the command line.
    pub fn anonymous() -> Self {
        Self::default()
    }

    /// Sets the address of the caller.
    pub fn from_peer(mut self, peer: Option<SocketAddr>) -> Self {
        self.peer = peer;
        self
    }

    /// Sets the target of the call. Grants that name no target apply to the default one.
    pub fn at(mut self, target: &str, is_default: bool) -> Self {
        self.target = target.into();
        self.is_default_target = is_default;
        self
    }

    /// Returns the principal's name.
    pub fn name(&self) -> Option<&str> {
        self.principal.as_ref().map(|principal| principal.name())
    }

    /// Returns the address of the caller.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// Returns the target of the call.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// Returns the database role that writes the rows.
    pub fn role(&self) -> Option<&Ident> {
        self.principal
            .as_ref()
            .and_then(|principal| principal.role.as_ref())
    }

    /// Returns the limits of the principal.
    pub fn limits(&self) -> Limits {
        self.principal
            .as_ref()
            .map_or_else(Limits::default, |principal| principal.limits)
    }

    /// Returns the ledger's id for a write of this caller. It begins with the principal, so principals share no ids.
    pub fn ledger_id(&self, write_id: &str) -> String {
        match self.name() {
            Some(name) => format!("{name}{SEPARATOR}{write_id}"),
            None => write_id.to_owned(),
        }
    }

    /// Returns the caller's id for a write in the ledger.
    pub fn write_id<'a>(&self, ledger_id: &'a str) -> &'a str {
        let own = self.name().and_then(|name| ledger_id.strip_prefix(name));
        own.and_then(|rest| rest.strip_prefix(SEPARATOR))
            .unwrap_or(ledger_id)
    }

    /// Whether a write that the ledger records for `principal` belongs to this caller.
    pub fn owns(&self, principal: Option<&str>) -> bool {
        self.principal.is_none() || principal == self.name()
    }

    /// Whether the caller has any permission at its target.
    pub fn may_use_target(&self) -> bool {
        self.principal.is_none() || self.grants().next().is_some()
    }

    /// Whether the caller has any permission for a table, and so may know that it exists.
    pub fn may_see(&self, table: &QualifiedName) -> bool {
        self.principal.is_none() || self.grants().any(|grant| grant.covers(table))
    }

    /// Checks the permission for a table, which need not exist.
    ///
    /// # Errors
    /// [`ErrorKind::PermissionDenied`](crate::error::ErrorKind::PermissionDenied), the same whether the table exists or
    /// not.
    pub fn check(&self, table: &QualifiedName, mode: WriteMode) -> Result<()> {
        if !self.may_see(table) {
            return Err(self.denied(table));
        }
        let may = |grant: &Grant| grant.covers(table) && grant.modes.contains(&mode);
        if self.principal.is_none() || self.grants().any(may) {
            return Ok(());
        }
        Err(self.denied_in_mode(mode).with_table(table))
    }

    /// Checks the permission to run a statement of the operator around the rows of a write to a table.
    ///
    /// # Errors
    /// [`ErrorKind::PermissionDenied`](crate::error::ErrorKind::PermissionDenied), the same whether the statement exists
    /// or not.
    pub fn check_statement(&self, table: &QualifiedName, statement: &str) -> Result<()> {
        let may = |grant: &Grant| grant.covers(table) && grant.allows(statement);
        if self.principal.is_none() || self.grants().any(may) {
            return Ok(());
        }
        Err(Error::permission_denied(format!(
            "principal {} may not run statement {statement:?} with the table",
            self.name().unwrap_or_default()
        ))
        .with_hint(
            "add the statement to the statements of a grant for the table in the server's configuration",
        )
        .with_table(table))
    }

    /// The grants that apply to its target.
    fn grants(&self) -> impl Iterator<Item = &Grant> {
        let grants = self
            .principal
            .iter()
            .flat_map(|principal| &principal.grants);
        grants.filter(|grant| grant.applies_to(&self.target, self.is_default_target))
    }

    /// Returns the error for a table that the caller may not know of. It is the same whether the table exists or
    /// not.
    pub fn denied(&self, table: impl fmt::Display) -> Error {
        self.permission_error("").with_table(table)
    }

    fn denied_in_mode(&self, mode: WriteMode) -> Error {
        self.permission_error(&format!(" in mode {mode}"))
    }

    fn permission_error(&self, mode: &str) -> Error {
        Error::permission_denied(format!(
            "principal {} may not write to the table{mode}",
            self.name().unwrap_or_default()
        ))
        .with_hint("add a grant for the table to the principal in the server's configuration")
    }
}
