//! Attempts that wait as prepared transactions. Their streams prepare them, and the ledger decides how they end.

use std::time::Duration;

use super::outcome::decided;
use super::status::WriteStatus;
use crate::error::{Error, Result};
use crate::failpoint::{Failpoint, reach};
use crate::pg::{
    Attempt, Finished, Gid, LedgerWrite, Outcome, Transaction, WriteState, commit_prepared,
    count_prepared, find_write, finish_commit, prepare, record_attempt, roll_back_one,
    roll_back_prepared,
};
use crate::write::writer::Writer;

/// The number of tries, and the pause between them, while another session is busy with a prepared transaction.
const TRIES: u32 = 100;
const PAUSE: Duration = Duration::from_millis(20);

impl Writer {
    /// Prepares the transaction of a stream and records the attempt. Returns false when its write has ended; then none
    /// of its rows are kept.
    ///
    /// The record must be visible before the decision, so it cannot be part of the prepared transaction.
    ///
    /// # Errors
    /// Any error that PostgreSQL reports. A prepared transaction that is not recorded is rolled back at once if that is
    /// certain, and otherwise when the write ends.
    pub(crate) async fn prepare_attempt(
        &self,
        transaction: Transaction,
        write_id: &str,
        attempt: &mut Attempt,
    ) -> Result<bool> {
        let gid = Gid::new(&transaction, write_id).await?;
        attempt.gid = Some(gid.as_str().to_owned());
        attempt.prepared_xact_id = Some(transaction.xact_id().await?);
        prepare(transaction, &gid).await.into_result()?;
        reach(Failpoint::AttemptAfterPrepare).await;
        match self.record_prepared(write_id, attempt, &gid).await? {
            Recorded::Yes => Ok(true),
            Recorded::Refused => {
                self.forget_prepared(&gid).await;
                Ok(false)
            }
            Recorded::No(error) => {
                self.forget_prepared(&gid).await;
                Err(error)
            }
        }
    }

    /// Records a prepared attempt. An error means that the attempt may or may not be recorded.
    async fn record_prepared(
        &self,
        write_id: &str,
        attempt: &Attempt,
        gid: &Gid,
    ) -> Result<Recorded> {
        let transaction = match self.pool.begin_control().await {
            Ok(transaction) => transaction,
            Err(error) => return Ok(Recorded::No(error)),
        };
        if let Err(error) = self.check_room(&transaction, write_id, attempt).await {
            return Ok(Recorded::No(error));
        }
        match record_attempt(&transaction, write_id, attempt).await {
            Ok(true) => {}
            Ok(false) => return Ok(Recorded::Refused),
            Err(error) => return Ok(Recorded::No(error)),
        }
        // PostgreSQL answers the PREPARE of a failed transaction with ROLLBACK, and with no error.
        let gids = [gid.as_str().to_owned()];
        match count_prepared(&transaction, &gids).await {
            Ok(1) => {}
            Ok(_) => {
                return Ok(Recorded::No(Error::unavailable(
                    "PostgreSQL did not keep the prepared transaction",
                )));
            }
            Err(error) => return Ok(Recorded::No(error)),
        }
        reach(Failpoint::AttemptBeforeCommit).await;
        match transaction.commit().await {
            Outcome::Committed => Ok(Recorded::Yes),
            Outcome::RolledBack(error) => Ok(Recorded::No(error)),
            // The attempt may be recorded, and then it must stay.
            outcome @ Outcome::Unknown(_) => outcome.into_result().map(|()| Recorded::Yes),
        }
    }

    /// Rolls back a prepared transaction that will not be recorded. Best effort: if this fails, the end of the write
    /// rolls it back.
    async fn forget_prepared(&self, gid: &Gid) {
        let forgotten = async { roll_back_one(&self.pool.session().await?, gid).await };
        if let Err(error) = forgotten.await {
            tracing::info!(gid = gid.as_str(), error = %error.report(), "a prepared transaction is not rolled back yet");
        }
    }

    /// Reads a write. If its commit is decided, finishes the commit first.
    ///
    /// # Errors
    /// The errors of [`Writer::finish_commit`] and [`Writer::status`].
    pub(crate) async fn find_finished(&self, write_id: &str) -> Result<(LedgerWrite, WriteStatus)> {
        let found = self.find_status(write_id).await?;
        if found.0.state != WriteState::Committing {
            return Ok(found);
        }
        self.finish_decided(write_id).await.map_err(decided)?;
        self.find_status(write_id).await
    }

    /// Finishes a decided commit: makes its remaining accepted attempts visible. It does nothing for any other write.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](crate::error::ErrorKind::Unavailable) when attempts remain, which another call or the
    /// reaper of any server makes visible; any error that PostgreSQL reports.
    pub(crate) async fn finish_commit(&self, write_id: &str) -> Result<()> {
        let transaction = self.pool.begin_control().await?;
        let write = find_write(&transaction, write_id).await?;
        transaction.rollback().await;
        if write.is_none_or(|write| write.state != WriteState::Committing) {
            return Ok(());
        }
        // From here on the write is committed, so an error must not look like a rejection.
        self.finish_decided(write_id).await.map_err(decided)
    }

    async fn finish_decided(&self, write_id: &str) -> Result<()> {
        for _ in 0..TRIES {
            let all = commit_prepared(&self.pool.session().await?, write_id).await?;
            if all && self.mark_finished(write_id).await? {
                return Ok(());
            }
            tokio::time::sleep(PAUSE).await;
        }
        Err(Error::unavailable(
            "another session is busy with a prepared transaction of the write",
        ))
    }

    /// Records how a decided write ended. Returns false if one of its prepared transactions has not ended.
    async fn mark_finished(&self, write_id: &str) -> Result<bool> {
        reach(Failpoint::CommitBeforeFinish).await;
        let transaction = self.pool.begin_control().await?;
        let finished = finish_commit(&transaction, write_id).await?;
        if finished == Finished::NotYet {
            transaction.rollback().await;
            return Ok(false);
        }
        transaction.commit().await.into_result()?;
        if let Finished::Lost(reason) = finished {
            tracing::error!(
                write_id,
                reason,
                "rows of a write that was decided are lost"
            );
        }
        Ok(true)
    }

    /// Rolls back the prepared transactions, of one write or of all, that no commit can accept any more.
    ///
    /// # Errors
    /// Any error that PostgreSQL reports.
    pub(crate) async fn roll_back_prepared(&self, write_id: Option<&str>) -> Result<()> {
        // The next round handles transactions that another session is busy with.
        roll_back_prepared(&self.pool.session().await?, write_id)
            .await
            .map(drop)
    }
}

/// The outcome of recording a prepared attempt.
enum Recorded {
    Yes,
    /// The write has ended.
    Refused,
    /// The attempt is certainly not recorded.
    No(Error),
}
