//! Floats of all magnitudes into numeric, compared with PostgreSQL's own cast of the float's text.

#![expect(
    clippy::cast_precision_loss,
    reason = "any float does that comes of it"
)]

use std::sync::Arc;

use arrow::array::{ArrayRef, Float32Array, Float64Array, Int32Array, ListArray, StructArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field};
use fastrand::Rng;
use serde_json::json;

use crate::support::{Database, Pgflight, Put, batch, write};

/// Random floats of each kind.
const COUNT: usize = 20_000;

/// Rows of known special cases: ties, midpoints, integers, the ends of the range.
const DOUBLES: [f64; 16] = [
    0.0,
    -0.0,
    5e-324,
    1.5e-323,
    2.225_073_858_507_201e-308,
    2.225_073_858_507_201_4e-308,
    f64::MAX,
    -4.661_947_060_781_742e16,
    9_007_199_254_740_991.0,
    9_007_199_254_740_992.0,
    9_007_199_254_740_994.0,
    1e22,
    1e23,
    5e22,
    9.5e-3,
    4_503_599_627_370_496.5,
];
const SINGLES: [f32; 12] = [
    0.0,
    1e-45,
    f32::MIN_POSITIVE,
    f32::MAX,
    343_126.13,
    64_311_768.0,
    16_777_216.0,
    16_777_218.0,
    33_554_436.0,
    1e10,
    0.3,
    8_388_608.5,
];

fn doubles(rng: &mut Rng) -> Vec<f64> {
    let mut values = DOUBLES.to_vec();
    for _ in 0..COUNT {
        values.push(f64::from_bits(rng.u64(..)));
        // Subnormal.
        values.push(f64::from_bits(rng.u64(..) & ((1 << 52) - 1)));
        // Few bits: their decimals are short, and often ties.
        let few = (rng.u64(..1 << 20) as f64) * 2_f64.powi(rng.i32(-90..90));
        values.push(few);
        // Beyond 2^53, and next to halves.
        values.push(rng.u64(..) as f64);
        values.push(rng.u64(..1 << 53) as f64 / 2_f64.powi(rng.i32(0..60)));
        values.push(2_f64.powi(rng.i32(-1074..1024)));
    }
    values.retain(|value| value.is_finite());
    values
}

fn singles(rng: &mut Rng) -> Vec<f32> {
    let mut values = SINGLES.to_vec();
    for _ in 0..COUNT {
        values.push(f32::from_bits(rng.u32(..)));
        values.push(f32::from_bits(rng.u32(..) & ((1 << 23) - 1)));
        values.push((rng.u32(..1 << 12) as f32) * 2_f32.powi(rng.i32(-60..60)));
        values.push(rng.u32(..) as f32);
        values.push(rng.u32(..1 << 24) as f32 / 2_f32.powi(rng.i32(0..30)));
        values.push(2_f32.powi(rng.i32(-149..128)));
    }
    values.retain(|value| value.is_finite());
    values
}

/// Lists of one item, or a struct of these fields, of the same values.
fn wrapped(array: &ArrayRef) -> (ArrayRef, ArrayRef, ArrayRef) {
    let field = |name: &str| Arc::new(Field::new(name, array.data_type().clone(), true));
    let lengths = OffsetBuffer::from_repeated_length(1, array.len());
    let list = ListArray::new(field("item"), lengths, Arc::clone(array), None);
    let composite = StructArray::from(vec![(field("n"), Arc::clone(array))]);
    let flags: ArrayRef = Arc::new(arrow::array::BooleanArray::from(vec![true; array.len()]));
    let flag = |name: &str| Arc::new(Field::new(name, DataType::Boolean, true));
    let range = StructArray::from(vec![
        (field("lower"), Arc::clone(array)),
        (field("upper"), Arc::clone(array)),
        (flag("lower_inc"), Arc::clone(&flags)),
        (flag("upper_inc"), flags),
    ]);
    (Arc::new(list), Arc::new(composite), Arc::new(range))
}

/// Writes the floats to numeric in every supported way, and compares each with `f::text::numeric`.
async fn check(array: ArrayRef, small: ArrayRef, float_type: &str) {
    let database = Database::new().await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    database
        .execute(&format!(
            "CREATE TYPE held AS (n numeric);
             CREATE TABLE t (i int, f {float_type}, n numeric, x text, a numeric[], c held, r numrange,
                             j jsonb, s {float_type}, fixed numeric(38,5), fixeds numeric(38,20))"
        ))
        .await;
    let (list, composite, range) = wrapped(&array);
    let numbers: ArrayRef = Arc::new((0..).take(array.len()).map(Some).collect::<Int32Array>());
    let rows = batch(&[
        ("i", numbers),
        ("f", Arc::clone(&array)),
        ("n", Arc::clone(&array)),
        ("x", Arc::clone(&array)),
        ("a", Arc::clone(&list)),
        ("c", composite),
        ("r", range),
        ("j", list),
        ("s", Arc::clone(&small)),
        ("fixed", Arc::clone(&small)),
        ("fixeds", small),
    ]);
    let nearest = json!({"rounding": "ROUNDING_NEAREST"});
    let conversions = json!({"x": {"form": "FORM_TEXT"}, "fixed": nearest, "fixeds": nearest});
    let spec = json!({"table": "t", "append": {}, "conversions": conversions});
    let batches: Vec<_> = (0..rows.num_rows())
        .step_by(10_000)
        .map(|at| rows.slice(at, 10_000.min(rows.num_rows() - at)))
        .collect();
    client.put(Put::whole(write(spec), &batches)).await.unwrap();
    for (column, value) in [
        ("n", "f::text::numeric"),
        ("x::numeric", "f::text::numeric"),
        ("a", "ARRAY[f::text::numeric]"),
        ("(c).n", "f::text::numeric"),
        ("r", "numrange(f::text::numeric, f::text::numeric, '[]')"),
        ("fixed", "s::text::numeric(38,5)"),
        ("fixeds", "s::text::numeric(38,20)"),
    ] {
        let differ = format!(
            "SELECT concat(f, ' ', s, ' ', {column}) FROM t
             WHERE ({column})::text IS DISTINCT FROM ({value})::text ORDER BY i LIMIT 5"
        );
        // The text of a float in a text column has a point of its own: 100.0.
        let differ = match column {
            "x::numeric" => differ
                .replace("IS DISTINCT FROM", "<>")
                .replace(")::text", ")"),
            _ => differ,
        };
        assert_eq!(database.text(&differ).await, "", "{float_type} in {column}");
    }
    let differ =
        "SELECT concat(f, ' ', j) FROM t WHERE (j->>0)::numeric <> f::text::numeric LIMIT 5";
    assert_eq!(database.text(differ).await, "", "{float_type} in jsonb");
}

#[tokio::test]
async fn doubles_become_the_numeric_of_their_text() {
    let values = doubles(&mut Rng::with_seed(16));
    let small = values
        .iter()
        .map(|value| (value.abs() < 1e17).then_some(*value));
    let small: ArrayRef = Arc::new(small.collect::<Float64Array>());
    check(Arc::new(Float64Array::from(values)), small, "float8").await;
}

#[tokio::test]
async fn singles_become_the_numeric_of_their_text() {
    let values = singles(&mut Rng::with_seed(17));
    let small = values
        .iter()
        .map(|value| (value.abs() < 1e17).then_some(*value));
    let small: ArrayRef = Arc::new(small.collect::<Float32Array>());
    check(Arc::new(Float32Array::from(values)), small, "float4").await;
}
