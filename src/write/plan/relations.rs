//! The tables that a caller may write, for clients that ask.

use super::permission::{find_permitted, missing_table};
use crate::error::Result;
use crate::pg::writable_relations;
use crate::write::writer::Writer;
use arrow_pgcopy::Relation;
use arrow_pgcopy::table::TableName;

impl Writer {
    /// Returns a table as the catalog has it.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::error::ErrorKind::NotFound) when there is no table of that name;
    /// [`ErrorKind::PermissionDenied`](crate::error::ErrorKind::PermissionDenied) when the caller may not know whether
    /// it exists; any error that PostgreSQL reports.
    pub async fn relation(&self, table: &TableName) -> Result<Relation> {
        let transaction = self.begin_look().await?;
        transaction.assume_role().await?;
        let relation = find_permitted(&transaction, &self.caller, table).await?;
        let relation = match relation {
            Some(table) => Ok(table.relation),
            None => Err(missing_table(&transaction, &self.caller, table).await?),
        };
        transaction.rollback().await;
        relation
    }

    /// Returns all tables that the caller may write.
    ///
    /// # Errors
    /// Any error that PostgreSQL reports.
    pub async fn relations(&self) -> Result<Vec<Relation>> {
        let transaction = self.begin_look().await?;
        transaction.assume_role().await?;
        let relations = writable_relations(&transaction, |name| self.caller.may_see(name)).await?;
        transaction.rollback().await;
        Ok(relations)
    }
}
