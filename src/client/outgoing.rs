//! The messages that an attempt sends.

use std::sync::{Arc, Mutex, PoisonError};

use arrow_flight::FlightData;
use arrow_flight::encode::FlightDataEncoder;
use arrow_flight::error::FlightError;
use futures_util::stream::{self, Stream, StreamExt};

use crate::error::{Error, Result};
use crate::flight::command::envelope::{self, WireForm};
use crate::proto::v1;

/// The messages of an attempt, counted for the end record as they are sent.
pub(super) struct OutgoingMessages {
    encoder: FlightDataEncoder,
    row_count: u64,
    batch_count: u64,
    failed: Arc<Mutex<Option<Error>>>,
}

impl OutgoingMessages {
    /// Takes the encoder of an attempt. The first error goes to `failed`, and ends the messages.
    pub(super) fn new(encoder: FlightDataEncoder, failed: Arc<Mutex<Option<Error>>>) -> Self {
        Self {
            encoder,
            row_count: 0,
            batch_count: 0,
            failed,
        }
    }

    /// Returns the messages, and the end record after the last one.
    pub(super) fn into_stream(self) -> impl Stream<Item = FlightData> + Send {
        stream::unfold(Some(self), |sent| async move {
            let mut sent = sent?;
            match sent.encoder.next().await {
                Some(Ok(message)) => {
                    sent.count(&message);
                    Some((message, Some(sent)))
                }
                Some(Err(error)) => {
                    sent.fail(error);
                    None
                }
                None => match sent.end() {
                    Ok(message) => Some((message, None)),
                    Err(error) => {
                        sent.fail(FlightError::ExternalError(Box::new(error)));
                        None
                    }
                },
            }
        })
    }

    /// Counts a message. The encoder splits batches, so they are counted as they are sent.
    fn count(&mut self, message: &FlightData) {
        let header = arrow::ipc::root_as_message(&message.data_header).ok();
        let batch = header.and_then(|header| header.header_as_record_batch());
        let rows = batch.map_or(0, |batch| batch.length());
        if let Ok(rows @ 1..) = u64::try_from(rows) {
            self.row_count += rows;
            self.batch_count += 1;
        }
    }

    fn end(&self) -> Result<FlightData> {
        let record = v1::EndRecord {
            row_count: self.row_count,
            batch_count: self.batch_count,
        };
        Ok(FlightData {
            app_metadata: envelope::encode(&record, WireForm::Protobuf)?,
            ..FlightData::default()
        })
    }

    fn fail(&self, error: FlightError) {
        let error = if let FlightError::ExternalError(error) = error {
            match error.downcast::<Error>() {
                Ok(error) => *error,
                Err(error) => Error::internal("cannot send a batch").with_source(error),
            }
        } else {
            Error::invalid_command("cannot send a batch").with_source(error)
        };
        *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }
}
