//! Debezium's envelope: changes with the old row in `before`, the new one in `after`, and the operation in `op`.
//!
//! The server takes it apart before everything else: the columns of the rows become columns of the data. A change that
//! deletes has its row in `before`, every other one in `after`. Runs of changes of the same kind are slices of a batch,
//! so no value is copied.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, StructArray};
use arrow::datatypes::{DataType, Field, Fields, Int64Type, Schema, SchemaRef};

use crate::error::{Error, Result};
use crate::pg::{DELETED, ROW, SEQUENCE};
use crate::write::spec::WriteSpec;
use arrow_pgcopy::Ident;

/// Debezium's default for a value that is stored outside its row and has not changed.
const UNAVAILABLE: &str = "__debezium_unavailable_value";
/// The most rows of a piece. The server makes columns for them, of a few bytes for each row.
const MOST_ROWS: usize = 8192;

/// The parts of an envelope, by their place in the data.
#[derive(Debug, Clone)]
pub struct Envelope {
    /// The schema of the rows within.
    schema: SchemaRef,
    before: usize,
    after: usize,
    op: usize,
    sequence: Sequence,
    has_newer_by: bool,
    /// The keys of the write, by their place in the rows.
    keys: Vec<usize>,
}

/// The number by which changes of one row are ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sequence {
    /// `source.lsn`: the column, and the field in it.
    Lsn(usize, usize),
    /// `ts_ms`.
    Milliseconds(usize),
}

/// The rows of a batch that are not taken apart yet.
pub(crate) struct Pieces {
    envelope: Arc<Envelope>,
    batch: RecordBatch,
    /// The number of the batch's first row within the stream.
    first_row: u64,
    from: usize,
}

impl Envelope {
    /// Finds the parts of the envelope of a write; `None` if its data has none.
    ///
    /// # Errors
    /// [`ErrorKind::SchemaMismatch`](crate::error::ErrorKind::SchemaMismatch) when the data is no envelope.
    pub(crate) fn find(spec: &WriteSpec, schema: &Schema) -> Result<Option<Self>> {
        let changes = spec.mode.changes();
        let Some(changes) = changes.filter(|changes| changes.has_envelope()) else {
            return Ok(None);
        };
        let (before, after) = (column(schema, "before")?, column(schema, "after")?);
        let op = column(schema, "op")?;
        if !matches!(
            schema.field(op).data_type(),
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
        ) {
            return Err(no_envelope("the envelope's op is no string", "op"));
        }
        let fields = rows(schema, after, "after")?;
        let names = |fields: &Fields| -> Vec<(String, DataType)> {
            let fields = fields.iter();
            fields
                .map(|field| (field.name().clone(), field.data_type().clone()))
                .collect()
        };
        if names(rows(schema, before, "before")?) != names(fields) {
            return Err(no_envelope(
                "before and after of the envelope have different columns",
                "before",
            ));
        }
        let mut flat: Vec<Field> = fields
            .iter()
            .map(|field| field.as_ref().clone().with_nullable(true))
            .collect();
        let mut more = vec![
            (DELETED, DataType::Boolean),
            (SEQUENCE, DataType::Int64),
            (ROW, DataType::Int64),
        ];
        more.extend(
            changes
                .newer_by
                .as_ref()
                .map(|name| (name.as_str(), DataType::Int64)),
        );
        for (name, data_type) in more {
            if flat.iter().any(|field| field.name() == name) {
                return Err(no_envelope(
                    "the rows of the envelope have a column that the server fills",
                    name,
                )
                .with_hint(
                    "name a column of the table in newer_by that the rows in after lack: it gets the order of the changes",
                ));
            }
            flat.push(Field::new(name, data_type, true));
        }
        Ok(Some(Self {
            schema: Arc::new(Schema::new(flat)),
            before,
            after,
            op,
            sequence: Sequence::find(schema)?,
            has_newer_by: changes.newer_by.is_some(),
            keys: Vec::new(),
        }))
    }

    /// Sets the keys of the write. A change of a key is then an error.
    pub(crate) fn keyed_by<'a>(mut self, names: impl Iterator<Item = &'a Ident>) -> Self {
        let places = names.map(|name| self.schema.index_of(name.as_str()));
        self.keys = places.flatten().collect();
        self
    }

    /// Returns the schema of the rows within.
    pub(crate) fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Says by what the changes of a row are ordered.
    pub(crate) fn caution(&self) -> String {
        let by = match self.sequence {
            Sequence::Lsn(..) => "source.lsn",
            Sequence::Milliseconds(_) => {
                "ts_ms: changes of one row in the same millisecond must be in one partition"
            }
        };
        format!("changes are ordered by {by}, and within a partition by their place in it")
    }

    /// Begins to take a batch apart.
    pub(crate) fn pieces(self: &Arc<Self>, batch: RecordBatch, first_row: u64) -> Pieces {
        Pieces {
            envelope: Arc::clone(self),
            batch,
            first_row,
            from: 0,
        }
    }
}

impl Sequence {
    fn find(schema: &Schema) -> Result<Self> {
        if let Ok(source) = schema.index_of("source")
            && let DataType::Struct(fields) = schema.field(source).data_type()
            && let Some((lsn, field)) = fields.find("lsn")
            && *field.data_type() == DataType::Int64
        {
            return Ok(Self::Lsn(source, lsn));
        }
        let at = column(schema, "ts_ms")?;
        match *schema.field(at).data_type() == DataType::Int64 {
            true => Ok(Self::Milliseconds(at)),
            false => Err(no_envelope("the envelope's ts_ms is no bigint", "ts_ms")),
        }
    }

    /// Returns the name of the number if a change has none.
    fn missing(self, batch: &RecordBatch, index: usize) -> Option<&'static str> {
        let (name, holder) = match self {
            Self::Lsn(source, _) => ("source.lsn", batch.column(source)),
            Self::Milliseconds(at) => ("ts_ms", batch.column(at)),
        };
        let is_null = |array: &ArrayRef| array.is_null(index);
        // A number below a NULL struct says nothing.
        (is_null(holder) || self.of(batch).is_none_or(is_null)).then_some(name)
    }

    fn of(self, batch: &RecordBatch) -> Option<&ArrayRef> {
        match self {
            Self::Lsn(source, lsn) => batch.column(source).as_struct_opt()?.columns().get(lsn),
            Self::Milliseconds(at) => Some(batch.column(at)),
        }
    }
}

impl Pieces {
    /// Returns the next rows, all of which delete or none of which does; `None` at the end.
    ///
    /// # Errors
    /// [`ErrorKind::DataRejected`](crate::error::ErrorKind::DataRejected) for a change without a known operation or
    /// without its row, and for a value that Debezium left out.
    pub(crate) fn next(&mut self) -> Result<Option<RecordBatch>> {
        let (from, total) = (self.from, self.batch.num_rows());
        if from >= total {
            return Ok(None);
        }
        let deletes = self.deletes(from)?;
        let mut to = from + 1;
        while to < total && to - from < MOST_ROWS && self.deletes(to)? == deletes {
            to += 1;
        }
        self.from = to;
        self.piece(from, to - from, deletes).map(Some)
    }

    fn row(&self, index: usize) -> u64 {
        self.first_row + u64::try_from(index).unwrap_or(u64::MAX)
    }

    /// Returns whether a change deletes.
    fn deletes(&self, index: usize) -> Result<bool> {
        let envelope = &self.envelope;
        let column = self.batch.column(envelope.op);
        let short = || column.as_string_opt::<i32>().map(|op| op.value(index));
        let long = || column.as_string_opt::<i64>().map(|op| op.value(index));
        let view = || column.as_string_view_opt().map(|op| op.value(index));
        let op = match column.is_null(index) {
            true => None,
            false => short().or_else(long).or_else(view),
        };
        let (deletes, name, place) = match op {
            Some("c" | "r" | "u") => (false, "after", envelope.after),
            Some("d") => (true, "before", envelope.before),
            Some(_) | None => {
                return Err(
                    Error::data_rejected("a change has an op other than c, r, u and d")
                        .with_hint(
                            "filter other messages before writing: tombstones, truncates and messages",
                        )
                        .with_column("op")
                        .with_row(self.row(index)),
                );
            }
        };
        if let Some(name) = envelope.sequence.missing(&self.batch, index) {
            return Err(Error::data_rejected(format!(
                "a change has NULL in {name}, which orders it"
            ))
            .with_hint("send the number of each change, or leave source out and send ts_ms")
            .with_column(name)
            .with_row(self.row(index)));
        }
        if self.batch.column(place).is_null(index) {
            return Err(Error::data_rejected(format!("a change has NULL in {name}"))
                .with_hint("let the source table have a REPLICA IDENTITY")
                .with_column(name)
                .with_row(self.row(index)));
        }
        match op {
            Some("u") => self.check_key(index).map(|()| deletes),
            _ => Ok(deletes),
        }
    }

    /// Rejects an update that changes a key: the row of the old key would stay. Deleting it too would make two changes of
    /// one, and the writer counts the rows that the client sent.
    fn check_key(&self, index: usize) -> Result<()> {
        let (before, after) = (self.envelope.before, self.envelope.after);
        let before = self.batch.column(before).as_struct_opt();
        let after = self.batch.column(after).as_struct_opt();
        let (Some(before), Some(after)) = (before, after) else {
            return Err(Error::internal("a batch lacks a part of its envelope"));
        };
        if before.is_null(index) {
            return Ok(());
        }
        for key in &self.envelope.keys {
            let value =
                |rows: &StructArray| rows.columns().get(*key).map(|key| key.slice(index, 1));
            if value(before) != value(after) {
                let name = self.envelope.schema.field(*key).name();
                return Err(Error::data_rejected(
                    "an update changes a key, and the row with the old one would stay",
                )
                .with_hint(
                    "send it as a delete of the old key and a create of the new one, as Debezium does for the keys of \
                     its messages, and let before have the keys",
                )
                .with_column(name)
                .with_row(self.row(index)));
            }
        }
        Ok(())
    }

    fn piece(&self, from: usize, length: usize, deletes: bool) -> Result<RecordBatch> {
        let envelope = &self.envelope;
        let place = if deletes {
            envelope.before
        } else {
            envelope.after
        };
        let lost = || Error::internal("a batch lacks a part of its envelope");
        let rows = self.batch.column(place).as_struct_opt().ok_or_else(lost)?;
        let fields = envelope.schema.fields().iter();
        let mut columns = Vec::with_capacity(fields.len());
        for (field, column) in fields.zip(rows.columns()) {
            let column = column.slice(from, length);
            if let Some(index) = unavailable(&column) {
                return Err(Error::data_rejected(
                    "a change lacks a value that has not changed, and has Debezium's placeholder in its place",
                )
                .with_hint("let the source table have REPLICA IDENTITY FULL, or leave the column out")
                .with_column(field.name())
                .with_row(self.row(from + index)));
            }
            columns.push(column);
        }
        let sequence = envelope.sequence.of(&self.batch).ok_or_else(lost)?;
        let sequence = sequence.slice(from, length);
        if sequence.as_primitive_opt::<Int64Type>().is_none() {
            return Err(lost());
        }
        let first = i64::try_from(self.row(from)).unwrap_or(i64::MAX);
        let numbers = (first..).take(length);
        columns.push(Arc::new(BooleanArray::from(vec![deletes; length])));
        columns.push(Arc::clone(&sequence));
        columns.push(Arc::new(Int64Array::from_iter_values(numbers)));
        if envelope.has_newer_by {
            columns.push(sequence);
        }
        RecordBatch::try_new(Arc::clone(&envelope.schema), columns).map_err(|error| {
            Error::internal("an envelope cannot be taken apart").with_source(error)
        })
    }
}

fn column(schema: &Schema, name: &str) -> Result<usize> {
    schema
        .index_of(name)
        .map_err(|_| no_envelope("the data lacks a column of Debezium's envelope", name))
}

fn rows<'a>(schema: &'a Schema, index: usize, name: &str) -> Result<&'a Fields> {
    if let DataType::Struct(fields) = schema.field(index).data_type()
        && !fields.is_empty()
    {
        return Ok(fields);
    }
    Err(no_envelope(
        "a column of Debezium's envelope is no struct",
        name,
    ))
}

fn no_envelope(message: &'static str, column: &str) -> Error {
    Error::schema_mismatch(message)
        .with_hint(
            "send before and after as structs of the table's columns, op as a string, and source.lsn or ts_ms as a bigint",
        )
        .with_column(column)
}

/// Returns the first value that is Debezium's placeholder.
fn unavailable(column: &ArrayRef) -> Option<usize> {
    let text = Some(UNAVAILABLE);
    let bytes = Some(UNAVAILABLE.as_bytes());
    if let Some(column) = column.as_string_opt::<i32>() {
        column.iter().position(|value| value == text)
    } else if let Some(column) = column.as_string_opt::<i64>() {
        column.iter().position(|value| value == text)
    } else if let Some(column) = column.as_string_view_opt() {
        column.iter().position(|value| value == text)
    } else if let Some(column) = column.as_binary_opt::<i32>() {
        column.iter().position(|value| value == bytes)
    } else if let Some(column) = column.as_binary_opt::<i64>() {
        column.iter().position(|value| value == bytes)
    } else if let Some(column) = column.as_binary_view_opt() {
        column.iter().position(|value| value == bytes)
    } else if let Some(column) = column.as_any_dictionary_opt() {
        let found = unavailable(column.values())?;
        let keys = column.normalized_keys();
        (0..column.len()).find(|row| !column.is_null(*row) && keys.get(*row) == Some(&found))
    } else if let Some(column) = column.as_list_opt::<i32>() {
        holds_unavailable(column.len(), |row| {
            column.is_valid(row).then(|| column.value(row))
        })
    } else {
        let column = column.as_list_opt::<i64>()?;
        holds_unavailable(column.len(), |row| {
            column.is_valid(row).then(|| column.value(row))
        })
    }
}

/// Returns the first row whose list has Debezium's placeholder.
fn holds_unavailable(rows: usize, list: impl Fn(usize) -> Option<ArrayRef>) -> Option<usize> {
    (0..rows).find(|row| list(*row).is_some_and(|values| unavailable(&values).is_some()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        Array, ArrayRef, BinaryArray, DictionaryArray, Int32Array, LargeStringArray, ListBuilder,
        StringArray, StringBuilder, StringViewArray,
    };
    use arrow::datatypes::Int32Type;

    use super::{UNAVAILABLE, unavailable};

    #[test]
    fn the_placeholder_is_found_in_every_form() {
        let texts = vec![Some("a"), None, Some(UNAVAILABLE)];
        let mut lists = ListBuilder::new(StringBuilder::new());
        lists.append_value([Some("a")]);
        lists.append_null();
        lists.append_value([None, Some(UNAVAILABLE)]);
        let bytes = texts.iter().map(|text| text.map(str::as_bytes)).collect();
        let forms: [ArrayRef; 6] = [
            Arc::new(StringArray::from(texts.clone())),
            Arc::new(LargeStringArray::from(texts.clone())),
            Arc::new(StringViewArray::from(texts.clone())),
            Arc::new(BinaryArray::from_opt_vec(bytes)),
            Arc::new(texts.into_iter().collect::<DictionaryArray<Int32Type>>()),
            Arc::new(lists.finish()),
        ];
        for form in forms {
            assert_eq!(unavailable(&form), Some(2), "{}", form.data_type());
            assert_eq!(unavailable(&form.slice(0, 2)), None, "{}", form.data_type());
            assert_eq!(
                unavailable(&form.slice(1, 2)),
                Some(1),
                "{}",
                form.data_type()
            );
        }
        let numbers: ArrayRef = Arc::new(Int32Array::from(vec![1]));
        assert_eq!(unavailable(&numbers), None);
    }
}
