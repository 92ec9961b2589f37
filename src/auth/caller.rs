//! Who makes a call, as what, and what it may do.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use super::principal::{Grant, Limits, Principal, WriteMode};
use crate::error::{Error, Result};
use arrow_pgcopy::{Ident, QualifiedName};

/// Between a principal and its write ids, in the ledger.
const SEPARATOR: char = '/';

/// Who makes a call, and at which target. Everybody may do everything where no principals are configured.
#[derive(Debug, Clone, Default)]
pub struct Caller {
    principal: Option<Arc<Principal>>,
    peer: Option<SocketAddr>,
    target: Arc<str>,
    is_default_target: bool,
}

impl Caller {
    /// A principal.
    pub fn new(principal: Arc<Principal>) -> Self {
        Self {
            principal: Some(principal),
            ..Self::default()
        }
    }

    /// Whoever calls, where nobody is asked who it is; and whoever sits at the server's command line.
    pub fn anybody() -> Self {
        Self::default()
    }

    /// From this address.
    pub fn from_peer(mut self, peer: Option<SocketAddr>) -> Self {
        self.peer = peer;
        self
    }

    /// At this target, which may be the one that a grant means which names none.
    pub fn at(mut self, target: &str, is_default: bool) -> Self {
        self.target = target.into();
        self.is_default_target = is_default;
        self
    }

    /// The principal's name.
    pub fn name(&self) -> Option<&str> {
        self.principal.as_ref().map(|principal| principal.name())
    }

    /// Where the call came from.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// The target that the call is about.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// The role in which rows are written.
    pub fn role(&self) -> Option<&Ident> {
        self.principal
            .as_ref()
            .and_then(|principal| principal.role.as_ref())
    }

    /// What it may take of the server.
    pub fn limits(&self) -> Limits {
        self.principal
            .as_ref()
            .map_or_else(Limits::default, |principal| principal.limits)
    }

    /// The name that the ledger gives a write of this caller: each principal has its own, so that nobody
    /// meets, sees or takes another's.
    pub fn ledger_id(&self, write_id: &str) -> String {
        match self.name() {
            Some(name) => format!("{name}{SEPARATOR}{write_id}"),
            None => write_id.to_owned(),
        }
    }

    /// The name that this caller gave a write of the ledger.
    pub fn write_id<'a>(&self, ledger_id: &'a str) -> &'a str {
        let own = self.name().and_then(|name| ledger_id.strip_prefix(name));
        own.and_then(|rest| rest.strip_prefix(SEPARATOR))
            .unwrap_or(ledger_id)
    }

    /// Whether a write that the ledger says is of `principal` is this caller's.
    pub fn owns(&self, principal: Option<&str>) -> bool {
        self.principal.is_none() || principal == self.name()
    }

    /// Whether it may do anything at its target.
    pub fn may_use_target(&self) -> bool {
        self.principal.is_none() || self.grants().next().is_some()
    }

    /// Whether it may do anything with a table, and so know of it.
    pub fn may_see(&self, table: &QualifiedName) -> bool {
        self.principal.is_none() || self.grants().any(|grant| grant.covers(table))
    }

    /// Checks that it may do this with a table, which need not be there.
    ///
    /// # Errors
    /// [`ErrorKind::PermissionDenied`](crate::error::ErrorKind::PermissionDenied), which is the same
    /// whether there is such a table or not.
    pub fn check(&self, table: &QualifiedName, mode: WriteMode) -> Result<()> {
        if !self.may_see(table) {
            return Err(self.denied(table));
        }
        let may = |grant: &Grant| grant.covers(table) && grant.modes.contains(&mode);
        if self.principal.is_none() || self.grants().any(may) {
            return Ok(());
        }
        Err(self
            .denied(format!("{table} in mode {mode}"))
            .with_table(table))
    }

    /// The grants that hold at its target.
    fn grants(&self) -> impl Iterator<Item = &Grant> {
        let grants = self
            .principal
            .iter()
            .flat_map(|principal| &principal.grants);
        grants.filter(|grant| grant.holds_at(&self.target, self.is_default_target))
    }

    /// What is said of a table that the caller may not know of.
    pub fn denied(&self, table: impl fmt::Display) -> Error {
        Error::permission_denied(format!(
            "principal {} may not write {table}; a grant in the server's configuration would let it",
            self.name().unwrap_or_default()
        ))
    }
}
