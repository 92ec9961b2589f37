//! The gate before Arrow's decoder. It rejects offsets, counts and sizes that would make the decoder panic, abort, or
//! take far more memory than the message.
//!
//! arrow-ipc checks the content of buffers (UTF-8, offsets of strings and lists, dictionary keys). But it slices the body
//! at unchecked offsets, and allocates the size that a compressed buffer claims. So the gate walks the verified
//! flatbuffer of each message first, at a cost that grows with the number of buffers and not with their size.

mod batch;
mod layout;
mod schema;

use std::collections::HashMap;

use arrow::ipc::{DictionaryBatch, Message, RecordBatch, root_as_message};

use crate::error::{Error, Result};
use layout::Node;

/// The size limit of a header. A batch of 1,600 columns has a header of 100 KiB.
pub(crate) const MAX_HEADER_BYTES: usize = 1024 * 1024;
/// The number of dictionary deltas in a stream. Every delta copies the dictionary that it extends.
const MAX_DICTIONARY_DELTAS: u32 = 1000;

/// The limits of decoded messages.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Bytes of a decompressed batch, and of all strings that its views refer to.
    pub max_decoded_bytes: u64,
    /// Bytes of all dictionaries of a stream.
    pub max_dictionary_bytes: u64,
}

/// Checks every message of a stream against the buffers that its schema declares.
#[derive(Debug)]
pub(crate) struct Gate {
    columns: Vec<Node>,
    dictionaries: HashMap<i64, Dictionary>,
    limits: Limits,
    delta_count: u32,
}

#[derive(Debug)]
struct Dictionary {
    values: Vec<Node>,
    /// The bytes of its values in memory.
    byte_count: u64,
}

/// Verifies that a header is an Arrow IPC message: all its tables and strings lie within it, at most 64 deep.
pub(crate) fn message(header: &[u8]) -> Result<Message<'_>> {
    if header.len() > MAX_HEADER_BYTES {
        return Err(Error::invalid_command(format!(
            "the header of an Arrow message has {} bytes, more than the limit of {MAX_HEADER_BYTES}",
            header.len()
        )));
    }
    root_as_message(header).map_err(|_| malformed())
}

impl Gate {
    /// Checks a schema and derives the buffers of its batches.
    ///
    /// # Errors
    /// `InvalidCommand` for a schema over a limit, `SchemaMismatch` for a type that is never supported.
    pub(crate) fn new(schema: arrow::ipc::Schema<'_>, limits: Limits) -> Result<Self> {
        let (columns, dictionaries) = schema::walk(schema)?;
        let dictionaries = dictionaries
            .into_iter()
            .map(|(id, values)| {
                let byte_count = 0;
                (id, Dictionary { values, byte_count })
            })
            .collect();
        Ok(Self {
            columns,
            dictionaries,
            limits,
            delta_count: 0,
        })
    }

    /// Checks a batch of rows against the schema, the body and the limits. Returns its decompressed size in bytes.
    ///
    /// # Errors
    /// `InvalidCommand` for a malformed batch or one over a limit; `SchemaMismatch` for views in a compressed batch and
    /// for rows without columns.
    pub(crate) fn check_batch(&self, batch: RecordBatch<'_>, body: &[u8]) -> Result<u64> {
        let byte_count = batch::check(&self.columns, batch, body, self.limits)?;
        if self.columns.is_empty() && batch.length() > 0 {
            return Err(Error::schema_mismatch("the data has rows but no columns")
                .with_hint("select the columns to write"));
        }
        Ok(byte_count)
    }

    /// Returns the name of the column with this dictionary; empty if there is none.
    pub(crate) fn column_of(&self, dictionary_id: i64) -> &str {
        let dictionary = self.dictionaries.get(&dictionary_id);
        let node = dictionary.and_then(|dictionary| dictionary.values.first());
        node.map_or("", |node| &node.column)
    }

    /// Checks the values of a dictionary, and the size of all dictionaries of the stream. Returns the decompressed size
    /// of the values in bytes.
    ///
    /// # Errors
    /// The errors of [`Gate::check_batch`].
    pub(crate) fn check_dictionary(
        &mut self,
        batch: DictionaryBatch<'_>,
        body: &[u8],
    ) -> Result<u64> {
        let id = batch.id();
        let held: u64 = self.dictionaries.values().map(|held| held.byte_count).sum();
        let dictionary = self.dictionaries.get_mut(&id).ok_or_else(|| {
            Error::invalid_command(format!("no column has a dictionary with id {id}"))
        })?;
        let data = batch.data().ok_or_else(malformed)?;
        let byte_count = batch::check(&dictionary.values, data, body, self.limits)?;
        let before = dictionary.byte_count;
        if batch.isDelta() {
            self.delta_count += 1;
            dictionary.byte_count = before.saturating_add(byte_count);
        } else {
            dictionary.byte_count = byte_count;
        }
        let held = held
            .saturating_sub(before)
            .saturating_add(dictionary.byte_count);
        if held > self.limits.max_dictionary_bytes || self.delta_count > MAX_DICTIONARY_DELTAS {
            return Err(Error::invalid_command(format!(
                "the dictionaries of the stream hold {held} bytes after {} deltas, more than the limit of {} bytes \
                 or {MAX_DICTIONARY_DELTAS} deltas",
                self.delta_count, self.limits.max_dictionary_bytes
            ))
            .with_hint("send such columns as plain values"));
        }
        Ok(byte_count)
    }
}

/// Returns the error for bytes that are not an Arrow IPC message.
pub(crate) fn malformed() -> Error {
    Error::invalid_command("a message of the stream is not an Arrow IPC message")
}
