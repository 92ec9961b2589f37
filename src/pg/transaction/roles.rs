//! The roles of a transaction, and the search_path of its statements.
//!
//! PostgreSQL resolves operators, functions and types without a schema by the search_path, and takes the best fit in
//! any schema of it. So a role that may create objects in one of these schemas could run code in the server's session
//! (compare CVE-2018-1058). Two rules prevent it: all SQL of the server names schemas, of operators as well, and
//! statements that touch no row of a user's table run with a path that has no schema of a user.
//!
//! The code of a table (triggers, defaults, policies, constraints) runs with the path of the session, in the role that
//! writes the table, and can change both. So both are set again after each statement that runs such code, and
//! PostgreSQL is asked for the role in force.

use tokio_postgres::{SimpleQueryMessage, SimpleQueryRow};

use super::leftovers;
use crate::error::{Error, ErrorKind, Result};
use crate::pg::sql;
use arrow_pgcopy::Ident;

/// The search_path of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::pg) enum Path {
    /// No schema of a user: for the server's own statements.
    Server,
    /// The session's own path: for statements that run the code of a table.
    Session,
    /// The session's own path after pg_catalog: for definitions with types as a client wrote them, so that `text` is
    /// always PostgreSQL's. Temporary types of the session come last.
    Definitions,
}

impl Path {
    /// Returns the statements that set it until the transaction ends.
    pub(in crate::pg) fn statement(self) -> &'static str {
        match self {
            // The code of a table may have changed the encoding as well, in which the ledger's ids and names are read.
            Self::Server => {
                "SET LOCAL search_path = pg_catalog, pg_temp; SET LOCAL client_encoding = 'UTF8'"
            }
            Self::Session => "SET LOCAL search_path TO DEFAULT",
            // PostgreSQL prints an empty path as nothing or as two quotes.
            Self::Definitions => {
                "SET LOCAL search_path TO DEFAULT; \
                 SELECT pg_catalog.set_config('search_path', pg_catalog.concat(pg_catalog.btrim(pg_catalog.concat( \
                 'pg_catalog, ', pg_catalog.current_setting('search_path')), ', '), ', pg_temp'), true)"
            }
        }
    }
}

/// The actor whose role runs a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Actor {
    /// The session's own role: the login, unless a setting of the login names another. It owns prepared transactions
    /// and the sessions of other servers.
    Session,
    /// The target's role, or else the session's. It owns the ledger and the staging tables.
    Ledger,
    /// The principal's role, or else the ledger's. It writes the target.
    Principal,
}

/// The roles of a transaction.
#[derive(Debug, Default)]
pub(super) struct Roles {
    session: Option<Ident>,
    ledger: Option<Ident>,
    pub(super) principal: Option<Ident>,
}

impl Roles {
    /// Sets the roles that are known once the transaction has begun.
    pub(super) fn set_login(&mut self, session: Ident, ledger: Ident) {
        self.session = Some(session);
        self.ledger = Some(ledger);
    }

    /// Returns the role of an actor.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`] before [`Roles::set_login`].
    pub(super) fn name(&self, actor: Actor) -> Result<&Ident> {
        let role = match actor {
            Actor::Session => self.session.as_ref(),
            Actor::Ledger => self.ledger.as_ref(),
            Actor::Principal => self.principal.as_ref().or(self.ledger.as_ref()),
        };
        role.ok_or_else(|| Error::internal("a transaction was used before it had begun"))
    }
}

/// The role and the path that a transaction has set.
#[derive(Debug, Clone, Copy)]
pub(super) struct State {
    pub(super) actor: Actor,
    pub(super) path: Path,
    /// Whether the role is still in force. Code of a table may have changed it.
    pub(super) is_certain: bool,
    /// Whether the role of a table's owner is in force instead of the actor's.
    pub(super) is_owner: bool,
    /// Whether triggers may be deferred to the end of the transaction.
    pub(super) is_deferred: bool,
    /// Whether the code of a table may have run.
    pub(super) has_written: bool,
}

impl State {
    /// The state after the statements of [`begin`].
    pub(super) const BEGUN: Self = Self {
        actor: Actor::Ledger,
        path: Path::Server,
        is_certain: true,
        is_owner: false,
        is_deferred: false,
        has_written: false,
    };
}

/// Returns the statements that begin a transaction in a target's role, or in the session's own. Their answers have the
/// roles in force and the access mode.
pub(super) fn begin(role: Option<&Ident>) -> String {
    let role = match role {
        Some(role) => format!("; {}; SELECT current_user", sql::set_role(role)),
        None => String::new(),
    };
    // With another default isolation level, a commit would not see the attempt that it waited for. The access mode is
    // left to PostgreSQL's settings: a DBA may have made a database read-only. The role is reset because another client
    // of a pooler may have left one in the session.
    format!(
        "BEGIN ISOLATION LEVEL READ COMMITTED; {}; SET LOCAL role TO DEFAULT; \
         SELECT current_user, pg_catalog.current_setting('transaction_read_only'), \
         pg_catalog.pg_is_in_recovery(), {}{role}",
        Path::Server.statement(),
        leftovers::reseed()
    )
}

/// Returns the rows among the answers to a batch of statements.
pub(in crate::pg) fn rows(answers: Vec<SimpleQueryMessage>) -> Vec<SimpleQueryRow> {
    let mut rows = Vec::new();
    for answer in answers {
        if let SimpleQueryMessage::Row(row) = answer {
            rows.push(row);
        }
    }
    rows
}

/// The error for a role that is not in force after it was set.
pub(super) fn not_in_force(role: &Ident, found: &str) -> Error {
    Error::permission_denied(format!(
        "PostgreSQL runs statements in the role {found:?}, and the server has set {role}"
    ))
    .with_hint("find out what changes the role: a connection pooler, or code in the database")
}

/// Explains an error of SET ROLE.
pub(super) fn may_not_act_as(role: &Ident, error: Error) -> Error {
    let sqlstate = error.context().sqlstate.as_deref().unwrap_or_default();
    let (message, hint) = match (error.kind(), sqlstate) {
        (ErrorKind::PermissionDenied, _) => (
            format!("the server's login is not a member of the configured role {role}"),
            format!("run GRANT {role} TO the server's login as a DBA"),
        ),
        // invalid_parameter_value
        (_, "22023") => (
            format!("the configured role {role} does not exist in PostgreSQL"),
            "create the role, or configure another".to_owned(),
        ),
        _ => return error,
    };
    Error::permission_denied(message)
        .with_hint(hint)
        .with_source(error)
}
