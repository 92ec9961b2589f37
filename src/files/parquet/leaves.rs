//! The leaves of nested columns. Parquet stores each as a column of its own, in this order.

use std::sync::Arc;

use arrow::array::{Array, ArrayData, ArrayRef, RecordBatch, make_array};
use arrow::datatypes::{DataType, Field, FieldRef, Fields};
use arrow::error::ArrowError;

/// Returns fields whose leaves have other types. `change` gets the place of a leaf and its type.
pub(super) fn with_leaf_types(
    fields: &Fields,
    change: &mut impl FnMut(&DataType) -> Option<DataType>,
) -> Fields {
    let fields = fields.iter().map(|field| with_leaf_type(field, change));
    fields.collect()
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "all types without fields are leaves"
)]
fn with_leaf_type(
    field: &FieldRef,
    change: &mut impl FnMut(&DataType) -> Option<DataType>,
) -> FieldRef {
    use DataType as D;
    let changed = match field.data_type() {
        D::Struct(fields) => Some(D::Struct(with_leaf_types(fields, change))),
        D::List(item) => Some(D::List(with_leaf_type(item, change))),
        D::LargeList(item) => Some(D::LargeList(with_leaf_type(item, change))),
        D::ListView(item) => Some(D::ListView(with_leaf_type(item, change))),
        D::LargeListView(item) => Some(D::LargeListView(with_leaf_type(item, change))),
        D::FixedSizeList(item, size) => Some(D::FixedSizeList(with_leaf_type(item, change), *size)),
        D::Map(entries, sorted) => Some(D::Map(with_leaf_type(entries, change), *sorted)),
        leaf => change(leaf),
    };
    match changed {
        Some(changed) => Arc::new(Field::clone(field).with_data_type(changed)),
        None => Arc::clone(field),
    }
}

/// A leaf of a batch.
pub(super) struct Leaf {
    /// The name of the column that it is in.
    pub(super) column: String,
    /// Whether its values are the rows of the batch.
    pub(super) is_column: bool,
    pub(super) values: ArrayRef,
}

/// Returns the leaves of a batch, in order.
pub(super) fn leaves_of(batch: &RecordBatch) -> Vec<Leaf> {
    let mut leaves = Vec::new();
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        let first = leaves.len();
        collect(&column.to_data(), field.name(), &mut leaves);
        if let [leaf] = &mut leaves[first..] {
            leaf.is_column = leaf.values.len() == batch.num_rows()
                && leaf.values.data_type() == column.data_type();
        }
    }
    leaves
}

fn collect(data: &ArrayData, column: &str, leaves: &mut Vec<Leaf>) {
    if is_leaf(data) {
        leaves.push(Leaf {
            column: column.to_owned(),
            is_column: false,
            values: make_array(data.clone()),
        });
    }
    for child in data.child_data().iter().filter(|_| !is_leaf(data)) {
        collect(child, column, leaves);
    }
}

/// Returns an array whose leaves are changed. The types stay the same.
///
/// # Errors
/// The errors of `change`.
pub(super) fn map_leaves<E: From<ArrowError>>(
    data: &ArrayData,
    change: &mut impl FnMut(ArrayRef) -> Result<ArrayRef, E>,
) -> Result<ArrayData, E> {
    if is_leaf(data) {
        return Ok(change(make_array(data.clone()))?.to_data());
    }
    let children = data
        .child_data()
        .iter()
        .map(|child| map_leaves(child, change));
    let children = children.collect::<Result<Vec<_>, E>>()?;
    let builder = data.clone().into_builder().child_data(children);
    Ok(builder.build()?)
}

fn is_leaf(data: &ArrayData) -> bool {
    data.child_data().is_empty() || matches!(data.data_type(), DataType::Dictionary(..))
}
