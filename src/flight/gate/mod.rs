//! The gate before Arrow's decoder: nothing passes whose offsets, counts or sizes would make the decoder
//! panic, abort, or take more memory than the message is worth.
//!
//! arrow-ipc checks what is in the buffers (UTF-8, offsets of strings and lists, dictionary keys), but it
//! slices the body at offsets as they come and reserves what a compressed buffer says it will become.
//! Here the verified flatbuffer of each message is walked first, at a cost that grows with the number of
//! buffers and not with their size.

mod batch;
mod layout;
mod schema;

use std::collections::HashMap;

use arrow::ipc::{DictionaryBatch, Message, RecordBatch, root_as_message};

use crate::error::{Error, Result};
use layout::Node;

/// A batch of 1,600 columns has a header of 100 KiB.
pub(super) const MAX_HEADER_BYTES: usize = 1024 * 1024;
/// Every delta copies the dictionary it adds to.
const MAX_DICTIONARY_DELTAS: u32 = 1000;

/// What one message may become.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Bytes of a batch once it is decompressed, and of all strings that its views show.
    pub max_decoded_bytes: u64,
    /// Bytes of all dictionaries of a stream together.
    pub max_dictionary_bytes: u64,
}

/// Knows the buffers that a stream's schema promises, and holds every message to it.
#[derive(Debug)]
pub(super) struct Gate {
    columns: Vec<Node>,
    dictionaries: HashMap<i64, Dictionary>,
    limits: Limits,
    delta_count: u32,
}

#[derive(Debug)]
struct Dictionary {
    values: Vec<Node>,
    /// What was sent of it and is held now.
    byte_count: u64,
}

/// Verifies that a header is an Arrow IPC message: tables and strings within it, a depth of at most 64.
pub(super) fn message(header: &[u8]) -> Result<Message<'_>> {
    if header.len() > MAX_HEADER_BYTES {
        return Err(Error::invalid_command(format!(
            "the header of an Arrow message has {} bytes; at most {MAX_HEADER_BYTES} are taken",
            header.len()
        )));
    }
    root_as_message(header).map_err(|_| malformed())
}

impl Gate {
    /// Checks a schema and learns what its batches must look like.
    ///
    /// # Errors
    /// What of the schema is over a limit, or of a type that is never taken.
    pub(super) fn new(schema: arrow::ipc::Schema<'_>, limits: Limits) -> Result<Self> {
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

    /// Checks a batch of rows against the schema, the body and the limits; gives the bytes it has once it
    /// is decompressed.
    ///
    /// # Errors
    /// What of it cannot be, or is too much.
    pub(super) fn check_batch(&self, batch: RecordBatch<'_>, body: &[u8]) -> Result<u64> {
        let byte_count = batch::check(&self.columns, batch, body, self.limits)?;
        if self.columns.is_empty() && batch.length() > 0 {
            return Err(Error::schema_mismatch(
                "the data has rows but no columns; select the columns to write",
            ));
        }
        Ok(byte_count)
    }

    /// The column that has the dictionary of this id; nothing where none has.
    pub(super) fn column_of(&self, dictionary_id: i64) -> &str {
        let dictionary = self.dictionaries.get(&dictionary_id);
        let node = dictionary.and_then(|dictionary| dictionary.values.first());
        node.map_or("", |node| &node.column)
    }

    /// Checks the values of a dictionary likewise, and what all dictionaries of the stream hold.
    ///
    /// # Errors
    /// As [`Gate::check_batch`].
    pub(super) fn check_dictionary(
        &mut self,
        batch: DictionaryBatch<'_>,
        body: &[u8],
    ) -> Result<u64> {
        let id = batch.id();
        let held: u64 = self.dictionaries.values().map(|held| held.byte_count).sum();
        let dictionary = self.dictionaries.get_mut(&id).ok_or_else(|| {
            Error::invalid_command(format!(
                "a dictionary came with id {id}, which no column has"
            ))
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
                "the dictionaries of the stream hold {held} bytes after {} deltas; at most {} bytes and \
                 {MAX_DICTIONARY_DELTAS} deltas are taken: send such columns as plain values",
                self.delta_count, self.limits.max_dictionary_bytes
            )));
        }
        Ok(byte_count)
    }
}

/// What is no Arrow IPC message at all.
pub(super) fn malformed() -> Error {
    Error::invalid_command("a message of the stream is not an Arrow IPC message")
}
