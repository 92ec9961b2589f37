//! Numbers with digits that a column does not keep.

use std::sync::Arc;

use arrow_array::*;

use super::{check, converted, numeric, rounding};
use crate::conversion::Rounding;
use crate::table::PgTypeKind as K;

#[test]
fn decimals_and_doubles_are_rounded_as_asked() {
    let (floor, nearest) = (rounding(Rounding::Floor), rounding(Rounding::Nearest));
    let decimals = |values: [i128; 6], scale| {
        let values = values.map(Some).into_iter().chain([None]);
        let array = values.collect::<Decimal128Array>();
        array.with_precision_and_scale(20, scale).unwrap()
    };
    let from = || decimals([1_005, 1_004, -1_005, -1_001, 0, 99_999], 3);
    let typmod = (10 << 16 | 2) + 4;
    check(
        from(),
        &nearest,
        decimals([101, 100, -101, -100, 0, 10_000], 2),
        K::Numeric,
        typmod,
    );
    check(
        from(),
        &floor,
        decimals([100, 100, -101, -101, 0, 9_999], 2),
        K::Numeric,
        typmod,
    );
    check(
        from(),
        &nearest,
        decimals([1, 1, -1, -1, 0, 100], 0),
        K::Int4,
        -1,
    );
    let dollars = K::Money { fraction_digits: 2 };
    check(
        from(),
        &nearest,
        decimals([101, 100, -101, -100, 0, 10_000], 2),
        dollars,
        -1,
    );
    let doubles = Float64Array::from(vec![Some(0.1), None, Some(f64::NAN), Some(f64::INFINITY)]);
    let singles = Float32Array::from(vec![Some(0.1), None, Some(f32::NAN), Some(f32::INFINITY)]);
    check(doubles, &nearest, singles, K::Float4, -1);
    let large: ArrayRef = Arc::new(Float64Array::from(vec![1e39]));
    let error = converted(&large, K::Float4, -1, nearest).unwrap_err();
    assert!(format!("{error:#}").contains("out of range"), "{error:#}");
}

#[test]
fn floats_are_rounded_by_their_shortest_decimal_form() {
    let (floor, nearest) = (rounding(Rounding::Floor), rounding(Rounding::Nearest));
    let doubles = || Float64Array::from(vec![Some(2.5), Some(-2.5), Some(1e15), None, Some(-0.1)]);
    let whole = |values: [i64; 4]| {
        let [a, b, c, d] = values.map(Some);
        Int64Array::from(vec![a, b, c, None, d])
    };
    let large = 1_000_000_000_000_000;
    check(doubles(), &nearest, whole([3, -3, large, 0]), K::Int8, -1);
    check(doubles(), &floor, whole([2, -3, large, -1]), K::Int8, -1);
    // The double 1.005 is less than the decimal, and would be rounded down.
    let prices = Float64Array::from(vec![1.005, -1.005, 0.1, 1e-300]);
    let cents = |cents: Vec<i128>| {
        let cents = Decimal128Array::from(cents);
        cents.with_precision_and_scale(20, 2).unwrap()
    };
    let dollars = K::Money { fraction_digits: 2 };
    check(
        prices.clone(),
        &nearest,
        cents(vec![101, -101, 10, 0]),
        dollars,
        -1,
    );
    let singles = Float32Array::from(vec![1.005, -1.005, f32::NAN]);
    let rounded = Float32Array::from(vec![1.01, -1.01, f32::NAN]);
    check(singles, &nearest, rounded, K::Numeric, numeric(5, 2));
    let floored = Float64Array::from(vec![1.0, -1.01, 0.1, 0.0]);
    check(prices, &floor, floored, K::Numeric, numeric(5, 2));
    let nan: ArrayRef = Arc::new(Float64Array::from(vec![f64::NAN]));
    let error = converted(&nan, K::Int4, -1, nearest).unwrap_err();
    assert!(
        format!("{error:#}").contains("NaN or infinite"),
        "{error:#}"
    );
}

#[test]
fn numbers_are_rounded_to_the_nearest_float() {
    let nearest = rounding(Rounding::Nearest);
    let integers = Int64Array::from(vec![(1 << 53) + 1, i64::MAX, -16_777_217]);
    let doubles = Float64Array::from(vec![
        9_007_199_254_740_992.0,
        9_223_372_036_854_775_808.0,
        -16_777_217.0,
    ]);
    check(integers.clone(), &nearest, doubles, K::Float8, -1);
    let singles = Float32Array::from(vec![9_007_199_254_740_992.0, 9.223_372e18, -16_777_216.0]);
    check(integers, &nearest, singles, K::Float4, -1);
    let decimals = Decimal128Array::from(vec![Some(1), Some(-123_456_789), None]);
    let decimals = decimals.with_precision_and_scale(20, 1).unwrap();
    let doubles = Float64Array::from(vec![Some(0.1), Some(-12_345_678.9), None]);
    check(decimals.clone(), &nearest, doubles, K::Float8, -1);
    let singles = Float32Array::from(vec![Some(0.1), Some(-12_345_679.0), None]);
    check(decimals, &nearest, singles, K::Float4, -1);
}
