//! Properties of any data, checked with a parser of COPY that does not use the encoder.

use std::sync::Arc;

use arrow_array::builder::{Int32Builder, ListBuilder};
use arrow_array::types::Int16Type;
use arrow_array::*;
use arrow_select::concat::concat_batches;
use proptest::collection::vec;
use proptest::option::weighted;
use proptest::prelude::*;

use super::cases::parse;
use super::{array_of, batch, column, encode, relation};
use crate::plan::EncodePlan;
use crate::table::PgTypeKind as K;

#[derive(Debug, Clone)]
struct Row {
    number: Option<i32>,
    text: Option<String>,
    decimal: Option<i128>,
    micros: i64,
    word: Option<String>,
    list: Option<Vec<Option<i32>>>,
    flag: Option<bool>,
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let most = 10_i128.pow(38) - 1;
    let decimal = prop_oneof![-most..=most, -1_000_000..1_000_000_i128, Just(0)];
    let row = (
        weighted(0.8, any::<i32>()),
        weighted(0.8, "[^\0]{0,12}"),
        weighted(0.8, decimal),
        -62_135_596_800_000_000..253_402_300_799_999_999_i64,
        weighted(0.8, "(red|green|blue)"),
        weighted(0.8, vec(weighted(0.8, any::<i32>()), 0..4)),
        weighted(0.8, any::<bool>()),
    );
    let row = row.prop_map(|(number, text, decimal, micros, word, list, flag)| Row {
        number,
        text,
        decimal,
        micros,
        word,
        list,
        flag,
    });
    vec(row, 0..40)
}

fn record_batch(rows: &[Row]) -> RecordBatch {
    let decimals = rows
        .iter()
        .map(|row| row.decimal)
        .collect::<Decimal128Array>();
    let mut lists = ListBuilder::new(Int32Builder::new());
    for row in rows {
        lists.append_option(row.list.clone());
    }
    let words = rows.iter().map(|row| row.word.as_deref());
    batch(vec![
        Arc::new(rows.iter().map(|row| row.number).collect::<Int32Array>()),
        Arc::new(
            rows.iter()
                .map(|row| row.text.as_deref())
                .collect::<StringArray>(),
        ),
        Arc::new(decimals.with_precision_and_scale(38, 6).unwrap()),
        Arc::new(
            rows.iter()
                .map(|row| Some(row.micros))
                .collect::<TimestampMicrosecondArray>(),
        ),
        Arc::new(words.collect::<DictionaryArray<Int16Type>>()),
        Arc::new(lists.finish()),
        Arc::new(rows.iter().map(|row| row.flag).collect::<BooleanArray>()),
        Arc::new(
            rows.iter()
                .map(|row| row.text.as_deref())
                .collect::<StringViewArray>(),
        ),
    ])
}

fn plan(batch: &RecordBatch) -> EncodePlan {
    let kinds = [
        K::Int8,
        K::Text,
        K::Numeric,
        K::Timestamp,
        K::Varchar,
        array_of(K::Int4),
        K::Bool,
        K::Jsonb,
    ];
    let columns = kinds.into_iter().enumerate();
    let columns = columns
        .map(|(i, kind)| column(&format!("c{i}"), kind, -1))
        .collect();
    EncodePlan::new(&batch.schema(), &relation(columns)).unwrap()
}

proptest! {
    #[test]
    fn fields_have_the_expected_bytes_and_places(rows in rows()) {
        let batch = record_batch(&rows);
        let tuples = parse(&encode(&plan(&batch), &batch, 1 << 16).unwrap());
        prop_assert_eq!(tuples.len(), rows.len());
        for (row, tuple) in rows.iter().zip(tuples) {
            let number = row.number.map(|v| i64::from(v).to_be_bytes().to_vec());
            prop_assert_eq!(&tuple[0], &number);
            prop_assert_eq!(&tuple[1], &row.text.clone().map(String::into_bytes));
            prop_assert_eq!(tuple[2].is_some(), row.decimal.is_some());
            let micros = row.micros - 946_684_800_000_000;
            prop_assert_eq!(&tuple[3], &Some(micros.to_be_bytes().to_vec()));
            prop_assert_eq!(&tuple[4], &row.word.clone().map(String::into_bytes));
            let size = row.list.as_ref().map(|list| match list.len() {
                0 => 12,
                n => 20 + 4 * n + 4 * list.iter().flatten().count(),
            });
            prop_assert_eq!(tuple[5].as_ref().map(Vec::len), size);
            prop_assert_eq!(&tuple[6], &row.flag.map(|flag| vec![u8::from(flag)]));
            let json = row.text.as_ref().map(|text| [b"\x01", text.as_bytes()].concat());
            prop_assert_eq!(&tuple[7], &json);
        }
    }

    #[test]
    fn two_batches_are_as_good_as_one(a in rows(), b in rows(), target in 1..2000_usize) {
        let (a, b) = (record_batch(&a), record_batch(&b));
        let plan = plan(&a);
        let both = concat_batches(&a.schema(), [&a, &b]).unwrap();
        let apart = [encode(&plan, &a, target).unwrap(), encode(&plan, &b, target).unwrap()];
        prop_assert_eq!(encode(&plan, &both, 1 << 20).unwrap(), apart.concat());
    }

    #[test]
    fn slices_encode_as_their_rows(rows in rows(), from in 0..40_usize, len in 0..40_usize) {
        let from = from.min(rows.len());
        let len = len.min(rows.len() - from);
        let batch = record_batch(&rows);
        let plan = plan(&batch);
        let copied = record_batch(&rows[from..from + len]);
        let expected = encode(&plan, &copied, 1 << 20).unwrap();
        prop_assert_eq!(encode(&plan, &batch.slice(from, len), 1 << 20).unwrap(), expected);
    }

    #[test]
    fn chunks_keep_the_target_size_or_hold_one_row(
        rows in rows(),
        target in 1..500_usize,
    ) {
        let batch = record_batch(&rows);
        let plan = plan(&batch);
        let mut encoder = super::BatchEncoder::new(&plan, &batch, 0).unwrap();
        let mut chunks = super::Chunks::new(target);
        let (mut count, mut given) = (0, Vec::new());
        while let Some(chunk) = encoder.next_chunk(&mut chunks).unwrap() {
            let tuples = parse(&chunk);
            prop_assert!(chunk.len() <= target || tuples.len() == 1);
            count += tuples.len();
            given.push((chunk.to_vec(), chunk));
        }
        // No chunk was overwritten while it was held.
        prop_assert!(given.iter().all(|(then, now)| then == now));
        prop_assert_eq!(count, rows.len());
        prop_assert_eq!(encoder.next_chunk(&mut chunks).unwrap(), None);
    }
}
