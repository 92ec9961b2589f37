//! What rows become beyond the bytes that they bring: a value that many keys name, a flag of one bit, a NULL
//! of none, the names of fields that JSON says again for every row.
//!
//! Columns of plain values are encoded a chunk at a time, and take what they bring or a little more. What is
//! nested is made into JSON, or into one field, as a whole: here a small message can become as large as it likes.

use std::ops::Range;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::DataType;

/// An element of an array in binary COPY, or `false,` in JSON.
const FLAG_BYTES: u64 = 6;
/// A name in JSON has quotes, a colon and a comma; a field of a composite, type and length.
const FIELD_BYTES: u64 = 8;
/// What the encoder remembers of each row: where the value is that was made for it, or its key.
const ROW_BYTES: u64 = 32;
const KEY_BYTES: u64 = 8;
/// As long as a number or a time gets, as text.
const SCALAR_BYTES: u64 = 40;
/// Fewer bytes that a dictionary names are not counted.
const MANY_BYTES: u64 = 64 << 20;
/// Keys that are looked at together: each is made eight bytes for it.
const AT_ONCE: usize = 64 * 1024;

/// What encoding a batch takes for what is not in the batch as often as it is written.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Expansion {
    /// Bytes of memory.
    pub(super) memory: u64,
    /// Bytes of text and binary that columns of dictionaries name, where they are many.
    pub(super) named: u64,
}

pub(super) fn expansion(batch: &RecordBatch) -> Expansion {
    let mut all = Expansion::default();
    for column in batch.columns() {
        let of_column = of_column(column);
        all.memory = all.memory.saturating_add(of_column.memory);
        all.named = all.named.saturating_add(of_column.named);
    }
    all
}

fn of_column(column: &ArrayRef) -> Expansion {
    let rows = bytes(column.len());
    match column.as_any_dictionary_opt() {
        // Its values are encoded once; a row is at least as long as the longest.
        Some(dictionary) => {
            let values = dictionary.values();
            let longest = longest(values);
            let memory = rows
                .saturating_mul(KEY_BYTES)
                .saturating_add(written(values))
                .saturating_add(longest);
            let is_plain = is_text(values.data_type()) && !values.is_empty();
            let named = match lengths(values) {
                Some(length) if is_plain && rows.saturating_mul(longest) > MANY_BYTES => {
                    named(column, length)
                }
                _ => 0,
            };
            Expansion { memory, named }
        }
        None if column.data_type().is_nested() => Expansion {
            memory: rows
                .saturating_mul(ROW_BYTES)
                .saturating_add(written(column)),
            named: 0,
        },
        None => Expansion::default(),
    }
}

/// Whether values are written as long as they are.
fn is_text(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Utf8
            | DataType::LargeUtf8
            | DataType::Utf8View
            | DataType::Binary
            | DataType::LargeBinary
            | DataType::BinaryView
            | DataType::FixedSizeBinary(_)
    )
}

/// What values within others become beyond their own bytes.
fn written(array: &ArrayRef) -> u64 {
    let count = bytes(array.len());
    if let Some(dictionary) = array.as_any_dictionary_opt() {
        let values = dictionary.values();
        let shown = match lengths(values) {
            Some(_) if values.is_empty() => 0,
            Some(length) => {
                let escaped = |row| length(row).saturating_add(escapes(values, row..row + 1));
                let lengths: Vec<u64> = (0..values.len()).map(escaped).collect();
                named(array, |row| lengths.get(row).copied().unwrap_or(0))
            }
            None => count.saturating_mul(longest(values)),
        };
        return count.saturating_mul(KEY_BYTES).saturating_add(shown);
    }
    if let Some(list) = array.as_list_opt::<i32>() {
        written(list.values())
    } else if let Some(list) = array.as_list_opt::<i64>() {
        written(list.values())
    } else if let Some(list) = array.as_fixed_size_list_opt() {
        written(list.values())
    } else if let Some(map) = array.as_map_opt() {
        map.entries().columns().iter().fold(0, sum_written)
    } else if let Some(fields) = array.as_struct_opt() {
        let names = fields.fields().iter();
        let names: u64 = names
            .map(|field| bytes(field.name().len()) + FIELD_BYTES)
            .sum();
        let names = count.saturating_mul(names);
        fields.columns().iter().fold(names, sum_written)
    } else if matches!(array.data_type(), DataType::Boolean | DataType::Null) {
        count.saturating_mul(FLAG_BYTES)
    } else {
        escapes(array, 0..array.len())
    }
}

/// What JSON puts before and in place of characters that cannot stand in its strings: six bytes for a control
/// character, two for a quote or a backslash (RFC 8259, section 7).
fn escapes(array: &ArrayRef, rows: Range<usize>) -> u64 {
    fn of(text: &[u8]) -> u64 {
        let more = text.iter().map(|byte| match byte {
            ..0x20 => 5,
            b'"' | b'\\' => 1,
            _ => 0,
        });
        more.sum()
    }
    if let Some(text) = array.as_string_opt::<i32>() {
        rows.map(|row| of(text.value(row).as_bytes())).sum()
    } else if let Some(text) = array.as_string_opt::<i64>() {
        rows.map(|row| of(text.value(row).as_bytes())).sum()
    } else if let Some(text) = array.as_string_view_opt() {
        rows.map(|row| of(text.value(row).as_bytes())).sum()
    } else {
        0
    }
}

/// The sum of the values that the keys of a dictionary name.
fn named(array: &ArrayRef, length: impl Fn(usize) -> u64) -> u64 {
    let starts = (0..array.len()).step_by(AT_ONCE);
    starts.fold(0, |sum: u64, start| {
        let some = array.slice(start, AT_ONCE.min(array.len() - start));
        let keys = some.as_any_dictionary_opt();
        let keys = keys.map_or_else(Vec::new, |some| some.normalized_keys());
        keys.into_iter()
            .fold(sum, |sum, key| sum.saturating_add(length(key)))
    })
}

fn sum_written(sum: u64, array: &ArrayRef) -> u64 {
    sum.saturating_add(written(array))
}

/// At most as long as this is a value of a dictionary, once it is written.
fn longest(values: &ArrayRef) -> u64 {
    match lengths(values) {
        Some(length) => (0..values.len()).map(length).max().unwrap_or(0),
        None => bytes(values.get_array_memory_size()).saturating_add(written(values)),
    }
}

/// How long each value is; none where values hold others.
fn lengths(values: &ArrayRef) -> Option<Box<dyn Fn(usize) -> u64 + '_>> {
    if let Some(text) = values.as_string_opt::<i32>() {
        Some(Box::new(|row| bytes(text.value(row).len())))
    } else if let Some(text) = values.as_string_opt::<i64>() {
        Some(Box::new(|row| bytes(text.value(row).len())))
    } else if let Some(text) = values.as_string_view_opt() {
        Some(Box::new(|row| bytes(text.value(row).len())))
    } else if let Some(binary) = values.as_binary_opt::<i32>() {
        Some(Box::new(|row| bytes(binary.value(row).len())))
    } else if let Some(binary) = values.as_binary_opt::<i64>() {
        Some(Box::new(|row| bytes(binary.value(row).len())))
    } else if let Some(binary) = values.as_binary_view_opt() {
        Some(Box::new(|row| bytes(binary.value(row).len())))
    } else if let DataType::FixedSizeBinary(size) = values.data_type() {
        let size = u64::try_from(*size).unwrap_or(0);
        Some(Box::new(move |_| size))
    } else if values.data_type().is_nested() {
        None
    } else {
        Some(Box::new(|_| SCALAR_BYTES))
    }
}

fn bytes(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
