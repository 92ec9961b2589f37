//! DoPut: the command from the descriptor, the stream into the table, and a receipt back. A client that asks for it
//! gets a `Ready` before the receipt, when PostgreSQL takes rows.

use std::pin::pin;
use std::sync::Arc;

use arrow_flight::sql::Command;
use arrow_flight::{FlightData, PutResult};
use futures_util::future::{self, BoxFuture};
use futures_util::stream::{self, BoxStream, Stream};
use futures_util::{FutureExt, StreamExt};
use tokio::sync::oneshot;
use tonic::Status;

use super::action::with_callers_ids;
use super::write_status::{reject_reasons, row_counts};
use crate::auth::{Caller, WriteMode};
use crate::error::{Error, Result};
use crate::flight::access::audit::AuditRecord;
use crate::flight::command::envelope::{self, WireForm};
use crate::flight::command::{Ingest, PutCommand, ResponseOptions, put_command};
use crate::flight::ingress::decode::{Decoder, transport_error};
use crate::flight::ingress::gate::{Limits, MAX_HEADER_BYTES};
use crate::flight::ingress::meter::Messages;
use crate::flight::sql;
use crate::metrics;
use crate::proto::v1;
use crate::write::{
    AppendBy, AttemptId, Budget, EndOfStream, Incoming, Mode, Once, ReadySignal, Receipt,
    StreamMessage, Targets, WriteSpec, Writer,
};
use arrow_pgcopy::table::TableName;

/// Runs a whole DoPut and returns its receipt. Sends a `Ready` through `ready` if the command asks for it. Dropping the
/// future rolls the stream back. `arrival` stands for it in the transaction of its session until its command is read.
///
/// # Errors
/// `InvalidCommand` for a first message that cannot be used, and any error of the stream or of PostgreSQL.
pub(crate) async fn put(
    targets: &Targets,
    (limits, budget): (Limits, Budget),
    mut messages: Messages,
    (session, headers): (&sql::CallSession, &sql::Headers),
    arrival: Option<sql::Arrival>,
    ready: oneshot::Sender<PutResult>,
) -> Result<PutResult> {
    let first = messages.message().await;
    let first = first.map_err(|status| transport_error(&status))?;
    let mut first = first.ok_or_else(|| {
        Error::invalid_command("the stream is empty")
            .with_hint(
                "send a descriptor and a schema; ADBC's Flight SQL driver sends neither without a \
                 batch, so give it an empty one",
            )
            .in_full()
    })?;
    let descriptor = first.flight_descriptor.take();
    let first = First {
        descriptor_bytes: descriptor.as_ref().map_or(0, prost::Message::encoded_len),
        data: first,
    };
    let arriving = Arriving {
        limits,
        budget,
        first,
        messages,
        ready,
    };
    let settle = || {
        if let Some(arrival) = arrival {
            arrival.settle();
        }
    };
    match sql::command(descriptor.as_ref())? {
        Some(Command::CommandStatementUpdate(update)) => {
            settle();
            let updated = sql::update(targets, (session, headers), update).await;
            updated.map_err(Error::in_full)
        }
        Some(command) => {
            let received = async {
                let command = sql::RowsCommand::read(command)?;
                if let Some(answer) = command.executed(&arriving.first.data)? {
                    settle();
                    return Ok(answer);
                }
                let within = command.take(session, targets).await?;
                settle();
                let ingested = async |within: Option<&mut sql::InUse>| {
                    let names = session.names(targets)?;
                    let ingest = command.write(headers, &names, within.is_some())?;
                    arriving.receive(targets, ingest, within).await
                };
                let received = sql::InUse::run_within(within, ingested).await?;
                Ok(command.answer(received.receipt.row_count))
            };
            received.await.map_err(Error::in_full)
        }
        None => {
            settle();
            headers.reject()?;
            let command = put_command(descriptor)?;
            put_result(arriving.receive(targets, command, None).await?)
        }
    }
}

/// The first message of a stream, without its descriptor.
struct First {
    data: FlightData,
    descriptor_bytes: usize,
}

/// A stream after its first message.
struct Arriving {
    limits: Limits,
    budget: Budget,
    first: First,
    messages: Messages,
    ready: oneshot::Sender<PutResult>,
}

impl Arriving {
    async fn receive(
        self,
        targets: &Targets,
        (target, command): (String, PutCommand),
        within: Option<&mut sql::InUse>,
    ) -> Result<Received> {
        let Self {
            limits,
            budget,
            first,
            messages,
            ready,
        } = self;
        let stream = messages.stream();
        let (target, writer) = targets.find(&target)?;
        stream.set_target(target);
        let record = audit_record(writer.caller(), &command);
        let (record, done) = match &within {
            Some(within) => (record.in_transaction(within.id()), "uncommitted"),
            None => (record, "done"),
        };
        let received = async {
            let mut decoder =
                Decoder::begin(&first.data, limits, budget.clone(), Arc::clone(&stream))?;
            check_first(&first)?;
            if let PutCommand::Ingest(ingest) = &command
                && let Some(columns) = &ingest.columns
            {
                decoder.name_columns(columns)?;
            }
            let schema = decoder.schema();
            let upload = Upload {
                writer: &writer,
                schema: &schema,
                messages: decoder.decode(messages),
                stream: &stream,
                budget: &budget,
                ready,
                within,
            };
            // Boxed, since the future is large.
            Box::pin(upload.receive(command)).await
        };
        let received = received.await;
        match &received {
            Ok(Received { receipt, .. }) => record.succeeded(
                if receipt.skipped { "skipped" } else { done },
                &receipt.table,
                receipt.row_count,
                receipt.byte_count,
            ),
            Err(error) => record.failed(error),
        }
        received
    }
}

fn audit_record(caller: &Caller, command: &PutCommand) -> AuditRecord {
    let record = AuditRecord::new(caller, "write");
    match command {
        PutCommand::Table(table) => record.into_table(table, WriteMode::Append),
        PutCommand::Write(spec, _) => record.into_table(&spec.table, spec.mode.write_mode()),
        PutCommand::Attempt(id, _) => record.of_attempt(id),
        PutCommand::Ingest(ingest) => {
            let Ingest { spec, end, .. } = ingest;
            let record = record.into_table(&spec.table, spec.mode.write_mode());
            match &end.write_id {
                Some(write_id) => record.of_write(write_id),
                None => record,
            }
        }
    }
}

/// Checks the first message, which stays in memory while the stream waits for its turn.
fn check_first(first: &First) -> Result<()> {
    let byte_count = first.descriptor_bytes + first.data.app_metadata.len();
    if byte_count <= MAX_HEADER_BYTES && first.data.data_body.is_empty() {
        return Ok(());
    }
    Err(
        Error::invalid_command("the first message of the stream is too large or carries rows")
            .with_hint(format!(
                "send a descriptor and metadata of at most {MAX_HEADER_BYTES} bytes, a schema, and no rows"
            )),
    )
}

/// A stream of rows after its first message.
struct Upload<'a, M> {
    writer: &'a Writer,
    schema: &'a arrow::datatypes::SchemaRef,
    messages: M,
    stream: &'a Arc<metrics::Stream>,
    budget: &'a Budget,
    ready: oneshot::Sender<PutResult>,
    /// The client's transaction, if the stream is in one.
    within: Option<&'a mut sql::InUse>,
}

/// The outcome of a stream that succeeded.
struct Received {
    answer: Answer,
    receipt: Receipt,
}

/// What the client gets for its rows.
enum Answer {
    /// A receipt in a form, with the attempt as its caller names it; `None` for a write of one stream.
    Receipt(Option<AttemptId>, WireForm),
    /// The number of rows, as Flight SQL has it.
    RowCount,
}

impl<M: Stream<Item = Result<StreamMessage>> + Send> Upload<'_, M> {
    async fn receive(self, command: PutCommand) -> Result<Received> {
        let messages = pin!(self.messages);
        match command {
            PutCommand::Table(table) => {
                let incoming = Incoming {
                    messages,
                    end: EndOfStream::IsEnough,
                    stream: self.stream,
                    budget: self.budget,
                    signal_ready: None,
                    envelope: None,
                    rejects: None,
                };
                let spec = append_to(table);
                let received = self.writer.write_stream(&spec, self.schema, incoming);
                Ok(Received {
                    answer: Answer::Receipt(None, WireForm::Json),
                    receipt: Box::pin(received).await?,
                })
            }
            PutCommand::Ingest(ingest) => {
                let Ingest { spec, end, .. } = ingest;
                let incoming = Incoming {
                    messages,
                    end: match end.rows {
                        None => EndOfStream::IsEnough,
                        Some(rows) => EndOfStream::HasRows(rows),
                    },
                    stream: self.stream,
                    budget: self.budget,
                    signal_ready: None,
                    envelope: None,
                    rejects: None,
                };
                let (writer, schema) = (self.writer, self.schema);
                let once = end.write_id.map(|write_id| Once {
                    write_id: writer.ledger_id(&write_id),
                    rows: end.rows,
                });
                let received = match (self.within, once) {
                    (Some(within), once) => {
                        let what = (&spec, &**schema);
                        Box::pin(within.write(writer, once.as_ref(), what, incoming)).await
                    }
                    (None, Some(once)) => {
                        Box::pin(writer.write_once(&once, &spec, schema, incoming)).await
                    }
                    (None, None) => Box::pin(writer.write_stream(&spec, schema, incoming)).await,
                };
                let caller = writer.caller();
                let receipt = received.map_err(|error| with_callers_ids(caller, error))?;
                Ok(Received {
                    answer: Answer::RowCount,
                    receipt,
                })
            }
            PutCommand::Write(spec, options) => {
                let incoming = Incoming {
                    messages,
                    end: EndOfStream::NeedsEndRecord,
                    stream: self.stream,
                    budget: self.budget,
                    signal_ready: ready_signal(options, self.ready)?,
                    envelope: None,
                    rejects: None,
                };
                let received = self.writer.write_stream(&spec, self.schema, incoming);
                Ok(Received {
                    answer: Answer::Receipt(None, options.form),
                    receipt: Box::pin(received).await?,
                })
            }
            PutCommand::Attempt(id, options) => {
                let caller = self.writer.caller();
                let ledger_id = AttemptId {
                    write_id: self.writer.ledger_id(&id.write_id),
                    ..id.clone()
                };
                let incoming = Incoming {
                    messages,
                    end: EndOfStream::NeedsEndRecord,
                    stream: self.stream,
                    budget: self.budget,
                    signal_ready: ready_signal(options, self.ready)?,
                    envelope: None,
                    rejects: None,
                };
                let received = self.writer.write_attempt(&ledger_id, self.schema, incoming);
                let receipt = Box::pin(received).await;
                Ok(Received {
                    answer: Answer::Receipt(Some(id), options.form),
                    receipt: receipt.map_err(|error| with_callers_ids(caller, error))?,
                })
            }
        }
    }
}

/// Returns the spec of a stream whose descriptor is a path.
fn append_to(table: TableName) -> WriteSpec {
    let mode = Mode::Append {
        create_if_missing: false,
        publish: AppendBy::Best,
    };
    WriteSpec::new(table, mode)
}

/// Returns the function that sends a `Ready`; `None` if the client does not wait for it.
fn ready_signal(
    options: ResponseOptions,
    ready: oneshot::Sender<PutResult>,
) -> Result<Option<ReadySignal>> {
    if !options.announce_ready {
        return Ok(None);
    }
    let app_metadata = envelope::encode(&v1::Ready {}, options.form)?;
    Ok(Some(Box::new(move || {
        // Fails when the client has disconnected.
        drop(ready.send(PutResult { app_metadata }));
    })))
}

/// Returns the responses of a DoPut: the one sent through `ready`, if any, and then the outcome of `receiving`. Dropping
/// the responses drops `receiving`.
pub(crate) fn responses(
    ready: oneshot::Receiver<PutResult>,
    receiving: BoxFuture<'static, Result<PutResult, Status>>,
) -> BoxStream<'static, Result<PutResult, Status>> {
    let first = async move {
        let (mut ready, mut receiving) = (ready, receiving);
        tokio::select! {
            biased;
            Ok(sent) = &mut ready => (Ok(sent), Some(receiving)),
            outcome = &mut receiving => match ready.try_recv() {
                // Both completed in the same poll.
                Ok(sent) => (Ok(sent), Some(future::ready(outcome).boxed())),
                Err(_) => (outcome, None),
            },
        }
    };
    stream::once(first)
        .flat_map(|(first, rest)| stream::iter([first]).chain(stream::iter(rest).then(|rest| rest)))
        .boxed()
}

fn put_result(received: Received) -> Result<PutResult> {
    let Received { answer, receipt } = received;
    let (attempt, form) = match answer {
        Answer::Receipt(attempt, form) => (attempt, form),
        Answer::RowCount => return Ok(sql::row_count(receipt.row_count)),
    };
    let (write_id, partition_id, attempt_id) = match attempt {
        Some(id) => (id.write_id, id.partition_id, id.attempt_id),
        None => (receipt.write_id, 0, String::new()),
    };
    let receipt = v1::Receipt {
        write_id,
        partition_id,
        attempt_id,
        row_count: receipt.row_count,
        byte_count: receipt.byte_count,
        table: receipt.table,
        skipped: receipt.skipped,
        counts: row_counts(receipt.counts),
        remark: receipt.remark,
        rejected_count: receipt.rejected.row_count,
        reject_reasons: reject_reasons(receipt.rejected.reasons),
    };
    Ok(PutResult {
        app_metadata: envelope::encode(&receipt, form)?,
    })
}
