//! Dictionaries that are unknown, malformed or endless: the server rejects them and writes no rows.

use std::sync::Arc;

use arrow::array::{DictionaryArray, Int32Array, StringArray};
use arrow::datatypes::Int32Type;
use arrow_flight::FlightData;
use arrow_flight::encode::{DictionaryHandling, FlightDataEncoderBuilder};
use futures_util::{StreamExt, stream};

use super::raw::{check, little, raw};
use crate::support::{batch, path};

#[tokio::test]
async fn unknown_malformed_and_endless_dictionaries_are_rejected() {
    let keys = Int32Array::from(vec![0, 1]);
    let values = Arc::new(StringArray::from(vec!["a", "b"]));
    let rows = batch(&[(
        "s",
        Arc::new(DictionaryArray::<Int32Type>::try_new(keys, values).unwrap()),
    )]);
    let messages = FlightDataEncoderBuilder::new()
        .with_dictionary_handling(DictionaryHandling::Resend)
        .with_flight_descriptor(Some(path(&["t"])))
        .build(stream::iter([Ok(rows)]));
    let good: Vec<FlightData> = messages.map(Result::unwrap).collect().await;
    let [schema, dictionary, rows] = <[FlightData; 3]>::try_from(good).unwrap();
    let values = |offsets: &[i32], text: &[u8]| {
        let body = [&little(offsets)[..], text].concat();
        let offsets = i64::try_from(4 * offsets.len()).unwrap();
        raw(
            offsets / 4 - 1,
            &[
                (0, 0),
                (0, offsets),
                (offsets, i64::try_from(text.len()).unwrap()),
            ],
            &body,
        )
    };
    let keys_beyond = raw(1, &[(0, 0), (0, 4)], &little(&[7]));
    let deltas = |count: usize| {
        let delta = values(&[0, 1], b"x").dictionary(0, true);
        let first = values(&[0, 1], b"x").dictionary(0, false);
        [vec![schema.clone(), first], vec![delta; count]].concat()
    };
    let large = values(&[0, 40 << 20], &vec![b'x'; 40 << 20]);
    let growing = std::iter::once(large.clone().dictionary(0, false))
        .chain((0..7).map(|_| large.clone().dictionary(0, true)));
    let cases = vec![
        (
            "unknown id",
            vec![schema.clone(), values(&[0, 1], b"x").dictionary(99, false)],
            "id 99",
        ),
        (
            "delta of nothing",
            vec![schema.clone(), values(&[0, 1], b"x").dictionary(0, true)],
            "cannot decode",
        ),
        (
            "missing dictionary",
            vec![schema.clone(), rows.clone()],
            "an index is not in its dictionary",
        ),
        (
            "key beyond the values",
            vec![schema.clone(), dictionary.clone(), keys_beyond.batch()],
            "an index is not in its dictionary",
        ),
        (
            "keys of odd length",
            vec![
                schema.clone(),
                dictionary.clone(),
                raw(1, &[(0, 0), (0, 5)], &[0; 8]).batch(),
            ],
            "needs 4",
        ),
        (
            "values past the body",
            vec![
                schema.clone(),
                raw(1, &[(0, 0), (0, 8), (8, 9)], &[0; 8]).dictionary(0, false),
            ],
            "of a body",
        ),
        (
            "dictionary in place of the schema",
            vec![FlightData {
                flight_descriptor: Some(path(&["t"])),
                ..dictionary
            }],
            "does not begin with",
        ),
        (
            "batch in place of the schema",
            vec![FlightData {
                flight_descriptor: Some(path(&["t"])),
                ..rows
            }],
            "does not begin with",
        ),
        ("endless deltas", deltas(1001), "1001 deltas"),
        (
            "growing deltas",
            std::iter::once(schema.clone()).chain(growing).collect(),
            "dictionaries of the stream hold",
        ),
    ];
    check(cases).await;
}
