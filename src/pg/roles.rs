//! Whose rights a transaction has, and where PostgreSQL looks for names that have no schema.
//!
//! PostgreSQL finds operators, functions and types without a schema by the search_path, and takes the one that
//! fits best in any schema of it. So a role that may create in one of them could have code run in the server's
//! session (compare CVE-2018-1058). Two rules keep it out: all SQL of this server names schemas, of operators as
//! well, and statements that touch no row of a user's table run with a path that has no schema of a user.
//!
//! Code that hangs on a table (triggers, defaults, policies, constraints) runs with the path of the session and
//! in the role that writes the table, and can change both. So both are set again after each statement that runs
//! such code, and PostgreSQL is asked for the role that is in force.

use futures_util::StreamExt;
use futures_util::future::join;
use tokio_postgres::{SimpleQueryMessage, SimpleQueryRow};

use super::access::Access;
use super::parameter::Parameter;
use super::sql;
use super::sqlstate::About;
use super::transaction::Transaction;
use crate::error::{Error, ErrorKind, Result};
use crate::plan::{Ident, QualifiedName};

/// Where PostgreSQL looks for names without a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Path {
    /// In no schema of a user: for the server's own statements.
    Server,
    /// Where the session would look by itself: for statements that run the code of a table.
    Session,
    /// As [`Path::Session`], after PostgreSQL's own: for definitions that name types as a caller wrote them, so
    /// that `text` is PostgreSQL's, whatever the path says. Temporary types of the session come last.
    Definitions,
}

impl Path {
    /// The statements that set it until the transaction ends.
    pub(super) fn statement(self) -> &'static str {
        match self {
            Self::Server => "SET LOCAL search_path = pg_catalog, pg_temp",
            Self::Session => "SET LOCAL search_path TO DEFAULT",
            // An empty path is printed as nothing or as two quotes.
            Self::Definitions => {
                "SET LOCAL search_path TO DEFAULT; \
                 SELECT pg_catalog.set_config('search_path', pg_catalog.concat(pg_catalog.btrim(pg_catalog.concat( \
                 'pg_catalog, ', pg_catalog.current_setting('search_path')), ', '), ', pg_temp'), true)"
            }
        }
    }
}

/// In whose role statements run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Actor {
    /// The session's own role: the login, unless a setting of the login names another. Prepared transactions
    /// and sessions of other servers are its own.
    Session,
    /// The target's role, else the session's: the ledger and the staging tables are its own.
    Ledger,
    /// The principal's role, else the ledger's: it writes the target.
    Principal,
}

/// The roles of a transaction.
#[derive(Debug, Default)]
pub(super) struct Roles {
    session: Option<Ident>,
    ledger: Option<Ident>,
    principal: Option<Ident>,
}

impl Roles {
    fn name(&self, actor: Actor) -> Result<&Ident> {
        let role = match actor {
            Actor::Session => self.session.as_ref(),
            Actor::Ledger => self.ledger.as_ref(),
            Actor::Principal => self.principal.as_ref().or(self.ledger.as_ref()),
        };
        role.ok_or_else(|| Error::internal("a transaction was used before it had begun"))
    }
}

/// What a transaction has set, and whether code of others may have changed it since.
#[derive(Debug, Clone, Copy)]
pub(super) struct Standing {
    actor: Actor,
    path: Path,
    is_certain: bool,
    /// Whether triggers may wait for the end of the transaction.
    is_deferred: bool,
    /// Whether the code of a table may have run.
    pub(super) has_written: bool,
}

impl Standing {
    /// After the statements of [`begin`].
    pub(super) const BEGUN: Self = Self {
        actor: Actor::Ledger,
        path: Path::Server,
        is_certain: true,
        is_deferred: false,
        has_written: false,
    };
}

/// The statements that begin a transaction in a target's role, or in the session's own. What they answer is for
/// [`Transaction::take_roles`].
///
/// The access mode is left to PostgreSQL's settings: a DBA may have made a database read-only.
pub(super) fn begin(role: Option<&Ident>) -> String {
    let role = match role {
        Some(role) => format!("; {}; SELECT current_user", sql::set_role(role)),
        None => String::new(),
    };
    // A role that another client of a pooler left in the session would be the role of this transaction.
    format!(
        "BEGIN ISOLATION LEVEL READ COMMITTED; {}; SET LOCAL role TO DEFAULT; \
         SELECT current_user, pg_catalog.current_setting('transaction_read_only'), \
         pg_catalog.pg_is_in_recovery(){role}",
        Path::Server.statement()
    )
}

/// The rows among the answers to a batch of statements.
pub(super) fn rows(answers: Vec<SimpleQueryMessage>) -> Vec<SimpleQueryRow> {
    let mut rows = Vec::new();
    for answer in answers {
        if let SimpleQueryMessage::Row(row) = answer {
            rows.push(row);
        }
    }
    rows
}

impl Transaction {
    /// Takes from the answers to [`begin`] in whose role the transaction is, and whether it may write.
    ///
    /// # Errors
    /// [`ErrorKind::PermissionDenied`] when the role is not the one that was asked for.
    pub(super) fn take_roles(
        &mut self,
        answers: &[SimpleQueryRow],
        role: Option<&Ident>,
    ) -> Result<()> {
        let name = |row: &SimpleQueryRow| Ident::new(row.get(0).unwrap_or_default());
        let (Some(first), Some(last)) = (answers.first(), answers.last()) else {
            return Err(Error::internal(
                "PostgreSQL did not say in whose role it is",
            ));
        };
        self.roles.session = Some(name(first)?);
        self.roles.ledger = Some(name(last)?);
        self.access = Access::told(first.get(1), first.get(2));
        match (role, &self.roles.ledger) {
            (Some(role), Some(found)) if role != found => Err(not_in_force(role, found.as_str())),
            _ => Ok(()),
        }
    }

    /// Gives the transaction a role for what it does to the target; see [`Transaction::assume_role`].
    pub fn with_role(mut self, role: Option<&Ident>) -> Self {
        self.roles.principal = role.cloned();
        self
    }

    /// The role of the principal, if it is not the ledger's.
    pub fn role(&self) -> Option<&Ident> {
        self.roles.principal.as_ref()
    }

    /// Runs the statements that follow in the role that writes the target: the principal's, else the ledger's.
    ///
    /// # Errors
    /// [`ErrorKind::PermissionDenied`] when the login is no member of it, or when PostgreSQL says that another role
    /// is in force; else what PostgreSQL said.
    pub async fn assume_role(&self) -> Result<()> {
        self.act_as(Actor::Principal).await
    }

    /// Runs the statements that follow in the role that owns the ledger: the target's, else the session's own.
    /// Triggers that were deferred to the end of the transaction run before that, in the role that wrote the rows.
    ///
    /// # Errors
    /// What a deferred trigger or constraint has against the rows; else as [`Transaction::assume_role`].
    pub async fn resume_own_role(&self) -> Result<()> {
        self.act_as(Actor::Ledger).await
    }

    /// The statements after which a COMMIT runs in the role that wrote the rows: PostgreSQL carries out the query of a
    /// cursor WITH HOLD then, and what a deferred trigger has deferred again. None where that role is in force.
    pub(super) fn before_commit(&self) -> Result<Option<String>> {
        let now = self.standing();
        let writer = self.roles.name(Actor::Principal)?;
        let is_in_force = now.is_certain && self.roles.name(now.actor)? == writer;
        Ok((now.has_written && !is_in_force)
            .then(|| format!("{}; {}", sql::set_role(writer), Path::Session.statement())))
    }

    /// Runs the statements that follow in the session's own role: PostgreSQL lets the role that prepared a
    /// transaction end it, and that is the role of a session without a transaction.
    ///
    /// # Errors
    /// As [`Transaction::resume_own_role`].
    pub(super) async fn resume_session_role(&self) -> Result<()> {
        self.act_as(Actor::Session).await
    }

    /// Runs the statements that follow in the role that owns a table, unless its rights are had already or the login
    /// is no member of it.
    ///
    /// # Errors
    /// As [`Transaction::assume_role`].
    pub(super) async fn act_as_owner(&self, table: &QualifiedName) -> Result<()> {
        let parameters: [&dyn Parameter; 2] = [&table.schema.as_str(), &table.name.as_str()];
        let Some(row) = self.query_opt(OWNER, &parameters).await? else {
            return Ok(());
        };
        self.set_role(None, &Ident::new(row.get::<_, String>(0))?)
            .await?;
        self.stand(Standing {
            is_certain: false,
            has_written: self.standing().has_written,
            ..Standing::BEGUN
        });
        Ok(())
    }

    /// The session's own role.
    ///
    /// # Errors
    /// None in practice: a transaction that has begun has one.
    pub(super) fn session_role(&self) -> Result<&Ident> {
        self.roles.name(Actor::Session)
    }

    async fn act_as(&self, actor: Actor) -> Result<()> {
        let (now, role) = (self.standing(), self.roles.name(actor)?);
        // What is deferred to COMMIT would run in the role and with the path of that moment.
        let is_due = now.is_deferred && actor != Actor::Principal;
        if now.is_certain && !is_due && self.roles.name(now.actor)? == role {
            self.stand(Standing { actor, ..now });
            return Ok(());
        }
        let writer = match is_due {
            true => Some(self.roles.name(now.actor)?),
            false => None,
        };
        self.set_role(writer, role).await?;
        self.stand(Standing {
            actor,
            is_deferred: now.is_deferred && !is_due,
            has_written: now.has_written,
            ..Standing::BEGUN
        });
        Ok(())
    }

    /// Sets a role and the server's path, and asks which role is in force; before that, has what is deferred run in
    /// the role that wrote the rows, if one is given.
    async fn set_role(&self, writer: Option<&Ident>, role: &Ident) -> Result<()> {
        let deferred = match writer {
            Some(writer) => format!(
                "{}; {}; SET CONSTRAINTS ALL IMMEDIATE; ",
                sql::set_role(writer),
                Path::Session.statement()
            ),
            None => String::new(),
        };
        let statements = format!(
            "{deferred}{}; {}; SELECT current_user",
            sql::set_role(role),
            Path::Server.statement()
        );
        let connection = self.connection()?;
        let mut found = None;
        // The first statement sets a role in any case.
        let mut is_first = true;
        let mut answers = std::pin::pin!(
            (connection.client().simple_query_raw(&statements).await)
                .map_err(|error| connection.explain(&error, About::Statement))?
        );
        while let Some(answer) = answers.next().await {
            match answer {
                Ok(SimpleQueryMessage::Row(row)) => found = row.get(0).map(str::to_owned),
                Ok(_) => is_first = false,
                Err(error) if is_first => {
                    return Err(may_not_act_as(
                        writer.unwrap_or(role),
                        connection.explain(&error, About::Statement),
                    ));
                }
                // What is deferred runs the code of a table.
                Err(error) => return Err(connection.explain(&error, About::Rows)),
            }
        }
        match found {
            Some(found) if found == role.as_str() => Ok(()),
            found => Err(not_in_force(role, &found.unwrap_or_default())),
        }
    }

    /// Carries out a statement with this path, which is set in the same round trip where it is not yet.
    ///
    /// # Errors
    /// What PostgreSQL or the connection said.
    pub(super) async fn along<T>(
        &self,
        path: Path,
        statement: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T> {
        self.carry_out(path, About::Statement, statement).await
    }

    async fn carry_out<T>(
        &self,
        path: Path,
        about: About,
        statement: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T> {
        let (connection, now) = (self.connection()?, self.standing());
        let done = if now.path == path {
            statement.await
        } else {
            self.stand(Standing { path, ..now });
            // The driver sends both before it waits for an answer.
            let set = connection.client().batch_execute(path.statement());
            let (set, done) = join(set, statement).await;
            set.and(done)
        };
        done.map_err(|error| connection.explain(&error, about))
    }

    /// Carries out a statement that runs the code of a table, with the path of the session.
    ///
    /// # Errors
    /// As [`Transaction::along`]; as [`Transaction::assume_role`] where a statement before may have changed the role.
    pub(super) async fn on_rows<T>(
        &self,
        statement: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T> {
        let now = self.standing();
        if !now.is_certain {
            self.set_role(None, self.roles.name(now.actor)?).await?;
        }
        self.connection()?.use_up();
        self.stand(Standing {
            path: match now.is_certain {
                true => now.path,
                false => Path::Server,
            },
            is_certain: false,
            is_deferred: true,
            has_written: true,
            ..now
        });
        self.carry_out(Path::Session, About::Rows, statement).await
    }
}

const OWNER: &str = "
    SELECT r.rolname::pg_catalog.text
    FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
    JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) c.relowner
    WHERE n.nspname OPERATOR(pg_catalog.=) $1::pg_catalog.text
      AND c.relname OPERATOR(pg_catalog.=) $2::pg_catalog.text
      AND NOT pg_catalog.pg_has_role(c.relowner, 'USAGE')
      AND pg_catalog.pg_has_role(session_user, c.relowner, 'MEMBER')";

fn not_in_force(role: &Ident, found: &str) -> Error {
    Error::permission_denied(format!(
        "PostgreSQL runs statements in the role {found:?} and not in {role}, which the server has set; look for \
         what changed it: a connection pooler, or code of the database"
    ))
}

/// What PostgreSQL has against a role, in words that say what to do.
pub(super) fn may_not_act_as(role: &Ident, error: Error) -> Error {
    let sqlstate = error.context().sqlstate.as_deref().unwrap_or_default();
    let message = match (error.kind(), sqlstate) {
        (ErrorKind::PermissionDenied, _) => format!(
            "the server's role may not act as {role}, which its configuration wants; let a DBA run: \
             GRANT {role} TO <role of the server>"
        ),
        // invalid_parameter_value
        (_, "22023") => format!(
            "PostgreSQL has no role {role}, which the server's configuration wants; create it, or name another"
        ),
        _ => return error,
    };
    Error::permission_denied(message).with_source(error)
}
