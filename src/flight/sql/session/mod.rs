//! Sessions and transactions of clients.
//!
//! ADBC's Go driver names no transaction in an ingest, so its calls must say which session they belong to. The answer to
//! `BeginTransaction` and `SetSessionOptions` carries a token for that (`authorization`), which the driver takes over
//! for its later calls. The token says that a server keeps something for the session: a server that does not know it
//! rejects the call, instead of writing outside the transaction. Clients that name their transactions need no session.

pub(super) mod action;
mod arrival;
mod in_use;
mod messages;
mod registry;
mod transaction;

use std::sync::Arc;

use tokio_util::task::TaskTracker;

pub(crate) use arrival::Arrival;
pub(crate) use in_use::InUse;
pub(crate) use registry::{Names, Sessions};
pub(crate) use transaction::ClientTransaction;

use crate::auth::SessionClaim;
use crate::error::Result;
use crate::write::Targets;

/// The session of a call.
#[derive(Clone)]
pub(crate) struct CallSession {
    pub(crate) claim: SessionClaim,
    pub(crate) sessions: Sessions,
    /// The calls of the server. An open transaction counts as one.
    pub(crate) calls: TaskTracker,
}

impl CallSession {
    /// Finds the transaction of a command: the one that it names, or else the one of the session.
    ///
    /// # Errors
    /// The errors of [`Sessions::transaction`].
    pub(super) fn transaction(
        &self,
        targets: &Targets,
        id: Option<&[u8]>,
    ) -> Result<Option<Arc<ClientTransaction>>> {
        self.sessions.transaction(targets.caller(), &self.claim, id)
    }

    /// Takes the transaction of a command for it; `None` if it has none.
    ///
    /// # Errors
    /// The errors of [`CallSession::transaction`] and [`ClientTransaction::take`].
    pub(crate) async fn take(&self, targets: &Targets, id: Option<&[u8]>) -> Result<Option<InUse>> {
        Ok(match self.transaction(targets, id)? {
            Some(transaction) => Some(transaction.take().await?),
            None => None,
        })
    }

    /// Returns whether a command has a transaction, which has not ended. `id` is the one that it names.
    pub(super) fn is_open(&self, targets: &Targets, id: Option<&[u8]>) -> bool {
        let found = self.transaction(targets, id).ok().flatten();
        found.is_some_and(|transaction| !transaction.has_ended())
    }

    /// Returns whether the transaction of a command has work. `id` is the one that it names.
    ///
    /// # Errors
    /// The errors of [`CallSession::transaction`].
    pub(super) fn has_work_in(&self, targets: &Targets, id: Option<&[u8]>) -> Result<bool> {
        let found = self.transaction(targets, id)?;
        Ok(found.is_some_and(|transaction| transaction.has_work()))
    }

    /// Counts a call that may be an ingest in the transaction of its session; `None` if the session has none.
    pub(crate) fn arrive(&self, targets: &Targets) -> Option<Arrival> {
        let found = self.transaction(targets, None).ok().flatten();
        found.map(|transaction| transaction.arrive())
    }

    /// Returns the names of the session.
    ///
    /// # Errors
    /// The errors of [`Sessions::names`].
    pub(crate) fn names(&self, targets: &Targets) -> Result<Names> {
        self.sessions.names(targets.caller(), &self.claim)
    }

    /// Returns whether the session has a transaction with work, which a server that drains lets end.
    pub(crate) fn has_work(&self, targets: &Targets) -> bool {
        let found = self.transaction(targets, None);
        found.is_ok_and(|found| found.is_some_and(|transaction| transaction.has_work()))
    }

    /// Returns whether the client can learn a token for its session.
    pub(crate) fn is_possible(&self) -> bool {
        !self.claim.id.is_empty()
    }
}
