//! The life of a write of many partitions: begun, then committed or aborted, and asked about.

use arrow_schema::{DataType, Schema};

use super::evolution::check_not_cast;
use super::outcome::{check_not_a_stream, prepared_lost, unsettled};
use super::sink::{Located, Named};
use super::spec::{Mode, WriteSpec};
use super::target::{Target, check_straight, find_target, is_two_phase, make_keyed, plan};
use super::writer::Writer;
use crate::auth::Caller;
use crate::error::{Error, ErrorKind, Result};
use crate::failpoint::{Failpoint, reach};
use crate::pg::{
    BatchPlace, Decision, LedgerWrite, NewWrite, Outcome, Publish, STREAM_PREFIX, Transaction,
    WriteState, abort, advance_sink, attempts, begin, check_primary_key, commit, copy_obstacle,
    count_open_writes, count_tombstones, create_staging, create_table, create_twin, definitions_of,
    drop_table, ensure_schema, find_write, let_role_fill, new_shadow_name, new_staging_name,
    qualify, record_staging, set_driver, staging_relation,
};
use crate::plan::ddl::ColumnDefinition;
use crate::plan::{QualifiedName, Relation};

/// Aborted ids that were never begun, for each principal: one is made where the answer to a begin was lost.
const MAX_TOMBSTONES: u32 = 10_000;

/// Where a write stands, as every call about it answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteStatus {
    /// The write.
    pub write_id: String,
    /// Open, or how it ended.
    pub state: WriteState,
    /// The table, quoted where SQL needs it; empty for a write that was aborted before it was begun.
    pub table: String,
    /// The mode it was begun with, unless it was aborted before it was begun.
    pub mode: Option<Mode>,
    /// Open: rows of the recorded attempts. Ended: rows published.
    pub row_count: u64,
    /// Bytes of COPY, counted as the rows are.
    pub byte_count: u64,
    /// Attempts, counted as the rows are.
    pub attempt_count: u32,
    /// Why it was aborted, or what was special about its end.
    pub reason: String,
    /// The partitions whose rows are lost, with how many; only of [`WriteState::PreparedLost`].
    pub lost: Vec<(u32, u64)>,
    /// When it ended, as the ledger says it; empty while it is open.
    pub finished_at: String,
    /// Answer to begin: the write was there before this call.
    pub existed: bool,
}

/// What a write is begun with.
#[derive(Debug)]
pub struct Begin<'a> {
    /// Which write it is.
    pub named: &'a Named,
    /// Where rows go and how.
    pub spec: &'a WriteSpec,
    /// That of the rows of every attempt.
    pub schema: &'a Schema,
    /// The driver that sends heartbeats for it.
    pub driver: Option<&'a str>,
}

impl Writer {
    /// Opens a write, after checking that every attempt can go where it should.
    ///
    /// The same id with the same spec again gives the write as it now stands, and makes it the driver's that
    /// began it last. So does a batch that was begun before; one whose write was aborted gets another id.
    ///
    /// # Errors
    /// All that [`Writer::write_stream`] may find before the first row;
    /// [`ErrorKind::AlreadyExists`] when the id was used with another spec;
    /// [`ErrorKind::Conflict`] when it was aborted, or when the batch is of a query that may not write to its sink;
    /// [`ErrorKind::PreparedLost`] when it ended so; [`ErrorKind::Unavailable`] when it is not known whether it has
    /// begun.
    pub async fn begin(&self, request: &Begin<'_>) -> Result<WriteStatus> {
        match request.named {
            Named::Id(write_id) => {
                let begun = self.begin_named(write_id, request).await;
                begun.map_err(|error| error.with_write_id(write_id))
            }
            Named::Batch(_) => self.begin_batch(request).await,
        }
    }

    async fn begin_named(&self, write_id: &str, request: &Begin<'_>) -> Result<WriteStatus> {
        if write_id.starts_with(STREAM_PREFIX) {
            return Err(Error::invalid_command(format!(
                "write ids that begin with {STREAM_PREFIX} are the server's own; use another"
            )));
        }
        let transaction = self.begin_control().await?;
        ensure_schema(&transaction).await?;
        self.begin_write(transaction, write_id, None, request).await
    }

    async fn begin_batch(&self, request: &Begin<'_>) -> Result<WriteStatus> {
        let Named::Batch(batch) = request.named else {
            return Err(Error::internal("a batch was expected"));
        };
        let transaction = self.begin_control().await?;
        ensure_schema(&transaction).await?;
        let (write_id, place) = match self.locate(&transaction, batch).await? {
            Located::Write(write_id, place) => (write_id, place),
            Located::Forgotten(write_id) => {
                finish(transaction, Opening::New).await?;
                return Ok(forgotten(write_id, request));
            }
        };
        let begun = self.begin_write(transaction, &write_id, Some(place), request);
        let begun = begun.await;
        begun.map_err(|error| error.with_write_id(&write_id))
    }

    /// Opens the write of this id, unless it is there; its transaction may have locked the row of its sink.
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
            let opening = open(
                &transaction,
                &self.caller,
                (write_id, batch),
                &fingerprint,
                request,
            )
            .await?;
            existed = matches!(opening, Opening::Lost);
            reach(Failpoint::BeginBeforeCommit).await;
            finish(transaction, opening).await?;
            reach(Failpoint::BeginAfterCommit).await;
        } else if batch.is_some() {
            // The sink may have learned of its query.
            finish(transaction, Opening::New).await?;
        } else {
            transaction.rollback().await;
        }
        let found = async {
            self.finish_commit(write_id).await?;
            self.find_status(write_id).await
        };
        let (write, status) = found.await.map_err(|error| {
            // Of a write that another principal began, there is none.
            match error.kind() == ErrorKind::NotFound && existed {
                true => error,
                false => unsettled(
                    error,
                    "it is not known whether the write has begun; begin it again",
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
            return Err(Error::conflict(format!(
                "write {write_id:?} was aborted{reason}; use a new write id"
            )));
        }
        let differs = match (
            write.spec == fingerprint,
            write.columns == columns_of(schema),
        ) {
            (true, true) => {
                self.take_over(&write, request.driver).await?;
                return Ok(WriteStatus { existed, ..status });
            }
            (false, _) => "another table, mode or options",
            (true, false) => "data with other columns",
        };
        Err(Error::already_exists(format!(
            "write id {write_id:?} was used for {differs}; use a new write id"
        )))
    }

    /// Makes an open write that another driver began one of this driver, or of none.
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

    /// Ends a write without publishing anything; its later attempts are refused. A write that is
    /// already committed stays committed, and the status says so. An id that was never begun can no
    /// longer be.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidCommand`] for a write that a server made of a stream; [`ErrorKind::Unavailable`] when it
    /// is not known how the write ended, or when there are too many ids that were never begun; else what PostgreSQL said.
    pub async fn abort(&self, write_id: &str, reason: &str) -> Result<WriteStatus> {
        check_not_a_stream(write_id)?;
        self.abort_any(write_id, reason).await
    }

    /// As [`Writer::abort`], also of a write that a server made of a stream: for that server, and for people. The
    /// sender of the stream gets an error: the write has ended.
    ///
    /// # Errors
    /// As [`Writer::abort`].
    pub async fn abort_any(&self, write_id: &str, reason: &str) -> Result<WriteStatus> {
        let transaction = self.pool.begin_control().await?;
        ensure_schema(&transaction).await?;
        let found = find_write(&transaction, write_id).await?;
        match found {
            Some(write) if !self.caller.owns(write.principal.as_deref()) => {
                transaction.rollback().await;
                return Err(unknown(write_id));
            }
            Some(_) => {}
            None => self.check_tombstones(&transaction).await?,
        }
        abort(&transaction, write_id, self.caller.name(), reason).await?;
        let doubt = finish(transaction, Opening::New).await?;
        let found = async {
            self.finish_commit(write_id).await?;
            self.status(write_id).await
        };
        let not_known = "it is not known how the write ended; abort it again";
        let status = found.await.map_err(|error| {
            let error = unsettled(error, not_known);
            error.with_write_id(write_id)
        })?;
        if status.state == WriteState::Open {
            let doubt = doubt.unwrap_or_else(|| Error::unavailable("PostgreSQL lost the abort"));
            return Err(doubt.into_retryable(not_known).with_write_id(write_id));
        }
        self.clean_up(write_id).await;
        Ok(status)
    }

    /// Refuses to keep one more id that was never begun.
    async fn check_tombstones(&self, transaction: &Transaction) -> Result<()> {
        let aborted = count_tombstones(transaction, self.caller.name(), MAX_TOMBSTONES).await?;
        match aborted < MAX_TOMBSTONES.into() {
            true => Ok(()),
            false => Err(Error::unavailable(format!(
                "the write is not aborted, since nobody has begun it, and {MAX_TOMBSTONES} others that nobody had \
                 begun are aborted and kept for --retention; leave it, or abort it again later"
            ))),
        }
    }

    /// Where a write stands.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when no server on this database has heard of it.
    pub async fn status(&self, write_id: &str) -> Result<WriteStatus> {
        Ok(self.find_status(write_id).await?.1)
    }

    pub(super) async fn find_status(&self, write_id: &str) -> Result<(LedgerWrite, WriteStatus)> {
        let transaction = self.pool.begin_look().await?;
        let write = match find_write(&transaction, write_id).await {
            Ok(write) => write
                .filter(|write| self.caller.owns(write.principal.as_deref()))
                .ok_or_else(|| unknown(write_id))?,
            // No ledger: nobody has begun anything here.
            Err(error) if error.kind() == ErrorKind::NotFound => return Err(unknown(write_id)),
            Err(error) => return Err(error),
        };
        let status = status_of(&transaction, &write).await?;
        transaction.rollback().await;
        Ok((write, status))
    }
}

/// Of a write that was never begun, and of one that is another's.
fn unknown(write_id: &str) -> Error {
    Error::not_found(format!("there is no write {write_id:?}; begin it first"))
        .with_write_id(write_id)
}

/// The spec that a write was begun with.
pub(super) fn spec_of(write: &LedgerWrite) -> Result<WriteSpec> {
    serde_json::from_str(&write.spec).map_err(|error| {
        Error::internal("the ledger holds a spec that this server does not understand; is it older than the one that began the write?")
            .with_source(error)
    })
}

/// Names and types of the columns. Zones of timestamps are left out: they are labels of the session
/// that sends, and the values are instants.
pub(super) fn columns_of(schema: &Schema) -> String {
    let columns = schema.fields().iter().map(|field| {
        let mut data_type = field.data_type().clone();
        if let DataType::Timestamp(_, zone @ Some(_)) = &mut data_type {
            *zone = Some("UTC".into());
        }
        format!("{:?} {data_type}", field.name())
    });
    columns.collect::<Vec<_>>().join(", ")
}

/// What equal writes have in common.
pub(super) fn fingerprint(spec: &WriteSpec) -> Result<String> {
    serde_json::to_string(spec)
        .map_err(|error| Error::internal("cannot record the spec").with_source(error))
}

async fn status_of(transaction: &Transaction, write: &LedgerWrite) -> Result<WriteStatus> {
    let mut status = WriteStatus {
        write_id: write.write_id.clone(),
        state: write.state,
        table: write
            .target
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        // A tombstone has none.
        mode: spec_of(write).ok().map(|spec| spec.mode),
        row_count: write.row_count,
        byte_count: write.byte_count,
        attempt_count: write.attempt_count,
        reason: write.reason.clone(),
        lost: Vec::new(),
        finished_at: write.finished_at.clone(),
        existed: false,
    };
    if write.state == WriteState::PreparedLost {
        let attempts = attempts(transaction, &write.write_id).await?;
        let lost = attempts.iter().filter(|attempt| attempt.lost);
        status.lost = lost
            .map(|attempt| (attempt.partition_id, attempt.row_count))
            .collect();
        status.lost.sort_unstable();
    }
    if write.state == WriteState::Open {
        for attempt in attempts(transaction, &write.write_id).await? {
            status.row_count += attempt.row_count;
            status.byte_count += attempt.byte_count;
            status.attempt_count += 1;
        }
    }
    Ok(status)
}

/// Of a batch that was committed so long ago that its write is forgotten.
fn forgotten(write_id: String, request: &Begin<'_>) -> WriteStatus {
    WriteStatus {
        write_id,
        state: WriteState::Committed,
        table: request.spec.table.to_string(),
        mode: Some(request.spec.mode.clone()),
        row_count: 0,
        byte_count: 0,
        attempt_count: 0,
        reason: "the batch was committed longer ago than the server's --retention, and its rows are no longer \
                 counted here"
            .to_owned(),
        lost: Vec::new(),
        finished_at: String::new(),
        existed: true,
    }
}

/// Whether this call made the write, or another one was faster.
pub(super) enum Opening {
    New,
    Lost,
}

/// Commits what this call made. An answer that did not come is no error yet: every caller reads the ledger next.
async fn finish(transaction: Transaction, opening: Opening) -> Result<Option<Error>> {
    match opening {
        Opening::New => match transaction.commit().await {
            Outcome::Committed => Ok(None),
            Outcome::RolledBack(error) => Err(error),
            Outcome::Unknown(error) => Ok(Some(error)),
        },
        Opening::Lost => {
            transaction.rollback().await;
            Ok(None)
        }
    }
}

async fn open(
    transaction: &Transaction,
    caller: &Caller,
    (write_id, batch): (&str, Option<BatchPlace>),
    fingerprint: &str,
    request: &Begin<'_>,
) -> Result<Opening> {
    let (spec, schema) = (request.spec, request.schema);
    transaction.assume_role().await?;
    let target = find_target(transaction, caller, spec, schema).await?;
    let (name, target_oid, publish) = match &target {
        Target::Existing(relation, Publish::Append, added)
            if added.is_empty() && is_two_phase(transaction, spec, schema, relation).await? =>
        {
            (relation.name.clone(), Some(relation.oid), Publish::TwoPhase)
        }
        Target::Existing(relation, publish, _) => {
            (relation.name.clone(), Some(relation.oid), *publish)
        }
        Target::LeaveAlone(relation) => {
            (relation.name.clone(), Some(relation.oid), Publish::Nothing)
        }
        Target::Missing(_) => {
            let publish = match spec.mode {
                Mode::Keyed { .. } => Publish::Merge,
                Mode::Append { .. } | Mode::Create { .. } | Mode::Overwrite { .. } => {
                    Publish::Create
                }
            };
            (qualify(transaction, &spec.table).await?, None, publish)
        }
    };
    let staging = match publish {
        Publish::Nothing | Publish::Direct => None,
        Publish::Create | Publish::Swap => Some(new_shadow_name(&name)?),
        // Of two phases: for attempts that find no room to be prepared.
        Publish::Append
        | Publish::TwoPhase
        | Publish::Truncate
        | Publish::Delete
        | Publish::Merge => Some(new_staging_name()?),
    };
    let write = NewWrite {
        write_id: write_id.to_owned(),
        spec: fingerprint.to_owned(),
        columns: columns_of(schema),
        target: name.clone(),
        target_oid,
        staging: staging.clone(),
        publish,
        principal: caller.name().map(str::to_owned),
        driver: request.driver.map(str::to_owned),
        batch,
    };
    transaction.resume_own_role().await?;
    check_open_writes(transaction, caller).await?;
    if !begin(transaction, &write).await? {
        return Ok(Opening::Lost);
    }
    let checked = match (target, staging.clone()) {
        (Target::Existing(relation, publish, added), Some(staging)) => {
            let target = (&relation, publish, &*added);
            stage(transaction, spec, &staging, target, schema).await
        }
        (Target::Existing(relation, ..), None) => {
            check_direct(transaction, &relation).await?;
            plan(spec, schema, &relation).and_then(|plan| check_straight(&plan))
        }
        (Target::Missing(columns), Some(staging)) if publish == Publish::Merge => {
            stage_missing(transaction, spec, &staging, (&name, &columns), schema).await
        }
        (Target::Missing(columns), Some(shadow)) => {
            make_shadow(transaction, spec, &shadow, &columns, schema).await
        }
        (Target::LeaveAlone(_) | Target::Missing(_), _) => {
            let decision = Decision {
                reason: "the table was there and was left alone",
                ..Decision::default()
            };
            if let Some(batch) = &write.batch {
                advance_sink(transaction, caller.name(), batch).await?;
            }
            commit(transaction, write_id, &decision).await
        }
    };
    checked.map_err(|error| error.with_table(&name))?;
    if let Some(staging) = &staging {
        transaction.resume_own_role().await?;
        record_staging(transaction, write_id, staging).await?;
    }
    Ok(Opening::New)
}

/// Makes the staging table for a target that is there, and checks that the rows can go into it.
async fn stage(
    transaction: &Transaction,
    spec: &WriteSpec,
    staging: &QualifiedName,
    (target, publish, added): (&Relation, Publish, &[ColumnDefinition]),
    schema: &Schema,
) -> Result<()> {
    let plan = plan(spec, schema, target)?;
    if publish == Publish::Swap {
        check_straight(&plan)?;
        transaction.assume_role().await?;
        return create_twin(transaction, staging, target).await;
    }
    check_not_cast(&plan, added)?;
    let mut columns = definitions_of(transaction, target, plan.columns()).await?;
    columns.extend_from_slice(added);
    create_staging(transaction, staging, &columns).await?;
    let_role_fill(transaction, staging).await
}

/// Makes the staging table for a target that the commit will make, which is tried here by the role that will
/// make it: it is made under another name and dropped again.
async fn stage_missing(
    transaction: &Transaction,
    spec: &WriteSpec,
    staging: &QualifiedName,
    (target, columns): (&QualifiedName, &[ColumnDefinition]),
    schema: &Schema,
) -> Result<()> {
    transaction.assume_role().await?;
    let tried = new_shadow_name(target)?;
    make_keyed(transaction, spec, schema, &tried, columns).await?;
    drop_table(transaction, &tried).await?;
    transaction.resume_own_role().await?;
    create_staging(transaction, staging, columns).await?;
    let_role_fill(transaction, staging).await
}

/// Refuses a write beyond those that the caller may have open.
async fn check_open_writes(transaction: &Transaction, caller: &Caller) -> Result<()> {
    let (Some(name), Some(most)) = (caller.name(), caller.limits().max_open_writes) else {
        return Ok(());
    };
    let open = count_open_writes(transaction, name).await?;
    match open < most.into() {
        true => Ok(()),
        false => Err(Error::unavailable(format!(
            "principal {name} has {open} open writes, and may have {most}; commit or abort one first"
        ))),
    }
}

/// Refuses to copy attempts straight into what takes INSERT alone.
///
/// # Errors
/// [`ErrorKind::Unsupported`] with what stands in the way.
pub(super) async fn check_direct(transaction: &Transaction, target: &Relation) -> Result<()> {
    transaction.assume_role().await?;
    match copy_obstacle(transaction, target).await? {
        None => Ok(()),
        Some(obstacle) => Err(Error::unsupported(format!(
            "PostgreSQL refuses to COPY into {}: {obstacle}; publish staged",
            target.name
        ))
        .with_table(&target.name)),
    }
}

/// Makes the table that will be the target, and checks that the rows can go into it.
async fn make_shadow(
    transaction: &Transaction,
    spec: &WriteSpec,
    shadow: &QualifiedName,
    columns: &[ColumnDefinition],
    schema: &Schema,
) -> Result<()> {
    transaction.assume_role().await?;
    create_table(transaction, shadow, columns, &spec.table_options).await?;
    check_primary_key(transaction, shadow, &spec.primary_key).await?;
    check_straight(&plan(
        spec,
        schema,
        &staging_relation(transaction, shadow).await?,
    )?)
}
