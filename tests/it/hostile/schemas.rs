//! Schemas over a limit, and headers that are cut or random: the server rejects them and writes no rows.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};
use arrow::datatypes::{DataType as D, Field, Fields, Schema, TimeUnit, UnionFields, UnionMode};

use super::raw::{check, columns, list_of, nested, schema_message, schema_of_shared_structs};
use crate::support::{Put, batch, path};

#[tokio::test]
async fn schemas_over_a_limit_and_unsupported_types_are_rejected() {
    let one = |data_type| schema_message(&columns(&[("n", data_type)]));
    let ends = Arc::new(Field::new("run_ends", D::Int32, false));
    let unions = UnionFields::try_new([0], [Field::new("x", D::Int32, true)]).unwrap();
    let many = |count: usize| {
        let field = |n| Field::new(format!("c{n}"), D::Int32, true);
        schema_message(&Schema::new((0..count).map(field).collect::<Vec<_>>()))
    };
    let with_metadata = |entries: Vec<(String, String)>| {
        let metadata: HashMap<_, _> = entries.into_iter().collect();
        schema_message(&columns(&[("n", D::Int64)]).with_metadata(metadata))
    };
    let zone = |zone: &str| one(D::Timestamp(TimeUnit::Microsecond, Some(zone.into())));
    let inner = D::Dictionary(Box::new(D::Int32), Box::new(D::Utf8));
    let inner = D::Struct(Fields::from(vec![Field::new("x", inner, true)]));
    let cases = vec![
        (
            "run ends",
            one(D::RunEndEncoded(ends, list_of(D::Int32))),
            "type RunEndEncoded is not supported",
        ),
        (
            "dense union",
            one(D::Union(unions.clone(), UnionMode::Dense)),
            "type Union is not supported",
        ),
        (
            "sparse union",
            one(D::Union(unions, UnionMode::Sparse)),
            "type Union is not supported",
        ),
        (
            "list view",
            one(D::ListView(list_of(D::Int32))),
            "type ListView is not supported",
        ),
        ("binary of -1", one(D::FixedSizeBinary(-1)), "size -1"),
        ("binary of 0", one(D::FixedSizeBinary(0)), "size 0"),
        (
            "list of 0",
            one(D::FixedSizeList(list_of(D::Int32), 0)),
            "size 0",
        ),
        (
            "list of -5",
            one(D::FixedSizeList(list_of(D::Int32), -5)),
            "size -5",
        ),
        (
            "decimal(200,-100)",
            one(D::Decimal128(200, -100)),
            "precision 200",
        ),
        ("decimal(0,0)", one(D::Decimal128(0, 0)), "precision 0"),
        ("decimal(5,-100)", one(D::Decimal128(5, -100)), "scale -100"),
        ("zone of SQL", zone("UTC'; DROP TABLE t; --"), "time zone"),
        ("long zone", zone(&"x".repeat(65)), "time zone"),
        ("empty zone", zone(""), "time zone"),
        ("depth of 17", one(nested(17)), "nested more than 16 deep"),
        ("depth of 60", one(nested(60)), "nested more than 16 deep"),
        (
            "depth of 1000",
            one(nested(1000)),
            "not an Arrow IPC message",
        ),
        ("1601 columns", many(1601), "1601 columns"),
        ("10,000 columns", many(10_000), "10000 columns"),
        (
            "shared structs",
            schema_of_shared_structs(15, 2),
            "more than 10000 fields",
        ),
        (
            "shared structs at large",
            schema_of_shared_structs(5, 1000),
            "not an Arrow IPC message",
        ),
        (
            "long metadata",
            with_metadata(vec![("k".into(), "x".repeat(600 << 10))]),
            "metadata",
        ),
        (
            "metadata over all",
            with_metadata(vec![("k".into(), "x".repeat(1 << 20))]),
            "limit of 1048576",
        ),
        (
            "many metadata",
            with_metadata(
                (0..10_001)
                    .map(|n| (n.to_string(), String::new()))
                    .collect(),
            ),
            "metadata",
        ),
        (
            "nested dictionaries",
            one(D::Dictionary(Box::new(D::Int32), Box::new(inner))),
            "dictionary within",
        ),
        (
            "name twice",
            schema_message(&columns(&[("n", D::Int64), ("n", D::Int64)])),
            "more than once",
        ),
        (
            "name with NUL",
            schema_message(&columns(&[("n\0", D::Int64)])),
            "n\\u{0}",
        ),
        (
            "empty name",
            schema_message(&columns(&[("", D::Int64)])),
            "\"\"",
        ),
    ];
    let cases = cases
        .into_iter()
        .map(|(what, message, part)| (what, vec![message], part));
    check(cases.collect()).await;
}

/// Reproducible random numbers: Marsaglia's xorshift of 64 bits.
fn random_bytes(seed: u64) -> impl Iterator<Item = u8> {
    let mut state = seed;
    std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[7]
    })
}

#[tokio::test]
async fn cut_and_random_headers_are_rejected() {
    let rows = batch(&[("n", Arc::new(Int64Array::from(vec![1, 2])) as ArrayRef)]);
    let good = Put::bare(path(&["t"]), &[rows]).0;
    let cut = |message: usize, end: usize| {
        let mut messages = good.clone();
        messages[message].data_header.truncate(end);
        messages
    };
    let mut cases = Vec::new();
    for message in [0, 1] {
        // An empty header is no message, and the last bytes are padding.
        for end in 1..good[message].data_header.len() - 8 {
            cases.push(("cut", cut(message, end), ""));
        }
    }
    let mut random = random_bytes(7);
    for message in [0, 1] {
        for length in 1..200 {
            let mut messages = good.clone();
            messages[message].data_header = random.by_ref().take(length).collect();
            cases.push(("random", messages, "not an Arrow IPC message"));
        }
    }
    assert!(cases.len() > 500);
    check(cases).await;
}
