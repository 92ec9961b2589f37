//! Statements that may fail without ending their transaction.

use super::lifecycle::Transaction;
use super::roles::State;
use crate::error::Result;
use crate::pg::connection::About;

impl Transaction {
    /// Sets the savepoint to which [`Transaction::return_to_savepoint`] returns.
    pub(in crate::pg) async fn set_savepoint(&self) -> Result<()> {
        self.execute_all("SAVEPOINT rows").await
    }

    /// Forgets the savepoint, after statements that did not fail.
    pub(in crate::pg) async fn release_savepoint(&self) -> Result<()> {
        self.execute_all("RELEASE SAVEPOINT rows").await
    }

    /// Undoes the statements since the savepoint, after one that failed, and forgets the savepoint.
    pub(in crate::pg) async fn return_to_savepoint(&self) -> Result<()> {
        let connection = self.connection()?;
        let undone = connection
            .client()
            .batch_execute("ROLLBACK TO SAVEPOINT rows; RELEASE SAVEPOINT rows")
            .await;
        undone.map_err(|error| connection.explain(&error, About::Statement, None))?;
        // PostgreSQL has undone the settings too, so they are set again before the next statement.
        connection.forget_error();
        self.set_state(State {
            is_certain: false,
            ..self.state()
        });
        Ok(())
    }
}
