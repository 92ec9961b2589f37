//! Every small decimal, compared to a reference that works on text.

use std::sync::Arc;

use arrow_array::types::{Decimal32Type, DecimalType};
use arrow_array::{ArrayRef, Decimal32Array, Decimal128Array, PrimitiveArray};

use super::{batch, column, encode, relation};
use crate::plan::EncodePlan;
use crate::table::PgTypeKind;

/// The result of `numeric_send` for a decimal, by moving characters around.
fn reference(value: i32, scale: i8) -> Vec<u8> {
    let shown = usize::try_from(scale.max(0)).unwrap();
    let zeros = usize::from(scale.min(0).unsigned_abs());
    let digits = format!("{}{}", value.unsigned_abs(), "0".repeat(zeros));
    let digits = format!("{digits:0>width$}", width = shown + 1);
    let (whole, fraction) = digits.split_at(digits.len() - shown);
    let whole = format!("{whole:0>width$}", width = whole.len().next_multiple_of(4));
    let fraction = format!(
        "{fraction:0<width$}",
        width = fraction.len().next_multiple_of(4)
    );
    let text = format!("{whole}{fraction}");
    let mut groups: Vec<u16> = text
        .as_bytes()
        .chunks(4)
        .map(|four| std::str::from_utf8(four).unwrap().parse().unwrap())
        .collect();
    let mut weight = i16::try_from(whole.len() / 4).unwrap() - 1;
    while groups.last() == Some(&0) {
        groups.pop();
    }
    while groups.first() == Some(&0) {
        groups.remove(0);
        weight -= 1;
    }
    if groups.is_empty() {
        weight = 0;
    }
    let sign: u16 = if value < 0 { 0x4000 } else { 0 };
    let mut bytes = Vec::new();
    bytes.extend(u16::try_from(groups.len()).unwrap().to_be_bytes());
    bytes.extend(weight.to_be_bytes());
    bytes.extend(sign.to_be_bytes());
    bytes.extend(u16::try_from(shown).unwrap().to_be_bytes());
    bytes.extend(groups.iter().flat_map(|group| group.to_be_bytes()));
    bytes
}

fn check(array: ArrayRef, values: &[i32], scale: i8) {
    let batch = batch(vec![array]);
    let relation = relation(vec![column("c0", PgTypeKind::Numeric, -1)]);
    let plan = EncodePlan::new(&batch.schema(), &relation).unwrap();
    let bytes = encode(&plan, &batch, 1 << 20).unwrap();
    let mut rest = bytes.as_slice();
    for value in values {
        let expected = reference(*value, scale);
        let length = u32::try_from(expected.len()).unwrap().to_be_bytes();
        let tuple = [&[0, 1], &length[..], &expected].concat();
        assert_eq!(&rest[..tuple.len()], tuple, "{value} at scale {scale}");
        rest = &rest[tuple.len()..];
    }
    assert!(rest.is_empty());
}

#[test]
fn every_decimal_of_up_to_four_digits_at_every_scale() {
    let values = (-9999..=9999).collect::<Vec<_>>();
    for scale in -5..=9 {
        // Arrow requires a scale within the precision, which does not change the bytes.
        let array = PrimitiveArray::<Decimal32Type>::from(values.clone());
        let array = array.with_precision_and_scale(9, scale).unwrap();
        check(Arc::new(array), &values, scale);
    }
    for scale in -7..=20 {
        let array = Decimal128Array::from_iter_values(values.iter().map(|v| i128::from(*v)));
        let array = array.with_precision_and_scale(38, scale).unwrap();
        check(Arc::new(array), &values, scale);
    }
}

#[test]
fn a_decimal_of_more_digits_than_declared_is_rejected() {
    for precision in 1..=4 {
        let most = Decimal32Type::MAX_FOR_EACH_PRECISION[usize::from(precision)];
        assert_eq!(most, 10_i32.pow(precision.into()) - 1);
        let accepts = |value: i32| {
            let array = Decimal32Array::from(vec![None, Some(value)])
                .with_data_type(arrow_schema::DataType::Decimal32(precision, 0));
            let batch = batch(vec![Arc::new(array)]);
            let relation = relation(vec![column("c0", PgTypeKind::Numeric, -1)]);
            let plan = EncodePlan::new(&batch.schema(), &relation).unwrap();
            encode(&plan, &batch, 100).is_ok()
        };
        assert!(accepts(most) && accepts(-most));
        assert!(!accepts(most + 1) && !accepts(-most - 1));
    }
}
