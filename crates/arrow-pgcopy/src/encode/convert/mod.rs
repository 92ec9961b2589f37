//! Conversions of values before they are encoded, as their plan's steps say.

mod blobs;
mod numbers;
mod times;
mod zone;

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::ArrowPrimitiveType;
use arrow_array::{
    Array, ArrayRef, ArrowNativeTypeOp, FixedSizeListArray, LargeBinaryArray, LargeStringArray,
    PrimitiveArray,
};
use arrow_buffer::{Buffer, NullBuffer, OffsetBuffer};
use arrow_cast::cast;
use arrow_schema::DataType;

use crate::conversion::Step;
use crate::encode::column::Policy;
use crate::encode::problem::{Problem, Rejected};

/// Applies the steps one after another.
pub(crate) fn convert(
    array: &ArrayRef,
    steps: &[Step],
    policy: Policy,
) -> Result<ArrayRef, Rejected> {
    let mut array = array.clone();
    for step in steps {
        array = match step {
            Step::Values(data_type) => {
                cast(&array, data_type).map_err(|_| Problem::Unplanned.at(0))?
            }
            Step::Shape(data_type) => shape(&array, data_type)?,
            Step::Times(data_type) => times::from_integers(&array, data_type, policy)?,
            Step::Measure { unit, scale } => times::measure(&array, *unit, *scale, policy)?,
            Step::Count { unit, rounding } => times::count(&array, *unit, *rounding, policy)?,
            Step::Micros { step, rounding } => times::micros(&array, *step, *rounding, policy)?,
            Step::Midnight => times::midnights(&array, policy)?,
            Step::Zone { zone, zoned } => times::zone(&array, zone, *zoned, policy)?,
            Step::Stamp { zone } => times::stamp(&array, zone, policy)?,
            Step::Offset { east } => times::offset(&array, *east, policy)?,
            Step::Part { date } => times::part(&array, *date, policy)?,
            Step::Scale { scale, rounding } => numbers::rescale(&array, *scale, *rounding, policy)?,
            Step::Fraction { scale, rounding } => {
                numbers::fraction(&array, *scale, *rounding, policy)?
            }
            Step::Single { overflow } => numbers::singles(&array, *overflow, policy)?,
            Step::Double => numbers::doubles(&array, policy)?,
            Step::Number => cast(&array, &DataType::Int8).map_err(|_| Problem::Unplanned.at(0))?,
            Step::Boolean => numbers::booleans(&array, policy)?,
            Step::Clamp {
                least,
                most,
                infinity,
            } => numbers::clamp(&array, *least, *most, *infinity)?,
            Step::Bit => blobs::bits(&array, policy)?,
            Step::Text { uuid } => blobs::texts(&array, *uuid, policy)?,
            Step::Decode(form) => blobs::decode(&array, *form, policy)?,
            Step::Address { hardware } => blobs::addresses(&array, *hardware, policy)?,
            Step::Encode(form) => blobs::encode(&array, *form, policy)?,
            Step::Nul { replacement } => blobs::replace_nul(&array, replacement, policy)?,
            Step::Truncate { chars, bytes } => blobs::truncate(&array, *chars, *bytes, policy)?,
            Step::Srid(srid) => blobs::with_srid(&array, *srid, policy)?,
            // The policy applies it in all other steps, and when values are encoded.
            Step::Null => array,
        };
    }
    Ok(array)
}

/// Converts each value that is not NULL.
fn each<T, U>(
    array: &PrimitiveArray<T>,
    policy: Policy,
    convert: impl Fn(T::Native) -> Result<U::Native, Problem>,
) -> Result<PrimitiveArray<U>, Rejected>
where
    T: ArrowPrimitiveType,
    U: ArrowPrimitiveType,
{
    let values = array.values().iter().enumerate().map(|(row, value)| {
        // The slot of a NULL may contain anything.
        if array.is_null(row) {
            return Ok(None);
        }
        if policy.infinite && value.is_eq(T::Native::MIN_TOTAL_ORDER) {
            return Ok(Some(U::Native::MIN_TOTAL_ORDER));
        }
        if policy.infinite && value.is_eq(T::Native::MAX_TOTAL_ORDER) {
            return Ok(Some(U::Native::MAX_TOTAL_ORDER));
        }
        match convert(*value) {
            Ok(value) => Ok(Some(value)),
            Err(problem) => policy.without(problem, row),
        }
    });
    let values = values.collect::<Result<Vec<Option<U::Native>>, _>>()?;
    Ok(PrimitiveArray::from_iter(values))
}

/// Makes binary of the bytes that `make` appends for each row that is not NULL.
fn each_blob(
    array: &dyn Array,
    policy: Policy,
    mut append: impl FnMut(usize, &mut Vec<u8>) -> Result<(), Problem>,
) -> Result<ArrayRef, Rejected> {
    let nulls = array.logical_nulls();
    let mut made = Vec::new();
    let mut lengths = Vec::with_capacity(array.len());
    let mut held = Vec::with_capacity(array.len());
    for row in 0..array.len() {
        let is_null = nulls.as_ref().is_some_and(|nulls| nulls.is_null(row));
        let start = made.len();
        let appended = if is_null {
            None
        } else {
            match append(row, &mut made) {
                Ok(()) => Some(()),
                Err(problem) => policy.without(problem, row)?,
            }
        };
        if appended.is_none() {
            made.truncate(start);
        }
        held.push(appended.is_some());
        lengths.push(made.len() - start);
    }
    let blobs = LargeBinaryArray::try_new(
        OffsetBuffer::from_lengths(lengths),
        Buffer::from_vec(made),
        Some(NullBuffer::from(held)),
    );
    Ok(Arc::new(blobs.map_err(|_| Problem::Unplanned.at(0))?))
}

/// Makes text as [`each_blob`] makes binary.
fn each_text(
    array: &dyn Array,
    policy: Policy,
    append: impl FnMut(usize, &mut Vec<u8>) -> Result<(), Problem>,
) -> Result<ArrayRef, Rejected> {
    let made = each_blob(array, policy, append)?;
    let texts = LargeStringArray::try_from_binary(made.as_binary::<i64>().clone());
    Ok(Arc::new(texts.map_err(|_| Problem::NotUtf8.at(0))?))
}

/// Turns the flat lists of a tensor into nested lists of its shape, which has the same layout.
fn shape(array: &ArrayRef, data_type: &DataType) -> Result<ArrayRef, Rejected> {
    fn nested(items: &ArrayRef, data_type: &DataType) -> Option<ArrayRef> {
        // The elements may be lists themselves.
        if items.data_type().equals_datatype(data_type) {
            return Some(items.clone());
        }
        let DataType::FixedSizeList(item, size) = data_type else {
            return None;
        };
        let items = nested(items, item.data_type())?;
        let lists = FixedSizeListArray::try_new(item.clone(), *size, items, None);
        Some(Arc::new(lists.ok()?))
    }
    let unplanned = || Problem::Unplanned.at(0);
    let flat = array.as_fixed_size_list_opt().ok_or_else(unplanned)?;
    let DataType::FixedSizeList(item, size) = data_type else {
        return Err(unplanned());
    };
    let items = nested(flat.values(), item.data_type()).ok_or_else(unplanned)?;
    let nulls = flat.nulls().cloned();
    let lists = FixedSizeListArray::try_new(item.clone(), *size, items, nulls);
    Ok(Arc::new(lists.map_err(|_| unplanned())?))
}
