//! The same values encode to the same bytes in every Arrow layout.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::types::*;
use arrow_array::*;
use arrow_buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::{DataType, Field, Schema, UnionFields};

use super::golden::types::{list, structure};
use super::{array_of, column, copy, encode, relation};
use crate::plan::EncodePlan;
use crate::table::PgTypeKind as K;

/// Checks that both arrays encode alike into a column of this type, whole and as a slice from the second row on.
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
fn runs_count_as_their_values() {
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
fn runs_in_nested_values_count_as_their_values() {
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
fn list_views_count_as_lists() {
    let items = Arc::new(StringArray::from(vec![
        Some("a"),
        None,
        Some("c"),
        Some("d"),
    ]));
    let field = Arc::new(Field::new("item", items.data_type().clone(), true));
    // The items are out of order and shared, and the NULL has some as well.
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
fn dictionaries_of_nested_values_count_as_their_values() {
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
fn null_values_of_a_dictionary_are_nulls() {
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

#[test]
fn tensors_keep_their_shape_and_bool8_is_boolean() {
    let field = |data_type: &DataType, name: &str, metadata: &str| {
        Field::new("c0", data_type.clone(), true).with_metadata(HashMap::from([
            ("ARROW:extension:name".to_owned(), name.to_owned()),
            ("ARROW:extension:metadata".to_owned(), metadata.to_owned()),
        ]))
    };
    let of = |field: Field, array: &ArrayRef, kind: K| {
        let schema = Arc::new(Schema::new(vec![field]));
        let batch = RecordBatch::try_new(schema.clone(), vec![array.clone()]).unwrap();
        let plan = EncodePlan::new(&schema, &relation(vec![column("c0", kind, -1)]))?;
        encode(&plan, &batch, 1 << 16)
    };
    let bare = |array: ArrayRef, kind: K| {
        let file = copy(vec![(array, kind, -1)]).unwrap();
        file[19..file.len() - 2].to_vec()
    };
    let items = || Arc::new(Int32Array::from((0..18).collect::<Vec<_>>()));
    let item = Arc::new(Field::new("item", DataType::Int32, true));
    let nulls = NullBuffer::from(vec![true, false, true]);
    let tensors = FixedSizeListArray::new(item, 6, items(), Some(nulls));
    let tensors: ArrayRef = Arc::new(tensors);
    let shaped = |metadata| field(tensors.data_type(), "arrow.fixed_shape_tensor", metadata);
    let rows = list(items(), &[Some(3); 6]);
    // The NULL has items as well.
    let offsets = OffsetBuffer::from_lengths([2, 2, 2]);
    let row = Arc::new(Field::new("item", rows.data_type().clone(), true));
    let nulls = Some(NullBuffer::from(vec![true, false, true]));
    let matrices: ArrayRef = Arc::new(ListArray::new(row, offsets, Arc::new(rows), nulls));
    for kind in [array_of(K::Int4), K::Jsonb] {
        for from in 0..3 {
            let sliced = tensors.slice(from, 3 - from);
            let matrices = matrices.slice(from, 3 - from);
            let bytes = of(shaped(r#"{"shape": [2, 3]}"#), &sliced, kind.clone()).unwrap();
            assert_eq!(bytes, bare(matrices, kind.clone()), "{kind:?} from {from}");
        }
    }
    let flat = of(shaped(r#"{"shape": [6]}"#), &tensors, array_of(K::Int4)).unwrap();
    assert_eq!(flat, bare(tensors.clone(), array_of(K::Int4)));
    for (metadata, words) in [
        (r#"{"shape": [2, 3], "permutation": [1, 0]}"#, "transpose"),
        (r#"{"shape": [2, 2]}"#, "another shape"),
        ("", "does not say its shape"),
    ] {
        let error = of(shaped(metadata), &tensors, array_of(K::Int4)).unwrap_err();
        assert!(format!("{error:#}").contains(words), "{error:#}");
    }
    let bytes: ArrayRef = Arc::new(Int8Array::from(vec![Some(0), Some(-1), None]));
    let flags = Arc::new(BooleanArray::from(vec![Some(false), Some(true), None]));
    let bool8 = field(&DataType::Int8, "arrow.bool8", "");
    assert_eq!(of(bool8, &bytes, K::Bool).unwrap(), bare(flags, K::Bool));
}

#[test]
fn unions_are_rendered_as_their_value() {
    let members: Vec<ArrayRef> = vec![
        Arc::new(Int32Array::from(vec![Some(7), None])),
        Arc::new(StringArray::from(vec![Some("a"), Some("é")])),
    ];
    let fields = members
        .iter()
        .enumerate()
        .map(|(id, member)| Field::new(format!("m{id}"), member.data_type().clone(), true));
    let fields = UnionFields::try_new([3, 5], fields).unwrap();
    let ids = vec![5, 3, 3, 5];
    let dense = Some(vec![1, 0, 1, 0].into());
    let dense = UnionArray::try_new(fields.clone(), ids.clone().into(), dense, members.clone());
    let taken = |member: &ArrayRef, rows: Vec<u32>| {
        arrow_select::take::take(member, &UInt32Array::from(rows), None).unwrap()
    };
    let members = vec![
        taken(&members[0], vec![0, 0, 1, 0]),
        taken(&members[1], vec![1, 0, 0, 0]),
    ];
    let sparse = UnionArray::try_new(fields, ids.into(), None, members);
    let documents = || StringArray::from(vec![Some("\"é\""), Some("7"), None, Some("\"a\"")]);
    for union in [dense.unwrap(), sparse.unwrap()] {
        check(documents(), union.clone(), K::Jsonb);
        let rows = vec![
            Some("{\"u\":\"é\"}"),
            Some("{\"u\":7}"),
            Some("{\"u\":null}"),
            None,
        ];
        let valid = vec![true, true, true, false];
        let structs = structure(vec![("u", Arc::new(union))], valid);
        check(StringArray::from(rows), structs, K::Json);
    }
}

#[test]
fn whole_floats_count_as_integers_and_midnights_as_dates() {
    let far = 1_i64 << 62;
    let wide = Int64Array::from(vec![Some(0), None, Some(-3), Some(far), Some(i64::MIN)]);
    let doubles = vec![
        Some(-0.0),
        None,
        Some(-3.0),
        Some(4_611_686_018_427_387_904.0),
        Some(-9_223_372_036_854_775_808.0),
    ];
    check(wide, Float64Array::from(doubles), K::Int8);
    let small = || Int64Array::from(vec![Some(7), None, Some(-32_768), Some(32_767)]);
    let singles = vec![Some(7.0), None, Some(-32_768.0), Some(32_767.0)];
    check(small(), Float32Array::from(singles), K::Int2);
    let days = || Date32Array::from(vec![Some(0), None, Some(-1), Some(20_000)]);
    let at = |per_day: i64| {
        let days = [Some(0), None, Some(-1), Some(20_000)];
        days.map(|day| Some(day? * per_day)).to_vec()
    };
    check(days(), TimestampSecondArray::from(at(86_400)), K::Date);
    check(
        days(),
        TimestampMillisecondArray::from(at(86_400_000)),
        K::Date,
    );
    check(
        days(),
        TimestampMicrosecondArray::from(at(86_400_000_000)),
        K::Date,
    );
    let nanos = TimestampNanosecondArray::from(at(86_400_000_000_000));
    check(days(), nanos, K::Date);
}
