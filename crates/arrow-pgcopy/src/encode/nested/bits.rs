//! Bit strings, as `bit_recv` and `varbit_recv` of varbit.c read them: a count, then eight bits a byte, the most
//! significant first.

use arrow_array::cast::AsArray;
use arrow_array::{Array, BooleanArray};
use arrow_cast::cast;
use arrow_schema::DataType;

use crate::encode::column::{Blobs, BoxedColumn, Level, length_word, prepared};
use crate::encode::format::MAX_BYTES;
use crate::encode::problem::Problem;

/// Makes a column of bits from bytes, or from lists of booleans. Bytes have the number of bits that `bit(n)`
/// declares, or else eight for each byte.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the table in mapping is exhaustive"
)]
pub(crate) fn bits(
    array: &dyn Array,
    length: Option<u32>,
    exact: bool,
) -> Result<BoxedColumn<'_>, Problem> {
    Ok(match array.data_type() {
        DataType::Binary => of(array.as_binary::<i32>(), length, exact),
        DataType::LargeBinary => of(array.as_binary::<i64>(), length, exact),
        DataType::BinaryView => of(array.as_binary_view(), length, exact),
        DataType::FixedSizeBinary(_) => of(array.as_fixed_size_binary(), length, exact),
        _ => booleans(array, length, exact)?,
    })
}

fn booleans(
    array: &dyn Array,
    length: Option<u32>,
    exact: bool,
) -> Result<BoxedColumn<'_>, Problem> {
    let level = Level::of(array).ok_or(Problem::Unplanned)?;
    let Some(items) = level.items.as_boolean_opt() else {
        // The booleans are behind a dictionary or in runs.
        let plain = cast(level.items, &DataType::Boolean).map_err(|_| Problem::Unplanned)?;
        return Ok(put_together(
            array,
            &level,
            plain.as_boolean(),
            length,
            exact,
        ));
    };
    Ok(put_together(array, &level, items, length, exact))
}

fn put_together<'a>(
    array: &dyn Array,
    level: &Level<'_>,
    items: &BooleanArray,
    length: Option<u32>,
    exact: bool,
) -> BoxedColumn<'a> {
    prepared(array, |row, out| {
        let range = level.range(row);
        check_count(range.len(), length, exact)?;
        out.extend_from_slice(&length_word(range.len()));
        let mut bits = range.map(|item| {
            if items.is_null(item) {
                Err(Problem::NullItem)
            } else {
                Ok(items.value(item))
            }
        });
        while let Some(first) = bits.next() {
            let mut byte = u8::from(first?) << 7;
            for (place, bit) in (1..8).zip(bits.by_ref().take(7)) {
                byte |= u8::from(bit?) << (7 - place);
            }
            out.push(byte);
        }
        Ok(())
    })
}

fn of<A: Blobs>(array: &A, length: Option<u32>, exact: bool) -> BoxedColumn<'_> {
    prepared(array, |row, out| {
        let bytes = array.blob(row);
        let all = 8 * bytes.len();
        let count = match length {
            // If the length is no multiple of eight, the unused bits must be zero.
            Some(length) if exact => {
                let count = length as usize;
                let used = count % 8;
                let unused_are_zero = match bytes.last() {
                    Some(last) if used > 0 => last << used == 0,
                    _ => true,
                };
                if bytes.len() != count.div_ceil(8) || !unused_are_zero {
                    return Err(Problem::WrongBitCount);
                }
                count
            }
            _ => all,
        };
        check_count(count, length, exact)?;
        out.extend_from_slice(&length_word(count));
        out.extend_from_slice(bytes);
        Ok(())
    })
}

pub(crate) fn check_count(count: usize, length: Option<u32>, exact: bool) -> Result<(), Problem> {
    let fits = match length {
        None => true,
        Some(length) if exact => count == length as usize,
        Some(length) => count <= length as usize,
    };
    match (fits, count <= MAX_BYTES) {
        (true, true) => Ok(()),
        (true, false) => Err(Problem::FieldTooLarge),
        (false, _) => Err(Problem::WrongBitCount),
    }
}
