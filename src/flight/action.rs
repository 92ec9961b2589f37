//! The actions: info, and the frame of a write of many partitions.

use arrow_flight::{Action, ActionType};
use bytes::Bytes;

use super::audit::Deed;
use super::command;
use super::decode;
use super::envelope::{self, Envelope, WireForm};
use super::gate::{Limits, MAX_HEADER_BYTES};
use super::json::Answers;
use crate::auth::Caller;
use crate::error::{Error, Result};
use crate::proto::v1;
use crate::write::{Begin, KeyedAction, Mode, Named, Preview, Targets, WriteState, WriteStatus};

/// An action by its name on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ActionName {
    Info,
    Begin,
    Commit,
    Abort,
    Status,
    Plan,
    Heartbeat,
}

/// The receipts of a commit: more than any job has partitions, and as many as become 48 MB.
pub(super) const RECEIPTS: Answers = Answers {
    field: "receipts",
    tag: 2,
    most: 250_000,
};

impl ActionName {
    const ALL: [Self; 7] = [
        Self::Info,
        Self::Begin,
        Self::Commit,
        Self::Abort,
        Self::Status,
        Self::Plan,
        Self::Heartbeat,
    ];

    pub(super) fn parse(name: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|action| action.as_str() == name)
            .ok_or_else(|| {
                let known: Vec<&str> = Self::ALL.into_iter().map(Self::as_str).collect();
                Error::unsupported(format!(
                    "there is no action {name:?}; there are {}",
                    known.join(", ")
                ))
            })
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Begin => "begin",
            Self::Commit => "commit",
            Self::Abort => "abort",
            Self::Status => "status",
            Self::Plan => "plan",
            Self::Heartbeat => "heartbeat",
        }
    }

    /// Refuses a body that is larger than the action needs.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidCommand`](crate::error::ErrorKind::InvalidCommand) with the number of bytes it may have.
    pub(super) fn check_size(self, body: &[u8]) -> Result<()> {
        let most = match self {
            // A receipt for each partition; their number is limited.
            Self::Commit => return Ok(()),
            // A schema, which base64 makes a third larger, and a spec.
            Self::Begin | Self::Plan => 2 * MAX_HEADER_BYTES,
            Self::Info | Self::Abort | Self::Status | Self::Heartbeat => MAX_HEADER_BYTES,
        };
        match body.len() <= most {
            true => Ok(()),
            false => Err(Error::invalid_command(format!(
                "the body of {} has {} bytes; at most {most} are taken",
                self.as_str(),
                body.len()
            ))),
        }
    }

    fn description(self) -> &'static str {
        match self {
            Self::Info => "InfoRequest -> InfoResponse: version and limits of this server",
            Self::Begin => "BeginRequest -> WriteStatus: open a write of many partitions",
            Self::Commit => {
                "CommitRequest -> WriteStatus: publish the accepted attempts, all or nothing"
            }
            Self::Abort => "AbortRequest -> WriteStatus: end a write without publishing",
            Self::Status => "StatusRequest -> WriteStatus: where a write stands",
            Self::Plan => "PlanRequest -> PlanResponse: what a write would do, by column",
            Self::Heartbeat => "HeartbeatRequest -> HeartbeatResponse: this driver is alive",
        }
    }
}

/// What ListActions tells.
pub(super) fn list() -> Vec<ActionType> {
    ActionName::ALL
        .into_iter()
        .map(|action| ActionType {
            r#type: action.as_str().to_owned(),
            description: action.description().to_owned(),
        })
        .collect()
}

/// What the server says of itself to every client.
#[derive(Debug, Clone, Copy)]
pub(super) struct Told {
    pub(super) max_message_bytes: u64,
    pub(super) heartbeat_seconds: u32,
}

/// Carries out an action and gives the body of its one result.
pub(super) async fn act(
    targets: &Targets,
    name: ActionName,
    action: Action,
    told: Told,
    limits: Limits,
) -> Result<Bytes> {
    let envelope = Envelope::parse(&action.body)?;
    let form = envelope.form();
    let status = match name {
        ActionName::Info => {
            let v1::InfoRequest {} = envelope.decode()?;
            let version = env!("CARGO_PKG_VERSION").to_owned();
            return envelope::encode(
                &v1::InfoResponse {
                    version,
                    max_message_bytes: told.max_message_bytes,
                    heartbeat_seconds: told.heartbeat_seconds,
                },
                form,
            );
        }
        ActionName::Begin => {
            let request: v1::BeginRequest = envelope.decode()?;
            let named = command::named(request.write_id, request.sink)?;
            let driver = command::driver(request.driver)?;
            let (target, spec) = command::write_spec(request.spec)?;
            let schema = decode::schema(&request.arrow_schema, limits)?;
            let (_, writer) = targets.find(&target)?;
            let caller = writer.caller();
            let deed = Deed::new(caller, "begin");
            let deed = deed.into_table(&spec.table, spec.mode.write_mode());
            let (deed, named) = match named {
                Named::Id(id) => (deed.of_write(&id), Named::Id(caller.ledger_id(&id))),
                Named::Batch(batch) => (deed.of_write(&batch.name(0)), Named::Batch(batch)),
            };
            let begin = Begin {
                named: &named,
                spec: &spec,
                schema: &schema,
                driver: driver.as_deref(),
            };
            let begun = writer.begin(&begin).await;
            finished(caller, deed, begun)?
        }
        ActionName::Commit => {
            let request: v1::CommitRequest = envelope.accept_answers_in(RECEIPTS).decode()?;
            let write_id = command::write_id(request.write_id)?;
            let accepted = request
                .receipts
                .into_iter()
                .map(|receipt| command::receipt(&write_id, receipt))
                .collect::<Result<Vec<_>>>()?;
            let (_, writer) = targets.find(&request.target)?;
            let deed = Deed::new(writer.caller(), "commit").of_write(&write_id);
            let ledger_id = writer.caller().ledger_id(&write_id);
            let committed = writer
                .commit(&ledger_id, &accepted, request.allow_no_receipts)
                .await;
            finished(writer.caller(), deed, committed)?
        }
        ActionName::Abort => {
            let request: v1::AbortRequest = envelope.decode()?;
            let write_id = command::write_id(request.write_id)?;
            let (_, writer) = targets.find(&request.target)?;
            let deed = Deed::new(writer.caller(), "abort").of_write(&write_id);
            let ledger_id = writer.caller().ledger_id(&write_id);
            let reason = command::reason(request.reason);
            let aborted = writer.abort(&ledger_id, &reason).await;
            finished(writer.caller(), deed, aborted)?
        }
        ActionName::Plan => {
            let request: v1::PlanRequest = envelope.decode()?;
            let (target, spec) = command::write_spec(request.spec)?;
            let schema = decode::schema(&request.arrow_schema, limits)?;
            let (_, writer) = targets.find(&target)?;
            return envelope::encode(&plan_response(writer.preview(&spec, &schema).await?), form);
        }
        ActionName::Heartbeat => {
            let request: v1::HeartbeatRequest = envelope.decode()?;
            let driver = command::driver(request.driver)?.ok_or_else(|| {
                Error::invalid_command(
                    "the heartbeat names no driver; give the id that begin was given",
                )
            })?;
            let (_, writer) = targets.find(&request.target)?;
            let open = writer.heartbeat(&driver).await?;
            let caller = writer.caller();
            let open_write_ids = open.iter().map(|id| caller.write_id(id).to_owned());
            let open_write_ids = open_write_ids.collect();
            return envelope::encode(&v1::HeartbeatResponse { open_write_ids }, form);
        }
        ActionName::Status => {
            let request: v1::StatusRequest = envelope.decode()?;
            let write_id = command::write_id(request.write_id)?;
            let (_, writer) = targets.find(&request.target)?;
            let caller = writer.caller();
            let status = writer.status(&caller.ledger_id(&write_id)).await;
            own(caller, status)?
        }
    };
    write_status(status, told, form)
}

/// Records what was done to a write, and tells it to its caller.
fn finished(caller: &Caller, deed: Deed, status: Result<WriteStatus>) -> Result<WriteStatus> {
    match &status {
        Ok(status) => deed.done(
            status.state.as_str(),
            &status.table,
            status.row_count,
            status.byte_count,
        ),
        Err(error) => deed.failed(error),
    }
    own(caller, status)
}

/// A write under the name that its caller gave it.
fn own(caller: &Caller, status: Result<WriteStatus>) -> Result<WriteStatus> {
    status
        .map_err(|error| in_words_of(caller, error))
        .map(|status| WriteStatus {
            write_id: caller.write_id(&status.write_id).to_owned(),
            ..status
        })
}

/// An error that names a write as its caller does.
pub(super) fn in_words_of(caller: &Caller, error: Error) -> Error {
    let Some(ledger_id) = error.context().write_id.clone() else {
        return error;
    };
    let write_id = caller.write_id(&ledger_id).to_owned();
    error
        .with_message(|message| message.replace(&ledger_id, &write_id))
        .with_context(|context| context.write_id = Some(write_id))
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
    }
}

/// A time of the ledger, which has a blank between date and time.
fn rfc3339(time: &str) -> String {
    time.replacen(' ', "T", 1)
}

fn write_status(status: WriteStatus, told: Told, form: WireForm) -> Result<Bytes> {
    let state = match status.state {
        WriteState::Open => v1::WriteState::Open,
        WriteState::Committing => v1::WriteState::Committing,
        WriteState::Committed => v1::WriteState::Committed,
        WriteState::Aborted => v1::WriteState::Aborted,
        WriteState::PreparedLost => v1::WriteState::PreparedLost,
    };
    let mode = match status.mode {
        Some(Mode::Append { .. }) => v1::Mode::Append,
        Some(Mode::Create { .. }) => v1::Mode::Create,
        Some(Mode::Overwrite { .. }) => v1::Mode::Overwrite,
        Some(Mode::Keyed { action, .. }) => match action {
            KeyedAction::Upsert => v1::Mode::Upsert,
            KeyedAction::InsertIfAbsent => v1::Mode::InsertIfAbsent,
            KeyedAction::UpdateOnly => v1::Mode::UpdateOnly,
            KeyedAction::DeleteByKey => v1::Mode::DeleteByKey,
        },
        None => v1::Mode::Unspecified,
    };
    let answer = v1::WriteStatus {
        write_id: status.write_id,
        state: state.into(),
        table: status.table,
        mode: mode.into(),
        row_count: status.row_count,
        byte_count: status.byte_count,
        attempt_count: status.attempt_count,
        reason: status.reason,
        max_message_bytes: told.max_message_bytes,
        heartbeat_seconds: told.heartbeat_seconds,
        finished_at: rfc3339(&status.finished_at),
        existed: status.existed,
        lost: status
            .lost
            .into_iter()
            .map(|(partition_id, row_count)| v1::LostPartition {
                partition_id,
                row_count,
            })
            .collect(),
    };
    envelope::encode(&answer, form)
}
