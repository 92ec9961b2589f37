//! Switches of role and search_path within a transaction.

use futures_util::StreamExt;
use futures_util::future::join;
use tokio_postgres::SimpleQueryMessage;

use super::leftovers;
use super::lifecycle::Transaction;
use super::parameter::Parameter;
use super::roles::{Actor, Path, State, may_not_act_as, not_in_force};
use crate::error::Result;
use crate::pg::connection::{About, Grantee};
use crate::pg::sql;
use arrow_pgcopy::{Ident, QualifiedName};

impl Transaction {
    /// Sets the role that writes the target, see [`Transaction::assume_role`]. `None` keeps the ledger's.
    pub fn with_role(mut self, role: Option<&Ident>) -> Self {
        self.roles.principal = role.cloned();
        self
    }

    /// Returns the role of the principal, if it has one of its own.
    pub fn role(&self) -> Option<&Ident> {
        self.roles.principal.as_ref()
    }

    /// Runs later statements in the role that writes the target: the principal's, or else the ledger's.
    ///
    /// # Errors
    /// [`ErrorKind::PermissionDenied`](crate::error::ErrorKind::PermissionDenied) when the login is not a member of
    /// the role, or when another role is in force afterwards; any error that PostgreSQL reports.
    pub async fn assume_role(&self) -> Result<()> {
        self.act_as(Actor::Principal).await
    }

    /// Runs later statements in the role that owns the ledger: the target's, or else the session's own. Triggers that
    /// are deferred to the end of the transaction run before, in the role that wrote the rows.
    ///
    /// # Errors
    /// An error of a deferred trigger or constraint; otherwise as [`Transaction::assume_role`].
    pub async fn resume_own_role(&self) -> Result<()> {
        self.act_as(Actor::Ledger).await
    }

    /// Returns the statements that make a COMMIT run in the role that wrote the rows; `None` if that role is in force.
    /// In a COMMIT, PostgreSQL runs the query of a cursor WITH HOLD, and what a deferred trigger has deferred again.
    pub(super) fn before_commit(&self) -> Result<Option<String>> {
        let now = self.state();
        let writer = self.roles.name(Actor::Principal)?;
        let is_in_force = now.is_certain && !now.is_owner && self.roles.name(now.actor)? == writer;
        if !now.has_written || is_in_force {
            return Ok(None);
        }
        let (role, path) = (sql::set_role(writer), Path::Session.statement());
        Ok(Some(format!("{role}; {path}")))
    }

    /// Runs later statements in the session's own role. Only the role that prepared a transaction may end it, and a
    /// session without a transaction has its own role.
    ///
    /// # Errors
    /// The errors of [`Transaction::resume_own_role`].
    pub(in crate::pg) async fn resume_session_role(&self) -> Result<()> {
        self.act_as(Actor::Session).await
    }

    /// Runs later statements in the role that owns a table, if the current role lacks its rights and the login is a
    /// member of it.
    ///
    /// # Errors
    /// The errors of [`Transaction::assume_role`].
    pub(in crate::pg) async fn act_as_owner(&self, table: &QualifiedName) -> Result<()> {
        let parameters: [&dyn Parameter; 2] = [&table.schema.as_str(), &table.name.as_str()];
        let Some(row) = self.query_opt(OWNER, &parameters).await? else {
            return Ok(());
        };
        self.set_role(None, &Ident::new(row.get::<_, String>(0))?)
            .await?;
        self.set_state(State {
            is_owner: true,
            has_written: self.state().has_written,
            ..State::BEGUN
        });
        Ok(())
    }

    /// Returns the role that owns the ledger.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`](crate::error::ErrorKind::Internal) before the transaction has begun.
    pub(in crate::pg) fn ledger_role(&self) -> Result<&Ident> {
        self.roles.name(Actor::Ledger)
    }

    /// Returns the session's own role.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`](crate::error::ErrorKind::Internal) before the transaction has begun.
    pub(in crate::pg) fn session_role(&self) -> Result<&Ident> {
        self.roles.name(Actor::Session)
    }

    /// Sets the role again if the code of a table may have changed it. Together with a statement that runs such code,
    /// this takes no round trip of its own: await the statement first in a `join`, when the role is certain before.
    ///
    /// # Errors
    /// As [`Transaction::assume_role`].
    pub(in crate::pg) async fn renew_role(&self) -> Result<()> {
        let now = self.state();
        if now.is_certain {
            return Ok(());
        }
        self.set_role(None, self.roles.name(now.actor)?).await?;
        self.set_state(State {
            path: Path::Server,
            is_certain: true,
            ..self.state()
        });
        Ok(())
    }

    /// Sets the settings of a client's transaction again and drops temporary objects, if the code of a table may have left
    /// some.
    ///
    /// # Errors
    /// The errors of [`Transaction::assume_role`].
    pub async fn renew_settings(&self) -> Result<()> {
        match self.settings() {
            Some(settings) if self.state().has_written => {
                // The path is among the settings.
                let path = Path::Server.statement();
                let reset = leftovers::within();
                self.execute_all(&format!("{reset}{settings}; {path}"))
                    .await
            }
            _ => Ok(()),
        }
    }

    async fn act_as(&self, actor: Actor) -> Result<()> {
        let (now, role) = (self.state(), self.roles.name(actor)?);
        // Triggers deferred to COMMIT would run in the role and with the path of that moment.
        let is_due = now.is_deferred && actor != Actor::Principal;
        let is_known = now.is_certain && !now.is_owner;
        if is_known && !is_due && self.roles.name(now.actor)? == role {
            self.set_state(State { actor, ..now });
            return Ok(());
        }
        let writer = if is_due {
            Some(self.roles.name(now.actor)?)
        } else {
            None
        };
        self.set_role(writer, role).await?;
        self.set_state(State {
            actor,
            is_deferred: now.is_deferred && !is_due,
            has_written: now.has_written,
            ..State::BEGUN
        });
        Ok(())
    }

    /// Sets a role and the server's path, and checks which role is in force. Runs deferred triggers before, in the role
    /// `writer` that wrote the rows, if it is given.
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
        // The first statement always sets a role.
        let mut is_first = true;
        let mut answers = std::pin::pin!(
            (connection.client().simple_query_raw(&statements).await)
                .map_err(|error| connection.explain(&error, About::Statement, None))?
        );
        while let Some(answer) = answers.next().await {
            match answer {
                Ok(SimpleQueryMessage::Row(row)) => found = row.get(0).map(str::to_owned),
                Ok(_) => is_first = false,
                Err(error) if is_first => {
                    return Err(may_not_act_as(
                        writer.unwrap_or(role),
                        connection.explain(&error, About::Statement, None),
                    ));
                }
                // Deferred triggers are code of a table.
                Err(error) => return Err(connection.explain(&error, About::Rows, None)),
            }
        }
        match found {
            Some(found) if found == role.as_str() => Ok(()),
            found => Err(not_in_force(role, &found.unwrap_or_default())),
        }
    }

    /// Returns the role that statements run in; `None` while it is the owner of a table.
    pub(in crate::pg) fn role_in_force(&self) -> Option<&Ident> {
        let now = self.state();
        match now.is_owner {
            true => None,
            false => self.roles.name(now.actor).ok(),
        }
    }

    /// Runs a statement with this path, and sets the path in the same round trip if necessary.
    ///
    /// # Errors
    /// Any error that PostgreSQL reports.
    pub(in crate::pg) async fn with_path<T>(
        &self,
        path: Path,
        statement: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T> {
        self.run_with_path(path, About::Statement, statement).await
    }

    async fn run_with_path<T>(
        &self,
        path: Path,
        about: About,
        statement: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T> {
        let (connection, now) = (self.connection()?, self.state());
        let done = if now.path == path {
            statement.await
        } else {
            self.set_state(State { path, ..now });
            // The driver sends both before it waits for an answer.
            let set = connection.client().batch_execute(path.statement());
            let (set, done) = join(set, statement).await;
            set.and(done)
        };
        let grantee = self.role_in_force().map(|role| Grantee {
            role,
            defines: path == Path::Definitions,
        });
        done.map_err(|error| connection.explain(&error, about, grantee))
    }

    /// Runs a statement that runs the code of a table, with the path of the session.
    ///
    /// # Errors
    /// Any error that PostgreSQL reports; as [`Transaction::assume_role`] if an earlier statement may have changed the
    /// role.
    pub(in crate::pg) async fn on_rows<T>(
        &self,
        statement: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T> {
        self.doubt_role().await?;
        self.run_with_path(Path::Session, About::Rows, statement)
            .await
    }

    /// Runs a definition that may run the code of a type, with the path for definitions.
    ///
    /// # Errors
    /// The errors of [`Transaction::on_rows`].
    pub(in crate::pg) async fn in_definitions<T>(
        &self,
        statement: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T> {
        self.doubt_role().await?;
        self.run_with_path(Path::Definitions, About::Statement, statement)
            .await
    }

    /// Prepares for a statement that runs the code of a table or a type: such code may change the role, the session and
    /// what runs at the end of the transaction.
    async fn doubt_role(&self) -> Result<()> {
        self.renew_role().await?;
        self.connection()?.mark_used();
        self.set_state(State {
            is_certain: false,
            is_deferred: true,
            has_written: true,
            ..self.state()
        });
        Ok(())
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
