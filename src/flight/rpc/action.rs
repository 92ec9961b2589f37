//! DoAction: the calls that begin, commit, abort and inspect writes.

use arrow_flight::Action;
use bytes::Bytes;

use super::action_name::ActionName;
use super::server_info::ServerInfo;
use super::write_status;
use crate::auth::Caller;
use crate::error::{Error, Result};
use crate::flight::access::audit::AuditRecord;
use crate::flight::command::envelope::{self, Envelope, WireForm};
use crate::flight::command::{self, RECEIPTS};
use crate::flight::ingress::decode;
use crate::flight::ingress::gate::Limits;
use crate::proto::v1;
use crate::write::{Begin, Named, Preview, Targets, WriteStatus};

/// Runs an action and returns the body of its only result.
///
/// # Errors
/// `InvalidCommand` for a request that cannot be parsed, and any error of the action.
pub(crate) async fn run(
    targets: &Targets,
    name: ActionName,
    action: Action,
    info: ServerInfo,
    limits: Limits,
) -> Result<Bytes> {
    let envelope = Envelope::parse(&action.body)?;
    let form = envelope.form();
    let status = match name {
        ActionName::Info => return server_info(envelope, info, form),
        ActionName::Plan => return plan(targets, envelope, limits, form).await,
        ActionName::Heartbeat => return heartbeat(targets, envelope, form).await,
        ActionName::Begin => begin(targets, envelope, limits).await?,
        ActionName::Commit => commit(targets, envelope).await?,
        ActionName::Abort => abort(targets, envelope).await?,
        ActionName::Status => status(targets, envelope).await?,
    };
    write_status::encode(status, info, form)
}

fn server_info(envelope: Envelope<'_>, info: ServerInfo, form: WireForm) -> Result<Bytes> {
    let v1::InfoRequest {} = envelope.decode()?;
    let response = v1::InfoResponse {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        max_message_bytes: info.max_message_bytes,
        heartbeat_seconds: info.heartbeat_seconds,
    };
    envelope::encode(&response, form)
}

async fn begin(targets: &Targets, envelope: Envelope<'_>, limits: Limits) -> Result<WriteStatus> {
    let request: v1::BeginRequest = envelope.decode()?;
    let named = command::named(request.write_id, request.sink)?;
    let driver = command::driver(request.driver)?;
    let (target, spec) = command::write_spec(request.spec)?;
    let schema = decode::schema(&request.arrow_schema, limits)?;
    let (_, writer) = targets.find(&target)?;
    let caller = writer.caller();
    let record = AuditRecord::new(caller, "begin");
    let record = record.into_table(&spec.table, spec.mode.write_mode());
    let (record, named) = match named {
        Named::Id(id) => (record.of_write(&id), Named::Id(writer.ledger_id(&id))),
        Named::Batch(batch) => (record.of_write(&batch.name(0)), Named::Batch(batch)),
    };
    let begin = Begin {
        named: &named,
        spec: &spec,
        schema: &schema,
        driver: driver.as_deref(),
    };
    let begun = writer.begin(&begin).await;
    record_outcome(caller, record, begun)
}

async fn commit(targets: &Targets, envelope: Envelope<'_>) -> Result<WriteStatus> {
    let request: v1::CommitRequest = envelope.accept_answers_in(RECEIPTS).decode()?;
    let write_id = command::write_id(request.write_id)?;
    let receipts = request.receipts.into_iter();
    let accepted = receipts
        .map(|receipt| command::receipt(&write_id, receipt))
        .collect::<Result<Vec<_>>>()?;
    let (_, writer) = targets.find(&request.target)?;
    let caller = writer.caller();
    let record = AuditRecord::new(caller, "commit").of_write(&write_id);
    let committed = writer
        .commit(
            &writer.ledger_id(&write_id),
            &accepted,
            request.allow_no_receipts,
        )
        .await;
    record_outcome(caller, record, committed)
}

async fn abort(targets: &Targets, envelope: Envelope<'_>) -> Result<WriteStatus> {
    let request: v1::AbortRequest = envelope.decode()?;
    let write_id = command::write_id(request.write_id)?;
    let (_, writer) = targets.find(&request.target)?;
    let caller = writer.caller();
    let record = AuditRecord::new(caller, "abort").of_write(&write_id);
    let ledger_id = writer.ledger_id(&write_id);
    let reason = command::abort_reason(request.reason);
    let aborted = writer.abort(&ledger_id, &reason).await;
    record_outcome(caller, record, aborted)
}

async fn status(targets: &Targets, envelope: Envelope<'_>) -> Result<WriteStatus> {
    let request: v1::StatusRequest = envelope.decode()?;
    let write_id = command::write_id(request.write_id)?;
    let (_, writer) = targets.find(&request.target)?;
    let caller = writer.caller();
    let status = writer.status(&writer.ledger_id(&write_id)).await;
    for_caller(caller, status)
}

async fn plan(
    targets: &Targets,
    envelope: Envelope<'_>,
    limits: Limits,
    form: WireForm,
) -> Result<Bytes> {
    let request: v1::PlanRequest = envelope.decode()?;
    let (target, spec) = command::write_spec(request.spec)?;
    let schema = decode::schema(&request.arrow_schema, limits)?;
    let (_, writer) = targets.find(&target)?;
    let preview = writer.preview(&spec, &schema).await?;
    envelope::encode(&plan_response(preview), form)
}

fn plan_response(preview: Preview) -> v1::PlanResponse {
    let columns = preview.columns.into_iter();
    v1::PlanResponse {
        table: preview.table,
        columns: columns
            .map(|column| v1::PlannedColumn {
                name: column.name,
                arrow_type: column.arrow_type,
                postgresql_type: column.postgresql_type,
                encoding: column.encoding,
                problem: column.problem,
            })
            .collect(),
        problems: preview.problems,
        warnings: preview.warnings,
        statements: preview.statements,
        keys: preview.keys,
    }
}

async fn heartbeat(targets: &Targets, envelope: Envelope<'_>, form: WireForm) -> Result<Bytes> {
    let request: v1::HeartbeatRequest = envelope.decode()?;
    let driver = command::driver(request.driver)?.ok_or_else(|| {
        Error::invalid_command("the heartbeat names no driver")
            .with_hint("send the driver's id that the write was begun with")
    })?;
    let (_, writer) = targets.find(&request.target)?;
    let open = writer.heartbeat(&driver).await?;
    let caller = writer.caller();
    let open_write_ids = open.iter().map(|id| caller.write_id(id).to_owned());
    let open_write_ids = open_write_ids.collect();
    envelope::encode(&v1::HeartbeatResponse { open_write_ids }, form)
}

/// Logs the outcome of a change, and returns the status with the caller's ids.
fn record_outcome(
    caller: &Caller,
    record: AuditRecord,
    status: Result<WriteStatus>,
) -> Result<WriteStatus> {
    match &status {
        Ok(status) => record.succeeded(
            status.state.as_str(),
            &status.table,
            status.row_count,
            status.byte_count,
        ),
        Err(error) => record.failed(error),
    }
    for_caller(caller, status)
}

/// Replaces the ledger's ids with those of the caller.
fn for_caller(caller: &Caller, status: Result<WriteStatus>) -> Result<WriteStatus> {
    status
        .map_err(|error| with_callers_ids(caller, error))
        .map(|status| WriteStatus {
            write_id: caller.write_id(&status.write_id).to_owned(),
            ..status
        })
}

/// Replaces the ledger's id in an error with that of the caller.
pub(crate) fn with_callers_ids(caller: &Caller, error: Error) -> Error {
    let Some(ledger_id) = error.context().write_id.clone() else {
        return error;
    };
    let write_id = caller.write_id(&ledger_id).to_owned();
    error.with_context(|context| context.write_id = Some(write_id))
}
