//! The rejected rows of one stream, from the encoder to the ledger.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use uuid::Uuid;

use super::places::{kept, reject_of};
use super::rules::{RejectRules, RejectValues};
use super::values;
use crate::error::{Error, Result};
use crate::pg::{
    Attempt, KeptValues, Pool, RefusedRow, Reject, RejectReason, Rejected, store_rejects,
};
use arrow_pgcopy::{Ident, RejectedRow};

/// Rows that a stream keeps before it stores them, and their bytes.
const MAX_PENDING: usize = 1000;
const MAX_PENDING_BYTES: usize = 1 << 20;

/// The place of a stream: its write, partition and attempt.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) write_id: &'a str,
    pub(crate) partition_id: u32,
    /// Empty for a write of one stream.
    pub(crate) attempt_id: &'a str,
}

/// The rejected rows of a stream. They are stored a few at a time, in a set that no one reads before the record of the
/// attempt names it.
pub(crate) struct Rejects {
    rules: RejectRules,
    pool: Pool,
    write_id: String,
    partition_id: u32,
    attempt_id: String,
    set_id: String,
    /// The columns whose values identify a row.
    keys: Vec<Ident>,
    /// Rows that are not stored yet.
    pending: Vec<Reject>,
    pending_bytes: usize,
    row_count: u64,
    /// The number of rows by kind, column and constraint.
    reasons: BTreeMap<(String, String, String), u64>,
}

impl Rejects {
    /// Creates the collection of a stream. The keys are the columns that identify a row.
    pub(crate) fn new(
        rules: &RejectRules,
        pool: &Pool,
        place: Place<'_>,
        keys: Vec<Ident>,
    ) -> Self {
        Self {
            rules: rules.clone(),
            pool: pool.clone(),
            write_id: place.write_id.to_owned(),
            partition_id: place.partition_id,
            attempt_id: place.attempt_id.to_owned(),
            set_id: Uuid::new_v4().simple().to_string(),
            keys,
            pending: Vec::new(),
            pending_bytes: 0,
            row_count: 0,
            reasons: BTreeMap::new(),
        }
    }

    /// Returns the number of rows.
    pub(crate) fn row_count(&self) -> u64 {
        self.row_count
    }

    /// Returns the write.
    pub(crate) fn write_id(&self) -> &str {
        &self.write_id
    }

    /// Returns the partition.
    pub(crate) fn partition_id(&self) -> u32 {
        self.partition_id
    }

    /// Returns what is kept of rows that PostgreSQL rejects.
    pub(crate) fn kept(&self) -> KeptValues<'_> {
        kept(&self.rules, &self.keys)
    }

    /// Adds rows that PostgreSQL rejects.
    ///
    /// # Errors
    /// The errors of [`RejectRules::check_limit`].
    pub(crate) fn add_refused(&mut self, rows: Vec<RefusedRow>) -> Result<()> {
        for row in rows {
            self.push(reject_of(row, |_| String::new()))?;
        }
        Ok(())
    }

    /// Returns the set, if there are rows.
    pub(crate) fn set_id(&self) -> Option<&str> {
        (self.row_count > 0).then_some(&self.set_id)
    }

    /// Returns the rules.
    pub(crate) fn rules(&self) -> &RejectRules {
        &self.rules
    }

    /// Returns the number of rows that may still be added before they are stored.
    pub(crate) fn room(&self) -> usize {
        MAX_PENDING - self.pending.len().min(MAX_PENDING - 1)
    }

    /// Adds rows of a batch that cannot be encoded.
    ///
    /// # Errors
    /// The error of the first row of a kind that the rules do not reject; the errors of
    /// [`RejectRules::check_limit`].
    pub(crate) fn add(&mut self, batch: &RecordBatch, rows: Vec<RejectedRow>) -> Result<()> {
        for RejectedRow { index, kind, error } in rows {
            if !self.rules.reject(kind.as_str()) {
                return Err(Error::from(error));
            }
            let (keys, values, ipc) = match self.rules.values {
                RejectValues::None => (None, None, None),
                RejectValues::Keys => (self.keys_of(batch, index), None, None),
                RejectValues::Row => (
                    self.keys_of(batch, index),
                    values::json(batch, index, |_| true),
                    values::ipc(batch, index),
                ),
            };
            let reject = Reject {
                partition_id: self.partition_id,
                attempt_id: self.attempt_id.clone(),
                row: error.row().unwrap_or_default(),
                kind: kind.as_str().to_owned(),
                sqlstate: error.sqlstate().map(str::to_owned),
                column: error.column().map(str::to_owned),
                constraint: None,
                message: error.message().to_owned(),
                keys,
                values,
                ipc,
            };
            self.push(reject)?;
        }
        Ok(())
    }

    fn keys_of(&self, batch: &RecordBatch, row: usize) -> Option<String> {
        match self.keys.is_empty() {
            true => None,
            false => values::json(batch, row, |name| {
                self.keys.iter().any(|key| key.as_str() == name)
            }),
        }
    }

    fn push(&mut self, reject: Reject) -> Result<()> {
        let reason = (
            reject.kind.clone(),
            reject.column.clone().unwrap_or_default(),
            reject.constraint.clone().unwrap_or_default(),
        );
        *self.reasons.entry(reason).or_default() += 1;
        self.row_count += 1;
        self.rules.check_limit(self.row_count, || self.reasons())?;
        let texts = [&reject.keys, &reject.values, &reject.ipc];
        let texts = texts.into_iter().flatten().map(String::len);
        self.pending_bytes += reject.message.len() + texts.sum::<usize>();
        self.pending.push(reject);
        Ok(())
    }

    /// Stores the rows if they are many.
    ///
    /// # Errors
    /// Any error that PostgreSQL reports.
    pub(crate) async fn store_many(&mut self) -> Result<()> {
        if self.pending.len() < MAX_PENDING && self.pending_bytes < MAX_PENDING_BYTES {
            return Ok(());
        }
        self.store().await
    }

    /// Stores the rows that are not stored yet.
    ///
    /// # Errors
    /// Any error that PostgreSQL reports.
    pub(crate) async fn store(&mut self) -> Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let transaction = self.pool.begin_control().await?;
        store_rejects(&transaction, &self.write_id, &self.set_id, &self.pending).await?;
        transaction.commit().await.into_result()?;
        self.pending.clear();
        self.pending_bytes = 0;
        Ok(())
    }

    /// Names the rows in the record of the attempt.
    pub(crate) fn record_in(&self, attempt: &mut Attempt) {
        attempt.rejected_count = self.row_count;
        attempt.reject_set = self.set_id().map(str::to_owned);
    }

    /// Checks the limits at the end of a write of one stream, which has this number of other rows.
    ///
    /// # Errors
    /// The errors of [`RejectRules::check_limits`].
    pub(crate) fn check_limits(&self, other_row_count: u64) -> Result<()> {
        let sent = self.row_count.saturating_add(other_row_count);
        self.rules
            .check_limits(self.row_count, sent, || self.reasons())
    }

    /// Returns the reasons.
    pub(crate) fn reasons(&self) -> Vec<RejectReason> {
        let reasons = self.reasons.iter();
        let reason =
            |((kind, column, constraint), row_count): (&(String, String, String), &u64)| {
                RejectReason {
                    kind: kind.clone(),
                    column: column.clone(),
                    constraint: constraint.clone(),
                    row_count: *row_count,
                }
            };
        reasons.map(reason).collect()
    }

    /// Returns the numbers of rows with the commonest reasons.
    pub(crate) fn rejected(&self) -> Rejected {
        Rejected::of(self.reasons())
    }
}
