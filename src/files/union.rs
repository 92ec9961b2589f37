//! Several files as one table: their columns by name, in types that hold the values of all.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "types that are not named have no common one"
)]

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, StringArray, new_null_array};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit};

use super::fault::{arrow_fault, unreadable};
use super::hive::HiveColumn;
use crate::error::{Error, Result};

/// The columns of all files.
#[derive(Debug, Default)]
pub(super) struct Union {
    /// Each with the number of the file that set its type.
    fields: Vec<(FieldRef, usize)>,
    places: HashMap<String, usize>,
    /// The names of the files.
    files: Vec<String>,
    /// How many files have the column.
    counts: Vec<usize>,
}

impl Union {
    /// Adds a file's columns and those of its folders.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidCommand`](crate::error::ErrorKind::InvalidCommand) when the file has two columns of one name,
    /// and when a type differs from that of another file in more than its size.
    pub(super) fn add(
        &mut self,
        name: &str,
        schema: &Schema,
        folders: &[HiveColumn],
    ) -> Result<()> {
        let number = self.files.len();
        self.files.push(name.to_owned());
        let texts = folders
            .iter()
            .map(|folder| Arc::new(Field::new(&folder.name, DataType::Utf8, true)));
        let mut own = HashMap::new();
        for (place, field) in schema.fields().iter().cloned().chain(texts).enumerate() {
            let field = kept(&field);
            if own.insert(field.name().clone(), place).is_some() {
                let column = field.name();
                return Err(if place < schema.fields().len() {
                    unreadable(name, &format!("two of its columns are named {column}"))
                } else {
                    unreadable(
                        name,
                        &format!(
                            "the column {column} is in the file and in the name of its folder"
                        ),
                    )
                    .with_hint("ignore the folder's with --no-hive")
                });
            }
            let Some(&place) = self.places.get(field.name()) else {
                self.places.insert(field.name().clone(), self.fields.len());
                self.fields.push((field, number));
                self.counts.push(1);
                continue;
            };
            let (seen, first) = &self.fields[place];
            let Some(wide) = widened(seen, &field) else {
                let (column, first) = (field.name(), &self.files[*first]);
                let (theirs, ours) = (seen.data_type(), field.data_type());
                return Err(Error::invalid_command(format!(
                    "the columns of {name} differ from those of {first}: {column} is {ours} instead of {theirs}"
                ))
                .with_hint("load them one after the other, or write them with one type"));
            };
            self.fields[place].0 = Arc::new(wide);
            self.counts[place] += 1;
        }
        Ok(())
    }

    /// Returns the columns of all files, in the order in which they first come. A column that one of the files lacks is
    /// nullable.
    pub(super) fn schema(&self) -> Schema {
        let fields = self
            .fields
            .iter()
            .zip(&self.counts)
            .map(|((field, _), count)| {
                let everywhere = *count == self.files.len();
                Field::clone(field).with_nullable(field.is_nullable() || !everywhere)
            });
        Schema::new(fields.collect::<Vec<_>>())
    }
}

/// Returns a batch of a file with the columns of all files: widened, and NULL where the file has none.
///
/// # Errors
/// [`ErrorKind::InvalidCommand`](crate::error::ErrorKind::InvalidCommand) for a value that the wider type cannot hold,
/// such as a time whose nanoseconds do not fit.
pub(super) fn conformed(
    name: &str,
    batch: &RecordBatch,
    folders: &[HiveColumn],
    schema: &SchemaRef,
) -> Result<RecordBatch> {
    let rows = batch.num_rows();
    let options = CastOptions {
        safe: false,
        ..CastOptions::default()
    };
    let columns = schema.fields().iter().map(|field| -> Result<ArrayRef> {
        if let Some(folder) = folders.iter().find(|folder| folder.name == *field.name()) {
            let value = folder.value.as_deref();
            return Ok(Arc::new(StringArray::from_iter(std::iter::repeat_n(
                value, rows,
            ))));
        }
        let Some(column) = batch.column_by_name(field.name()) else {
            return Ok(new_null_array(field.data_type(), rows));
        };
        if column.data_type() == field.data_type() {
            return Ok(Arc::clone(column));
        }
        cast_with_options(column, field.data_type(), &options).map_err(|_| {
            // The library's message holds the value.
            let (column, wide) = (field.name(), field.data_type());
            unreadable(
                name,
                &format!(
                    "a value of column {column} is out of range for {wide}, the type for all files"
                ),
            )
        })
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    let with_rows = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &with_rows)
        .map_err(|error| arrow_fault(name, &error))
}

/// Returns a field with the metadata that has a meaning: extension types and conversions.
fn kept(field: &Field) -> FieldRef {
    let metadata = field.metadata().iter();
    let metadata = metadata
        .filter(|(key, _)| key.starts_with("ARROW:extension:") || key.starts_with("pgflight."));
    let metadata: HashMap<_, _> = metadata
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    Arc::new(field.clone().with_metadata(metadata))
}

/// Returns a field that holds the values of both without a loss; `None` if there is none.
fn widened(left: &Field, right: &Field) -> Option<Field> {
    let nullable = left.is_nullable() || right.is_nullable();
    let of = |field: &Field| Some(field.clone().with_nullable(nullable));
    if left.data_type() == &DataType::Null {
        return of(right);
    }
    if right.data_type() == &DataType::Null {
        return of(left);
    }
    if left.metadata() != right.metadata() {
        return None;
    }
    let wide = wider(left.data_type(), right.data_type())?;
    of(&left.clone().with_data_type(wide))
}

fn wider(left: &DataType, right: &DataType) -> Option<DataType> {
    use DataType as D;
    if left == right {
        return Some(left.clone());
    }
    match (left, right) {
        (D::Dictionary(_, left), right) => wider(left, right),
        (left, D::Dictionary(_, right)) => wider(left, right),
        (D::List(left) | D::LargeList(left), D::List(right) | D::LargeList(right)) => Some(
            D::LargeList(Arc::new(widened(left, &renamed(right, left.name()))?)),
        ),
        (D::Timestamp(left, left_zone), D::Timestamp(right, right_zone)) => {
            let zone = match (left_zone, right_zone) {
                (None, None) => None,
                (Some(left), Some(right)) if left == right => Some(Arc::clone(left)),
                // Both are instants.
                (Some(_), Some(_)) => Some(Arc::from("UTC")),
                _ => return None,
            };
            Some(D::Timestamp(finer(*left, *right), zone))
        }
        (D::Duration(left), D::Duration(right)) => Some(D::Duration(finer(*left, *right))),
        (D::Time32(left) | D::Time64(left), D::Time32(right) | D::Time64(right)) => {
            Some(match finer(*left, *right) {
                unit @ (TimeUnit::Second | TimeUnit::Millisecond) => D::Time32(unit),
                unit => D::Time64(unit),
            })
        }
        _ => wider_text(left, right).or_else(|| wider_number(left, right)),
    }
}

fn renamed(field: &Field, name: &str) -> Field {
    field.clone().with_name(name)
}

fn finer(left: TimeUnit, right: TimeUnit) -> TimeUnit {
    left.max(right)
}

fn wider_text(left: &DataType, right: &DataType) -> Option<DataType> {
    use DataType as D;
    let is_text = |t: &D| matches!(t, D::Utf8 | D::LargeUtf8 | D::Utf8View);
    let is_binary = |t: &D| matches!(t, D::Binary | D::LargeBinary | D::BinaryView);
    if is_text(left) && is_text(right) {
        Some(D::LargeUtf8)
    } else if is_binary(left) && is_binary(right) {
        Some(D::LargeBinary)
    } else {
        None
    }
}

fn wider_number(left: &DataType, right: &DataType) -> Option<DataType> {
    use DataType as D;
    let ((left_bits, left_sign), (right_bits, right_sign)) = match (integer(left), integer(right)) {
        (Some(left), Some(right)) => (left, right),
        (None, None) => return wider_decimal(left, right),
        // A float of 64 bits has the integers of 32, and one of 32 those of 16.
        (Some((bits, _)), None) => return float_for(bits, right),
        (None, Some((bits, _))) => return float_for(bits, left),
    };
    let bits = match (left_sign, right_sign) {
        (true, true) | (false, false) => left_bits.max(right_bits),
        (true, false) => left_bits.max(right_bits * 2),
        (false, true) => right_bits.max(left_bits * 2),
    };
    Some(match (bits, left_sign || right_sign) {
        (8, true) => D::Int8,
        (16, true) => D::Int16,
        (32, true) => D::Int32,
        (64, true) => D::Int64,
        (8, false) => D::UInt8,
        (16, false) => D::UInt16,
        (32, false) => D::UInt32,
        (64, false) => D::UInt64,
        _ => D::Decimal128(20, 0),
    })
}

/// Returns the number of bits of an integer, and whether it has a sign.
fn integer(data_type: &DataType) -> Option<(u32, bool)> {
    use DataType as D;
    Some(match data_type {
        D::Int8 => (8, true),
        D::Int16 => (16, true),
        D::Int32 => (32, true),
        D::Int64 => (64, true),
        D::UInt8 => (8, false),
        D::UInt16 => (16, false),
        D::UInt32 => (32, false),
        D::UInt64 => (64, false),
        _ => return None,
    })
}

fn float_for(bits: u32, other: &DataType) -> Option<DataType> {
    match other {
        DataType::Float64 if bits <= 32 => Some(DataType::Float64),
        DataType::Float32 if bits <= 16 => Some(DataType::Float32),
        DataType::Float32 if bits <= 32 => Some(DataType::Float64),
        _ => None,
    }
}

fn wider_decimal(left: &DataType, right: &DataType) -> Option<DataType> {
    use DataType as D;
    if let (D::Float16 | D::Float32 | D::Float64, D::Float16 | D::Float32 | D::Float64) =
        (left, right)
    {
        let is_double = matches!(left, D::Float64) || matches!(right, D::Float64);
        return Some(if is_double { D::Float64 } else { D::Float32 });
    }
    let ((left_digits, left_scale), (right_digits, right_scale)) =
        (decimal(left)?, decimal(right)?);
    let scale = left_scale.max(right_scale);
    let whole = (left_digits - left_scale).max(right_digits - right_scale);
    let (digits, scale) = (u8::try_from(whole + scale).ok()?, i8::try_from(scale).ok()?);
    match digits {
        0..=38 => Some(D::Decimal128(digits, scale)),
        39..=76 => Some(D::Decimal256(digits, scale)),
        _ => None,
    }
}

fn decimal(data_type: &DataType) -> Option<(i16, i16)> {
    use DataType as D;
    match data_type {
        D::Decimal32(digits, scale)
        | D::Decimal64(digits, scale)
        | D::Decimal128(digits, scale)
        | D::Decimal256(digits, scale) => Some((i16::from(*digits), i16::from(*scale))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use DataType as D;

    #[test]
    fn types_of_two_files_widen_without_a_loss() {
        let stamp = |unit, zone: Option<&str>| D::Timestamp(unit, zone.map(Arc::from));
        let dictionary = D::Dictionary(Box::new(D::Int32), Box::new(D::Utf8));
        let cases = [
            (D::Int32, D::Int64, Some(D::Int64)),
            (D::UInt32, D::Int32, Some(D::Int64)),
            (D::UInt64, D::Int8, Some(D::Decimal128(20, 0))),
            (D::UInt8, D::UInt16, Some(D::UInt16)),
            (D::Int32, D::Float64, Some(D::Float64)),
            (D::Int32, D::Float32, Some(D::Float64)),
            (D::Int64, D::Float64, None),
            (D::Float32, D::Float64, Some(D::Float64)),
            (
                D::Decimal128(9, 2),
                D::Decimal128(10, 4),
                Some(D::Decimal128(11, 4)),
            ),
            (
                D::Decimal128(38, 0),
                D::Decimal128(38, 10),
                Some(D::Decimal256(48, 10)),
            ),
            (D::Int64, D::Utf8, None),
            (D::Utf8, D::LargeUtf8, Some(D::LargeUtf8)),
            (dictionary, D::Utf8, Some(D::Utf8)),
            (
                stamp(TimeUnit::Microsecond, None),
                stamp(TimeUnit::Nanosecond, None),
                Some(stamp(TimeUnit::Nanosecond, None)),
            ),
            (
                stamp(TimeUnit::Second, Some("UTC")),
                stamp(TimeUnit::Second, Some("+01:00")),
                Some(stamp(TimeUnit::Second, Some("UTC"))),
            ),
            (
                stamp(TimeUnit::Second, Some("UTC")),
                stamp(TimeUnit::Second, None),
                None,
            ),
            (D::Date32, D::Int32, None),
            (D::Boolean, D::Int8, None),
        ];
        for (left, right, wide) in cases {
            assert_eq!(wider(&left, &right), wide, "{left} {right}");
            assert_eq!(wider(&right, &left), wide, "{right} {left}");
        }
    }
}
