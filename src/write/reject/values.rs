//! The values of a rejected row: as JSON for people, and as Arrow to be sent again.

use std::fmt::Write;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use arrow::ipc::writer::StreamWriter;
use arrow::util::display::{ArrayFormatter, FormatOptions};

/// Bytes of a row beyond which its values are not kept.
const MAX_BYTES: usize = 1 << 20;

/// Returns the values of some columns of a row as a JSON object: numbers and booleans as such, NULL as null, everything
/// else as text. A NUL character becomes U+FFFD, since jsonb has none. Returns `None` for a row that is too large.
pub(crate) fn json(
    batch: &RecordBatch,
    row: usize,
    is_kept: impl Fn(&str) -> bool,
) -> Option<String> {
    let schema = batch.schema_ref();
    let columns = schema.fields().iter().zip(batch.columns());
    let kept: Vec<_> = columns.filter(|(field, _)| is_kept(field.name())).collect();
    let size: usize = kept.iter().map(|(_, array)| size_of(array, row)).sum();
    if size > MAX_BYTES {
        return None;
    }
    let mut object = String::from("{");
    for (field, array) in kept {
        if object.len() > 1 {
            object.push(',');
        }
        text(&mut object, field.name());
        object.push(':');
        value(&mut object, array, row);
    }
    object.push('}');
    (object.len() <= 2 * MAX_BYTES).then_some(object)
}

/// Returns a row as a stream of Arrow IPC, in hexadecimal digits. Returns `None` for a row that is too large.
pub(crate) fn ipc(batch: &RecordBatch, row: usize) -> Option<String> {
    let size: usize = batch
        .columns()
        .iter()
        .map(|array| size_of(array, row))
        .sum();
    if size > MAX_BYTES {
        return None;
    }
    let written = || -> Result<Vec<u8>, ArrowError> {
        let mut writer = StreamWriter::try_new(Vec::new(), batch.schema_ref())?;
        writer.write(&batch.slice(row, 1))?;
        writer.into_inner()
    };
    let bytes = written().ok().filter(|bytes| bytes.len() <= MAX_BYTES)?;
    let mut digits = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a string does not fail.
        write!(digits, "{byte:02x}").ok();
    }
    Some(digits)
}

/// Returns the bytes of a value, at least about.
fn size_of(array: &ArrayRef, row: usize) -> usize {
    let size = array.slice(row, 1).to_data().get_slice_memory_size();
    size.unwrap_or(usize::MAX)
}

fn value(object: &mut String, array: &ArrayRef, row: usize) {
    if array.is_null(row) {
        object.push_str("null");
        return;
    }
    match shown(array, row) {
        None => object.push_str("null"),
        Some(shown) if is_bare(array.data_type(), &shown) => object.push_str(&shown),
        Some(shown) => text(object, &shown),
    }
}

/// Whether a value is the same in JSON.
fn is_bare(data_type: &DataType, shown: &str) -> bool {
    if data_type.is_floating() {
        return serde_json::from_str::<serde_json::Number>(shown).is_ok();
    }
    *data_type == DataType::Boolean || data_type.is_integer()
}

/// Returns a value as Arrow shows it. A date or time beyond those that Arrow can show is its number.
fn shown(array: &ArrayRef, row: usize) -> Option<String> {
    let options = FormatOptions::default();
    let show = |array: &dyn Array, row: usize| {
        let formatter = ArrayFormatter::try_new(array, &options).ok()?;
        formatter.value(row).try_to_string().ok()
    };
    show(array, row).or_else(|| {
        let number = cast(&array.slice(row, 1), &DataType::Int64).ok()?;
        show(&number, 0)
    })
}

/// Adds a JSON string.
fn text(object: &mut String, text: &str) {
    let clean = text.replace('\0', "\u{fffd}");
    object.push_str(&serde_json::Value::String(clean).to_string());
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;
    use std::sync::Arc;

    use arrow::array::{
        ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float64Array,
        Int64Array, RecordBatch, StringArray,
    };
    use arrow::ipc::reader::StreamReader;

    use super::{ipc, json};

    fn check(array: ArrayRef, expected: &str) {
        let batch = RecordBatch::try_from_iter_with_nullable([("c", array, true)]).unwrap();
        let object = json(&batch, 1, |_| true).unwrap();
        assert_eq!(object, format!("{{\"c\":{expected}}}"));
        serde_json::from_str::<serde_json::Value>(&object).unwrap();
    }

    #[test]
    fn values_become_json() {
        check(
            Arc::new(Int64Array::from(vec![1, i64::MIN])),
            "-9223372036854775808",
        );
        check(Arc::new(Int64Array::from(vec![Some(1), None])), "null");
        check(Arc::new(BooleanArray::from(vec![true, false])), "false");
        check(Arc::new(Float64Array::from(vec![0.0, 1e300])), "1e300");
        check(Arc::new(Float64Array::from(vec![0.0, f64::NAN])), "\"NaN\"");
        check(
            Arc::new(StringArray::from(vec!["", "a\"\\\n\0b"])),
            "\"a\\\"\\\\\\n\u{fffd}b\"",
        );
        check(
            Arc::new(BinaryArray::from(vec![&b""[..], b"\xff\x00"])),
            "\"ff00\"",
        );
        check(Arc::new(Date32Array::from(vec![0, 1])), "\"1970-01-02\"");
        check(
            Arc::new(Date32Array::from(vec![0, i32::MAX])),
            "\"2147483647\"",
        );
        let decimals = Decimal128Array::from(vec![0, -123]);
        let decimals = decimals.with_precision_and_scale(5, 2).unwrap();
        check(Arc::new(decimals), "\"-1.23\"");
    }

    #[test]
    fn only_the_named_columns_are_kept() {
        let number: ArrayRef = Arc::new(Int64Array::from(vec![7]));
        let columns = [("id", Arc::clone(&number), true), ("secret", number, true)];
        let batch = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
        assert_eq!(json(&batch, 0, |name| name == "id").unwrap(), "{\"id\":7}");
        assert_eq!(json(&batch, 0, |_| false).unwrap(), "{}");
    }

    #[test]
    fn a_row_can_be_read_again() {
        let texts: ArrayRef = Arc::new(StringArray::from(vec!["a", "b\0", "c"]));
        let batch = RecordBatch::try_from_iter_with_nullable([("s", texts, true)]).unwrap();
        let digits = ipc(&batch, 1).unwrap();
        let pairs = digits.as_bytes().chunks(2);
        let pairs = pairs.map(|pair| std::str::from_utf8(pair).unwrap());
        let bytes: Vec<u8> = pairs
            .map(|pair| u8::from_str_radix(pair, 16).unwrap())
            .collect();
        let mut reader = StreamReader::try_new(Cursor::new(bytes), None).unwrap();
        assert_eq!(reader.next().unwrap().unwrap(), batch.slice(1, 1));
    }

    #[test]
    fn a_large_row_is_not_kept() {
        let texts: ArrayRef = Arc::new(StringArray::from(vec!["a".repeat((1 << 20) + 1)]));
        let batch = RecordBatch::try_from_iter_with_nullable([("s", texts, true)]).unwrap();
        assert_eq!((json(&batch, 0, |_| true), ipc(&batch, 0)), (None, None));
    }
}
