//! The records of a CSV file as batches of text.

use arrow::array::{RecordBatch, StringBuilder};
use arrow::datatypes::SchemaRef;

use super::columns::Columns;
use super::records::{ENCODING_HINT, Records, fault_of};
use super::split::Record;
use crate::error::Result;
use crate::files::fault::line_fault;
use crate::files::rows::{BATCH_BYTES, BATCH_ROWS};
use crate::files::text::finish;

/// The batches of a CSV file.
pub(super) struct CsvBatches {
    pub(super) name: String,
    pub(super) records: Records,
    pub(super) columns: Columns,
    pub(super) schema: SchemaRef,
    pub(super) nulls: Vec<String>,
}

impl CsvBatches {
    /// Reads the next batch; `None` after the last.
    pub(super) fn batch(&mut self) -> Result<Option<RecordBatch>> {
        let mut builders: Vec<StringBuilder> = Vec::new();
        builders.resize_with(self.columns.names.len(), StringBuilder::new);
        let (mut rows, mut bytes) = (0, 0);
        while rows < BATCH_ROWS && bytes < BATCH_BYTES {
            let record = match self.records.next() {
                Ok(Some(record)) => record,
                Ok(None) => break,
                Err(fault) => {
                    let column = self.columns.of_field(fault.field);
                    return Err(fault_of(&self.name, &fault, column.as_deref()));
                }
            };
            self.columns.check(&self.name, record)?;
            append(
                &self.name,
                &self.columns,
                &self.nulls,
                record,
                &mut builders,
            )?;
            rows += 1;
            bytes += record.bytes.len();
        }
        finish(&mut builders, rows, &self.schema, &self.name)
    }
}

/// Appends the fields of a record. An unquoted field that is one of `nulls` is NULL.
fn append(
    name: &str,
    columns: &Columns,
    nulls: &[String],
    record: &Record,
    builders: &mut [StringBuilder],
) -> Result<()> {
    let text = std::str::from_utf8(&record.bytes).ok();
    let has_nul = memchr::memchr(0, &record.bytes).is_some();
    let fields = (0..record.len()).filter(|index| Some(*index) != columns.dropped);
    for (index, builder) in fields.zip(builders) {
        let (range, quoted) = record.field(index);
        let error = |reason| {
            let column = columns.of_field(index);
            line_fault(name, record.line, column.as_deref(), reason).with_hint(ENCODING_HINT)
        };
        // Two halves of a character in two fields are valid only together.
        let field = match text {
            Some(text) => text.get(range),
            None => record
                .bytes
                .get(range)
                .and_then(|bytes| std::str::from_utf8(bytes).ok()),
        };
        let field = field.ok_or_else(|| error("the text is not UTF-8"))?;
        if has_nul && field.contains('\0') {
            return Err(error("the text holds a NUL character"));
        }
        if !quoted && nulls.iter().any(|null| null == field) {
            builder.append_null();
        } else {
            builder.append_value(field);
        }
    }
    Ok(())
}
