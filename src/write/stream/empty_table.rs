//! A new table without rows, which a client's statement asks for.

use arrow::datatypes::Schema;

use super::kept::KeptTransaction;
use crate::error::{Error, Result};
use crate::pg::{RowCounts, TableLock, Transaction, add_primary_key, create_table, lock_named};
use crate::write::plan::decide::{Planner, WritePlan};
use crate::write::spec::WriteSpec;
use crate::write::writer::Writer;
use arrow_pgcopy::{QualifiedName, Relation};

impl Writer {
    /// Creates a table for data of this schema, in a transaction of its own and in the role of the caller. The mode of
    /// `spec` is [`Mode::Create`](crate::write::Mode::Create). Returns its name; `None` if the table exists and the mode
    /// ignores that.
    ///
    /// # Errors
    /// The errors of a write that creates a table.
    pub async fn create_empty(
        &self,
        spec: &WriteSpec,
        schema: &Schema,
    ) -> Result<Option<QualifiedName>> {
        let turn = self.enter_statement().await?;
        let transaction = self.begin_commit("create").await?;
        transaction.limit_lock_waits().await?;
        // Boxed, since the future is large.
        let made = Box::pin(self.create_in(&transaction, spec, schema)).await?;
        match made {
            Some(_) => {
                transaction.resume_own_role().await?;
                transaction.commit().await.into_result()?;
            }
            None => transaction.rollback().await,
        }
        drop(turn);
        Ok(made.map(|relation| relation.name))
    }

    /// Creates a table within a client's transaction, as [`Writer::create_empty`] does. After an error, and when the future
    /// is dropped, the whole transaction is rolled back.
    ///
    /// # Errors
    /// The errors of [`Writer::create_empty`], except those of a COMMIT.
    pub async fn create_empty_kept(
        &self,
        mut kept: KeptTransaction,
        spec: &WriteSpec,
        schema: &Schema,
    ) -> Result<(Option<QualifiedName>, KeptTransaction)> {
        kept.prepare_change(&self.caller).await?;
        // Boxed, since the future is large.
        let made = Box::pin(self.create_in(kept.transaction(), spec, schema)).await?;
        let name = made.as_ref().map(|relation| relation.name.clone());
        if let Some(relation) = made {
            kept.note_rows(relation, (spec, true), RowCounts::default());
        }
        Ok((name, kept))
    }

    async fn create_in(
        &self,
        transaction: &Transaction,
        spec: &WriteSpec,
        schema: &Schema,
    ) -> Result<Option<Relation>> {
        transaction.assume_role().await?;
        let statements = &self.statements();
        let planner = Planner {
            transaction,
            caller: &self.caller,
            spec,
            schema,
            statements,
            stream: None,
        };
        let missing = match planner.decide().await? {
            WritePlan::LeaveAlone(_) => return Ok(None),
            WritePlan::Missing(missing) => missing,
            WritePlan::Existing(_) => {
                return Err(Error::internal("a table was to be created, and exists"));
            }
        };
        let name = &missing.name;
        let made = create_table(transaction, name, &missing.columns, &spec.table_options).await;
        made.map_err(|error| error.with_table(name))?;
        if !spec.primary_key.is_empty() {
            add_primary_key(transaction, name, &spec.primary_key).await?;
        }
        let table = lock_named(transaction, name, TableLock::Insert).await?;
        Ok(Some(table.relation))
    }
}
