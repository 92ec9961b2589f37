//! One attempt of one partition: a COPY into the staging table or the target. Its transaction also records it, unless
//! the attempt is prepared, which needs a transaction for the record. The record fails once the write has ended.

use std::sync::Arc;

use arrow::datatypes::Schema;
use futures_util::Stream;
use futures_util::future::{try_join, try_join3};

use super::outcome::check_not_a_stream;
use super::status::unknown;
use crate::error::{Error, ErrorKind, Result};
use crate::failpoint::{Failpoint, reach};
use crate::metrics::{Activity, Metrics};
use crate::pg::{
    Attempt, LedgerWrite, Publish, Rejected, RowCounts, TableLock, Transaction, WriteState,
    assume_role_to_fill, check_same_table, find_attempt, find_write, record_attempt, reserve_slot,
    staging_change, staging_relation, two_phase_obstacle,
};
use crate::write::pipeline::batches::{self, Incoming, StreamMessage};
use crate::write::pipeline::envelope::Envelope;
use crate::write::pipeline::lanes::{Lane, Loaded};
use crate::write::plan::decide::encode_plan;
use crate::write::plan::part::find_guard;
use crate::write::plan::permission::check_still;
use crate::write::plan::rejects::key_columns;
use crate::write::publish::lock_target;
use crate::write::record::spec_of;
use crate::write::reject::collected::{Place, Rejects};
use crate::write::spec::{AttemptId, Mode, Receipt, WriteSpec};
use crate::write::writer::Writer;
use arrow_pgcopy::Relation;

impl Writer {
    /// Stages a stream as one attempt. `Ok` means that the rows are stored and recorded, and that a commit may publish
    /// them. A recorded attempt returns its receipt again, and the rows of the stream are discarded. If the future is
    /// dropped, PostgreSQL rolls back the COPY; an attempt that was already committed or prepared stays.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::error::ErrorKind::NotFound) when the write was never begun;
    /// [`ErrorKind::Conflict`](crate::error::ErrorKind::Conflict) when it has ended, or when its staging table was
    /// changed; [`ErrorKind::InvalidCommand`](crate::error::ErrorKind::InvalidCommand) when the server made the write
    /// of a stream; [`ErrorKind::AlreadyExists`](crate::error::ErrorKind::AlreadyExists) when another partition has
    /// used the attempt id; any error of the stream, of the encoder or of PostgreSQL.
    pub async fn write_attempt<S>(
        &self,
        id: &AttemptId,
        schema: &Schema,
        incoming: Incoming<'_, S>,
    ) -> Result<Receipt>
    where
        S: Stream<Item = Result<StreamMessage>> + Unpin,
    {
        let stream = incoming.stream;
        let located = |error: Error| {
            error
                .with_write_id(&id.write_id)
                .with_context(|context| context.partition_id = Some(id.partition_id))
        };
        check_not_a_stream(&id.write_id)?;
        stream.identify(&id.write_id, id.partition_id, &id.attempt_id);
        stream.enter(Activity::Open);
        let (write, recorded) = self.find_write_and_attempt(id).await?;
        let table = write
            .target
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default();
        stream.set_table(table.clone());
        if let Some(attempt) = recorded {
            incoming.drain().await.map_err(located)?;
            return receipt(id, &attempt, table).map_err(located);
        }
        check_open(&write).map_err(located)?;
        check_still(&self.caller, &write).map_err(located)?;
        // From here on the stream keeps its write alive, also while it waits for its turn.
        let _sign = self.streaming.begin(&id.write_id);
        match self.stage(id, &write, schema, incoming).await {
            Ok(attempt) => receipt(id, &attempt, table),
            // The COMMIT may have succeeded although its answer was lost, or a duplicate of this stream may have
            // recorded the attempt first. The ledger has the answer.
            Err(error) => match self.recorded(id).await {
                Ok(Some(attempt)) => receipt(id, &attempt, table),
                Ok(None) | Err(_) => Err(self.why(id, error).await.with_table(&table)),
            },
        }
        .map_err(located)
    }

    /// Returns the error of a failed stream: that its write has ended, if it has, or else the given error.
    async fn why(&self, id: &AttemptId, error: Error) -> Error {
        match self.find_status(&id.write_id).await {
            Ok((write, _)) => check_open(&write).err().unwrap_or(error),
            Err(_) => error,
        }
    }

    async fn stage<S>(
        &self,
        id: &AttemptId,
        write: &LedgerWrite,
        schema: &Schema,
        incoming: Incoming<'_, S>,
    ) -> Result<Attempt>
    where
        S: Stream<Item = Result<StreamMessage>> + Unpin,
    {
        let stream = incoming.stream;
        let meter = self.attempt_meter(&id.write_id).await?;
        let transaction = self.begin_data(&id.write_id, stream).await?;
        let (relation, two_phase) = open_relation(&transaction, write).await?;
        // Errors name the target, which the caller knows.
        let mut named = relation.clone();
        if let Some(target) = &write.target {
            named.name.clone_from(target);
        }
        let spec = spec_of(write)?;
        let keys = match &spec.mode {
            Mode::Keyed { keys, .. } if !keys.is_empty() => keys,
            Mode::Keyed { .. }
            | Mode::Append { .. }
            | Mode::Create { .. }
            | Mode::Overwrite { .. }
            | Mode::Replace { .. } => &write.keys,
        };
        let envelope = Envelope::find(&spec, schema)?;
        let envelope = envelope.map(|envelope| Arc::new(envelope.keyed_by(keys.iter())));
        let mut rejects = self.open_rejects(&transaction, id, &spec, write).await?;
        let incoming = Incoming {
            envelope: envelope.clone(),
            rejects: rejects.as_mut(),
            ..incoming
        };
        let schema = envelope.as_deref().map_or(schema, Envelope::schema);
        let plan = stream.work(Activity::Plan, || encode_plan(&spec, schema, &named))?;
        // Types and operators may have names that the target's owner is trusted with.
        named.oid = write.target_oid.unwrap_or(named.oid);
        let guard = find_guard(&transaction, &spec, &named).await?;
        let opening = Lane::open(&transaction, &relation.name, &plan, guard.as_ref());
        let lane = stream.wait(Activity::Open, opening).await?;
        let loaded = batches::load(&plan, incoming, meter, lane).await?;
        if write.publish != Publish::Direct {
            check_staged(&loaded)?;
        }
        let checked = async {
            if write.publish == Publish::Direct || two_phase {
                return check_same_table(&transaction, &relation).await;
            }
            Ok(())
        };
        // The ledger belongs to the server's role, and only the role that prepares a transaction may end it.
        let resumed = transaction.resume_own_role();
        // All takes one round trip.
        let attempt = attempt_of(id, &transaction, &loaded);
        let ((), (), mut attempt) = try_join3(checked, resumed, attempt).await?;
        if let Some(rejects) = &rejects {
            rejects.record_in(&mut attempt);
        }
        if !two_phase {
            self.check_room(&transaction, &id.write_id, &attempt)
                .await?;
            let recording = record(&self.metrics, transaction, &id.write_id, attempt);
            return stream.wait(Activity::Commit, recording).await;
        }
        reach(Failpoint::AttemptBeforeFence).await;
        let recorded = self
            .prepare_attempt(transaction, &id.write_id, &mut attempt)
            .await?;
        if !recorded {
            return Err(ended());
        }
        self.metrics
            .count_stored(attempt.row_count, attempt.byte_count);
        reach(Failpoint::AttemptAfterCommit).await;
        Ok(attempt)
    }

    /// Creates the collection of the rejected rows of an attempt; `None` if its write rejects none.
    async fn open_rejects(
        &self,
        transaction: &Transaction,
        id: &AttemptId,
        spec: &WriteSpec,
        write: &LedgerWrite,
    ) -> Result<Option<Rejects>> {
        let Some(rules) = &spec.rejects else {
            return Ok(None);
        };
        let keys = key_columns(transaction, spec, rules, write.target_oid).await?;
        let place = Place {
            write_id: &id.write_id,
            partition_id: id.partition_id,
            attempt_id: &id.attempt_id,
        };
        Ok(Some(Rejects::new(rules, &self.pool, place, keys)))
    }

    /// Reads the write of an attempt, and the attempt if it is already recorded, in one round trip.
    async fn find_write_and_attempt(
        &self,
        id: &AttemptId,
    ) -> Result<(LedgerWrite, Option<Attempt>)> {
        let transaction = self.pool.begin_read().await?;
        let writing = find_write(&transaction, &id.write_id);
        let found = try_join(
            writing,
            find_attempt(&transaction, &id.write_id, &id.attempt_id),
        );
        let (write, recorded) = match found.await {
            Ok(found) => found,
            // Without a ledger, no write was ever begun.
            Err(error) if error.kind() == ErrorKind::NotFound => (None, None),
            Err(error) => return Err(error),
        };
        transaction.rollback().await;
        let write = write.filter(|write| self.caller.owns(write.principal.as_deref()));
        let write = write.ok_or_else(|| unknown().with_write_id(&id.write_id))?;
        Ok((write, recorded))
    }

    async fn recorded(&self, id: &AttemptId) -> Result<Option<Attempt>> {
        let transaction = self.pool.begin_control().await?;
        let attempt = find_attempt(&transaction, &id.write_id, &id.attempt_id).await?;
        transaction.rollback().await;
        Ok(attempt)
    }
}

/// Checks that PostgreSQL counted all rows of a COPY: no trigger of a staging table leaves rows out.
///
/// # Errors
/// [`ErrorKind::Internal`](crate::error::ErrorKind::Internal) when the counts differ.
pub(crate) fn check_staged(loaded: &Loaded) -> Result<()> {
    match loaded.copied_row_count == loaded.row_count {
        true => Ok(()),
        false => Err(Error::internal(format!(
            "PostgreSQL staged {} of {} rows",
            loaded.copied_row_count, loaded.row_count
        ))),
    }
}

/// Returns the ledger's record of the rows that a transaction has copied.
///
/// # Errors
/// Any error that PostgreSQL reports.
pub(crate) async fn attempt_of(
    id: &AttemptId,
    transaction: &Transaction,
    loaded: &Loaded,
) -> Result<Attempt> {
    Ok(Attempt {
        attempt_id: id.attempt_id.clone(),
        partition_id: id.partition_id,
        row_count: loaded.row_count,
        byte_count: loaded.byte_count,
        xact_id: transaction.xmin().await?,
        gid: None,
        prepared_xact_id: None,
        lost: false,
        rejected_count: 0,
        reject_set: None,
    })
}

/// Records an attempt in the transaction that copied its rows, and commits both.
///
/// # Errors
/// [`ErrorKind::Conflict`](crate::error::ErrorKind::Conflict) when its write has ended; any error that PostgreSQL
/// reports.
pub(crate) async fn record(
    metrics: &Metrics,
    transaction: Transaction,
    write_id: &str,
    attempt: Attempt,
) -> Result<Attempt> {
    reach(Failpoint::AttemptBeforeFence).await;
    if !record_attempt(&transaction, write_id, &attempt).await? {
        return Err(ended());
    }
    reach(Failpoint::AttemptBeforeCommit).await;
    transaction.commit().await.into_result()?;
    metrics.count_stored(attempt.row_count, attempt.byte_count);
    reach(Failpoint::AttemptAfterCommit).await;
    Ok(attempt)
}

fn ended() -> Error {
    Error::conflict("the write ended before this stream was recorded; its rows are discarded")
}

fn receipt(id: &AttemptId, attempt: &Attempt, table: String) -> Result<Receipt> {
    if attempt.partition_id != id.partition_id {
        return Err(Error::already_exists(format!(
            "attempt id {:?} was used for partition {}",
            id.attempt_id, attempt.partition_id
        ))
        .with_hint("give each attempt of a write an id of its own"));
    }
    Ok(Receipt {
        row_count: attempt.row_count,
        byte_count: attempt.byte_count,
        table,
        skipped: false,
        counts: RowCounts::default(),
        remark: String::new(),
        rejected: Rejected {
            row_count: attempt.rejected_count,
            reasons: Vec::new(),
        },
        write_id: String::new(),
    })
}

fn check_open(write: &LedgerWrite) -> Result<()> {
    let how = match write.state {
        WriteState::Open => return Ok(()),
        WriteState::Committing | WriteState::Committed => "committed",
        WriteState::PreparedLost => "ended",
        WriteState::Aborted => "aborted",
    };
    let reason = if write.reason.is_empty() {
        ""
    } else {
        &format!(" ({})", write.reason)
    };
    Err(
        Error::conflict(format!("the write is already {how}{reason}"))
            .with_hint("begin a new write with a new write id"),
    )
}

/// Opens the table that the rows go into: the staging table, or the target itself if the write is direct or the attempt
/// will be prepared. Returns whether it will.
async fn open_relation(transaction: &Transaction, write: &LedgerWrite) -> Result<(Relation, bool)> {
    match (write.publish, &write.target) {
        (Publish::Direct, Some(target)) => {
            transaction.assume_role().await?;
            let relation = lock_target(transaction, write, target, TableLock::Insert).await?;
            return Ok((relation, false));
        }
        (Publish::TwoPhase, Some(target)) if reserve_slot(transaction).await? => {
            transaction.assume_role().await?;
            let relation = lock_target(transaction, write, target, TableLock::Insert).await?;
            // Begin has checked it as well. From here on, the lock prevents new triggers.
            if two_phase_obstacle(transaction, &relation).await?.is_none() {
                return Ok((relation, true));
            }
            transaction.resume_own_role().await?;
        }
        _ => {}
    }
    let Some(staging) = &write.staging else {
        return Err(Error::not_found("the write has no staging table"));
    };
    match staging_change(transaction, write).await? {
        None => {
            let relation = staging_relation(transaction, staging).await?;
            assume_role_to_fill(transaction, &relation).await?;
            Ok((relation, false))
        }
        Some(what) => Err(Error::conflict(format!(
            "the staging table of the write was {what} since the write was begun"
        ))
        .with_hint("run the job again with a new write id")),
    }
}
