//! Stage decode: the messages of a DoPut become batches and the end record.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_buffer::Buffer;
use arrow_flight::FlightData;
use arrow_ipc::reader::{read_dictionary, read_record_batch};
use arrow_ipc::{Message, MessageHeader, root_as_message};
use arrow_schema::{ArrowError, Schema, SchemaRef};
use futures_util::stream::{self, Stream};
use tonic::{Code, Status, Streaming};

use super::command;
use crate::error::{Error, Result};
use crate::write::StreamMessage;

/// Reads a stream whose schema has been read. The dictionaries live here, since arrow-flight's own
/// decoder fails on a message that has nothing but metadata, and restarts on a second schema.
pub(super) struct Decoder {
    schema: SchemaRef,
    dictionaries: HashMap<i64, ArrayRef>,
}

impl Decoder {
    /// Begins with the first message, which must hold the schema.
    pub(super) fn begin(first: &FlightData) -> Result<Self> {
        let schema = guarded("schema", || {
            let message = parse(&first.data_header)?;
            match message.header_type() {
                MessageHeader::Schema => {
                    arrow_ipc::convert::try_schema_from_flatbuffer_bytes(&first.data_header)
                        .map_err(|error| undecodable("schema", &error))
                }
                _ => Err(Error::invalid_command(
                    "the stream does not begin with an Arrow schema",
                )),
            }
        })?;
        Ok(Self {
            schema: Arc::new(schema),
            dictionaries: HashMap::new(),
        })
    }

    pub(super) fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// The rest of the stream, decoded message by message as it is polled.
    pub(super) fn decode(
        self,
        messages: Streaming<FlightData>,
    ) -> impl Stream<Item = Result<StreamMessage>> + Send {
        stream::try_unfold((self, messages), |(mut decoder, mut messages)| async move {
            loop {
                let Some(data) = messages.message().await.map_err(|status| broken(&status))? else {
                    return Ok(None);
                };
                if let Some(message) = decoder.next(data)? {
                    return Ok(Some((message, (decoder, messages))));
                }
            }
        })
    }

    fn next(&mut self, data: FlightData) -> Result<Option<StreamMessage>> {
        if data.flight_descriptor.is_some() {
            return Err(Error::invalid_command(
                "a second descriptor came in the middle of the stream",
            ));
        }
        if data.data_header.is_empty() {
            return match data.app_metadata.is_empty() {
                true => Ok(None),
                false => Ok(Some(StreamMessage::End(command::end_record(
                    &data.app_metadata,
                )?))),
            };
        }
        let batch = guarded("batch", || self.read(&data))?;
        Ok(match batch {
            Some(batch) if batch.num_rows() == 0 && !data.app_metadata.is_empty() => {
                Some(StreamMessage::End(command::end_record(&data.app_metadata)?))
            }
            Some(batch) => Some(StreamMessage::Batch(batch)),
            None => None,
        })
    }

    fn read(&mut self, data: &FlightData) -> Result<Option<RecordBatch>> {
        let message = parse(&data.data_header)?;
        // Protobuf lays the body at any address; arrow needs its buffers aligned.
        let body = || Buffer::from(data.data_body.as_ref());
        match message.header_type() {
            MessageHeader::RecordBatch => {
                let batch = message.header_as_record_batch().ok_or_else(malformed)?;
                let schema = Arc::clone(&self.schema);
                read_record_batch(
                    &body(),
                    batch,
                    schema,
                    &self.dictionaries,
                    None,
                    &message.version(),
                )
                .map(Some)
                .map_err(|error| undecodable("batch", &error))
            }
            MessageHeader::DictionaryBatch => {
                let batch = message.header_as_dictionary_batch().ok_or_else(malformed)?;
                read_dictionary(
                    &body(),
                    batch,
                    &self.schema,
                    &mut self.dictionaries,
                    &message.version(),
                )
                .map(|()| None)
                .map_err(|error| undecodable("dictionary", &error))
            }
            MessageHeader::Schema => Err(Error::invalid_command(
                "a second schema came in the middle of the stream",
            )),
            _ => Err(malformed()),
        }
    }
}

/// Reads an encapsulated IPC schema message, as an action carries it.
pub(super) fn schema(bytes: &[u8]) -> Result<Schema> {
    if bytes.is_empty() {
        return Err(Error::invalid_command("the command has no arrow_schema"));
    }
    guarded("schema", || {
        arrow_ipc::convert::try_schema_from_ipc_buffer(bytes)
            .map_err(|error| undecodable("schema", &error))
    })
}

/// arrow's reader panics on some malformed messages; that must end the stream, not the server.
fn guarded<T>(what: &str, read: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| {
        tracing::error!(what, "the Arrow decoder panicked");
        Err(Error::invalid_command(format!(
            "the Arrow {what} message is malformed"
        )))
    })
}

fn parse(header: &[u8]) -> Result<Message<'_>> {
    root_as_message(header).map_err(|_| malformed())
}

fn malformed() -> Error {
    Error::invalid_command("a message of the stream is not an Arrow IPC message")
}

fn undecodable(what: &str, error: &ArrowError) -> Error {
    Error::invalid_command(format!(
        "the Arrow {what} message cannot be decoded: {error}"
    ))
}

/// The transport's own word on why no more comes.
fn broken(status: &Status) -> Error {
    if matches!(status.code(), Code::OutOfRange | Code::ResourceExhausted) {
        return Error::invalid_command(format!(
            "a message is larger than the server takes ({}); slice batches to stay below --max-message-size",
            status.message()
        ));
    }
    Error::cancelled(format!(
        "the sender's connection broke ({}); nothing of this stream is kept",
        status.message()
    ))
}
