//! Commit: publishes exactly the accepted attempts, in one transaction.

use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

use super::outcome::{check_not_a_stream, decided, not_known, prepared_lost};
use super::rejects::check_all_moved;
use super::status::{WriteStatus, unknown};
use crate::error::{Error, ErrorKind, Result};
use crate::failpoint::{Failpoint, reach};
use crate::pg::{
    Decision, LedgerWrite, Outcome, Publish, Rejected, RowCounts, Transaction, WriteState,
    advance_sink, attempts, check_same_name, commit, lock_write_for_publish,
};
use crate::write::plan::permission::check_still;
use crate::write::publish::{self, Accepted, Chosen, Published, Refused};
use crate::write::record::spec_of;
use crate::write::spec::AttemptId;
use crate::write::writer::Writer;

/// Number of retries after a deadlock or a serialization failure.
const RETRIES: u32 = 5;

impl Writer {
    /// Publishes the accepted attempts, and no others. Each attempt comes with the number of rows of its receipt. The
    /// call may be repeated: a committed write returns its recorded status. Dropping the future may leave the outcome
    /// open, and another call returns it.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidCommand`] for a write that the server made of a stream; [`ErrorKind::NotFound`] when the
    /// write was never begun; [`ErrorKind::PermissionDenied`] when a grant was removed since begin;
    /// [`ErrorKind::Conflict`] when the write was aborted, when rows are lost before the decision, when the target or
    /// the staging table has changed since begin, when another query replaced the write's query at its sink, when the
    /// receipts differ from the ledger (the write then stays open), or when there are no receipts although attempts are
    /// recorded, unless `allow_no_receipts` is set; [`ErrorKind::Unavailable`] when the caller should repeat the call
    /// with the same receipts, also after the commit was decided; [`ErrorKind::PreparedLost`] when the commit was
    /// decided and some rows are lost; any error that PostgreSQL reports about the rows.
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

    /// Commits a write like [`Writer::commit`], including a write that this server made of a stream.
    pub(crate) async fn commit_any(
        &self,
        write_id: &str,
        accepted: Accepted<'_>,
    ) -> Result<WriteStatus> {
        let decided = self.decide(write_id, accepted).await;
        decided.map_err(|error| error.with_write_id(write_id))?;
        let settled = self.settle(write_id).await;
        settled.map_err(|error| error.with_write_id(write_id))
    }

    /// Decides the commit of the write, unless an earlier call has decided it.
    ///
    /// # Errors
    /// An error that is not retryable only when the ledger says that the write is not decided, or does not have it.
    async fn decide(&self, write_id: &str, accepted: Accepted<'_>) -> Result<()> {
        let mut tries = 0;
        let error = loop {
            match self.try_commit(write_id, accepted).await {
                Ok(()) => return Ok(()),
                Err(error) if tries < RETRIES && is_transient(&error) => {
                    tries += 1;
                    tracing::info!(write_id, tries, error = %error.report(), "commit is tried again");
                }
                Err(error) => break error,
            }
        };
        if error.kind().is_retryable() {
            return Err(error);
        }
        // An earlier call may have decided the write, and this call may have failed before it could see that.
        match self.status(write_id).await {
            Ok(status) if status.state.is_decided() => Ok(()),
            Ok(_) => Err(error),
            Err(unread) if unread.kind() == ErrorKind::NotFound => Err(error),
            Err(_) => Err(not_known(error)),
        }
    }

    /// Ends a decided write, and returns its result.
    ///
    /// # Errors
    /// The errors of [`super::outcome`]; [`ErrorKind::Unavailable`] when PostgreSQL lost the commit in a failover.
    async fn settle(&self, write_id: &str) -> Result<WriteStatus> {
        let found = async {
            let found = self.find_finished(write_id).await?;
            self.clean_up(write_id, found.0.publish).await;
            Ok(found)
        };
        let (write, status) = found.await.map_err(decided)?;
        match status.state {
            WriteState::Committed => {}
            WriteState::PreparedLost => return Err(prepared_lost(&status)),
            // A standby that lacked the commit was promoted. The ledger and the rows are in the state before it.
            WriteState::Open | WriteState::Committing | WriteState::Aborted => {
                return Err(
                    Error::unavailable("PostgreSQL lost the commit in a failover")
                        .with_hint("commit again"),
                );
            }
        }
        match spec_of(&write) {
            Ok(spec) => self.move_sequences(&spec).await,
            Err(error) => {
                tracing::warn!(write_id, error = %error.report(), "the rows are committed, and no sequence was moved");
            }
        }
        Ok(status)
    }

    async fn try_commit(&self, write_id: &str, accepted: Accepted<'_>) -> Result<()> {
        let transaction = self.begin_commit(write_id).await?;
        reach(Failpoint::CommitBeforeLock).await;
        let write = lock_write_for_publish(&transaction, write_id)
            .await?
            .filter(|write| self.caller.owns(write.principal.as_deref()))
            .ok_or_else(unknown)?;
        match write.state {
            WriteState::Open => {}
            WriteState::Committing | WriteState::Committed | WriteState::PreparedLost => {
                transaction.rollback().await;
                return Ok(());
            }
            WriteState::Aborted => {
                return Err(
                    Error::conflict(format!("the write was aborted: {}", write.reason))
                        .with_hint("run the job again with a new write id"),
                );
            }
        }
        check_still(&self.caller, &write)?;
        // The sink comes before the target: a begin waits for the row of the sink, and holds no lock on a target.
        if let Some(batch) = &write.batch
            && !advance_sink(&transaction, write.principal.as_deref(), batch).await?
        {
            drop(transaction);
            return self.refuse_replaced(write_id, &batch.sink_id).await;
        }
        let recorded = attempts(&transaction, write_id).await?;
        accepted.check(&recorded)?;
        let chosen = Chosen::from(&recorded, accepted.attempts)?;
        let spec = spec_of(&write)?;
        let mut reasons = self.decide_rejects(&transaction, &spec, &chosen).await?;
        reach(Failpoint::CommitBeforePublish).await;
        let began = Instant::now();
        let _publishing = self.metrics.begin_publishing();
        let refused = Mutex::new(Refused {
            earlier: reasons.clone(),
            ..Refused::default()
        });
        let (published, target_oid) = self
            .publish(&transaction, &write, (&chosen, &refused))
            .await?;
        let counts = match lost_rows(published, &chosen) {
            Ok(counts) => counts,
            Err(lost) => {
                // Lost rows stay lost, so the write is aborted.
                drop(transaction);
                return self.abort_lost(write_id, &lost).await;
            }
        };
        transaction.resume_own_role().await?;
        let refused = refused
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner)
            .rows;
        if let Some(rules) = &spec.rejects {
            let mut sets = chosen.reject_sets.clone();
            if !refused.is_empty() {
                let (set, all) = self
                    .add_refused(
                        &transaction,
                        (rules, write_id),
                        (&chosen, reasons),
                        &refused,
                    )
                    .await?;
                sets.push(set);
                reasons = all;
            }
            let publishing = self.publish_rejects(&transaction, rules, (write_id, &sets));
            let moved = publishing.await?;
            check_all_moved(moved, reasons.iter().map(|reason| reason.row_count).sum())?;
        }
        let refused_count = u64::try_from(refused.len()).unwrap_or(u64::MAX);
        reach(Failpoint::CommitAfterPublish).await;
        let reason = match (write.publish, recorded.len() - chosen.attempt_count) {
            (Publish::Direct, more @ 1..) => {
                format!(
                    "direct: the rows of {more} attempt(s) that were not accepted are in the table as well"
                )
            }
            _ => spec.mode.remark(counts).to_owned(),
        };
        let decision = Decision {
            row_count: chosen.row_count.saturating_sub(refused_count),
            byte_count: chosen.byte_count,
            attempt_count: u32::try_from(chosen.attempt_count).unwrap_or(u32::MAX),
            counts,
            gids: &chosen.gids,
            reason: &reason,
            target_oid,
            rejected: Rejected::of(reasons),
        };
        commit(&transaction, write_id, &decision).await?;
        reach(Failpoint::CommitBeforeCommit).await;
        let outcome = transaction.commit().await;
        self.metrics
            .observe_publish(write.publish.as_str(), began.elapsed());
        match outcome {
            Outcome::Committed => {
                self.count_published(&decision);
                reach(Failpoint::CommitAfterCommit).await;
                Ok(())
            }
            Outcome::RolledBack(error) => Err(error),
            Outcome::Unknown(error) => match self.status(write_id).await {
                Ok(status) if status.state.is_decided() => {
                    self.count_published(&decision);
                    Ok(())
                }
                // If the ledger still says open, the COMMIT may be in progress.
                Ok(_) | Err(_) => Err(not_known(error)),
            },
        }
    }

    /// Counts what a commit has published.
    fn count_published(&self, decision: &Decision<'_>) {
        self.metrics.count_published(decision.row_count);
        self.metrics.count_changed(decision.counts.named());
        self.metrics.count_rejected(decision.rejected.row_count);
    }

    /// Publishes the rows, between the statements that the write names. Returns the OID of the table that has them, unless
    /// it is that of the begin.
    async fn publish(
        &self,
        transaction: &Transaction,
        write: &LedgerWrite,
        rows: (&Chosen, &Mutex<Refused>),
    ) -> Result<(Published, Option<u32>)> {
        let (spec, statements) = (spec_of(write)?, self.statements());
        statements.check(&spec)?;
        if !spec.before.is_empty() {
            statements.run(transaction, &spec.before).await?;
            transaction.resume_own_role().await?;
        }
        let published = publish::commit(transaction, write, rows).await?;
        let (Published::Done(_), Some(target)) = (&published, &write.target) else {
            return Ok((published, None));
        };
        let oid = publish::published_oid(transaction, write, target).await?;
        if !spec.after.is_empty() {
            statements.run(transaction, &spec.after).await?;
            check_same_name(transaction, target, oid.unwrap_or_default()).await?;
        }
        Ok((published, oid))
    }

    /// Aborts a write that lost rows before its commit was decided.
    async fn abort_lost(&self, write_id: &str, lost: &str) -> Result<()> {
        let reason = format!("{lost}; nothing was published");
        // Another driver's commit of other attempts may have come first.
        match self.abort_any(write_id, &reason).await?.state.is_decided() {
            true => Ok(()),
            false => {
                Err(Error::conflict(reason).with_hint("run the job again with a new write id"))
            }
        }
    }

    /// Aborts a write whose query was replaced at its sink while the write was open.
    async fn refuse_replaced(&self, write_id: &str, sink_id: &str) -> Result<()> {
        let reason = format!(
            "another query replaced the write's query in sink {sink_id:?}; nothing was published"
        );
        match self.abort_any(write_id, &reason).await?.state.is_decided() {
            true => Ok(()),
            false => Err(Error::conflict(reason)),
        }
    }

    /// Drops the staging table of a write that has ended, and rolls back the prepared transactions that were not
    /// accepted. Best effort: it waits at most a moment for other sessions, and leaves what they use to the reaper.
    pub(crate) async fn clean_up(&self, write_id: &str, publish: Publish) {
        if let Err(error) = self.drop_staging(write_id).await {
            tracing::info!(write_id, error = %error.report(), "the staging table is not dropped yet");
        }
        if publish != Publish::TwoPhase {
            return;
        }
        if let Err(error) = self.roll_back_prepared(Some(write_id)).await {
            tracing::info!(write_id, error = %error.report(), "prepared transactions are not rolled back yet");
        }
    }
}

fn is_transient(error: &Error) -> bool {
    matches!(error.context().sqlstate.as_deref(), Some("40001" | "40P01"))
}

/// Returns the numbers of rows that a commit changed, or the reason for which it published nothing.
fn lost_rows(published: Published, chosen: &Chosen) -> std::result::Result<RowCounts, String> {
    Err(match published {
        Published::Done(counts) => return Ok(counts),
        Published::StagingLost(staged) => format!(
            "staging_lost: {staged} of {} staged rows are left, as after a crash of PostgreSQL or a TRUNCATE",
            chosen.staged_row_count
        ),
        Published::StagingChanged(what) => {
            format!("staging_changed: the staging table was {what} since the write was begun")
        }
        Published::PreparedLost(prepared) => format!(
            "prepared_lost: {prepared} of {} prepared transactions are left before the decision; another session \
                 ended the others",
            chosen.gids.len()
        ),
    })
}
