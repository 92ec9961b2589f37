//! DoGet: the rejected rows of a write.

use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow_flight::FlightData;
use futures_util::FutureExt;
use futures_util::stream::BoxStream;

use super::action::with_callers_ids;
use crate::error::{Error, Result};
use crate::flight::command::envelope::Envelope;
use crate::flight::listing::{ListSender, listed};
use crate::flight::sql::sent;
use crate::proto::v1;
use crate::write::{Budget, Reject, Targets};

/// Returns the write that a ticket asks for; `None` for a ticket of another kind.
pub(crate) fn requested(ticket: &[u8]) -> Option<v1::RejectsRequest> {
    Envelope::parse(ticket).ok()?.decode().ok()
}

/// Sends the rejected rows of a write of the caller, in the order of their places. They are read while the client takes
/// them. An error ends the stream.
///
/// # Errors
/// The errors of [`Targets::find`] and [`Writer::rejects`](crate::write::Writer::rejects).
pub(crate) async fn answer(
    targets: &Targets,
    request: v1::RejectsRequest,
    budget: &Budget,
) -> Result<BoxStream<'static, Result<FlightData>>> {
    let (_, writer) = targets.find(&request.target)?;
    let write_id = writer.ledger_id(&request.write_id);
    let caller = writer.caller().clone();
    let first = writer.rejects(&write_id, None).await;
    let first = first.map_err(|error| with_callers_ids(&caller, error))?;
    let make = |sender: ListSender<RecordBatch>| {
        let sending = async move {
            let mut page = first;
            while let Some(last) = page.last() {
                let after = (last.partition_id, last.row);
                sender.send(batch(&page)?).await?;
                page = writer.rejects(&write_id, Some(after)).await?;
            }
            Ok(())
        };
        sending.boxed()
    };
    Ok(sent(schema(), listed(budget, make).await?))
}

fn schema() -> SchemaRef {
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    Arc::new(Schema::new(vec![
        Field::new("partition_id", DataType::Int64, false),
        text("attempt_id"),
        Field::new("row_number", DataType::Int64, false),
        text("kind"),
        text("sqlstate"),
        text("column_name"),
        text("constraint_name"),
        text("message"),
        text("keys"),
        text("row"),
        Field::new("ipc", DataType::Binary, true),
    ]))
}

fn batch(rejects: &[Reject]) -> Result<RecordBatch> {
    let texts = |field: fn(&Reject) -> Option<&str>| -> ArrayRef {
        Arc::new(StringArray::from_iter(rejects.iter().map(field)))
    };
    let rows = rejects
        .iter()
        .map(|r| i64::try_from(r.row).unwrap_or(i64::MAX));
    let ipc: Vec<Option<Vec<u8>>> = rejects.iter().map(|r| bytes(r.ipc.as_deref())).collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(
            rejects.iter().map(|r| r.partition_id.into()),
        )),
        texts(|r| Some(&r.attempt_id)),
        Arc::new(Int64Array::from_iter_values(rows)),
        texts(|r| Some(&r.kind)),
        texts(|r| r.sqlstate.as_deref()),
        texts(|r| r.column.as_deref()),
        texts(|r| r.constraint.as_deref()),
        texts(|r| Some(&r.message)),
        texts(|r| r.keys.as_deref()),
        texts(|r| r.values.as_deref()),
        Arc::new(BinaryArray::from_iter(ipc)),
    ];
    RecordBatch::try_new(schema(), columns)
        .map_err(|error| Error::internal("cannot make an answer").with_source(error))
}

/// Reads hexadecimal digits.
fn bytes(digits: Option<&str>) -> Option<Vec<u8>> {
    let pairs = digits?.as_bytes().chunks(2);
    let byte = |pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    pairs.map(byte).collect()
}
