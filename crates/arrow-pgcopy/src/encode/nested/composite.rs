//! Composite values, as `record_recv` of rowtypes.c reads them.
//!
//! The wire form has the number of attributes, and for each its type's OID and a field with a length word.

use arrow_array::Array;
use arrow_array::cast::AsArray;

use crate::encode::column::{Bind, BoxedColumn, Values, Varying, WORD, length_word, valid};
use crate::encode::problem::Problem;
use crate::mapping::CompositeField;

/// Bytes of an OID.
const OID: usize = 4;

/// Makes a column of composites from structs; `fields` has the field of each attribute.
pub(crate) fn structs<'a>(
    array: &'a dyn Array,
    fields: &'a [CompositeField],
    bind: Bind<'a>,
) -> Result<BoxedColumn<'a>, Problem> {
    let array = array.as_struct_opt().ok_or(Problem::Unplanned)?;
    let attributes = fields.iter().map(|field| {
        let values = array.columns().get(field.source);
        let values = values.ok_or(Problem::Unplanned)?;
        Ok((field.oid, bind(&field.plan, values)?))
    });
    Ok(Box::new(Varying {
        values: Structs {
            attributes: attributes.collect::<Result<_, _>>()?,
        },
        nulls: valid(array),
    }))
}

struct Structs<'a> {
    attributes: Vec<(u32, BoxedColumn<'a>)>,
}

impl Values for Structs<'_> {
    fn size(&self, row: usize) -> Result<usize, Problem> {
        self.attributes.iter().try_fold(WORD, |size, (_, values)| {
            Ok(size + OID + values.measure_run(row..row + 1)?)
        })
    }

    fn put(&self, row: usize, out: &mut [u8]) -> usize {
        out[..WORD].copy_from_slice(&length_word(self.attributes.len()));
        let mut at = WORD;
        for (oid, values) in &self.attributes {
            out[at..at + OID].copy_from_slice(&oid.to_be_bytes());
            at += OID;
            at += values.write_run(row..row + 1, &mut out[at..]);
        }
        at
    }
}
