//! One case: random arrays into columns of random types, and the outcome.

use std::collections::BTreeMap;
use std::sync::Arc;

use arbitrary::{Result, Unstructured};
use arrow_array::{Array, BooleanArray, RecordBatch};
use arrow_schema::{DataType, Schema};
use arrow_select::filter::filter_record_batch;

use super::arrays::{DEPTH, array, field};
use super::judge::{judge, parse};
use super::tables::{column, encode, relation};
use super::types::{conversion, kind};
use crate::{EncodePlan, ErrorKind, rejected_rows};

/// The number of types that are tried for a column before it counts as refused.
const TRIES: usize = 6;

/// The outcomes of one case: each column's types, and whether it was refused, rejected or written.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) reached: Vec<String>,
    pub(crate) cells: usize,
}

impl Seen {
    /// Leaves out precisions and deeply nested types, as otherwise every outcome would be new.
    fn reach(&mut self, data_type: &DataType, type_name: &str, outcome: &str) {
        let types = format!("{type_name} {data_type}");
        let types = types
            .chars()
            .filter(|c| !c.is_ascii_digit() || !types.contains('('));
        let types: String = types.take(60).collect();
        self.reached.push(format!("{types} {outcome}"));
    }
}

/// Makes a case from the input and runs it. Panics if the judge rejects the result.
pub(crate) fn run(input: &[u8]) -> Result<Seen> {
    let u = &mut Unstructured::new(input);
    let mut seen = Seen::default();
    let rows = u.int_in_range(0..=20)?;
    let (mut arrays, mut fields, mut columns) = (Vec::new(), Vec::new(), Vec::new());
    let mut conversions = BTreeMap::new();
    for _ in 0..u.int_in_range(1..=4)? {
        let array = array(u, rows, DEPTH)?;
        let name = format!("c{}", arrays.len());
        let asked: BTreeMap<_, _> = if u.ratio(1, 4)? {
            [(name.clone(), conversion(u)?)].into()
        } else {
            BTreeMap::new()
        };
        let field = field(u, &name, array.data_type())?;
        for _ in 0..TRIES {
            let (kind, typmod) = kind(u, DEPTH)?;
            let mut column = column(&name, kind, typmod);
            column.nullable = u.ratio(7, 8)?;
            let schema = Schema::new(vec![field.clone()]);
            let single = relation(vec![column.clone()]);
            let plan = EncodePlan::with_conversions(&schema, &single, &asked);
            let straight = plan.is_ok_and(|plan| plan.first_cast().is_none());
            let outcome = if straight { "taken" } else { "refused" };
            seen.reach(array.data_type(), &column.ty.name, outcome);
            if straight {
                arrays.push(array);
                fields.push(field);
                columns.push(column);
                conversions.extend(asked);
                break;
            }
        }
    }
    if arrays.is_empty() {
        return Ok(seen);
    }
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap();
    let plan =
        EncodePlan::with_conversions(&batch.schema(), &relation(columns.clone()), &conversions)
            .expect("each column was accepted by itself");
    check_rejects(&plan, &batch);
    let target = u.int_in_range(1..=4000)?;
    let mut outcome = "written".to_owned();
    let mut batch = batch;
    let bytes = loop {
        match encode(&plan, &batch, target) {
            Ok(bytes) => break bytes,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::DataRejected, "{plan}: {error}");
                outcome = format!("rejected {}", error.sqlstate().unwrap_or_default());
                // The rows before it must still be accepted, unless another column rejects them.
                let row = error.row().expect("a rejected value has a row");
                let row = usize::try_from(row).unwrap();
                assert!(row < batch.num_rows(), "{plan}: {error}");
                batch = batch.slice(0, row);
            }
        }
    };
    let tuples = parse(&bytes);
    assert_eq!(tuples.len(), batch.num_rows(), "{plan}");
    for tuple in &tuples {
        assert_eq!(tuple.len(), columns.len(), "{plan}");
        for (column, field) in columns.iter().zip(tuple) {
            let judged = match field {
                Some(bytes) => judge(&column.ty, column.typmod, bytes),
                None if column.nullable => Ok(()),
                None => Err("NULL in a column that takes none".to_owned()),
            };
            judged.unwrap_or_else(|problem| panic!("{plan}: {problem}: {field:?}"));
            seen.cells += 1;
        }
    }
    let middle = u.int_in_range(0..=batch.num_rows())?;
    let halves = [
        batch.slice(0, middle),
        batch.slice(middle, batch.num_rows() - middle),
    ];
    let halves = halves.map(|half| encode(&plan, &half, 4000).expect("the whole was taken"));
    assert_eq!(halves.concat(), bytes, "{plan}: in two halves");
    for column in plan.columns() {
        seen.reach(&column.data_type, &column.type_name, &outcome);
    }
    Ok(seen)
}

/// Checks that the rows that cannot be encoded alone are the rejected ones, and that the others can be encoded together.
fn check_rejects(plan: &EncodePlan, batch: &RecordBatch) {
    let rejected = rejected_rows(plan, batch, 100, usize::MAX).expect("the columns are the plan's");
    let indices: Vec<usize> = rejected.iter().map(|row| row.index).collect();
    let rows = 0..batch.num_rows();
    let alone = rows
        .clone()
        .filter(|row| encode(plan, &batch.slice(*row, 1), 4000).is_err());
    assert_eq!(indices, alone.collect::<Vec<_>>(), "{plan}: {rejected:?}");
    for row in &rejected {
        let number = u64::try_from(row.index).unwrap() + 100;
        assert_eq!(row.error.row(), Some(number), "{plan}: {:?}", row.error);
    }
    let kept: BooleanArray = rows.map(|row| Some(!indices.contains(&row))).collect();
    let kept = filter_record_batch(batch, &kept).unwrap();
    encode(plan, &kept, 4000).unwrap_or_else(|error| panic!("{plan}: {error:#}"));
}
