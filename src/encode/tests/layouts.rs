//! The same values in any layout that Arrow has for them are the same bytes.

use std::sync::Arc;

use arrow_array::types::*;
use arrow_array::*;
use arrow_buffer::{NullBuffer, ScalarBuffer};
use arrow_schema::Field;

use super::golden_types::{list, structure};
use super::{array_of, copy};
use crate::plan::PgTypeKind as K;

/// Encodes both into a column of the same type, whole and as a slice from the second row on.
fn check(plain: impl Array + 'static, other: impl Array + 'static, kind: K) {
    let (plain, other): (ArrayRef, ArrayRef) = (Arc::new(plain), Arc::new(other));
    assert_eq!(plain.len(), other.len());
    for from in 0..=plain.len() {
        for to in from..=plain.len() {
            let of = |array: &ArrayRef| {
                copy(vec![(array.slice(from, to - from), kind.clone(), -1)]).unwrap()
            };
            let data_type = other.data_type();
            assert_eq!(of(&plain), of(&other), "{data_type}, rows {from} to {to}");
        }
    }
}

fn runs(ends: Vec<i32>, values: impl Array + 'static) -> RunArray<Int32Type> {
    RunArray::try_new(&Int32Array::from(ends), &values).unwrap()
}

#[test]
fn runs_are_their_values() {
    let texts = || StringArray::from(vec![Some("a"), None, Some("é")]);
    let plain = StringArray::from(vec![Some("a"), Some("a"), None, Some("é"), Some("é")]);
    check(plain.clone(), runs(vec![2, 3, 5], texts()), K::Text);
    check(plain, runs(vec![2, 3, 5], texts()), K::Jsonb);
    let lists = list(Arc::new(texts()), &[Some(2), None, Some(1)]);
    let items = Arc::new(StringArray::from(vec![
        Some("a"),
        None,
        Some("a"),
        None,
        Some("é"),
    ]));
    let plain = list(items, &[Some(2), Some(2), None, Some(1)]);
    check(plain, runs(vec![2, 3, 4], lists), array_of(K::Text));
}

#[test]
fn runs_within_lists_and_structs_are_their_values() {
    let items = Arc::new(runs(
        vec![2, 3, 5],
        Int32Array::from(vec![Some(7), None, Some(9)]),
    ));
    let plain = Arc::new(Int32Array::from(vec![
        Some(7),
        Some(7),
        None,
        Some(9),
        Some(9),
    ]));
    let lengths = [Some(1), Some(3), None, Some(1)];
    check(
        list(plain.clone(), &lengths),
        list(items.clone(), &lengths),
        array_of(K::Int8),
    );
    check(
        list(plain.clone(), &lengths),
        list(items.clone(), &lengths),
        K::Jsonb,
    );
    let valid = || vec![true, true, true, false, true];
    check(
        structure(vec![("a", plain)], valid()),
        structure(vec![("a", items)], valid()),
        K::Json,
    );
}

#[test]
fn views_of_lists_are_lists() {
    let items = Arc::new(StringArray::from(vec![
        Some("a"),
        None,
        Some("c"),
        Some("d"),
    ]));
    let field = Arc::new(Field::new("item", items.data_type().clone(), true));
    // Out of order, shared, with garbage under the NULL.
    let views = ListViewArray::new(
        field.clone(),
        ScalarBuffer::from(vec![2, 0, 1, 1, 4]),
        ScalarBuffer::from(vec![2, 2, 2, 3, 0]),
        items.clone(),
        Some(NullBuffer::from(vec![true, true, false, true, true])),
    );
    let large = LargeListViewArray::new(
        field,
        ScalarBuffer::from(vec![2, 0, 1, 1, 4]),
        ScalarBuffer::from(vec![2, 2, 2, 3, 0]),
        items,
        Some(NullBuffer::from(vec![true, true, false, true, true])),
    );
    let flat = [
        Some("c"),
        Some("d"),
        Some("a"),
        None,
        None,
        Some("c"),
        Some("d"),
    ];
    let plain = list(
        Arc::new(StringArray::from(flat.to_vec())),
        &[Some(2), Some(2), None, Some(3), Some(0)],
    );
    check(plain.clone(), views.clone(), array_of(K::Text));
    check(plain.clone(), large, array_of(K::Text));
    let valid = || vec![true, true, true, false, true];
    check(
        structure(vec![("a", Arc::new(plain))], valid()),
        structure(vec![("a", Arc::new(views))], valid()),
        K::Jsonb,
    );
}

#[test]
fn dictionaries_of_lists_and_structs_are_their_values() {
    let lists = list(
        Arc::new(Int32Array::from(vec![1, 2, 3])),
        &[Some(2), None, Some(1)],
    );
    let keys = Int8Array::from(vec![Some(2), Some(0), None, Some(1), Some(0)]);
    let dictionary = DictionaryArray::new(keys.clone(), Arc::new(lists));
    let plain = list(
        Arc::new(Int32Array::from(vec![3, 1, 2, 1, 2])),
        &[Some(1), Some(2), None, None, Some(2)],
    );
    check(plain, dictionary, array_of(K::Int4));
    let values = structure(
        vec![("a", Arc::new(Int32Array::from(vec![1, 2, 3])))],
        vec![true; 3],
    );
    let dictionary = DictionaryArray::new(Int8Array::from(vec![2, 0]), Arc::new(values));
    let plain = structure(
        vec![("a", Arc::new(Int32Array::from(vec![3, 1])))],
        vec![true; 2],
    );
    check(plain, dictionary, K::Jsonb);
}

#[test]
fn nulls_behind_a_dictionary_are_nulls() {
    let plain = Arc::new(NullArray::new(3));
    let keys = Int32Array::from(vec![Some(0), None, Some(0)]);
    let other = Arc::new(DictionaryArray::new(keys, Arc::new(NullArray::new(1))));
    check(NullArray::new(3), (*other).clone(), K::Text);
    for kind in [K::Hstore, K::Jsonb] {
        let valid = || vec![true, true, false];
        check(
            structure(vec![("a", plain.clone())], valid()),
            structure(vec![("a", other.clone())], valid()),
            kind,
        );
    }
}
