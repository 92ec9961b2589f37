//! Reads a batch that Arrow's reader rejects as a whole column by column, to name the column at fault and to accept
//! strings with invalid UTF-8 behind NULLs, which the Arrow format allows and the reader does not.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::AsArray;
use arrow::array::{
    ArrayRef, LargeStringArray, RecordBatch, RecordBatchOptions, StringArray, StringViewArray,
};
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::MetadataVersion;
use arrow::ipc::reader::read_record_batch;

use crate::error::{Error, Result};

/// A batch of rows as the client sent it.
pub(crate) struct Received<'a> {
    pub(crate) body: &'a Buffer,
    pub(crate) batch: arrow::ipc::RecordBatch<'a>,
    pub(crate) schema: &'a SchemaRef,
    pub(crate) dictionaries: &'a HashMap<i64, ArrayRef>,
    pub(crate) version: MetadataVersion,
    /// The number of its first row in the stream.
    pub(crate) first_row: u64,
}

impl Received<'_> {
    /// Decodes the batch at once, or column by column when that fails.
    ///
    /// # Errors
    /// [`ErrorKind::DataRejected`](crate::error::ErrorKind::DataRejected) for text that is not UTF-8, else
    /// [`ErrorKind::InvalidCommand`](crate::error::ErrorKind::InvalidCommand); both name the column.
    pub(crate) fn read(&self) -> Result<RecordBatch> {
        let batch_error = match self.decode(self.schema, None) {
            Ok(batch) => return Ok(batch),
            Err(error) => error,
        };
        let fields = self.schema.fields();
        let columns = (0..fields.len()).map(|index| self.column(index));
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let row_count = usize::try_from(self.batch.length()).ok();
        let options = RecordBatchOptions::new().with_row_count(row_count);
        RecordBatch::try_new_with_options(Arc::clone(self.schema), columns, &options)
            .map_err(|_| undecodable("batch", &batch_error))
    }

    fn decode(
        &self,
        schema: &SchemaRef,
        projection: Option<&[usize]>,
    ) -> Result<RecordBatch, ArrowError> {
        let schema = Arc::clone(schema);
        read_record_batch(
            self.body,
            self.batch,
            schema,
            self.dictionaries,
            projection,
            &self.version,
        )
    }

    fn column(&self, index: usize) -> Result<ArrayRef> {
        let alone = |schema: &SchemaRef| -> Result<ArrayRef, ArrowError> {
            let batch = self.decode(schema, Some(&[index]))?;
            Ok(Arc::clone(batch.column(0)))
        };
        let field = self.schema.field(index);
        let column_error = match alone(self.schema) {
            Ok(column) => return Ok(column),
            Err(error) => undecodable_column(field.name(), &error),
        };
        let Some(binary) = same_as_binary(field.data_type()) else {
            return Err(column_error);
        };
        let mut fields: Vec<Arc<Field>> = self.schema.fields().to_vec();
        if let Some(field) = fields.get_mut(index) {
            *field = Arc::new(field.as_ref().clone().with_data_type(binary));
        }
        match alone(&Arc::new(Schema::new(fields))) {
            Ok(blobs) => self.texts(&blobs, field.name()),
            Err(_) => Err(column_error),
        }
    }

    /// Turns binary into text, leaving out what is behind NULLs.
    fn texts(&self, blobs: &ArrayRef, column: &str) -> Result<ArrayRef> {
        if let Some(blobs) = blobs.as_binary_opt::<i32>() {
            return Ok(Arc::new(StringArray::from(self.strings(blobs, column)?)));
        }
        if let Some(blobs) = blobs.as_binary_opt::<i64>() {
            return Ok(Arc::new(LargeStringArray::from(
                self.strings(blobs, column)?,
            )));
        }
        let views = blobs.as_binary_view();
        Ok(Arc::new(StringViewArray::from(
            self.strings(views, column)?,
        )))
    }

    fn strings<'a>(
        &self,
        blobs: impl IntoIterator<Item = Option<&'a [u8]>>,
        column: &str,
    ) -> Result<Vec<Option<&'a str>>> {
        let strings = blobs.into_iter().zip(self.first_row..).map(|(blob, row)| {
            let text = blob.map(std::str::from_utf8).transpose();
            text.map_err(|_| not_utf8(column).with_row(row))
        });
        strings.collect()
    }
}

/// Returns the binary type with the same buffers as a text type.
#[expect(clippy::wildcard_enum_match_arm, reason = "only text is of interest")]
fn same_as_binary(data_type: &DataType) -> Option<DataType> {
    match data_type {
        DataType::Utf8 => Some(DataType::Binary),
        DataType::LargeUtf8 => Some(DataType::LargeBinary),
        DataType::Utf8View => Some(DataType::BinaryView),
        _ => None,
    }
}

/// Returns the error for a column that Arrow cannot read. Arrow's own messages hold no value but the index into a
/// dictionary.
pub(crate) fn undecodable_column(column: &str, error: &ArrowError) -> Error {
    let text = error.to_string();
    if text.contains("UTF") {
        return not_utf8(column);
    }
    let error = if text.contains("Value at position") {
        Error::invalid_command("an index is not in its dictionary, or no dictionary was sent")
    } else {
        Error::invalid_command(format!("cannot decode an Arrow message: {text}"))
    };
    error.with_column(column)
}

fn not_utf8(column: &str) -> Error {
    Error::data_rejected("text is not UTF-8")
        .with_hint("filter such values before writing, or send the column as binary")
        .with_column(column)
        .with_context(|context| context.sqlstate = Some("22021".to_owned()))
}

/// Returns the error for a message that Arrow cannot read, where the column is unknown.
pub(crate) fn undecodable(what: &str, error: &ArrowError) -> Error {
    Error::invalid_command(format!("cannot decode the Arrow {what} message: {error}"))
}
