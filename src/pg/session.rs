//! A connection for statements that cannot run in a transaction.

use deadpool::managed::Object;
use tokio_postgres::Row;

use super::connection::{About, Connector, from_postgres};
use super::sql;
use super::transaction::{Parameter, Path, rows, typed};
use crate::error::Result;
use arrow_pgcopy::Ident;

/// A connection on which each statement is a transaction of its own, in the session's own role. Dropping it returns
/// the connection to its pool.
pub struct Session {
    pub(super) connection: Object<Connector>,
    pub(super) ledger_role: Option<Ident>,
}

impl Session {
    /// Returns the id of the process that answered the login. A pooler invents one.
    pub(super) fn process(&self) -> Option<i32> {
        self.connection.process()
    }

    pub(super) async fn execute_all(&self, sql: &str) -> Result<()> {
        let done = self.connection.client().batch_execute(sql).await;
        done.map_err(|error| from_postgres(&error, About::Statement, None))
    }

    pub(super) async fn query(&self, sql: &str, parameters: &[&dyn Parameter]) -> Result<Vec<Row>> {
        let client = self.connection.client();
        let rows = client.query_typed(sql, &typed(parameters)).await;
        rows.map_err(|error| from_postgres(&error, About::Statement, None))
    }

    /// Returns the first column of a SELECT that reads the ledger, in the role that owns it. During the SELECT, the
    /// setting `pgflight.session_role` has the session's own role.
    ///
    /// The statements are one message without a prepared statement, and so one transaction: nothing of it outlives the
    /// answer, even if the caller drops the future.
    pub(super) async fn names(&self, select: &str) -> Result<Vec<String>> {
        let role = match &self.ledger_role {
            Some(role) => format!("{}; ", sql::set_role(role)),
            None => String::new(),
        };
        let statements = format!(
            "{}; SELECT pg_catalog.set_config('pgflight.session_role', current_user, true); {role}SELECT '', name \
             FROM ({select}) names(name)",
            Path::Server.statement()
        );
        let answers = self.connection.client().simple_query(&statements).await;
        let rows = rows(answers.map_err(|error| from_postgres(&error, About::Statement, None))?);
        let names = rows.iter().filter(|row| row.len() > 1);
        Ok(names
            .filter_map(|row| row.get(1).map(str::to_owned))
            .collect())
    }
}
