//! Commit: exactly the accepted attempts reach the target, in one transaction.

use tokio::time::Instant;

use super::chosen::{Accepted, Chosen};
use super::outcome::{check_not_a_stream, decided, not_known, prepared_lost};
use super::record::spec_of;
use super::status::{WriteStatus, unknown};
use crate::error::{Error, ErrorKind, Result};
use crate::failpoint::{Failpoint, reach};
use crate::pg::{
    Decision, Outcome, Publish, WriteState, advance_sink, attempts, commit, lock_write_for_publish,
};
use crate::write::plan::permission::check_still;
use crate::write::publish::{self, Published};
use crate::write::spec::AttemptId;
use crate::write::writer::Writer;

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
                return Err(
                    Error::unavailable("PostgreSQL lost the commit in a failover")
                        .with_hint("commit again"),
                );
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
        let _publishing = self.metrics.begin_publishing();
        let published = publish::commit(&transaction, &write, &chosen).await?;
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
                 ended the others",
                chosen.gids.len()
            )),
        };
        if let Some(lost) = lost {
            // Rows that are gone stay gone: say so once and for all.
            drop(transaction);
            let reason = format!("{lost}; nothing was published");
            // Unless another driver's commit, of other attempts, came first.
            return match self.abort_any(write_id, &reason).await?.state.is_decided() {
                true => Ok(()),
                false => {
                    Err(Error::conflict(reason).with_hint("run the job again with a new write id"))
                }
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
        self.metrics
            .observe_publish(write.publish.as_str(), began.elapsed());
        match outcome {
            Outcome::Committed => {
                self.metrics.count_published(chosen.row_count);
                reach(Failpoint::CommitAfterCommit).await;
                Ok(())
            }
            Outcome::RolledBack(error) => Err(error),
            Outcome::Unknown(error) => match self.status(write_id).await {
                Ok(status) if status.state.is_decided() => {
                    self.metrics.count_published(chosen.row_count);
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
            "another query replaced the write's query in sink {sink_id:?}; nothing was published"
        );
        match self.abort_any(write_id, &reason).await?.state.is_decided() {
            true => Ok(()),
            false => Err(Error::conflict(reason)),
        }
    }

    /// Drops the staging table of a write that has ended, and rolls back the prepared transactions that were
    /// not accepted. Best effort: it does not wait for other sessions, and leaves what they use to the reaper.
    pub(crate) async fn clean_up(&self, write_id: &str) {
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
