//! Batches of text columns, as CSV and JSON lines have them.

use std::iter::from_fn;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringBuilder};
use arrow::datatypes::SchemaRef;

use super::fault::arrow_fault;
use super::rows::Batches;
use crate::error::Result;

/// Returns the rows of the builders as a batch of the file `name`; `None` for no rows.
///
/// # Errors
/// [`ErrorKind::InvalidCommand`](crate::error::ErrorKind::InvalidCommand) when the columns do not fit the schema.
pub(super) fn finish(
    builders: &mut [StringBuilder],
    rows: usize,
    schema: &SchemaRef,
    name: &str,
) -> Result<Option<RecordBatch>> {
    if rows == 0 {
        return Ok(None);
    }
    let arrays = builders
        .iter_mut()
        .map(|builder| -> ArrayRef { Arc::new(builder.finish()) });
    let batch = RecordBatch::try_new(Arc::clone(schema), arrays.collect());
    batch.map(Some).map_err(|error| arrow_fault(name, &error))
}

/// Returns the batches that `next` reads, up to the end or the first error.
pub(super) fn until_error(
    mut next: impl FnMut() -> Result<Option<RecordBatch>> + Send + 'static,
) -> Batches {
    let mut has_ended = false;
    Box::new(from_fn(move || {
        if has_ended {
            return None;
        }
        let batch = next().transpose();
        has_ended = !matches!(batch, Some(Ok(_)));
        batch
    }))
}
