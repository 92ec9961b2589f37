//! What a client's transaction has done so far: for the grants, which its commit checks again, and for the metrics.

use std::collections::BTreeMap;

use super::whole_table::TableStatement;
use crate::auth::Caller;
use crate::error::{Error, Result};
use crate::metrics::Metrics;
use crate::pg::RowCounts;
use crate::write::plan::permission::{check_existing, check_new};
use crate::write::spec::WriteSpec;
use arrow_pgcopy::QualifiedName;

/// The work of a transaction.
#[derive(Debug, Default)]
pub(super) struct Done {
    /// The tables, with what was done to each, once.
    work: Vec<(QualifiedName, Work)>,
    /// The numbers of changed rows, by what happened to them.
    changed: BTreeMap<&'static str, u64>,
}

#[derive(Debug, PartialEq, Eq)]
enum Work {
    Rows { spec: Box<WriteSpec>, is_new: bool },
    Statement(TableStatement),
}

/// The most different ingests and statements of a transaction.
const MAX_WORK: usize = 1000;

impl Done {
    /// Checks that there is room for another ingest or statement.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`](crate::error::ErrorKind::Unsupported) without room.
    pub(super) fn check_room(&self) -> Result<()> {
        match self.work.len() < MAX_WORK {
            true => Ok(()),
            false => Err(Error::unsupported(format!(
                "the transaction has {MAX_WORK} different ingests and statements"
            ))
            .with_hint("commit, and send others in another transaction")),
        }
    }

    /// Adds rows of a write. `is_new` says that the write made the table.
    pub(super) fn add_rows(
        &mut self,
        table: &QualifiedName,
        (spec, is_new): (&WriteSpec, bool),
        counts: RowCounts,
    ) {
        let spec = Box::new(spec.clone());
        self.add(table, Work::Rows { spec, is_new });
        for (name, count) in counts.named() {
            *self.changed.entry(name).or_default() += count;
        }
    }

    /// Adds a statement about a whole table.
    pub(super) fn add_statement(&mut self, table: &QualifiedName, statement: TableStatement) {
        self.add(table, Work::Statement(statement));
    }

    /// Checks that the caller may still do all of it.
    ///
    /// # Errors
    /// [`ErrorKind::PermissionDenied`](crate::error::ErrorKind::PermissionDenied) when a grant is missing.
    pub(super) fn check(&self, caller: &Caller) -> Result<()> {
        self.work.iter().try_for_each(|(table, work)| match work {
            Work::Rows { spec, is_new: true } => check_new(caller, spec, table),
            Work::Rows {
                spec,
                is_new: false,
            } => check_existing(caller, spec, table),
            Work::Statement(statement) => statement.check(caller, table),
        })
    }

    /// Counts the changed rows, which are committed.
    pub(super) fn count(self, metrics: &Metrics) {
        metrics.count_changed(self.changed);
    }

    fn add(&mut self, table: &QualifiedName, work: Work) {
        let work = (table.clone(), work);
        if !self.work.contains(&work) {
            self.work.push(work);
        }
    }
}
