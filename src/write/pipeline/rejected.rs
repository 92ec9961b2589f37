//! The rejected rows of a stream: they are taken out of their batch, kept with their places, and counted at the end.

use std::sync::Arc;

use futures_util::Stream;

use super::batches::{BatchSource, StreamMessage, take_memory};
use super::lanes::Loaded;
use super::volume::Size;
use crate::error::{Error, Result};
use crate::metrics::Activity;
use crate::pg::ROW;
use crate::write::reject::places::place;
use arrow::array::{BooleanArray, Int64Array, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, Schema};
use arrow_pgcopy::{memory_to_reject, rejected_rows};

/// The first rows of a batch, without those that cannot be encoded.
pub(super) struct Part {
    pub(super) kept: RecordBatch,
    /// The other rows, by their numbers in the stream.
    pub(super) rejected: Vec<u64>,
    /// The number of both.
    pub(super) end: usize,
}

impl<S> BatchSource<'_, S>
where
    S: Stream<Item = Result<StreamMessage>> + Unpin,
{
    /// Adds the places of the rows to a batch, if they are staged.
    pub(super) fn with_places(&self, batch: RecordBatch) -> Result<RecordBatch> {
        let Some(rejects) = self.incoming.rejects.as_deref() else {
            return Ok(batch);
        };
        let mut names = self.plan.column_names();
        if !names.any(|name| name.as_str() == ROW) {
            return Ok(batch);
        }
        let (first, count) = (self.arrived.row_count, batch.num_rows());
        let last = first + u64::try_from(count).unwrap_or(u64::MAX);
        place(rejects.partition_id(), last)?;
        let from = place(rejects.partition_id(), first)?;
        let places = (from..).take(count);
        let mut fields = batch.schema_ref().fields().to_vec();
        fields.push(Arc::new(Field::new(ROW, DataType::Int64, false)));
        let mut columns = batch.columns().to_vec();
        columns.push(Arc::new(Int64Array::from_iter_values(places)));
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
            .map_err(|error| Error::internal("cannot add places to a batch").with_source(error))
    }

    /// Takes the rows that cannot be encoded out of the first rows of a batch, of which there is one at least: the reason
    /// is `error`, if it is known.
    pub(super) async fn reject(
        &mut self,
        batch: &RecordBatch,
        first_row: u64,
        size: Size,
        error: Option<Error>,
    ) -> Result<Part> {
        let (plan, stream, budget) = (self.plan, self.incoming.stream, self.incoming.budget);
        let Some(rejects) = self.incoming.rejects.as_deref_mut() else {
            return Err(error.unwrap_or_else(|| Error::internal("rows are not rejected")));
        };
        let ahead = memory_to_reject(plan, batch);
        let memory = match ahead {
            0 => None,
            ahead => take_memory(budget, stream, ahead, size).await?,
        };
        let room = rejects.room();
        let find = || rejected_rows(plan, batch, first_row, room - 1);
        let found = stream.work(Activity::Encode, find)?;
        drop(memory);
        if let (true, Some(error)) = (found.is_empty(), error) {
            return Err(error);
        }
        let end = match found.last() {
            Some(last) if found.len() == room => last.index + 1,
            Some(_) | None => batch.num_rows(),
        };
        let mut is_kept = vec![true; end];
        for row in &found {
            if let Some(kept) = is_kept.get_mut(row.index) {
                *kept = false;
            }
        }
        let number = |index: usize| first_row + u64::try_from(index).unwrap_or(u64::MAX);
        let rejected = found.iter().map(|row| number(row.index)).collect();
        let filter = || filter_record_batch(&batch.slice(0, end), &BooleanArray::from(is_kept));
        let kept = stream.work(Activity::Encode, filter);
        let kept =
            kept.map_err(|error| Error::internal("cannot take rows out").with_source(error))?;
        rejects.add(&without_places(batch)?, found)?;
        stream.wait(Activity::Commit, rejects.store_many()).await?;
        Ok(Part {
            kept,
            rejected,
            end,
        })
    }

    /// Stores the rejected rows, and checks that every row of the stream was either copied or rejected.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`] when a row was neither, or both; any error that PostgreSQL reports.
    ///
    /// [`ErrorKind::Internal`]: crate::error::ErrorKind::Internal
    pub(crate) async fn check_account(&mut self, loaded: &Loaded) -> Result<()> {
        let Some(rejects) = self.incoming.rejects.as_deref_mut() else {
            return Ok(());
        };
        let rejected = rejects.row_count();
        if loaded.row_count + rejected != self.arrived.row_count {
            return Err(Error::internal(format!(
                "{} rows arrived, {} were written and {rejected} rejected",
                self.arrived.row_count, loaded.row_count
            )));
        }
        let storing = rejects.store();
        self.incoming.stream.wait(Activity::Commit, storing).await
    }
}

/// Returns a batch without the places of its rows.
fn without_places(batch: &RecordBatch) -> Result<RecordBatch> {
    let schema = batch.schema_ref();
    let kept: Vec<usize> = (0..batch.num_columns())
        .filter(|index| schema.field(*index).name() != ROW)
        .collect();
    batch
        .project(&kept)
        .map_err(|error| Error::internal("cannot leave a column out").with_source(error))
}
