//! Vectors of the extension vector, as `vector_recv`, `halfvec_recv` and `sparsevec_recv` read them.
//!
//! The wire form has the number of elements, two zero bytes, and the elements as IEEE 754 floats. A number that an
//! element cannot hold exactly is rejected. So doubles are accepted if they were made from singles.

use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_array::types as t;
use arrow_array::types::ArrowPrimitiveType;
use arrow_schema::DataType;

use crate::encode::column::{
    BoxedColumn, Level, Values, Varying, length_word, prepared, u32_size, valid,
};
use crate::encode::problem::Problem;

/// Bytes before the elements.
const HEADER: usize = 4;

/// `VECTOR_MAX_DIM`, `HALFVEC_MAX_DIM` and `SPARSEVEC_MAX_NNZ`.
const MAX_DIMENSIONS: usize = 16_000;

/// `SPARSEVEC_MAX_DIM`.
const MAX_SPARSE_DIMENSIONS: usize = 1_000_000_000;

type Half = <t::Float16Type as ArrowPrimitiveType>::Native;
type Element<'a> = Box<dyn Fn(usize) -> Result<f32, Problem> + Send + Sync + 'a>;

/// Makes a column of `vector` or `halfvec` from lists of numbers.
pub(crate) fn vectors(
    array: &dyn Array,
    dimensions: Option<u32>,
    half: bool,
) -> Result<BoxedColumn<'_>, Problem> {
    let level = Level::of(array).ok_or(Problem::Unplanned)?;
    let element = element(level.items)?;
    let items = level.items;
    let finite = move |item: usize| {
        if items.is_null(item) {
            return Err(Problem::NullItem);
        }
        let value = element(item)?;
        if value.is_finite() {
            Ok(value)
        } else {
            Err(Problem::NotFinite)
        }
    };
    let nulls = valid(array);
    Ok(if half {
        let element = move |item| {
            let value = finite(item)?;
            let half = Half::from_f32(value);
            if half.to_f32().to_bits() == value.to_bits() {
                Ok(half.to_be_bytes())
            } else {
                Err(Problem::NotExact)
            }
        };
        let values = Vectors {
            level,
            dimensions,
            element,
        };
        Box::new(Varying { values, nulls })
    } else {
        let values = Vectors {
            level,
            dimensions,
            element: move |item| finite(item).map(f32::to_be_bytes),
        };
        Box::new(Varying { values, nulls })
    })
}

/// Bytes before the indices of a sparse vector.
const SPARSE_HEADER: usize = 12;

/// Makes a column of `sparsevec` from lists of numbers. The wire form has the number of elements, the number of
/// those that are not zero, four zero bytes, their indices from 0, and their values.
pub(crate) fn sparse(
    array: &dyn Array,
    dimensions: Option<u32>,
) -> Result<BoxedColumn<'_>, Problem> {
    let level = Level::of(array).ok_or(Problem::Unplanned)?;
    let element = element(level.items)?;
    Ok(prepared(array, |row, out| {
        let items = level.range(row);
        let wrong = dimensions.is_some_and(|dimensions| items.len() != dimensions as usize);
        if wrong || items.is_empty() || items.len() > MAX_SPARSE_DIMENSIONS {
            return Err(Problem::WrongDimensions);
        }
        let (mut indices, mut elements) = (Vec::new(), Vec::new());
        for (index, item) in items.clone().enumerate() {
            if level.items.is_null(item) {
                return Err(Problem::NullItem);
            }
            let value = element(item)?;
            if !value.is_finite() {
                return Err(Problem::NotFinite);
            }
            if value != 0.0 {
                indices.extend_from_slice(&length_word(index));
                elements.extend_from_slice(&value.to_be_bytes());
            }
        }
        if elements.len() > 4 * MAX_DIMENSIONS {
            return Err(Problem::WrongDimensions);
        }
        out.reserve(SPARSE_HEADER + indices.len() + elements.len());
        out.extend_from_slice(&length_word(items.len()));
        out.extend_from_slice(&length_word(elements.len() / 4));
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&indices);
        out.extend_from_slice(&elements);
        Ok(())
    }))
}

/// Returns a function that reads an item as a single, or rejects it.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the table in mapping is exhaustive"
)]
fn element(items: &dyn Array) -> Result<Element<'_>, Problem> {
    macro_rules! small {
        ($type:ty) => {{
            let items = items.as_primitive::<$type>();
            Box::new(move |item| single(f64::from(items.value(item))))
        }};
    }
    macro_rules! large {
        ($type:ty) => {{
            let items = items.as_primitive::<$type>();
            Box::new(move |item| {
                let value = i128::from(items.value(item));
                // A double holds every 32-bit integer. No single vector needs a larger one.
                match i32::try_from(value) {
                    Ok(value) => single(value.into()),
                    Err(_) => Err(Problem::NotExact),
                }
            })
        }};
    }
    Ok(match items.data_type() {
        DataType::Float16 => {
            let items = items.as_primitive::<t::Float16Type>();
            Box::new(move |item| Ok(items.value(item).to_f32()))
        }
        DataType::Float32 => {
            let items = items.as_primitive::<t::Float32Type>();
            Box::new(move |item| Ok(items.value(item)))
        }
        DataType::Float64 => small!(t::Float64Type),
        DataType::Int8 => small!(t::Int8Type),
        DataType::Int16 => small!(t::Int16Type),
        DataType::Int32 => small!(t::Int32Type),
        DataType::UInt8 => small!(t::UInt8Type),
        DataType::UInt16 => small!(t::UInt16Type),
        DataType::UInt32 => small!(t::UInt32Type),
        DataType::Int64 => large!(t::Int64Type),
        DataType::UInt64 => large!(t::UInt64Type),
        _ => return Err(Problem::Unplanned),
    })
}

/// Converts a double to a single, if that is exact.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the result is compared to the value"
)]
fn single(value: f64) -> Result<f32, Problem> {
    let single = value as f32;
    if !value.is_finite() || f64::from(single).to_bits() == value.to_bits() {
        Ok(single)
    } else {
        Err(Problem::NotExact)
    }
}

struct Vectors<'a, F> {
    level: Level<'a>,
    dimensions: Option<u32>,
    element: F,
}

impl<F, const W: usize> Values for Vectors<'_, F>
where
    F: Fn(usize) -> Result<[u8; W], Problem> + Send + Sync,
{
    fn size(&self, row: usize) -> Result<usize, Problem> {
        let items = self.level.range(row);
        let wrong = self
            .dimensions
            .is_some_and(|dimensions| items.len() != dimensions as usize);
        if wrong || items.is_empty() || items.len() > MAX_DIMENSIONS {
            return Err(Problem::WrongDimensions);
        }
        let size = HEADER + W * items.len();
        for item in items {
            (self.element)(item)?;
        }
        Ok(size)
    }

    fn put(&self, row: usize, out: &mut [u8]) -> usize {
        let items = self.level.range(row);
        // The count is below 2^15, so that count and zeros form one word of 32 bits.
        out[..HEADER].copy_from_slice(&(u32_size(items.len()) << 16).to_be_bytes());
        let mut at = HEADER;
        for item in items {
            // Every element was checked when the row was measured.
            out[at..at + W].copy_from_slice(&(self.element)(item).unwrap_or([0; W]));
            at += W;
        }
        at
    }
}
