//! Estimates how much larger a batch gets when it is encoded: a dictionary value that many keys refer to, a flag of
//! one bit, a NULL without bytes, the names of fields that JSON repeats for every row.
//!
//! Columns of plain values are encoded a chunk at a time and take about the memory of the batch. Nested columns are
//! encoded as a whole, so a small message can grow without limit.

use std::ops::Range;

use arrow::array::AsArray;
use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::datatypes::DataType;

/// The size of an array element in binary COPY, or of `false,` in JSON.
const FLAG_BYTES: u64 = 6;
/// The overhead of a field: quotes, a colon and a comma in JSON; type and length in a composite.
const FIELD_BYTES: u64 = 8;
/// The memory that the encoder keeps for each row: the place of its value, or its key.
const ROW_BYTES: u64 = 32;
const KEY_BYTES: u64 = 8;
/// The longest text of a number or a time.
const SCALAR_BYTES: u64 = 40;
/// Dictionary columns whose values come to fewer bytes are not counted.
const MIN_NAMED_BYTES: u64 = 64 << 20;
/// Keys normalized at a time, at eight bytes each.
const KEYS_PER_STEP: usize = 64 * 1024;

/// The expansion of a batch.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Expansion {
    /// Bytes of memory that encoding needs beyond the batch itself.
    pub(crate) memory: u64,
    /// Bytes of text and binary that the keys of dictionary columns refer to, for large columns.
    pub(crate) named: u64,
}

pub(crate) fn expansion(batch: &RecordBatch) -> Expansion {
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
        // The encoder encodes each value once, and reserves the longest value for a row.
        Some(dictionary) => {
            let values = dictionary.values();
            let longest = longest(values);
            let memory = rows
                .saturating_mul(KEY_BYTES)
                .saturating_add(written(values))
                .saturating_add(longest);
            let is_plain = is_text(values.data_type()) && !values.is_empty();
            let named = match lengths(values) {
                Some(length) if is_plain && rows.saturating_mul(longest) > MIN_NAMED_BYTES => {
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

/// Whether values keep their length when they are encoded.
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

/// Returns the bytes that nested values take beyond their own.
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

/// Returns the bytes that JSON adds to escape characters of strings: a control character takes six bytes, a quote or a
/// backslash two (RFC 8259, section 7).
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

/// Returns the sum of the lengths of the values that the keys of a dictionary refer to.
fn named(array: &ArrayRef, length: impl Fn(usize) -> u64) -> u64 {
    let starts = (0..array.len()).step_by(KEYS_PER_STEP);
    starts.fold(0, |sum: u64, start| {
        let some = array.slice(start, KEYS_PER_STEP.min(array.len() - start));
        let keys = some.as_any_dictionary_opt();
        let keys = keys.map_or_else(Vec::new, |some| some.normalized_keys());
        keys.into_iter()
            .fold(sum, |sum, key| sum.saturating_add(length(key)))
    })
}

fn sum_written(sum: u64, array: &ArrayRef) -> u64 {
    sum.saturating_add(written(array))
}

/// Returns an upper limit for the encoded length of a dictionary's value.
fn longest(values: &ArrayRef) -> u64 {
    match lengths(values) {
        Some(length) => (0..values.len()).map(length).max().unwrap_or(0),
        None => bytes(values.get_array_memory_size()).saturating_add(written(values)),
    }
}

/// Returns a function for the length of each value; `None` for nested values.
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
