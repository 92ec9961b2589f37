//! One attempt of one partition: COPY into staging, fenced and recorded in the same transaction.

use arrow_schema::Schema;
use futures_util::Stream;

use super::pipeline::{self, EndOfStream, StreamMessage};
use super::spec::Receipt;
use super::writer::Writer;
use crate::error::{Error, ErrorKind, Result};
use crate::pg::{
    Attempt, CopySink, LedgerWrite, Outcome, WriteState, find_attempt, record_attempt,
    staging_relation,
};
use crate::plan::{EncodePlan, QualifiedName};

/// Which stream of which partition of which write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptId {
    /// The write.
    pub write_id: String,
    /// Which part of it.
    pub partition_id: u32,
    /// Unique within the write.
    pub attempt_id: String,
}

impl Writer {
    /// Stages a stream as one attempt: when this returns `Ok`, the rows are stored and recorded,
    /// and a commit may publish them. An attempt that is recorded already gives its receipt again,
    /// and the stream is not read.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when the write was never begun, [`ErrorKind::Conflict`] when it has
    /// ended, else whatever keeps the rows from staging.
    pub async fn write_attempt<S>(
        &self,
        id: &AttemptId,
        schema: &Schema,
        messages: S,
    ) -> Result<Receipt>
    where
        S: Stream<Item = Result<StreamMessage>> + Unpin,
    {
        let located = |error: Error| error.with_write_id(&id.write_id);
        let (write, _) = self.find_status(&id.write_id).await?;
        let table = write
            .target
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default();
        if let Some(attempt) = self.recorded(id).await.map_err(located)? {
            return receipt(id, &attempt, table).map_err(located);
        }
        let staging = open_staging(&write).map_err(located)?;
        match self.stage(id, &staging, schema, messages).await {
            Ok(attempt) => receipt(id, &attempt, table),
            // The COMMIT may have worked although its answer was lost, and a twin of this stream
            // may have recorded the same attempt first: the ledger knows.
            Err(error) => match self.recorded(id).await {
                Ok(Some(attempt)) => receipt(id, &attempt, table),
                Ok(None) | Err(_) => Err(error.with_table(&table)),
            },
        }
        .map_err(located)
    }

    async fn stage<S>(
        &self,
        id: &AttemptId,
        staging: &QualifiedName,
        schema: &Schema,
        messages: S,
    ) -> Result<Attempt>
    where
        S: Stream<Item = Result<StreamMessage>> + Unpin,
    {
        let transaction = self.pool.begin_data().await?;
        let relation = staging_relation(&transaction, staging).await?;
        let plan = EncodePlan::new(schema, &relation)?;
        let sink = CopySink::open(&transaction, staging, plan.column_names()).await?;
        let loaded = pipeline::load(&plan, messages, sink, EndOfStream::NeedsEndRecord).await?;
        if loaded.copied_row_count != loaded.row_count {
            return Err(Error::internal(format!(
                "PostgreSQL staged {} of {} rows",
                loaded.copied_row_count, loaded.row_count
            )));
        }
        // pg_current_xact_id without its epoch is what PostgreSQL keeps in xmin.
        let attempt = Attempt {
            attempt_id: id.attempt_id.clone(),
            partition_id: id.partition_id,
            row_count: loaded.row_count,
            byte_count: loaded.byte_count,
            xact_id: transaction.xmin().await?,
        };
        if !record_attempt(&transaction, &id.write_id, &attempt).await? {
            return Err(Error::conflict(format!(
                "write {:?} ended while this stream was under way; its rows are not kept",
                id.write_id
            )));
        }
        match transaction.commit().await {
            Outcome::Committed => Ok(attempt),
            Outcome::RolledBack(error) | Outcome::Unknown(error) => Err(error),
        }
    }

    async fn recorded(&self, id: &AttemptId) -> Result<Option<Attempt>> {
        let transaction = self.pool.begin_control().await?;
        let attempt = find_attempt(&transaction, &id.write_id, &id.attempt_id).await?;
        transaction.rollback().await;
        Ok(attempt)
    }
}

fn receipt(id: &AttemptId, attempt: &Attempt, table: String) -> Result<Receipt> {
    if attempt.partition_id != id.partition_id {
        return Err(Error::new(
            ErrorKind::AlreadyExists,
            format!(
                "attempt {:?} was used for partition {}, not {}; attempt ids are unique within a write",
                id.attempt_id, attempt.partition_id, id.partition_id
            ),
        ));
    }
    Ok(Receipt {
        row_count: attempt.row_count,
        byte_count: attempt.byte_count,
        table,
        skipped: false,
    })
}

fn open_staging(write: &LedgerWrite) -> Result<QualifiedName> {
    let ended = |how: &str| {
        let reason = if write.reason.is_empty() {
            ""
        } else {
            &format!(" ({})", write.reason)
        };
        Err(Error::conflict(format!(
            "write {:?} is already {how}{reason}; it takes no more streams",
            write.write_id
        )))
    };
    match (write.state, &write.staging) {
        (WriteState::Open, Some(staging)) => Ok(staging.clone()),
        (WriteState::Open | WriteState::Committed, _) => ended("committed"),
        (WriteState::Aborted, _) => ended("aborted"),
    }
}
