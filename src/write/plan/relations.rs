//! The tables that a caller may write, for clients that ask.

use super::permission::{find_permitted, missing_table};
use crate::error::{Error, Result};
use crate::pg::{
    ListedTable, MAX_LISTED, PrimaryKey, Transaction, count_at_once, describe_tables, primary_key,
    writable_tables,
};
use crate::write::writer::Writer;
use arrow_pgcopy::table::TableName;
use arrow_pgcopy::{QualifiedName, Relation};

impl Writer {
    /// Returns a table as the catalog has it.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::error::ErrorKind::NotFound) when there is no table of that name;
    /// [`ErrorKind::PermissionDenied`](crate::error::ErrorKind::PermissionDenied) when the caller may not know whether
    /// it exists; any error that PostgreSQL reports.
    pub async fn relation(&self, table: &TableName) -> Result<Relation> {
        let transaction = self.begin_look().await?;
        let relation = self.relation_in(&transaction, table).await;
        transaction.rollback().await;
        relation
    }

    /// Returns a table as a transaction sees it.
    ///
    /// # Errors
    /// The errors of [`Writer::relation`].
    pub(crate) async fn relation_in(
        &self,
        transaction: &Transaction,
        table: &TableName,
    ) -> Result<Relation> {
        transaction.assume_role().await?;
        match find_permitted(transaction, &self.caller, table).await? {
            Some(table) => Ok(table.relation),
            None => Err(missing_table(transaction, &self.caller, table).await?),
        }
    }

    /// Returns the name of the primary key of a table with its columns in their order; `None` if it has no primary key.
    ///
    /// # Errors
    /// The errors of [`Writer::relation`].
    pub async fn primary_key(
        &self,
        table: &TableName,
    ) -> Result<(QualifiedName, Option<PrimaryKey>)> {
        let relation = self.relation(table).await?;
        let transaction = self.begin_look().await?;
        let key = primary_key(&transaction, relation.oid).await;
        transaction.rollback().await;
        Ok((relation.name, key?))
    }

    /// Begins a list of the tables that the caller may write and that `is_wanted` accepts.
    ///
    /// # Errors
    /// Any error that PostgreSQL reports.
    pub async fn relations(&self, is_wanted: impl Fn(&QualifiedName) -> bool) -> Result<Relations> {
        let transaction = self.begin_look().await?;
        transaction.assume_role().await?;
        let is_visible = |name: &QualifiedName| self.caller.may_see(name) && is_wanted(name);
        let (tables, are_all) = writable_tables(&transaction, is_visible).await?;
        transaction.rollback().await;
        Ok(Relations {
            writer: self.clone(),
            tables,
            are_all,
            alone_count: 0,
        })
    }
}

/// A list of tables, which are read a few at a time, each time in a transaction of its own.
pub struct Relations {
    writer: Writer,
    /// The tables that are still to be read, the first at the end.
    tables: Vec<ListedTable>,
    are_all: bool,
    /// Number of next tables that are read one by one, since together they have too many types.
    alone_count: usize,
}

impl Relations {
    /// Returns the names of all tables of the list, in their order, without reading the tables.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`](crate::error::ErrorKind::Unsupported) when there are more tables than a list has.
    pub fn into_names(self) -> Result<Vec<QualifiedName>> {
        match self.are_all {
            true => Ok(self
                .tables
                .into_iter()
                .rev()
                .map(ListedTable::into_name)
                .collect()),
            false => Err(too_many()),
        }
    }

    /// Returns the next tables in the order of their names, or `None` after the last.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`](crate::error::ErrorKind::Unsupported) after the last table, once, when there are more
    /// than a list has; any error that PostgreSQL reports.
    pub async fn next(&mut self) -> Result<Option<Vec<Relation>>> {
        if self.tables.is_empty() {
            return match std::mem::replace(&mut self.are_all, true) {
                true => Ok(None),
                false => Err(too_many()),
            };
        }
        let count = match self.alone_count {
            0 => count_at_once(&self.tables),
            _ => 1,
        };
        let batch = self.tables.split_off(self.tables.len() - count);
        self.alone_count = self.alone_count.saturating_sub(count);
        let transaction = self.writer.begin_look().await?;
        transaction.assume_role().await?;
        let described = describe_tables(&transaction, &batch).await?;
        transaction.rollback().await;
        if described.is_none() {
            self.alone_count = batch.len();
            self.tables.extend(batch);
        }
        Ok(Some(described.unwrap_or_default()))
    }
}

fn too_many() -> Error {
    Error::unsupported(format!(
        "the list is cut after {MAX_LISTED} tables, and there are more"
    ))
    .with_hint("ask for other tables by their paths")
}
