//! Booleans and double-precision floats.

use arrow_array::cast::AsArray;
use arrow_array::types::{ArrowPrimitiveType, Int8Type};
use arrow_array::{Array, BooleanArray, PrimitiveArray};

use crate::encode::column::{BoxedColumn, Values, Varying, fixed, valid};
use crate::encode::problem::Problem;

/// Makes a column of `boolean` (`boolrecv`, bool.c): 1 or 0.
pub(crate) fn booleans(array: &BooleanArray) -> BoxedColumn<'_> {
    struct Booleans<'a>(&'a BooleanArray);

    impl Values for Booleans<'_> {
        fn size(&self, _row: usize) -> Result<usize, Problem> {
            Ok(1)
        }

        fn put(&self, row: usize, out: &mut [u8]) -> usize {
            out[0] = u8::from(self.0.value(row));
            1
        }
    }

    Box::new(Varying {
        values: Booleans(array),
        nulls: valid(array),
    })
}

/// Makes a column of booleans from bytes, where any byte but zero is true (the extension type `arrow.bool8`).
pub(crate) fn bytes_as_booleans(array: &dyn Array) -> Result<BoxedColumn<'_>, Problem> {
    let bytes = array.as_primitive_opt::<Int8Type>();
    let bytes = bytes.ok_or(Problem::Unplanned)?;
    Ok(fixed(bytes, |byte| Ok([u8::from(byte != 0)])))
}

/// Makes a column of `double precision` from floats; `widen` is exact.
pub(crate) fn doubles<'a, T>(
    array: &'a PrimitiveArray<T>,
    widen: impl Fn(T::Native) -> f64 + Send + Sync + 'a,
) -> BoxedColumn<'a>
where
    T: ArrowPrimitiveType,
{
    fixed(array, move |v| Ok(widen(v).to_be_bytes()))
}
