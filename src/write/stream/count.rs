//! The number of rows of a table, for clients that ask for it after their rows.

use super::kept::KeptTransaction;
use crate::error::Result;
use crate::pg::{Transaction, check_same_table, count_rows};
use crate::write::writer::Writer;
use arrow_pgcopy::QualifiedName;
use arrow_pgcopy::table::TableName;

impl Writer {
    /// Counts the rows of a table that the caller may write, in its role, which must have SELECT.
    ///
    /// # Errors
    /// The errors of [`Writer::relation`]; [`ErrorKind::PermissionDenied`](crate::error::ErrorKind::PermissionDenied)
    /// without SELECT; [`ErrorKind::Unavailable`](crate::error::ErrorKind::Unavailable) when another session keeps the
    /// table locked.
    pub async fn count(&self, table: &TableName) -> Result<(QualifiedName, i64)> {
        // It may take as long as a commit.
        let turn = self.enter_statement().await?;
        let transaction = self.begin_commit("count").await?;
        transaction.limit_lock_waits().await?;
        let counted = self.count_in(&transaction, table).await;
        transaction.rollback().await;
        drop(turn);
        counted
    }

    /// Counts the rows of a table as a client's transaction sees them. After an error, and when the future is dropped, the
    /// whole transaction is rolled back.
    ///
    /// # Errors
    /// The errors of [`Writer::count`].
    pub async fn count_kept(
        &self,
        kept: KeptTransaction,
        table: &TableName,
    ) -> Result<((QualifiedName, i64), KeptTransaction)> {
        kept.prepare_look(&self.caller).await?;
        let counted = self.count_in(kept.transaction(), table).await?;
        Ok((counted, kept))
    }

    async fn count_in(
        &self,
        transaction: &Transaction,
        table: &TableName,
    ) -> Result<(QualifiedName, i64)> {
        let relation = self.relation_in(transaction, table).await?;
        let count = count_rows(transaction, &relation.name).await?;
        check_same_table(transaction, &relation).await?;
        Ok((relation.name, count))
    }
}
