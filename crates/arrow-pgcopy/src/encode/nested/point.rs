//! `point`, as `point_recv` of geo_ops.c reads it: two doubles.

use arrow_array::cast::AsArray;
use arrow_array::types::Float64Type;
use arrow_array::{Array, Float64Array};
use arrow_cast::cast;
use arrow_schema::DataType;

use crate::encode::column::{BoxedColumn, Level, prepared};
use crate::encode::problem::Problem;

/// Makes a column from lists of two floats, or from structs of `x` and `y`.
pub(crate) fn points(array: &dyn Array) -> Result<BoxedColumn<'_>, Problem> {
    if let Some(structs) = array.as_struct_opt() {
        let coordinate = |name| doubles(structs.column_by_name(name).ok_or(Problem::Unplanned)?);
        let (x, y) = (coordinate("x")?, coordinate("y")?);
        return Ok(prepared(array, |row, out| {
            put(&x, row, out)?;
            put(&y, row, out)
        }));
    }
    let level = Level::of(array).ok_or(Problem::Unplanned)?;
    let items = doubles(level.items)?;
    Ok(prepared(array, |row, out| {
        let pair = level.range(row);
        if pair.len() != 2 {
            return Err(Problem::WrongDimensions);
        }
        pair.into_iter().try_for_each(|item| put(&items, item, out))
    }))
}

/// Widens floats of any width, which is exact.
fn doubles(array: &dyn Array) -> Result<Float64Array, Problem> {
    let doubles = cast(array, &DataType::Float64).map_err(|_| Problem::Unplanned)?;
    Ok(doubles.as_primitive::<Float64Type>().clone())
}

fn put(values: &Float64Array, row: usize, out: &mut Vec<u8>) -> Result<(), Problem> {
    if values.is_null(row) {
        return Err(Problem::NullItem);
    }
    out.extend_from_slice(&values.value(row).to_be_bytes());
    Ok(())
}
