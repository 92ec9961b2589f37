//! A batch that Arrow's reader refuses as a whole: which column it refuses, and strings whose NULLs hide what
//! is no text, which Arrow allows and its reader does not.

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

/// A batch of rows as it came.
pub(super) struct Received<'a> {
    pub(super) body: &'a Buffer,
    pub(super) batch: arrow::ipc::RecordBatch<'a>,
    pub(super) schema: &'a SchemaRef,
    pub(super) dictionaries: &'a HashMap<i64, ArrayRef>,
    pub(super) version: MetadataVersion,
    /// The number of its first row within the stream.
    pub(super) first_row: u64,
}

impl Received<'_> {
    /// Reads the batch, at once or else column by column.
    ///
    /// # Errors
    /// [`ErrorKind::DataRejected`](crate::error::ErrorKind::DataRejected) for text that is not UTF-8, else
    /// [`ErrorKind::InvalidCommand`](crate::error::ErrorKind::InvalidCommand), with the column.
    pub(super) fn read(&self) -> Result<RecordBatch> {
        let refused = match self.decode(self.schema, None) {
            Ok(batch) => return Ok(batch),
            Err(error) => error,
        };
        let fields = self.schema.fields();
        let columns = (0..fields.len()).map(|index| self.column(index));
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let row_count = usize::try_from(self.batch.length()).ok();
        let options = RecordBatchOptions::new().with_row_count(row_count);
        RecordBatch::try_new_with_options(Arc::clone(self.schema), columns, &options)
            .map_err(|_| undecodable("batch", &refused))
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
        let refused = match alone(self.schema) {
            Ok(column) => return Ok(column),
            Err(error) => undecodable_column(field.name(), &error),
        };
        let Some(binary) = same_as_binary(field.data_type()) else {
            return Err(refused);
        };
        let mut fields: Vec<Arc<Field>> = self.schema.fields().to_vec();
        if let Some(field) = fields.get_mut(index) {
            *field = Arc::new(field.as_ref().clone().with_data_type(binary));
        }
        match alone(&Arc::new(Schema::new(fields))) {
            Ok(blobs) => self.texts(&blobs, field.name()),
            Err(_) => Err(refused),
        }
    }

    /// Binary as the text that it is wherever it is not NULL.
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
            text.map_err(|_| {
                not_utf8(
                    &format!("value at row {row} of column {column:?} is"),
                    column,
                )
                .with_row(row)
            })
        });
        strings.collect()
    }
}

/// The type of binary that lies in the same buffers as this type of text.
#[expect(clippy::wildcard_enum_match_arm, reason = "only text is of interest")]
fn same_as_binary(data_type: &DataType) -> Option<DataType> {
    match data_type {
        DataType::Utf8 => Some(DataType::Binary),
        DataType::LargeUtf8 => Some(DataType::LargeBinary),
        DataType::Utf8View => Some(DataType::BinaryView),
        _ => None,
    }
}

/// Arrow's word on what it cannot read, of which it quotes no value but the index into a dictionary.
pub(super) fn undecodable_column(column: &str, error: &ArrowError) -> Error {
    let text = error.to_string();
    if text.contains("UTF") {
        return not_utf8(&format!("column {column:?} holds text that is"), column);
    }
    let error = match text.contains("Value at position") {
        true => Error::invalid_command(format!(
            "column {column:?} has an index that its dictionary does not have, or no dictionary came"
        )),
        false => Error::invalid_command(format!(
            "column {column:?} of an Arrow message cannot be decoded: {text}"
        )),
    };
    error.with_column(column)
}

fn not_utf8(what: &str, column: &str) -> Error {
    Error::data_rejected(format!(
        "{what} not UTF-8; filter such values before writing, or send the column as binary"
    ))
    .with_column(column)
    .with_context(|context| context.sqlstate = Some("22021".to_owned()))
}

/// As [`undecodable_column`], where no column is known.
pub(super) fn undecodable(what: &str, error: &ArrowError) -> Error {
    Error::invalid_command(format!(
        "the Arrow {what} message cannot be decoded: {error}"
    ))
}
