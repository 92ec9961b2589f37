//! What every format is: a schema, and batches that can be read more than once.

use std::fmt::Debug;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use crate::error::Result;

/// The number of rows of a batch.
pub(super) const BATCH_ROWS: usize = 8192;
/// The bytes of text after which a batch of fewer rows ends.
pub(super) const BATCH_BYTES: usize = 4 << 20;

/// The batches of a file.
pub type Batches = Box<dyn Iterator<Item = Result<RecordBatch>> + Send>;

/// The rows of an open file.
pub(super) trait Rows: Debug + Send + Sync {
    /// Returns the columns. Those of text formats are text, which the server encodes for the type of the table's column.
    fn schema(&self) -> SchemaRef;

    /// Reads the batches from the beginning.
    fn batches(&self) -> Result<Batches>;

    /// Returns the line in which a row begins, counted from 1; `None` for formats without lines, and for a file that
    /// cannot be read again.
    fn line_of(&self, _row: u64) -> Option<u64> {
        None
    }
}
