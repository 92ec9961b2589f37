//! Chooses the attempts that a commit publishes.

use std::collections::{BTreeMap, HashMap};

use crate::error::{Error, Result};
use crate::pg::Attempt;
use crate::write::spec::AttemptId;

/// The attempts that a driver wants to publish.
#[derive(Clone, Copy)]
pub(crate) struct Accepted<'a> {
    /// The accepted attempts, with the number of rows of their receipts.
    pub(crate) attempts: &'a [(AttemptId, u64)],
    /// Whether the list may be empty although attempts are recorded.
    pub(crate) allow_none: bool,
}

impl Accepted<'_> {
    /// Rejects an empty list, unless it is allowed or no attempts are recorded: an empty list by mistake would publish
    /// nothing, and an overwrite would empty the table.
    pub(crate) fn check(self, recorded: &[Attempt]) -> Result<()> {
        if !self.attempts.is_empty() || recorded.is_empty() || self.allow_none {
            return Ok(());
        }
        Err(Error::conflict(format!(
            "the commit names no receipts, and {} attempt(s) are recorded; the write stays open",
            recorded.len()
        ))
        .with_hint("send the receipts, or set allow_no_receipts to publish nothing"))
    }
}

/// The recorded attempts that were accepted.
pub(crate) struct Chosen {
    /// Whether all recorded attempts were accepted.
    pub(crate) is_all: bool,
    pub(crate) attempt_count: usize,
    pub(crate) row_count: u64,
    pub(crate) byte_count: u64,
    /// The transactions of the attempts that are not prepared: their rows are staged, or already in the target.
    pub(crate) xact_ids: Vec<String>,
    /// The number of their rows.
    pub(crate) staged_row_count: u64,
    /// The prepared transactions of the other attempts.
    pub(crate) gids: Vec<String>,
    /// The number of their rejected rows, which are in none of the other counts.
    pub(crate) rejected_count: u64,
    /// The attempt of each partition.
    pub(crate) attempt_ids: BTreeMap<u32, String>,
    /// The sets of their rejected rows.
    pub(crate) reject_sets: Vec<String>,
}

impl Chosen {
    /// Chooses the accepted attempts. Checks that every receipt names a recorded attempt with the same number of rows,
    /// and that each partition has one receipt.
    pub(crate) fn from(recorded: &[Attempt], accepted: &[(AttemptId, u64)]) -> Result<Self> {
        let by_id: HashMap<&str, &Attempt> = recorded
            .iter()
            .map(|attempt| (attempt.attempt_id.as_str(), attempt))
            .collect();
        let mut problems = Vec::new();
        let mut chosen: BTreeMap<u32, &Attempt> = BTreeMap::new();
        for (id, row_count) in accepted {
            let Some(attempt) = by_id.get(id.attempt_id.as_str()) else {
                problems.push(format!(
                    "attempt {:?} of partition {} is not recorded",
                    id.attempt_id, id.partition_id
                ));
                continue;
            };
            if attempt.partition_id != id.partition_id || attempt.row_count != *row_count {
                problems.push(format!(
                    "attempt {:?} is recorded for partition {} with {} rows, its receipt says partition {} with {} rows",
                    id.attempt_id, attempt.partition_id, attempt.row_count, id.partition_id, row_count
                ));
            }
            if chosen.insert(attempt.partition_id, attempt).is_some() {
                problems.push(format!(
                    "partition {} is given more than one receipt",
                    attempt.partition_id
                ));
            }
        }
        let count = problems.len();
        if count > 0 {
            problems.truncate(5);
            return Err(Error::conflict(format!(
                "{count} receipt(s) differ from what was recorded; the write stays open: {}",
                problems.join("; ")
            )));
        }
        let staged = || chosen.values().filter(|attempt| attempt.gid.is_none());
        Ok(Self {
            is_all: chosen.len() == recorded.len(),
            attempt_count: chosen.len(),
            row_count: chosen.values().map(|attempt| attempt.row_count).sum(),
            byte_count: chosen.values().map(|attempt| attempt.byte_count).sum(),
            xact_ids: staged().map(|attempt| attempt.xact_id.clone()).collect(),
            staged_row_count: staged().map(|attempt| attempt.row_count).sum(),
            attempt_ids: chosen
                .values()
                .map(|attempt| (attempt.partition_id, attempt.attempt_id.clone()))
                .collect(),
            rejected_count: chosen.values().map(|attempt| attempt.rejected_count).sum(),
            reject_sets: chosen
                .values()
                .filter_map(|attempt| attempt.reject_set.clone())
                .collect(),
            gids: chosen
                .values()
                .filter_map(|attempt| attempt.gid.clone())
                .collect(),
        })
    }
}
