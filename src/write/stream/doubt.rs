//! COMMIT, and how it ended if the answer was lost.

use std::time::Duration;

use futures_util::future::try_join3;
use tokio::time::Instant;

use crate::error::{Error, Result};
use crate::pg::{Outcome, Transaction, check_same_table};
use crate::write::writer::Writer;
use arrow_pgcopy::Relation;

/// Limit of the time that PostgreSQL is asked how a COMMIT ended. It covers a restart of PostgreSQL.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// Limit of the time for one answer, and the pause before the next query.
const ONE_ANSWER: Duration = Duration::from_secs(5);
pub(crate) const PAUSE: Duration = Duration::from_millis(500);

/// Wraps the error of a COMMIT whose outcome is unknown. It is not retryable: a retry could write the rows twice.
pub(crate) fn in_doubt(error: Error) -> Error {
    Error::internal(format!(
        "the connection to PostgreSQL broke during COMMIT, and PostgreSQL did not report its outcome for {}",
        humantime::format_duration(PATIENCE)
    ))
    .with_hint("look into the table before you write the rows again")
    .with_source(error)
}

/// Says whether a transaction may be committed.
pub(super) type MayCommit<'a> = &'a (dyn Fn() -> Result<()> + Send + Sync);

impl Writer {
    /// Commits, if the targets still have their names and `may_commit` agrees right before the COMMIT. Asks PostgreSQL for
    /// the outcome if the answer is lost.
    ///
    /// # Errors
    /// The error of `may_commit`; any error of a deferred trigger or of PostgreSQL; [`ErrorKind::Conflict`] when a target has another name;
    /// [`ErrorKind::Internal`] when the outcome is unknown.
    pub(super) async fn commit_checked(
        &self,
        transaction: Transaction,
        targets: &[Relation],
        may_commit: MayCommit<'_>,
    ) -> Result<()> {
        let checked = async {
            for target in targets {
                check_same_table(&transaction, target).await?;
            }
            Ok(())
        };
        // Deferred triggers run in the role that wrote the rows, and their errors come before the COMMIT. All takes one
        // round trip.
        let resumed = transaction.resume_own_role();
        let ((), (), xact_id) = try_join3(checked, resumed, transaction.xact_id()).await?;
        if let Err(error) = may_commit() {
            transaction.rollback().await;
            return Err(error);
        }
        match transaction.commit().await {
            Outcome::Committed => Ok(()),
            Outcome::RolledBack(error) => Err(error),
            Outcome::Unknown(error) => match self.find_outcome(&xact_id).await {
                Some(true) => Ok(()),
                Some(false) => Err(error
                    .into_retryable(
                        "the connection to PostgreSQL broke during COMMIT, and PostgreSQL rolled the transaction back",
                    )
                    .with_hint("send the stream again")),
                None => Err(in_doubt(error)),
            },
        }
    }

    /// Asks PostgreSQL how a transaction ended whose COMMIT got no answer. Returns `None` if PostgreSQL did not report
    /// it within [`PATIENCE`]. An error says nothing about the transaction, so only an answer of PostgreSQL counts.
    async fn find_outcome(&self, xact_id: &str) -> Option<bool> {
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            let asked = async {
                let transaction = self.pool.begin_read().await?;
                let outcome = transaction.was_committed(xact_id).await;
                transaction.rollback().await;
                outcome
            };
            match tokio::time::timeout(ONE_ANSWER, asked).await {
                Ok(Ok(Some(committed))) => return Some(committed),
                Ok(Ok(None)) => {
                    tracing::info!(xact_id, "a COMMIT without an answer is in progress")
                }
                Ok(Err(error)) => {
                    tracing::info!(xact_id, error = %error.report(), "PostgreSQL cannot be asked how a COMMIT ended");
                }
                Err(_) => tracing::info!(xact_id, "PostgreSQL does not say how a COMMIT ended"),
            }
            tokio::time::sleep(PAUSE).await;
        }
        None
    }
}
