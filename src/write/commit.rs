//! Commit: exactly the accepted attempts reach the target, in one transaction.

use std::collections::{BTreeMap, HashMap};

use tokio::time::Instant;

use super::outcome::{check_not_a_stream, decided, not_known, prepared_lost};
use super::permission::check_still;
use super::session::{WriteStatus, spec_of};
use super::spec::{AttemptId, Mode, SchemaEvolution};
use super::target::lock_target;
use super::writer::Writer;
use crate::error::{Error, ErrorKind, Result};
use crate::failpoint::{Failpoint, reach};
use crate::metrics;
use crate::pg::{
    Attempt, Decision, LedgerWrite, Merge, Outcome, Publish, STREAM_PREFIX, TableLock, Transaction,
    WriteState, accepted_row_count, add_columns, add_primary_key, adopt_shadow, advance_sink,
    attempts, check_can_end, check_same_table, commit, count_prepared, create_table, delete_all,
    is_the_owners_alone, keep_accepted, lock_relation, lock_staging, lock_write_for_publish, merge,
    missing_columns, publish_rows, staging_relation, swap_in, truncate,
};
use crate::plan::{QualifiedName, Relation, is_cast};

/// How often a commit is tried again after a deadlock or a serialization failure.
const RETRIES: u32 = 5;

impl Writer {
    /// Publishes the accepted attempts, given with the rows that their receipts state, and no
    /// others. Safe to call again: a committed write gives its stored status.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidCommand`] for a write that a server made of a stream;
    /// [`ErrorKind::Conflict`] when the write was aborted, or when the receipts and the ledger do
    /// not agree (the write then stays open), or when there are none and attempts are recorded, unless
    /// `allow_no_receipts`; [`ErrorKind::NotFound`] when it was never begun; [`ErrorKind::Unavailable`] when a call
    /// with the same receipts may work, or will, since the commit is decided; [`ErrorKind::PreparedLost`] when it was
    /// decided and some rows are lost; else what PostgreSQL has against the rows.
    pub async fn commit(
        &self,
        write_id: &str,
        accepted: &[(AttemptId, u64)],
        allow_no_receipts: bool,
    ) -> Result<WriteStatus> {
        check_not_a_stream(write_id)?;
        let accepted = Accepted {
            attempts: accepted,
            allow_none: allow_no_receipts,
        };
        self.commit_any(write_id, accepted).await
    }

    /// As [`Writer::commit`], also of a write that this server made of a stream.
    pub(super) async fn commit_any(
        &self,
        write_id: &str,
        accepted: Accepted<'_>,
    ) -> Result<WriteStatus> {
        let decided = self.decide(write_id, accepted).await;
        decided.map_err(|error| error.with_write_id(write_id))?;
        let settled = self.settle(write_id).await;
        settled.map_err(|error| error.with_write_id(write_id))
    }

    /// Has the write decided, by this call or an earlier one.
    ///
    /// # Errors
    /// What is not retryable comes only when the ledger does not say that the write is decided.
    async fn decide(&self, write_id: &str, accepted: Accepted<'_>) -> Result<()> {
        let mut tries = 0;
        let error = loop {
            match self.try_commit(write_id, accepted).await {
                Ok(()) => return Ok(()),
                Err(error) if tries < RETRIES && is_transient(&error) => {
                    tries += 1;
                    tracing::info!(write_id, tries, %error, "commit is tried again");
                }
                Err(error) => break error,
            }
        };
        if error.kind().is_retryable() {
            return Err(error);
        }
        // An earlier call may have decided it, and this one have failed before it could see that.
        match self.status(write_id).await {
            Ok(status) if status.state.is_decided() => Ok(()),
            Ok(_) => Err(error),
            Err(unread) if unread.kind() == ErrorKind::NotFound => Err(error),
            Err(_) => Err(not_known(error)),
        }
    }

    /// Ends a write that is decided, and gives its result.
    ///
    /// # Errors
    /// Only what [`super::outcome`] says.
    async fn settle(&self, write_id: &str) -> Result<WriteStatus> {
        let found = async {
            self.finish_commit(write_id).await?;
            self.clean_up(write_id).await;
            self.find_status(write_id).await
        };
        let (write, status) = found.await.map_err(decided)?;
        match status.state {
            WriteState::Committed => {}
            WriteState::PreparedLost => return Err(prepared_lost(&status)),
            // A replica that lacked the commit was promoted: ledger and rows are as before it.
            WriteState::Open | WriteState::Committing | WriteState::Aborted => {
                return Err(Error::unavailable(
                    "PostgreSQL lost the commit in a failover; commit again",
                ));
            }
        }
        match spec_of(&write) {
            Ok(spec) => self.move_sequences(&spec).await,
            Err(error) => {
                tracing::warn!(write_id, %error, "the rows are committed, and no sequence was moved");
            }
        }
        Ok(status)
    }

    async fn try_commit(&self, write_id: &str, accepted: Accepted<'_>) -> Result<()> {
        let transaction = self.pool.begin_commit(write_id).await?;
        let transaction = transaction.with_role(self.caller.role());
        reach(Failpoint::CommitBeforeLock).await;
        let write = lock_write_for_publish(&transaction, write_id)
            .await?
            .filter(|write| self.caller.owns(write.principal.as_deref()))
            .ok_or_else(|| Error::not_found(format!("there is no write {write_id:?} to commit")))?;
        match write.state {
            WriteState::Open => {}
            WriteState::Committing | WriteState::Committed | WriteState::PreparedLost => {
                transaction.rollback().await;
                return Ok(());
            }
            WriteState::Aborted => {
                return Err(Error::conflict(format!(
                    "write {write_id:?} was aborted: {}",
                    write.reason
                )));
            }
        }
        check_still(&self.caller, &write)?;
        // Before the target: begins wait for the row of the sink, and hold nothing of a target.
        if let Some(batch) = &write.batch
            && !advance_sink(&transaction, write.principal.as_deref(), batch).await?
        {
            drop(transaction);
            return self.refuse_replaced(write_id, &batch.sink_id).await;
        }
        let recorded = attempts(&transaction, write_id).await?;
        accepted.check(&recorded)?;
        let chosen = Chosen::from(&recorded, accepted.attempts)?;
        reach(Failpoint::CommitBeforePublish).await;
        let began = Instant::now();
        let _publishing = metrics::Publishing::begin();
        let published = publish(&transaction, &write, &chosen).await?;
        let lost = match published {
            Published::Done => None,
            Published::StagingLost(staged) => Some(format!(
                "staging_lost: {staged} of {} staged rows are left, as after a crash of PostgreSQL or a TRUNCATE",
                chosen.staged_row_count
            )),
            Published::StagingChanged(what) => Some(format!(
                "staging_changed: the staging table was {what} since the write was begun"
            )),
            Published::PreparedLost(prepared) => Some(format!(
                "prepared_lost: {prepared} of {} prepared transactions are left before the decision; another session \
                 has ended the others",
                chosen.gids.len()
            )),
        };
        if let Some(lost) = lost {
            // Rows that are gone stay gone: say so once and for all.
            drop(transaction);
            let reason =
                format!("{lost}; nothing was published; run the job again with a new write id");
            // Unless another driver's commit, of other attempts, came first.
            return match self.abort_any(write_id, &reason).await?.state.is_decided() {
                true => Ok(()),
                false => Err(Error::conflict(reason)),
            };
        }
        transaction.resume_own_role().await?;
        reach(Failpoint::CommitAfterPublish).await;
        let reason = match (write.publish, recorded.len() - chosen.attempt_count) {
            (Publish::Direct, more @ 1..) => {
                format!(
                    "direct: the rows of {more} attempt(s) that were not accepted are in the table as well"
                )
            }
            _ => String::new(),
        };
        let decision = Decision {
            row_count: chosen.row_count,
            byte_count: chosen.byte_count,
            attempt_count: u32::try_from(chosen.attempt_count).unwrap_or(u32::MAX),
            gids: &chosen.gids,
            reason: &reason,
        };
        commit(&transaction, write_id, &decision).await?;
        reach(Failpoint::CommitBeforeCommit).await;
        let outcome = transaction.commit().await;
        metrics::observe_publish(write.publish.as_str(), began.elapsed());
        match outcome {
            Outcome::Committed => {
                metrics::count_published(chosen.row_count);
                reach(Failpoint::CommitAfterCommit).await;
                Ok(())
            }
            Outcome::RolledBack(error) => Err(error),
            Outcome::Unknown(error) => match self.status(write_id).await {
                Ok(status) if status.state.is_decided() => {
                    metrics::count_published(chosen.row_count);
                    Ok(())
                }
                // Where the ledger still says open, the COMMIT may be under way.
                Ok(_) | Err(_) => Err(not_known(error)),
            },
        }
    }

    /// Ends a write whose query lost its sink to another one while the write was open.
    async fn refuse_replaced(&self, write_id: &str, sink_id: &str) -> Result<()> {
        let reason = format!(
            "another query took the place of the write's query in sink {sink_id:?}; nothing was published"
        );
        match self.abort_any(write_id, &reason).await?.state.is_decided() {
            true => Ok(()),
            false => Err(Error::conflict(reason)),
        }
    }

    /// Drops the staging table of a write, if it has ended, and what is prepared and not accepted. Best
    /// effort: what somebody still uses is left to the reaper rather than waited for.
    pub(super) async fn clean_up(&self, write_id: &str) {
        if let Err(error) = self.drop_staging(write_id).await {
            tracing::info!(write_id, %error, "the staging table is not dropped yet");
        }
        if let Err(error) = self.roll_back_prepared(Some(write_id)).await {
            tracing::info!(write_id, %error, "prepared transactions are not rolled back yet");
        }
    }
}

fn is_transient(error: &Error) -> bool {
    matches!(error.context().sqlstate.as_deref(), Some("40001" | "40P01"))
}

/// What a driver wants published.
#[derive(Clone, Copy)]
pub(super) struct Accepted<'a> {
    /// The accepted attempts, with the rows that their receipts state.
    pub(super) attempts: &'a [(AttemptId, u64)],
    /// Whether there may be none although some are recorded.
    pub(super) allow_none: bool,
}

impl Accepted<'_> {
    /// A list that is empty by mistake would publish nothing, and an overwrite with it.
    fn check(self, recorded: &[Attempt]) -> Result<()> {
        if !self.attempts.is_empty() || recorded.is_empty() || self.allow_none {
            return Ok(());
        }
        Err(Error::conflict(format!(
            "the commit names no receipts, and {} attempt(s) are recorded; the write stays open: send the receipts, \
             or set allow_no_receipts to publish nothing",
            recorded.len()
        )))
    }
}

/// The recorded attempts that were accepted.
struct Chosen {
    /// Whether that is all of them.
    is_all: bool,
    attempt_count: usize,
    row_count: u64,
    byte_count: u64,
    /// The transactions that wrote those that are staged, or in the target already.
    xact_ids: Vec<String>,
    /// Rows of those.
    staged_row_count: u64,
    /// The prepared transactions of the others.
    gids: Vec<String>,
}

impl Chosen {
    /// Every receipt must name an attempt that is recorded with the same rows, one per partition.
    fn from(recorded: &[Attempt], accepted: &[(AttemptId, u64)]) -> Result<Self> {
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
                "{count} receipt(s) do not agree with what was recorded; the write stays open: {}",
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
            gids: chosen
                .values()
                .filter_map(|attempt| attempt.gid.clone())
                .collect(),
        })
    }
}

enum Published {
    Done,
    /// So many rows are left of those that were recorded.
    StagingLost(u64),
    /// The staging table is not as begin made it; what has become of it.
    StagingChanged(&'static str),
    /// So many prepared transactions are left of those that were recorded.
    PreparedLost(usize),
}

async fn publish(
    transaction: &Transaction,
    write: &LedgerWrite,
    chosen: &Chosen,
) -> Result<Published> {
    let Some(target) = &write.target else {
        return Err(Error::internal("an open write has no target"));
    };
    if write.publish == Publish::Direct {
        // The rows are where they belong.
        return Ok(Published::Done);
    }
    let Some(staging) = &write.staging else {
        return Ok(Published::StagingLost(0));
    };
    if matches!(write.publish, Publish::Create | Publish::Swap) {
        // Such a table belongs to the role that fills it.
        transaction.assume_role().await?;
    }
    let needs_staging = write.publish != Publish::TwoPhase || !chosen.xact_ids.is_empty();
    if needs_staging && let Some(what) = lock_staging(transaction, write, staging).await? {
        return Ok(Published::StagingChanged(what));
    }
    let xact_ids = &chosen.xact_ids;
    if matches!(write.publish, Publish::Create | Publish::Swap) {
        // Looking at all rows takes a tenth of the time that copying them did. In a stream of our own there is
        // nothing to find, unless others may write: its attempts all count, and the table is logged.
        let is_stream = write.write_id.starts_with(STREAM_PREFIX)
            && chosen.is_all
            && transaction.role().is_none();
        if !is_stream || !is_the_owners_alone(transaction, staging).await? {
            let staged = {
                let (id, count) = (&write.write_id, chosen.row_count);
                keep_accepted(transaction, id, staging, xact_ids, count).await?
            };
            if staged != chosen.row_count {
                return Ok(Published::StagingLost(staged));
            }
        }
        transaction.assume_role().await?;
        if write.publish == Publish::Create {
            adopt_shadow(transaction, staging, target).await?;
            add_primary_key(transaction, target, &spec_of(write)?.primary_key).await?;
        } else {
            swap_in(transaction, staging, target, write.target_oid).await?;
        }
        return Ok(Published::Done);
    }
    if write.publish == Publish::TwoPhase {
        check_can_end(transaction, &chosen.gids).await?;
        let prepared = count_prepared(transaction, &chosen.gids).await?;
        if prepared != chosen.gids.len() {
            return Ok(Published::PreparedLost(prepared));
        }
        if chosen.xact_ids.is_empty() {
            // They hold the table as it was. A lock of our own would wait behind whoever waits for them.
            return Ok(Published::Done);
        }
    }
    let staging = staging_relation(transaction, staging).await?;
    transaction.assume_role().await?;
    let spec = spec_of(write)?;
    let is_missing = write.target_oid.is_none();
    if is_missing || spec.schema_evolution == SchemaEvolution::AddColumns {
        let missing = missing_columns(transaction, write.target_oid, &staging).await?;
        if is_missing {
            create_table(transaction, target, &missing, &spec.table_options)
                .await
                .map_err(|error| error.with_table(target))?;
            add_primary_key(transaction, target, &spec.primary_key).await?;
        } else {
            add_columns(transaction, target, &missing).await?;
        }
    }
    let target = match is_missing {
        true => lock_relation(transaction, target, TableLock::Insert).await?,
        false => open_target(transaction, write, target).await?,
    };
    check_same_columns(&target, &staging)?;
    let published = match spec.mode {
        Mode::Keyed {
            action,
            keys,
            order_by,
            ..
        } => {
            let staged = accepted_row_count(transaction, &staging.name, xact_ids).await?;
            if staged != chosen.staged_row_count {
                return Ok(Published::StagingLost(staged));
            }
            let (target, staging, order_by) = (&target, &staging, order_by.as_ref());
            merge(
                transaction,
                &Merge {
                    target,
                    staging,
                    xact_ids,
                    action,
                    keys: &keys,
                    order_by,
                },
            )
            .await?;
            check_same_table(transaction, target).await?;
            return Ok(Published::Done);
        }
        Mode::Append { .. } | Mode::Create { .. } | Mode::Overwrite { .. } => {
            let published = publish_rows(transaction, &target, &staging, xact_ids).await?;
            check_same_table(transaction, &target).await?;
            published
        }
    };
    if published != chosen.staged_row_count {
        let staged = accepted_row_count(transaction, &staging.name, xact_ids).await?;
        if staged != chosen.staged_row_count {
            return Ok(Published::StagingLost(staged));
        }
        tracing::warn!(
            table = ?target.name.to_string(), sent = chosen.staged_row_count, kept = published,
            "a trigger of the table left rows out"
        );
    }
    Ok(Published::Done)
}

/// Locks the target as the mode needs it, and empties it where the mode says so.
async fn open_target(
    transaction: &Transaction,
    write: &LedgerWrite,
    name: &QualifiedName,
) -> Result<Relation> {
    match write.publish {
        Publish::Truncate => {
            let relation = lock_target(transaction, write, name, TableLock::Truncate).await?;
            truncate(transaction, name).await?;
            Ok(relation)
        }
        Publish::Delete => {
            let relation = lock_target(transaction, write, name, TableLock::Replace).await?;
            delete_all(transaction, name).await?;
            Ok(relation)
        }
        Publish::Append
        | Publish::TwoPhase
        | Publish::Merge
        | Publish::Create
        | Publish::Swap
        | Publish::Direct
        | Publish::Nothing => lock_target(transaction, write, name, TableLock::Insert).await,
    }
}

/// The columns must have the types with which the rows were staged: an INSERT would cast, and lose
/// what the new type does not hold. Text that was staged to be cast is as good as ever.
fn check_same_columns(target: &Relation, staging: &Relation) -> Result<()> {
    for staged in &staging.columns {
        let same = target.columns.iter().any(|column| {
            let same_type = column.ty == staged.ty && column.typmod == staged.typmod;
            column.name == staged.name && (same_type || is_cast(staged, column))
        });
        if !same {
            return Err(Error::conflict(format!(
                "column {} of {} was changed or dropped since the write was begun; run the job again",
                staged.name, target.name
            ))
            .with_table(&target.name)
            .with_column(staged.name.as_str()));
        }
    }
    Ok(())
}
