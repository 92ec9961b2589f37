//! Answers of Flight SQL: a description with a ticket, and batches for the ticket.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::error::FlightError;
use arrow_flight::{FlightData, FlightDescriptor, FlightEndpoint, FlightInfo, Ticket};
use futures_util::stream::{self, BoxStream, Stream};
use futures_util::{StreamExt, TryStreamExt};

use crate::error::{Error, Result};

/// Describes an answer of this schema. Its ticket is the command itself, which any server answers.
pub(super) fn described(descriptor: FlightDescriptor, schema: &SchemaRef) -> Result<FlightInfo> {
    let ticket = Ticket::new(descriptor.cmd.clone());
    let info = FlightInfo::new().try_with_schema(schema).map_err(unmade)?;
    let endpoint = FlightEndpoint::new().with_ticket(ticket);
    Ok(info.with_endpoint(endpoint).with_descriptor(descriptor))
}

/// Sends one batch.
pub(super) fn one(batch: RecordBatch) -> BoxStream<'static, Result<FlightData>> {
    let schema = batch.schema();
    sent(schema, stream::iter([Ok(batch)]))
}

/// Sends batches of one schema.
pub(crate) fn sent(
    schema: SchemaRef,
    batches: impl Stream<Item = Result<RecordBatch>> + Send + 'static,
) -> BoxStream<'static, Result<FlightData>> {
    let batches = batches.map_err(|error| FlightError::ExternalError(Box::new(error)));
    let encoded = FlightDataEncoderBuilder::new()
        .with_schema(Arc::clone(&schema))
        .build(batches);
    encoded.map_err(own_error).boxed()
}

/// Returns the error that ended the batches.
fn own_error(error: FlightError) -> Error {
    if let FlightError::ExternalError(source) = error {
        return match source.downcast::<Error>() {
            Ok(own) => *own,
            Err(other) => Error::internal(format!("cannot encode an answer: {other}")),
        };
    }
    Error::internal("cannot encode an answer").with_source(error)
}

/// Returns the error of an answer that arrow cannot make.
pub(super) fn unmade(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::internal("cannot make an answer").with_source(error)
}
