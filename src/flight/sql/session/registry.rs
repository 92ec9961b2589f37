//! What the server keeps between the calls of clients: their transactions, and the options of their sessions.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::transaction::ClientTransaction;
use crate::auth::{Caller, SessionClaim};
use crate::error::{Error, Result};

/// Time without a call after which a session is forgotten, and a transaction without work.
const MEMORY: Duration = Duration::from_secs(24 * 60 * 60);
/// Transactions and sessions of one principal. The oldest ones without work make room for new ones.
const MOST: usize = 1000;

/// The sessions and transactions of a server. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Sessions(Arc<Mutex<Known>>);

#[derive(Default)]
struct Known {
    sessions: HashMap<String, Session>,
    transactions: HashMap<String, Arc<ClientTransaction>>,
}

/// What a session keeps.
struct Session {
    principal: Option<String>,
    used: Instant,
    names: Names,
    transaction: Option<Arc<ClientTransaction>>,
}

/// The names that apply to a command without its own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Names {
    /// The name of the target; empty for the default.
    pub(crate) catalog: String,
    /// The schema; empty for the search_path.
    pub(crate) schema: String,
}

impl Names {
    /// Returns the target and the schema of a command that names `catalog` and `schema`. The schema of the session belongs
    /// to its catalog.
    pub(in crate::flight::sql) fn complete(
        &self,
        catalog: Option<String>,
        schema: Option<String>,
    ) -> (String, Option<String>) {
        let given = |name: Option<String>| name.filter(|name| !name.is_empty());
        let (catalog, schema) = (given(catalog), given(schema));
        let is_own = catalog
            .as_ref()
            .is_none_or(|catalog| *catalog == self.catalog);
        let own_schema = is_own.then(|| self.schema.clone());
        (
            catalog.unwrap_or_else(|| self.catalog.clone()),
            schema.or(given(own_schema)),
        )
    }
}

impl Sessions {
    /// Finds the transaction of a command: the one that it names, or else the one of its session.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::error::ErrorKind::NotFound) for an unknown id, and the errors of
    /// [`Sessions::names`].
    pub(super) fn transaction(
        &self,
        caller: &Caller,
        claim: &SessionClaim,
        id: Option<&[u8]>,
    ) -> Result<Option<Arc<ClientTransaction>>> {
        let mut known = self.known();
        let Some(id) = id else {
            let session = known.session(caller, claim)?;
            let found = session.and_then(|session| session.transaction.clone());
            return Ok(found.filter(|found| !found.has_ended()));
        };
        let id = String::from_utf8_lossy(id);
        let found = known.transactions.get(&*id);
        let found = found.filter(|found| found.belongs_to(caller));
        found.cloned().map(Some).ok_or_else(|| {
            Error::not_found("this server knows no such transaction").with_hint(
                "begin a new one: it ended long ago, or at another server, or the server was restarted",
            )
        })
    }

    /// Returns the names of the session of a call.
    ///
    /// # Errors
    /// [`ErrorKind::Unauthenticated`](crate::error::ErrorKind::Unauthenticated) when the server has lost the session.
    pub(super) fn names(&self, caller: &Caller, claim: &SessionClaim) -> Result<Names> {
        let mut known = self.known();
        let session = known.session(caller, claim)?;
        Ok(session.map_or_else(Names::default, |session| session.names.clone()))
    }

    /// Changes the names of the session of a call, and begins the session if need be.
    pub(super) fn set_names(
        &self,
        caller: &Caller,
        claim: &SessionClaim,
        change: impl FnOnce(&mut Names),
    ) -> Result<()> {
        let mut known = self.known();
        change(&mut known.open_session(caller, claim)?.names);
        Ok(())
    }

    /// Adds a transaction, and makes it that of its session, if the call has one.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`](crate::error::ErrorKind::Conflict) when the session has a transaction with work;
    /// otherwise as [`Sessions::names`].
    pub(super) fn add(
        &self,
        caller: &Caller,
        claim: &SessionClaim,
        transaction: Arc<ClientTransaction>,
    ) -> Result<()> {
        let mut known = self.known();
        if !claim.id.is_empty() {
            let session = known.open_session(caller, claim)?;
            if let Some(before) = &session.transaction
                && before.has_work()
            {
                return Err(
                    Error::conflict("the session has a transaction that has not ended")
                        .with_hint("commit it or roll it back first, or open another connection"),
                );
            }
            session.transaction = Some(Arc::clone(&transaction));
        }
        let id = transaction.id().to_owned();
        known.transactions.insert(id, transaction);
        known.forget(caller);
        Ok(())
    }

    /// Ends the session of a call. Returns its transaction.
    pub(super) fn close(
        &self,
        caller: &Caller,
        claim: &SessionClaim,
    ) -> Option<Arc<ClientTransaction>> {
        let mut known = self.known();
        known.session(caller, claim).ok().flatten()?;
        known.sessions.remove(&claim.id)?.transaction
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// Finds the session of a call; `None` if it has none.
    ///
    /// # Errors
    /// [`ErrorKind::Unauthenticated`](crate::error::ErrorKind::Unauthenticated) when the call's token says that a server
    /// keeps something for it, and this server does not.
    fn session(&mut self, caller: &Caller, claim: &SessionClaim) -> Result<Option<&mut Session>> {
        let session = self.sessions.get_mut(&claim.id);
        let found = session.filter(|session| session.principal.as_deref() == caller.name());
        match found {
            Some(session) => {
                session.used = Instant::now();
                Ok(Some(session))
            }
            None if claim.is_stateful => Err(Error::unauthenticated(
                "this server does not know the session of the connection any more",
            )
            .with_hint(
                "open a new connection: the session was closed, the server was restarted, or a load balancer sends \
                 the calls of one connection to several servers",
            )),
            None => Ok(None),
        }
    }

    fn open_session(&mut self, caller: &Caller, claim: &SessionClaim) -> Result<&mut Session> {
        self.session(caller, claim)?;
        let principal = caller.name().map(str::to_owned);
        let session = self.sessions.entry(claim.id.clone());
        Ok(session.or_insert_with(|| Session {
            principal,
            used: Instant::now(),
            names: Names::default(),
            transaction: None,
        }))
    }

    /// Forgets what was not used for long, and what is too much for one principal. A client that comes back gets an
    /// error.
    fn forget(&mut self, caller: &Caller) {
        let now = Instant::now();
        let has_work = |session: &Session| {
            let transaction = session.transaction.as_ref();
            transaction.is_some_and(|transaction| transaction.has_work())
        };
        let is_recent = |used: Instant| now.duration_since(used) < MEMORY;
        self.sessions
            .retain(|_, session| is_recent(session.used) || has_work(session));
        self.transactions
            .retain(|_, transaction| is_recent(transaction.used()) || transaction.has_work());

        let own = self.sessions.iter();
        let own = own.filter(|(_, session)| session.principal.as_deref() == caller.name());
        let idle = own.filter(|(_, session)| !has_work(session));
        let mut idle: Vec<_> = idle.map(|(id, found)| (found.used, id.clone())).collect();
        idle.sort_unstable();
        for (_, id) in idle.iter().rev().skip(MOST) {
            self.sessions.remove(id);
        }
        let own = self.transactions.values();
        let own = own.filter(|transaction| transaction.belongs_to(caller));
        let idle = own.filter(|transaction| !transaction.has_work());
        let mut idle: Vec<_> = idle
            .map(|found| (found.used(), found.id().to_owned()))
            .collect();
        idle.sort_unstable();
        for (_, id) in idle.iter().rev().skip(MOST) {
            self.transactions.remove(id);
        }
    }
}
