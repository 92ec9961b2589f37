//! One DoPut: the command from its descriptor, the stream into the table, one receipt back, and before it
//! that the rows can be taken, where the client waits for that.

use std::pin::pin;
use std::sync::Arc;

use arrow_flight::{FlightData, PutResult};
use futures_util::future::{self, BoxFuture};
use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt, StreamExt};
use tokio::sync::oneshot;
use tonic::Status;

use super::action::in_words_of;
use super::audit::Deed;
use super::command::{Answering, PutCommand, put_command};
use super::decode::{Decoder, broken};
use super::envelope::{self, WireForm};
use super::gate::{Limits, MAX_HEADER_BYTES};
use super::meter::Messages;
use crate::auth::WriteMode;
use crate::error::{Error, Result};
use crate::metrics::Stream;
use crate::proto::v1;
use crate::write::{
    AppendBy, AttemptId, Budget, EndOfStream, Incoming, Mode, Receipt, Targets, TellReady,
    WriteSpec, Writer,
};

/// Carries out a whole DoPut, and sends a `Ready` on the way when the command asks for it. Dropping the future
/// keeps nothing of the stream.
pub(super) async fn put(
    targets: &Targets,
    limits: Limits,
    budget: Budget,
    mut messages: Messages,
    ready: oneshot::Sender<PutResult>,
) -> Result<PutResult> {
    let stream = messages.stream();
    let first = messages.message().await.map_err(|status| broken(&status))?;
    let mut first = first
        .ok_or_else(|| Error::invalid_command("the stream is empty: no descriptor, no schema"))?;
    let descriptor = first.flight_descriptor.take();
    let described = descriptor.as_ref().map_or(0, prost::Message::encoded_len);
    let (target, command) = put_command(descriptor)?;
    let (target, writer) = targets.find(&target)?;
    stream.set_target(target);
    let mut deed = Deed::new(writer.caller(), "write");
    match &command {
        PutCommand::Table(table) => deed = deed.into_table(table, WriteMode::Append),
        PutCommand::Write(spec, _) => {
            deed = deed.into_table(&spec.table, spec.mode.write_mode());
        }
        PutCommand::Attempt(id, _) => deed = deed.of_attempt(id),
    }
    let receipt = async {
        let decoder = Decoder::begin(&first, limits, budget.clone(), Arc::clone(&stream))?;
        check_first(&first, described)?;
        let on_the_way = (stream.as_ref(), &budget);
        // Boxed: it holds the room of every way to write.
        let landing = land(&writer, command, decoder, messages, on_the_way, ready);
        landing.boxed().await
    };
    let receipt = receipt.await;
    match &receipt {
        Ok((_, receipt)) => deed.done(
            if receipt.skipped { "skipped" } else { "done" },
            &receipt.table,
            receipt.row_count,
            receipt.byte_count,
        ),
        Err(error) => deed.failed(error),
    }
    let ((attempt, form), receipt) = receipt?;
    answer(attempt, receipt, form)
}

/// Lands the stream; tells for which attempt, in which form to answer, and what was received.
async fn land(
    writer: &Writer,
    command: PutCommand,
    decoder: Decoder,
    messages: Messages,
    (stream, budget): (&Stream, &Budget),
    ready: oneshot::Sender<PutResult>,
) -> Result<((Option<AttemptId>, WireForm), Receipt)> {
    let schema = decoder.schema();
    let messages = pin!(decoder.decode(messages));
    match command {
        PutCommand::Table(table) => {
            let mode = Mode::Append {
                create_if_missing: false,
                publish: AppendBy::Best,
            };
            let spec = WriteSpec {
                table,
                mode,
                column_types: Default::default(),
                conversions: Default::default(),
                schema_evolution: Default::default(),
                sync_sequences: false,
                primary_key: Default::default(),
                table_options: Default::default(),
            };
            let incoming = Incoming {
                messages,
                end: EndOfStream::IsEnough,
                stream,
                budget,
                tell_ready: None,
            };
            let receipt = writer.write_stream(&spec, &schema, incoming).await?;
            Ok(((None, WireForm::Json), receipt))
        }
        PutCommand::Write(spec, answering) => {
            let incoming = Incoming {
                messages,
                end: EndOfStream::NeedsEndRecord,
                stream,
                budget,
                tell_ready: tell_ready(answering, ready)?,
            };
            let receipt = writer.write_stream(&spec, &schema, incoming).await?;
            Ok(((None, answering.form), receipt))
        }
        PutCommand::Attempt(id, answering) => {
            let caller = writer.caller();
            let ledger_id = AttemptId {
                write_id: caller.ledger_id(&id.write_id),
                ..id.clone()
            };
            let incoming = Incoming {
                messages,
                end: EndOfStream::NeedsEndRecord,
                stream,
                budget,
                tell_ready: tell_ready(answering, ready)?,
            };
            let receipt = writer.write_attempt(&ledger_id, &schema, incoming).await;
            let receipt = receipt.map_err(|error| in_words_of(caller, error))?;
            Ok(((Some(id), answering.form), receipt))
        }
    }
}

/// What sends a `Ready` when PostgreSQL takes rows; none for a client that does not wait for it.
fn tell_ready(
    answering: Answering,
    ready: oneshot::Sender<PutResult>,
) -> Result<Option<TellReady>> {
    if !answering.announce_ready {
        return Ok(None);
    }
    let app_metadata = envelope::encode(&v1::Ready {}, answering.form)?;
    Ok(Some(Box::new(move || {
        // A client that has left needs no answer.
        drop(ready.send(PutResult { app_metadata }));
    })))
}

/// What a DoPut answers: what is sent through `ready`, if anything is, then how it ended. Dropping the answers
/// drops the stream that is landing.
pub(super) fn answers(
    ready: oneshot::Receiver<PutResult>,
    landing: BoxFuture<'static, Result<PutResult, Status>>,
) -> BoxStream<'static, Result<PutResult, Status>> {
    let first = async move {
        let (mut ready, mut landing) = (ready, landing);
        tokio::select! {
            biased;
            Ok(told) = &mut ready => (Ok(told), Some(landing)),
            outcome = &mut landing => match ready.try_recv() {
                // Both came at once.
                Ok(told) => (Ok(told), Some(future::ready(outcome).boxed())),
                Err(_) => (outcome, None),
            },
        }
    };
    stream::once(first)
        .flat_map(|(first, rest)| stream::iter([first]).chain(stream::iter(rest).then(|rest| rest)))
        .boxed()
}

/// The first message is held while the stream waits for its turn: it may hold nothing but what it is for.
fn check_first(first: &FlightData, described: usize) -> Result<()> {
    if described + first.app_metadata.len() > MAX_HEADER_BYTES || !first.data_body.is_empty() {
        return Err(Error::invalid_command(format!(
            "the first message of a stream takes a descriptor of at most {MAX_HEADER_BYTES} bytes and a \
             schema, and no rows"
        )));
    }
    Ok(())
}

fn answer(attempt: Option<AttemptId>, receipt: Receipt, form: WireForm) -> Result<PutResult> {
    let (write_id, partition_id, attempt_id) = match attempt {
        Some(id) => (id.write_id, id.partition_id, id.attempt_id),
        None => Default::default(),
    };
    let receipt = v1::Receipt {
        write_id,
        partition_id,
        attempt_id,
        row_count: receipt.row_count,
        byte_count: receipt.byte_count,
        table: receipt.table,
        skipped: receipt.skipped,
    };
    Ok(PutResult {
        app_metadata: envelope::encode(&receipt, form)?,
    })
}
