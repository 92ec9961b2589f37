//! Commit: exactly the accepted attempts reach the target, in one transaction.

use std::collections::{BTreeMap, HashMap};

use super::session::WriteStatus;
use super::writer::Writer;
use crate::error::{Error, Result};
use crate::pg::{
    Attempt, LedgerWrite, Outcome, Publish, TableLock, Transaction, WriteState, accepted_row_count,
    attempts, commit, create_table_like, delete_all, drop_staging, lock_relation,
    lock_write_for_publish, publish_rows, staging_relation, truncate,
};
use crate::plan::{QualifiedName, Relation};

use super::attempt::AttemptId;

/// How often a commit is tried again after a deadlock or a serialization failure.
const RETRIES: u32 = 5;

impl Writer {
    /// Publishes the accepted attempts, given with the rows that their receipts state, and no
    /// others. Safe to call again: a committed write gives its stored status.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`](crate::error::ErrorKind::Conflict) when the write was aborted, or when the receipts and the ledger do
    /// not agree (the write then stays open); [`ErrorKind::NotFound`](crate::error::ErrorKind::NotFound) when it was never begun;
    /// [`ErrorKind::Unavailable`](crate::error::ErrorKind::Unavailable) when a call with the same receipts may work; else what PostgreSQL
    /// has against the rows.
    pub async fn commit(
        &self,
        write_id: &str,
        accepted: &[(AttemptId, u64)],
    ) -> Result<WriteStatus> {
        let mut tries = 0;
        loop {
            match self.try_commit(write_id, accepted).await {
                Ok(write) => {
                    self.clean_up(&write).await;
                    return self.status(write_id).await;
                }
                Err(error) if tries < RETRIES && is_transient(&error) => {
                    tries += 1;
                    tracing::info!(write_id, tries, %error, "commit is tried again");
                }
                Err(error) => return Err(error.with_write_id(write_id)),
            }
        }
    }

    async fn try_commit(
        &self,
        write_id: &str,
        accepted: &[(AttemptId, u64)],
    ) -> Result<LedgerWrite> {
        let transaction = self.pool.begin_control().await?;
        let write = lock_write_for_publish(&transaction, write_id)
            .await?
            .ok_or_else(|| Error::not_found(format!("there is no write {write_id:?} to commit")))?;
        match write.state {
            WriteState::Open => {}
            WriteState::Committed => {
                transaction.rollback().await;
                return Ok(write);
            }
            WriteState::Aborted => {
                return Err(Error::conflict(format!(
                    "write {write_id:?} was aborted: {}",
                    write.reason
                )));
            }
        }
        let recorded = attempts(&transaction, write_id).await?;
        let chosen = choose(&recorded, accepted)?;
        let row_count: u64 = chosen.iter().map(|attempt| attempt.row_count).sum();
        let byte_count: u64 = chosen.iter().map(|attempt| attempt.byte_count).sum();
        let xact_ids: Vec<String> = chosen
            .iter()
            .map(|attempt| attempt.xact_id.clone())
            .collect();

        if let Published::StagingLost(staged) =
            publish(&transaction, &write, &xact_ids, row_count).await?
        {
            // Rows that are gone stay gone: say so once and for all.
            drop(transaction);
            let reason = format!(
                "staging_lost: {staged} of {row_count} staged rows are left, as after a crash of PostgreSQL; \
                 nothing was published; run the job again with a new write id"
            );
            self.abort(write_id, &reason).await?;
            return Err(Error::conflict(reason));
        }
        let attempt_count = u32::try_from(chosen.len()).unwrap_or(u32::MAX);
        commit(
            &transaction,
            write_id,
            row_count,
            byte_count,
            attempt_count,
            "",
        )
        .await?;
        match transaction.commit().await {
            Outcome::Committed => Ok(write),
            Outcome::RolledBack(error) => Err(error),
            Outcome::Unknown(error) => match self.find_status(write_id).await? {
                (
                    write,
                    WriteStatus {
                        state: WriteState::Committed,
                        ..
                    },
                ) => Ok(write),
                _ => Err(error),
            },
        }
    }

    /// Drops the staging table of a write that has ended. Best effort: what a stream still holds is
    /// left behind rather than waited for.
    pub(super) async fn clean_up(&self, write: &LedgerWrite) {
        let Some(staging) = &write.staging else {
            return;
        };
        let dropped = async {
            let transaction = self.pool.begin_control().await?;
            transaction.wait_no_longer_for_locks().await?;
            drop_staging(&transaction, staging).await?;
            match transaction.commit().await {
                Outcome::Committed => Ok(()),
                Outcome::RolledBack(error) | Outcome::Unknown(error) => Err(error),
            }
        };
        if let Err(error) = dropped.await {
            tracing::warn!(write_id = write.write_id, staging = %staging, %error, "staging table not dropped yet");
        }
    }
}

fn is_transient(error: &Error) -> bool {
    matches!(error.context().sqlstate.as_deref(), Some("40001" | "40P01"))
}

/// The recorded attempts that were accepted: every one there with the rows its receipt states, and
/// one per partition.
fn choose<'a>(recorded: &'a [Attempt], accepted: &[(AttemptId, u64)]) -> Result<Vec<&'a Attempt>> {
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
    match problems.len() {
        0 => Ok(chosen.into_values().collect()),
        count => {
            problems.truncate(5);
            Err(Error::conflict(format!(
                "{count} receipt(s) do not agree with what was recorded; the write stays open: {}",
                problems.join("; ")
            )))
        }
    }
}

enum Published {
    Done,
    /// So many rows are left of those that were recorded.
    StagingLost(u64),
}

async fn publish(
    transaction: &Transaction,
    write: &LedgerWrite,
    xact_ids: &[String],
    row_count: u64,
) -> Result<Published> {
    let (Some(target), Some(staging)) = (&write.target, &write.staging) else {
        return Err(Error::conflict("the write has nothing to publish"));
    };
    let staging = staging_relation(transaction, staging).await?;
    let target = open_target(transaction, write, target, &staging).await?;
    let published = publish_rows(transaction, &target, &staging, xact_ids).await?;
    if published != row_count {
        let staged = accepted_row_count(transaction, &staging.name, xact_ids).await?;
        if staged != row_count {
            return Ok(Published::StagingLost(staged));
        }
        tracing::warn!(
            table = %target.name, sent = row_count, kept = published,
            "a trigger of the table left rows out"
        );
    }
    Ok(Published::Done)
}

/// Locks the target, made or emptied as the mode says, and makes sure that it is still the one that
/// the write was begun with.
async fn open_target(
    transaction: &Transaction,
    write: &LedgerWrite,
    name: &QualifiedName,
    staging: &Relation,
) -> Result<Relation> {
    let relation = match write.publish {
        Publish::Create => {
            create_table_like(transaction, name, &staging.name).await?;
            return lock_relation(transaction, name, TableLock::Insert).await;
        }
        Publish::Append | Publish::Nothing => {
            lock_relation(transaction, name, TableLock::Insert).await?
        }
        Publish::Truncate => lock_relation(transaction, name, TableLock::Truncate).await?,
        Publish::Delete => lock_relation(transaction, name, TableLock::Replace).await?,
    };
    if Some(relation.oid) != write.target_oid {
        return Err(Error::conflict(format!(
            "table {name} was dropped and made again since the write was begun"
        ))
        .with_table(name));
    }
    match write.publish {
        Publish::Truncate => truncate(transaction, name).await?,
        Publish::Delete => delete_all(transaction, name).await?,
        Publish::Append | Publish::Create | Publish::Nothing => {}
    }
    Ok(relation)
}
