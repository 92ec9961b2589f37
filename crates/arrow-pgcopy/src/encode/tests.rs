//! Tests of the whole encoder: plan, bind, measure, write.

mod cases;
mod conversions;
mod fuzz;
mod golden;
mod json;
mod layouts;
mod numeric;
mod property;
mod rejected;
mod unparsed;

use arrow_array::ArrayRef;

use self::cases::{array_of, batch, column, encode, pg_type, relation};
use super::format::{HEADER, TRAILER};
use super::{BatchEncoder, Chunks};
use crate::error::Result;
use crate::plan::EncodePlan;
use crate::table::PgTypeKind;

/// Encodes arrays into columns of these types, as a whole file.
fn copy(columns: Vec<(ArrayRef, PgTypeKind, i32)>) -> Result<Vec<u8>> {
    let (arrays, columns): (Vec<_>, Vec<_>) = columns
        .into_iter()
        .enumerate()
        .map(|(i, (array, kind, typmod))| (array, column(&format!("c{i}"), kind, typmod)))
        .unzip();
    let batch = batch(arrays);
    let plan = EncodePlan::new(&batch.schema(), &relation(columns))?;
    Ok([&HEADER[..], &encode(&plan, &batch, 100)?, &TRAILER].concat())
}
