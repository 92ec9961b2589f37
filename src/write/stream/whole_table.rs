//! Statements about a whole table, for clients that send them around their rows.

use crate::auth::{Caller, WriteMode};
use crate::error::{Error, ErrorKind, Result};
use crate::pg::{
    TableLock, Transaction, check_same_table, delete_all, drop_locked_table, lock_table, truncate,
};
use crate::write::plan::permission::{find_permitted, missing_table};
use crate::write::writer::Writer;
use arrow_pgcopy::table::TableName;
use arrow_pgcopy::{QualifiedName, Relation};

/// A statement about a whole table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableStatement {
    /// Drops it, but nothing that depends on it.
    Drop {
        /// Does nothing without the table, instead of failing.
        if_exists: bool,
    },
    /// Removes all rows by DELETE.
    Delete,
    /// Removes all rows by TRUNCATE.
    Truncate,
}

impl TableStatement {
    /// Returns its first word in SQL.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Drop { .. } => "drop",
            Self::Delete => "delete",
            Self::Truncate => "truncate",
        }
    }

    /// The modes that a grant must allow: overwrite replaces all rows, and create makes the table.
    fn modes(self) -> &'static [WriteMode] {
        match self {
            Self::Drop { .. } => &[WriteMode::Overwrite, WriteMode::Create],
            Self::Delete | Self::Truncate => &[WriteMode::Overwrite],
        }
    }

    /// Checks that the caller may run it.
    ///
    /// # Errors
    /// [`ErrorKind::PermissionDenied`](crate::error::ErrorKind::PermissionDenied) when a grant is missing.
    pub(super) fn check(self, caller: &Caller, table: &QualifiedName) -> Result<()> {
        let mut modes = self.modes().iter();
        modes.try_for_each(|mode| caller.check(table, *mode))
    }
}

impl Writer {
    /// Runs a statement in a transaction of its own, in the role of the caller. Returns the table; `None` if there is
    /// none and the statement does nothing then. Dropping the future rolls it back, unless PostgreSQL has received the
    /// COMMIT.
    ///
    /// # Errors
    /// [`ErrorKind::PermissionDenied`](crate::error::ErrorKind::PermissionDenied) when a grant or a privilege is
    /// missing; [`ErrorKind::NotFound`](crate::error::ErrorKind::NotFound) without the table;
    /// [`ErrorKind::Unsupported`](crate::error::ErrorKind::Unsupported) for a view;
    /// [`ErrorKind::Unavailable`](crate::error::ErrorKind::Unavailable) when another session keeps the table locked;
    /// any other error that PostgreSQL reports.
    pub async fn run_statement(
        &self,
        statement: TableStatement,
        table: &TableName,
    ) -> Result<Option<QualifiedName>> {
        // DELETE runs triggers, DROP event triggers, and both may take long: they count as commits.
        let turn = self.enter_statement().await?;
        let transaction = self.begin_commit(statement.as_str()).await?;
        transaction.limit_lock_waits().await?;
        let done = self.run_in(&transaction, statement, table).await?;
        match done {
            Some(_) => {
                transaction.resume_own_role().await?;
                transaction.commit().await.into_result()?;
            }
            None => transaction.rollback().await,
        }
        drop(turn);
        Ok(done.map(|relation| relation.name))
    }

    /// Runs a statement in a transaction, in the role of the caller.
    ///
    /// # Errors
    /// The errors of [`Writer::run_statement`].
    pub(super) async fn run_in(
        &self,
        transaction: &Transaction,
        statement: TableStatement,
        table: &TableName,
    ) -> Result<Option<Relation>> {
        transaction.assume_role().await?;
        let Some(relation) = self.lock(transaction, statement, table).await? else {
            let missing = missing_table(transaction, &self.caller, table).await?;
            let may_be_missing = statement == TableStatement::Drop { if_exists: true };
            return match missing.kind() == ErrorKind::NotFound && may_be_missing {
                true => Ok(None),
                false => Err(missing),
            };
        };
        let name = &relation.name;
        match statement {
            TableStatement::Drop { .. } => drop_locked_table(transaction, &relation).await?,
            TableStatement::Delete => {
                delete_all(transaction, name).await?;
                check_same_table(transaction, &relation).await?;
            }
            TableStatement::Truncate => {
                truncate(transaction, name).await?;
                check_same_table(transaction, &relation).await?;
            }
        }
        Ok(Some(relation))
    }

    /// Finds the table and locks it, so that its name stays its own. Returns `None` without a table that the caller may
    /// see.
    async fn lock(
        &self,
        transaction: &Transaction,
        statement: TableStatement,
        table: &TableName,
    ) -> Result<Option<Relation>> {
        let Some(found) = find_permitted(transaction, &self.caller, table).await? else {
            return Ok(None);
        };
        let name = found.relation.name.clone();
        statement.check(&self.caller, &name)?;
        let lock = match statement {
            TableStatement::Drop { .. } | TableStatement::Truncate => TableLock::Truncate,
            TableStatement::Delete => TableLock::Replace,
        };
        // A view is locked with all that is behind it.
        let table = match found.is_view {
            true => found,
            false => lock_table(transaction, found, lock).await?,
        };
        if table.is_view {
            return Err(Error::unsupported(format!(
                "{} is not served for a view",
                statement.as_str()
            ))
            .with_hint("name the table behind the view")
            .with_table(&name));
        }
        Ok(Some(table.relation))
    }
}
