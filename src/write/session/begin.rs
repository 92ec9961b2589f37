//! Begin: opens a write of many partitions, and checks before that its attempts can be published.

use arrow::datatypes::Schema;

use super::outcome::{prepared_lost, unsettled};
use super::sink::{Located, Named, SinkBatch};
use super::status::WriteStatus;
use crate::auth::Caller;
use crate::error::{Error, ErrorKind, Result};
use crate::failpoint::{Failpoint, reach};
use crate::pg::{
    BatchPlace, Decision, LedgerWrite, NewWrite, Outcome, Rejected, RowCounts, STREAM_PREFIX,
    Transaction, WriteState, advance_sink, begin, commit, count_open_writes, ensure_schema,
    find_write, record_staging, set_driver,
};
use crate::write::pipeline::envelope::Envelope;
use crate::write::plan::decide::{Planner, WritePlan};
use crate::write::publish;
use crate::write::record::{columns_of, fingerprint};
use crate::write::spec::WriteSpec;
use crate::write::statements::Statements;
use crate::write::writer::Writer;

/// The request to begin a write.
#[derive(Debug, Clone, Copy)]
pub struct Begin<'a> {
    /// The name of the write.
    pub named: &'a Named,
    /// The target of the rows, and the mode.
    pub spec: &'a WriteSpec,
    /// The schema of the rows of every attempt.
    pub schema: &'a Schema,
    /// The driver that sends heartbeats for it.
    pub driver: Option<&'a str>,
}

impl Writer {
    /// Opens a write, and checks before that its attempts can be published.
    ///
    /// The same id with the same spec again returns the current status of the write, and hands the write over to the
    /// driver of this call. The same holds for a batch that was begun before. If the write of a batch was aborted, the
    /// batch gets a new id.
    ///
    /// # Errors
    /// The errors of [`Writer::write_stream`] before the first row; [`ErrorKind::AlreadyExists`] when the id was used
    /// with another spec or other columns, or its table is another one since; [`ErrorKind::Conflict`] when the write was aborted, or when the batch
    /// belongs to a query that may not write to its sink; [`ErrorKind::PreparedLost`] when the write lost prepared
    /// rows; [`ErrorKind::InvalidCommand`] for an id that is reserved for the server; [`ErrorKind::Unavailable`] when
    /// it is not known whether the write has begun, or when the principal has too many open writes.
    pub async fn begin(&self, request: &Begin<'_>) -> Result<WriteStatus> {
        let envelope = Envelope::find(request.spec, request.schema)?;
        let request = &Begin {
            schema: envelope.as_ref().map_or(request.schema, Envelope::schema),
            ..*request
        };
        match request.named {
            Named::Id(write_id) => {
                let begun = self.begin_named(write_id, request).await;
                begun.map_err(|error| error.with_write_id(write_id))
            }
            Named::Batch(batch) => self.begin_batch(batch, request).await,
        }
    }

    async fn begin_named(&self, write_id: &str, request: &Begin<'_>) -> Result<WriteStatus> {
        check_not_reserved(write_id, "write id")?;
        let transaction = self.begin_control().await?;
        ensure_schema(&transaction).await?;
        self.begin_write(transaction, write_id, None, request).await
    }

    async fn begin_batch(&self, batch: &SinkBatch, request: &Begin<'_>) -> Result<WriteStatus> {
        check_not_reserved(&batch.name(0), "sink id")?;
        let transaction = self.begin_control().await?;
        ensure_schema(&transaction).await?;
        let (write_id, place) = match self.locate(&transaction, batch).await? {
            Located::Write(write_id, place) => (write_id, place),
            Located::Forgotten(write_id) => {
                finish(transaction).await?;
                return Ok(forgotten(write_id, request));
            }
        };
        let begun = self.begin_write(transaction, &write_id, Some(place), request);
        let begun = begun.await;
        begun.map_err(|error| error.with_write_id(&write_id))
    }

    /// Opens the write of this id, unless it exists. The transaction may hold the lock on the row of its sink.
    async fn begin_write(
        &self,
        transaction: Transaction,
        write_id: &str,
        batch: Option<BatchPlace>,
        request: &Begin<'_>,
    ) -> Result<WriteStatus> {
        let (spec, schema) = (request.spec, request.schema);
        let fingerprint = fingerprint(spec)?;
        let mut existed = true;
        if find_write(&transaction, write_id).await?.is_none() {
            let id = (write_id, batch);
            let by = (&self.caller, &self.statements());
            match open(&transaction, by, id, &fingerprint, request).await? {
                Opened::New(status) => {
                    existed = false;
                    reach(Failpoint::BeginBeforeCommit).await;
                    let doubt = finish(transaction).await?;
                    reach(Failpoint::BeginAfterCommit).await;
                    if let (None, Some(status)) = (doubt, status) {
                        return Ok(*status);
                    }
                }
                Opened::AlreadyThere => {
                    reach(Failpoint::BeginBeforeCommit).await;
                    transaction.rollback().await;
                    reach(Failpoint::BeginAfterCommit).await;
                }
            }
        } else if batch.is_some() {
            // The transaction may have recorded the query of the sink.
            finish(transaction).await?;
        } else {
            transaction.rollback().await;
        }
        let found = self.find_finished(write_id).await;
        let (write, status) = found.map_err(|error| {
            // A write that another principal began counts as missing.
            match error.kind() == ErrorKind::NotFound && existed {
                true => error,
                false => unsettled(
                    error,
                    "it is not known whether the write has begun",
                    "begin it again",
                ),
            }
        })?;
        if write.state == WriteState::PreparedLost {
            return Err(prepared_lost(&status));
        }
        if write.state == WriteState::Aborted {
            let reason = if write.reason.is_empty() {
                ""
            } else {
                &format!(": {}", write.reason)
            };
            return Err(Error::conflict(format!("the write was aborted{reason}"))
                .with_hint("use a new write id"));
        }
        self.check_repeated(&write, (spec, schema)).await?;
        self.take_over(&write, request.driver).await?;
        Ok(WriteStatus { existed, ..status })
    }

    /// Hands an open write of another driver over to this driver, or to no driver.
    async fn take_over(&self, write: &LedgerWrite, driver: Option<&str>) -> Result<()> {
        if write.state != WriteState::Open || write.driver.as_deref() == driver {
            return Ok(());
        }
        if let Some(driver) = driver {
            self.heartbeat_again(driver).await?;
        }
        let transaction = self.pool.begin_control().await?;
        set_driver(&transaction, &write.write_id, driver).await?;
        transaction.commit().await.into_result()
    }
}

/// Returns the status of a batch that was committed so long ago that the ledger has forgotten its write.
fn forgotten(write_id: String, request: &Begin<'_>) -> WriteStatus {
    WriteStatus {
        write_id,
        state: WriteState::Committed,
        table: request.spec.table.to_string(),
        mode: Some(request.spec.mode.clone()),
        row_count: 0,
        byte_count: 0,
        attempt_count: 0,
        counts: RowCounts::default(),
        rejected: Rejected::default(),
        reason: "the batch was committed longer ago than the server's --retention, and its rows are no longer \
                 counted here"
            .to_owned(),
        lost: Vec::new(),
        finished_at: String::new(),
        existed: true,
    }
}

/// The outcome of opening a write.
enum Opened {
    /// This call created the write. Has its status while it is open.
    New(Option<Box<WriteStatus>>),
    /// Another call created it first.
    AlreadyThere,
}

/// Commits this call's changes. Returns the error of a COMMIT whose outcome is unknown: the caller reads the ledger for
/// it.
pub(crate) async fn finish(transaction: Transaction) -> Result<Option<Error>> {
    match transaction.commit().await {
        Outcome::Committed => Ok(None),
        Outcome::RolledBack(error) => Err(error),
        Outcome::Unknown(error) => Ok(Some(error)),
    }
}

/// Creates the write in the ledger, and the table in which its attempts wait.
async fn open(
    transaction: &Transaction,
    (caller, statements): (&Caller, &Statements),
    (write_id, batch): (&str, Option<BatchPlace>),
    fingerprint: &str,
    request: &Begin<'_>,
) -> Result<Opened> {
    let planner = Planner {
        transaction,
        caller,
        spec: request.spec,
        schema: request.schema,
        statements,
        stream: None,
    };
    transaction.assume_role().await?;
    let plan = planner.decide().await?;
    let publish = publish::of_partitions(transaction, request.spec, &plan).await?;
    let (name, target_oid) = match &plan {
        WritePlan::Existing(plan) => (&plan.table.relation.name, Some(plan.table.relation.oid)),
        WritePlan::LeaveAlone(relation) => (&relation.name, Some(relation.oid)),
        WritePlan::Missing(plan) => (&plan.name, None),
    };
    let write = NewWrite {
        write_id: write_id.to_owned(),
        spec: fingerprint.to_owned(),
        columns: columns_of(request.schema),
        target: name.clone(),
        target_oid,
        staging: publish::new_name(publish, name)?,
        publish,
        principal: caller.name().map(str::to_owned),
        driver: request.driver.map(str::to_owned),
        batch,
        keys: plan.primary_key(&request.spec.mode),
    };
    transaction.resume_own_role().await?;
    check_open_writes(transaction, caller).await?;
    if !begin(transaction, &write).await? {
        return Ok(Opened::AlreadyThere);
    }
    let staging = write.staging.as_ref();
    let begun = match &plan {
        WritePlan::Existing(plan) => publish::begin_existing(planner, publish, plan, staging).await,
        WritePlan::Missing(plan) => publish::begin_missing(planner, plan, staging).await,
        WritePlan::LeaveAlone(_) => commit_nothing(transaction, caller, &write).await,
    };
    begun.map_err(|error| error.with_table(name))?;
    if let Some(staging) = staging {
        transaction.resume_own_role().await?;
        record_staging(transaction, write_id, staging).await?;
    }
    Ok(Opened::New(match plan {
        WritePlan::Existing(_) | WritePlan::Missing(_) => Some(Box::new(WriteStatus::opened(
            write_id,
            name.to_string(),
            request.spec.mode.clone(),
        ))),
        WritePlan::LeaveAlone(_) => None,
    }))
}

/// Commits, at its begin, a write that leaves its table alone.
async fn commit_nothing(
    transaction: &Transaction,
    caller: &Caller,
    write: &NewWrite,
) -> Result<()> {
    let decision = Decision {
        reason: "the table was there and was left alone",
        ..Decision::default()
    };
    if let Some(batch) = &write.batch {
        advance_sink(transaction, caller.name(), batch).await?;
    }
    commit(transaction, &write.write_id, &decision).await
}

/// Rejects an id that only a server gives, to a write that it makes of a stream.
fn check_not_reserved(write_id: &str, kind: &str) -> Result<()> {
    if !write_id.starts_with(STREAM_PREFIX) {
        return Ok(());
    }
    Err(Error::invalid_command(format!(
        "write ids that begin with {STREAM_PREFIX} are reserved for the server"
    ))
    .with_hint(format!("use another {kind}")))
}

/// Rejects a write beyond the caller's limit of open writes.
async fn check_open_writes(transaction: &Transaction, caller: &Caller) -> Result<()> {
    let (Some(name), Some(most)) = (caller.name(), caller.limits().max_open_writes) else {
        return Ok(());
    };
    let open = count_open_writes(transaction, name).await?;
    if open < most.into() {
        return Ok(());
    }
    Err(Error::unavailable(format!(
        "principal {name} has {open} open writes of at most {most}"
    ))
    .with_hint("commit or abort a write first"))
}
