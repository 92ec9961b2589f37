//! The statements of a transaction.
//!
//! A method without a suffix runs the server's own statements. `…_on_rows` is for statements that run the code of a
//! table, `define` for definitions with types as a client wrote them, and `…_by_path` for names that the session's
//! search_path resolves. See [`Path`].

use futures_util::future::join;
use tokio_postgres::Row;

use super::lifecycle::Transaction;
use super::parameter::{Parameter, typed};
use super::roles::Path;
use crate::error::Result;

impl Transaction {
    /// Returns the id of this transaction, and assigns one if it has none (`pg_current_xact_id`).
    ///
    /// # Errors
    /// Any error that PostgreSQL reports.
    pub async fn xact_id(&self) -> Result<String> {
        let row = self
            .query_one(
                "SELECT pg_catalog.pg_current_xact_id()::pg_catalog.text",
                &[],
            )
            .await?;
        Ok(row.get(0))
    }

    /// Returns the `xmin` of every row that this transaction writes: its id without the epoch.
    ///
    /// # Errors
    /// Any error that PostgreSQL reports.
    pub async fn xmin(&self) -> Result<String> {
        let row = self
            .query_one(
                "SELECT pg_catalog.pg_current_xact_id()::pg_catalog.xid::pg_catalog.text",
                &[],
            )
            .await?;
        Ok(row.get(0))
    }

    /// Limits the time that later statements wait for a lock to half a second.
    ///
    /// # Errors
    /// Any error that PostgreSQL reports.
    pub async fn limit_lock_waits(&self) -> Result<()> {
        self.execute_all("SET LOCAL lock_timeout = 500").await
    }

    /// Limits the time that later statements wait for a lock to half a second, and makes COMMIT wait neither for the
    /// disk nor for a standby.
    pub(in crate::pg) async fn limit_waiting(&self) -> Result<()> {
        self.execute_all("SET LOCAL lock_timeout = 500; SET LOCAL synchronous_commit = off")
            .await
    }

    /// Returns whether the transaction with this id was committed. `None` while it runs, and when PostgreSQL has
    /// forgotten it. After a failover that lost transactions, another transaction may get the id.
    ///
    /// # Errors
    /// Any error that PostgreSQL reports.
    pub async fn was_committed(&self, xact_id: &str) -> Result<Option<bool>> {
        let row = self
            .query_one(
                "SELECT pg_catalog.pg_xact_status($1::pg_catalog.text::pg_catalog.xid8)",
                &[&xact_id],
            )
            .await?;
        Ok(match row.get::<_, Option<&str>>(0) {
            Some("committed") => Some(true),
            Some("aborted") => Some(false),
            _ => None,
        })
    }

    pub(in crate::pg) async fn execute_all(&self, sql: &str) -> Result<()> {
        self.renew_role().await?;
        let client = self.connection()?.client();
        self.with_path(Path::Server, client.batch_execute(sql))
            .await
    }

    /// Runs a statement without a result and a query, in one round trip.
    pub(in crate::pg) async fn execute_and_query(
        &self,
        statement: &str,
        query: &str,
        parameters: &[&dyn Parameter],
    ) -> Result<Option<Row>> {
        self.renew_role().await?;
        let (client, parameters) = (self.connection()?.client(), typed(parameters));
        // The driver sends both before it waits for an answer.
        let executed = client.batch_execute(statement);
        let queried = client.query_typed_opt(query, &parameters);
        let both = async {
            let (executed, queried) = join(executed, queried).await;
            executed.and(queried)
        };
        self.with_path(Path::Server, both).await
    }

    /// Runs a query that opens relations of others, for a second at most, and waits for each lock of them for a fifth of a
    /// second at most: their owners decide how long they keep it, and the connection serves all callers.
    pub(in crate::pg) async fn query_unless_locked(
        &self,
        query: &str,
        parameters: &[&dyn Parameter],
    ) -> Result<Option<Row>> {
        let row = self
            .execute_and_query(
                "SET LOCAL lock_timeout = 200; SET LOCAL statement_timeout = 1000",
                query,
                parameters,
            )
            .await?;
        let lock_timeout = self.lock_timeout().as_millis();
        self.execute_all(&format!(
            "SET LOCAL lock_timeout = {lock_timeout}; SET LOCAL statement_timeout TO DEFAULT"
        ))
        .await?;
        Ok(row)
    }

    /// Runs a definition, with types as a client wrote them, and a query, in one round trip.
    pub(in crate::pg) async fn define_and_query(
        &self,
        definition: &str,
        query: &str,
    ) -> Result<Row> {
        self.renew_role().await?;
        let client = self.connection()?.client();
        let (defined, queried) = (
            client.batch_execute(definition),
            client.query_typed_one(query, &[]),
        );
        let both = async {
            let (defined, queried) = join(defined, queried).await;
            defined.and(queried)
        };
        self.with_path(Path::Definitions, both).await
    }

    /// Runs definitions, with types as a client wrote them.
    pub(in crate::pg) async fn define(&self, sql: &str) -> Result<()> {
        self.renew_role().await?;
        let client = self.connection()?.client();
        self.with_path(Path::Definitions, client.batch_execute(sql))
            .await
    }

    /// Runs definitions as [`Transaction::define`] does, for columns that are added to a table with rows: a domain runs its code for them.
    pub(in crate::pg) async fn define_on_rows(&self, sql: &str) -> Result<()> {
        let client = self.connection()?.client();
        self.in_definitions(client.batch_execute(sql)).await
    }

    /// Runs statements without parameters that run the code of a table.
    pub(in crate::pg) async fn execute_all_on_rows(&self, sql: &str) -> Result<()> {
        let client = self.connection()?.client();
        self.on_rows(client.batch_execute(sql)).await
    }

    pub(in crate::pg) async fn execute(
        &self,
        sql: &str,
        parameters: &[&dyn Parameter],
    ) -> Result<u64> {
        let (client, parameters) = (self.connection()?.client(), typed(parameters));
        self.with_path(Path::Server, client.execute_typed(sql, &parameters))
            .await
    }

    /// Runs a statement that runs the code of a table. Returns the number of rows.
    pub(in crate::pg) async fn execute_on_rows(
        &self,
        sql: &str,
        parameters: &[&dyn Parameter],
    ) -> Result<u64> {
        let (client, parameters) = (self.connection()?.client(), typed(parameters));
        self.on_rows(client.execute_typed(sql, &parameters)).await
    }

    /// Runs one statement of the operator, as one that runs the code of a table. PostgreSQL rejects a text of several
    /// statements. The text must not end the transaction.
    ///
    /// # Errors
    /// The errors of [`Transaction::assume_role`]; any error that PostgreSQL reports.
    pub async fn execute_configured(&self, sql: &str) -> Result<()> {
        self.execute_on_rows(sql, &[]).await.map(drop)
    }

    pub(in crate::pg) async fn query(
        &self,
        sql: &str,
        parameters: &[&dyn Parameter],
    ) -> Result<Vec<Row>> {
        let (client, parameters) = (self.connection()?.client(), typed(parameters));
        self.with_path(Path::Server, client.query_typed(sql, &parameters))
            .await
    }

    /// Runs a query that runs the code of a table.
    pub(in crate::pg) async fn query_on_rows(
        &self,
        sql: &str,
        parameters: &[&dyn Parameter],
    ) -> Result<Vec<Row>> {
        let (client, parameters) = (self.connection()?.client(), typed(parameters));
        self.on_rows(client.query_typed(sql, &parameters)).await
    }

    pub(in crate::pg) async fn query_opt(
        &self,
        sql: &str,
        parameters: &[&dyn Parameter],
    ) -> Result<Option<Row>> {
        let (client, parameters) = (self.connection()?.client(), typed(parameters));
        self.with_path(Path::Server, client.query_typed_opt(sql, &parameters))
            .await
    }

    /// Runs a query that resolves names by the session's search_path. Returns at most one row.
    pub(in crate::pg) async fn query_opt_by_path(
        &self,
        sql: &str,
        parameters: &[&dyn Parameter],
    ) -> Result<Option<Row>> {
        let (client, parameters) = (self.connection()?.client(), typed(parameters));
        self.with_path(Path::Session, client.query_typed_opt(sql, &parameters))
            .await
    }

    /// Runs a query that resolves the names of types as [`Transaction::define`] does. Returns at most one row.
    pub(in crate::pg) async fn query_opt_by_definition_path(
        &self,
        sql: &str,
        parameters: &[&dyn Parameter],
    ) -> Result<Option<Row>> {
        let (client, parameters) = (self.connection()?.client(), typed(parameters));
        self.with_path(Path::Definitions, client.query_typed_opt(sql, &parameters))
            .await
    }

    pub(in crate::pg) async fn query_one(
        &self,
        sql: &str,
        parameters: &[&dyn Parameter],
    ) -> Result<Row> {
        let (client, parameters) = (self.connection()?.client(), typed(parameters));
        self.with_path(Path::Server, client.query_typed_one(sql, &parameters))
            .await
    }
}
