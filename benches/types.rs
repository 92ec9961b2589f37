//! Measures a column of each type, without NULLs, with a few, and with many.
//!
//! ```sh
//! cargo bench --package pgflight-benches --bench types
//! ```
//!
//! The batch has 10,000 rows of one column. The rows per second include the cost of a row apart from its fields.
//! The NULLs are at random places, so that no processor can predict them.

#![expect(clippy::unwrap_used, reason = "a benchmark may fail by panicking")]
#![allow(missing_docs, reason = "criterion's macros make public functions")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use arrow_array::builder::{FixedSizeBinaryBuilder, Int32Builder, ListBuilder};
use arrow_array::types::Int32Type;
use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, DictionaryArray,
    Float64Array, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow_pgcopy::Chunks;
use arrow_pgcopy::{EncodePlan, PgType, PgTypeKind as K};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use pgflight_benches::{CHUNK, ROWS, Random};

/// The name, PostgreSQL's type, and a function that makes values with a percentage of NULLs.
type Case = (&'static str, K, fn(u64) -> ArrayRef);

const CASES: &[Case] = &[
    ("bool", K::Bool, |nulls| {
        Arc::new(BooleanArray::from(column(nulls, |r| r.below(2) == 1)))
    }),
    ("int4", K::Int4, |nulls| {
        Arc::new(Int32Array::from(column(nulls, int)))
    }),
    ("int4-into-int8", K::Int8, |nulls| {
        Arc::new(Int32Array::from(column(nulls, int)))
    }),
    ("int8", K::Int8, |nulls| {
        Arc::new(Int64Array::from(column(nulls, long)))
    }),
    ("float8", K::Float8, |nulls| {
        Arc::new(Float64Array::from(column(nulls, |r| f64::from(int(r)))))
    }),
    ("date", K::Date, |nulls| {
        Arc::new(Date32Array::from(column(nulls, |r| int(r) % 30_000)))
    }),
    ("timestamp", K::Timestamp, |nulls| {
        Arc::new(TimestampMicrosecondArray::from(column(nulls, |r| {
            1_600_000_000_000_000 + long(r)
        })))
    }),
    ("numeric-cents", K::Numeric, |nulls| {
        decimals(column(nulls, |r| i128::from(r.below(1_000_000))), 10, 2)
    }),
    ("numeric-long", K::Numeric, |nulls| {
        let value = |r: &mut Random| i128::from(long(r)) * i128::from(long(r)) * 1_000_000;
        decimals(column(nulls, value), 38, 6)
    }),
    ("int8-into-numeric", K::Numeric, |nulls| {
        Arc::new(Int64Array::from(column(nulls, long)))
    }),
    ("float8-into-numeric", K::Numeric, |nulls| {
        Arc::new(Float64Array::from(column(nulls, |r| {
            f64::from(int(r)) / 64.0
        })))
    }),
    ("text-1", K::Text, |nulls| texts(nulls, 1)),
    ("text-20", K::Text, |nulls| texts(nulls, 20)),
    ("text-300", K::Text, |nulls| texts(nulls, 300)),
    ("jsonb-300", K::Jsonb, |nulls| texts(nulls, 300)),
    ("bytea-100", K::Bytea, |nulls| {
        let values = column(nulls, |r| {
            vec![1_u8; 50 + usize::try_from(r.below(100)).unwrap()]
        });
        Arc::new(BinaryArray::from_iter(values))
    }),
    ("uuid", K::Uuid, |nulls| {
        let mut builder = FixedSizeBinaryBuilder::new(16);
        for value in column(nulls, |r| [u8::try_from(r.below(256)).unwrap(); 16]) {
            match value {
                Some(value) => builder.append_value(value).unwrap(),
                None => builder.append_null(),
            }
        }
        Arc::new(builder.finish())
    }),
    ("dictionary-of-text", K::Text, |nulls| {
        let words = column(nulls, |r| format!("word number {}", r.below(50)));
        Arc::new(
            words
                .iter()
                .map(Option::as_deref)
                .collect::<DictionaryArray<Int32Type>>(),
        )
    }),
    ("array-of-int4", K::Bool, |nulls| {
        let mut builder = ListBuilder::new(Int32Builder::new());
        for list in column(nulls, |r| [Some(int(r)); 4]) {
            builder.append_option(list);
        }
        Arc::new(builder.finish())
    }),
];

fn column<T>(nulls: u64, value: impl FnMut(&mut Random) -> T) -> Vec<Option<T>> {
    Random(4).column(nulls, value)
}

fn int(random: &mut Random) -> i32 {
    i32::try_from(random.below(1 << 31)).unwrap()
}

fn long(random: &mut Random) -> i64 {
    i64::from(int(random)) << 20
}

fn decimals(values: Vec<Option<i128>>, precision: u8, scale: i8) -> ArrayRef {
    let array = Decimal128Array::from(values);
    Arc::new(array.with_precision_and_scale(precision, scale).unwrap())
}

fn texts(nulls: u64, most: usize) -> ArrayRef {
    let text = |r: &mut Random| "x".repeat(1 + usize::try_from(r.below(most as u64)).unwrap());
    Arc::new(StringArray::from(column(nulls, text)))
}

fn types(criterion: &mut Criterion) {
    for (name, kind, values) in CASES {
        let mut group = criterion.benchmark_group(*name);
        group
            .warm_up_time(Duration::from_millis(200))
            .measurement_time(Duration::from_secs(1))
            .sample_size(20);
        // A list needs the type of its elements, which cannot be a constant.
        let kind = if *name == "array-of-int4" {
            array_of(K::Int4)
        } else {
            kind.clone()
        };
        let relation = pgflight_benches::relation([(kind, -1)]);
        for nulls in [0, 5, 50] {
            let batch = RecordBatch::try_from_iter([("c0", values(nulls))]).unwrap();
            let plan = EncodePlan::new(&batch.schema(), &relation).unwrap();
            let mut chunks = Chunks::new(CHUNK);
            let mut bytes = 0;
            pgflight_benches::encode(&plan, &batch, &mut chunks, |chunk| {
                bytes += u64::try_from(chunk.len()).unwrap();
            });
            group.throughput(Throughput::ElementsAndBytes {
                elements: u64::try_from(ROWS).unwrap(),
                bytes,
            });
            group.bench_function(format!("{nulls}% NULL"), |b| {
                b.iter(|| {
                    pgflight_benches::encode(&plan, &batch, &mut chunks, |c| drop(black_box(c)));
                });
            });
        }
    }
}

fn array_of(kind: K) -> K {
    K::Array(Box::new(PgType {
        oid: 23,
        name: "integer".into(),
        kind,
    }))
}

criterion_group!(benches, types);
criterion_main!(benches);
