//! Generated rows for the benchmarks, the same in every run.

#![expect(clippy::unwrap_used, reason = "a benchmark may fail by panicking")]

use arrow_pgcopy::{BatchEncoder, Chunks};
use arrow_pgcopy::{Column, EncodePlan, Ident, PgType, PgTypeKind, QualifiedName, Relation};

/// Rows of a batch, as Spark sends them.
pub const ROWS: usize = 10_000;

/// Bytes of a chunk, as the server makes them.
pub const CHUNK: usize = 256 << 10;

/// Values of a column, independent of Arrow's version.
pub enum Values {
    /// `integer`.
    Int(Vec<Option<i32>>),
    /// `bigint`.
    Long(Vec<Option<i64>>),
    /// `double precision`.
    Double(Vec<Option<f64>>),
    /// `timestamp`.
    Micros(Vec<Option<i64>>),
    /// `numeric(10,2)`.
    Decimal(Vec<Option<i128>>),
    /// `text`.
    Text(Vec<Option<String>>),
}

/// A random number generator that is the same in every run (Knuth's MMIX).
pub struct Random(pub u64);

impl Random {
    /// Returns the next number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }

    /// Returns values for every row, `nulls` percent of them NULL.
    pub fn column<T>(
        &mut self,
        nulls: u64,
        mut value: impl FnMut(&mut Self) -> T,
    ) -> Vec<Option<T>> {
        (0..ROWS)
            .map(|_| {
                let null = nulls > 0 && self.below(100) < nulls;
                if null { None } else { Some(value(self)) }
            })
            .collect()
    }
}

/// Returns 19 columns like New York's taxi trips, with decimals and NULLs.
pub fn taxi() -> Vec<Values> {
    let mut random = Random(1);
    let start = 1_672_531_200_000_000;
    let mut ints =
        |nulls, end| Values::Int(random.column(nulls, |r| i32::try_from(r.below(end)).unwrap()));
    let mut columns = vec![
        ints(0, 3),
        ints(5, 7),
        ints(5, 6),
        ints(0, 265),
        ints(0, 265),
    ];
    columns.push(Values::Long(
        random.column(0, |r| i64::try_from(r.below(5)).unwrap()),
    ));
    for _ in 0..2 {
        columns.push(Values::Micros(random.column(0, |r| {
            start + i64::try_from(r.below(2_678_400)).unwrap() * 1_000_000
        })));
    }
    columns.push(Values::Double(random.column(0, |r| {
        f64::from(u32::try_from(r.below(3000)).unwrap()) / 100.0
    })));
    columns.push(Values::Text(
        random.column(5, |r| if r.below(100) == 0 { "Y" } else { "N" }.to_owned()),
    ));
    // Fare, extra, tax, tip, tolls, improvement, total, congestion, airport.
    for (nulls, steps, cents) in [
        (0, 700, 10),
        (0, 3, 50),
        (0, 2, 50),
        (0, 1500, 1),
        (0, 2, 655),
        (0, 2, 30),
        (0, 9000, 1),
        (5, 2, 250),
        (5, 2, 125),
    ] {
        columns.push(Values::Decimal(
            random.column(nulls, |r| i128::from(r.below(steps) * cents)),
        ));
    }
    assert_eq!(columns.len(), 19);
    columns
}

/// Returns three columns of fixed size.
pub fn fixed() -> Vec<Values> {
    let mut random = Random(2);
    vec![
        Values::Long(random.column(0, |r| i64::try_from(r.below(u64::MAX)).unwrap())),
        Values::Double(random.column(0, |r| f64::from(u32::try_from(r.below(1 << 31)).unwrap()))),
        Values::Int(random.column(0, |r| i32::try_from(r.below(1 << 31)).unwrap())),
    ]
}

/// Returns columns of wide text.
pub fn text() -> Vec<Values> {
    let mut random = Random(3);
    let mut texts = |least: u64, most: u64| {
        Values::Text(random.column(0, |r| {
            let length = least + r.below(most - least);
            (0..length)
                .map(|_| char::from(b'a' + u8::try_from(r.below(26)).unwrap()))
                .collect()
        }))
    };
    vec![texts(10, 30), texts(100, 400), texts(200, 1000)]
}

/// Builds a batch with one version of Arrow.
macro_rules! record_batch {
    ($name:ident, $array:ident, $schema:ident) => {
        /// Builds a batch with one version of Arrow.
        pub fn $name(columns: &[Values]) -> $array::RecordBatch {
            use std::sync::Arc;

            use $array::*;
            let arrays = columns.iter().map(|column| -> ArrayRef {
                match column {
                    Values::Int(v) => Arc::new(Int32Array::from(v.clone())),
                    Values::Long(v) => Arc::new(Int64Array::from(v.clone())),
                    Values::Double(v) => Arc::new(Float64Array::from(v.clone())),
                    Values::Micros(v) => Arc::new(TimestampMicrosecondArray::from(v.clone())),
                    Values::Decimal(v) => Arc::new(
                        Decimal128Array::from(v.clone())
                            .with_precision_and_scale(10, 2)
                            .unwrap(),
                    ),
                    Values::Text(v) => Arc::new(StringArray::from(v.clone())),
                }
            });
            let arrays = arrays.collect::<Vec<_>>();
            let fields = arrays.iter().enumerate().map(|(i, array)| {
                let nullable = array.null_count() > 0;
                $schema::Field::new(format!("c{i}"), array.data_type().clone(), nullable)
            });
            let schema = $schema::Schema::new(fields.collect::<Vec<_>>());
            RecordBatch::try_new(Arc::new(schema), arrays).unwrap()
        }
    };
}

record_batch!(batch, arrow_array, arrow_schema);
record_batch!(batch_for_pgpq, arrow_array_59, arrow_schema_59);

/// Returns a table with columns of these types, named as those of [`batch`].
pub fn relation(types: impl IntoIterator<Item = (PgTypeKind, i32)>) -> Relation {
    let ident = |name: String| Ident::new(name).unwrap();
    let columns = types
        .into_iter()
        .enumerate()
        .map(|(i, (kind, typmod))| Column {
            name: ident(format!("c{i}")),
            ty: PgType {
                oid: 0,
                name: "type".into(),
                kind,
            },
            typmod,
            nullable: true,
            has_default: false,
            generated: false,
            identity_always: false,
        });
    let name = QualifiedName {
        schema: ident("public".into()),
        name: ident("t".into()),
    };
    Relation {
        oid: 0,
        columns: columns.collect(),
        name,
    }
}

/// Returns the table that takes the values without a cast.
pub fn table(columns: &[Values]) -> Relation {
    relation(columns.iter().map(|column| match column {
        Values::Int(_) => (PgTypeKind::Int4, -1),
        Values::Long(_) => (PgTypeKind::Int8, -1),
        Values::Double(_) => (PgTypeKind::Float8, -1),
        Values::Micros(_) => (PgTypeKind::Timestamp, -1),
        Values::Decimal(_) => (PgTypeKind::Numeric, (10 << 16 | 2) + 4),
        Values::Text(_) => (PgTypeKind::Text, -1),
    }))
}

/// Encodes a whole batch and calls `sink` with each chunk.
pub fn encode(
    plan: &EncodePlan,
    batch: &arrow_array::RecordBatch,
    chunks: &mut Chunks,
    mut sink: impl FnMut(bytes::Bytes),
) {
    let mut encoder = BatchEncoder::new(plan, batch, 0).unwrap();
    while let Some(chunk) = encoder.next_chunk(chunks).unwrap() {
        sink(chunk);
    }
}
