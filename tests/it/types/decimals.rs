//! Every small decimal at every scale, and the largest, compared with what PostgreSQL itself parses from the same
//! digits.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowNativeTypeOp, Int32Array, PrimitiveArray, RecordBatch};
use arrow::datatypes::i256;
use arrow::datatypes::*;
use serde_json::json;

use crate::support::{Client, Database, Pgflight, Put, batch, write};

/// A column: its type, its values, and how many digits are after their point.
struct Column {
    sql_type: String,
    array: ArrayRef,
    digits: Vec<Option<String>>,
    scale: i8,
}

/// Decimals of a width. Those beyond the declared precision are NULL.
fn column<T>(sql_type: &str, precision: u8, scale: i8, values: &[T::Native]) -> Column
where
    T: DecimalType + ArrowPrimitiveType,
    T::Native: ToString + PartialOrd,
{
    let most = T::MAX_FOR_EACH_PRECISION[usize::from(precision)];
    let least = most.neg_wrapping();
    let held = |value: T::Native| (least <= value && value <= most).then_some(value);
    let values: Vec<Option<T::Native>> = values.iter().map(|value| held(*value)).collect();
    let digits = values
        .iter()
        .map(|value| value.map(|value| value.to_string()));
    let digits = digits.collect();
    let array = PrimitiveArray::<T>::from_iter(values);
    Column {
        sql_type: sql_type.to_owned(),
        array: Arc::new(array.with_precision_and_scale(precision, scale).unwrap()),
        digits,
        scale,
    }
}

/// Writes the columns as one table, and counts its cells.
async fn check(client: &mut Client, database: &Database, columns: Vec<Column>) -> usize {
    let rows = columns[0].array.len();
    let numbers: ArrayRef = Arc::new((0..).take(rows).map(Some).collect::<Int32Array>());
    let names: Vec<String> = (0..columns.len()).map(|i| format!("c{i}")).collect();
    let arrays = names.iter().zip(&columns);
    let arrays = arrays.map(|(name, column)| (name.as_str(), column.array.clone()));
    let all: Vec<(&str, ArrayRef)> = std::iter::once(("n", numbers)).chain(arrays).collect();
    let rows_of: RecordBatch = batch(&all);
    let definitions = names.iter().zip(&columns);
    let definitions: Vec<String> = definitions
        .map(|(name, column)| format!("{name} {}", column.sql_type))
        .collect();
    // PostgreSQL reads the digits with an exponent, and shows as many digits after the point as the exponent says.
    let values = (0..rows).map(|row| {
        let cells = columns.iter().map(|column| match &column.digits[row] {
            Some(digits) => format!("{digits}e{}", -i32::from(column.scale)),
            None => "\\N".to_owned(),
        });
        let cells: Vec<String> = cells.collect();
        format!("{row}\t{}\n", cells.join("\t"))
    });
    let text: String = values.collect();
    let definitions = definitions.join(", ");
    database
        .execute(&format!(
            "DROP TABLE IF EXISTS t, expected; CREATE TABLE t (n int, {definitions});
             CREATE TABLE expected (n int, {definitions})"
        ))
        .await;
    database.copy("COPY expected FROM STDIN", text).await;
    let spec = json!({"table": "t", "append": {}});
    client
        .put(Put::whole(write(spec), &[rows_of]))
        .await
        .unwrap();
    database.execute("ANALYZE t, expected").await;
    // Compares in binary, since text would not show hidden digits.
    let difference =
        "SELECT t.n || ': ' || t::text || ' is not ' || e::text FROM t JOIN expected e USING (n)
                      WHERE record_send(t) <> record_send(e) OR t::text <> e::text LIMIT 3";
    assert_eq!(database.text(difference).await, "");
    let both = "SELECT count(*) FROM t JOIN expected USING (n)";
    assert_eq!(database.text(both).await, rows.to_string());
    rows * columns.len()
}

#[tokio::test]
async fn decimals_land_as_postgresql_reads_their_digits() {
    let database = Database::new().await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let small: Vec<i32> = (-9999..=9999).collect();
    let mut cells = 0;
    // Each precision and scale in a column that is as narrow.
    let narrow = (1..=4).flat_map(|precision: u8| {
        let scales = 0..=i8::try_from(precision).unwrap();
        scales.map(move |scale| (precision, scale))
    });
    let narrow = narrow.map(|(precision, scale)| {
        let sql_type = format!("numeric({precision},{scale})");
        column::<Decimal32Type>(&sql_type, precision, scale, &small)
    });
    cells += check(&mut client, &database, narrow.collect()).await;
    // Scales that put the digits into every place of PostgreSQL's groups of four, in every width.
    let wide: Vec<i128> = small.iter().map(|value| i128::from(*value)).collect();
    let wider: Vec<i256> = wide.iter().map(|value| i256::from_i128(*value)).collect();
    let middle: Vec<i64> = small.iter().map(|value| i64::from(*value)).collect();
    let scales = || -5..=9_i8;
    let columns = scales().map(|scale| column::<Decimal32Type>("numeric", 9, scale, &small));
    cells += check(&mut client, &database, columns.collect()).await;
    let columns = scales().map(|scale| column::<Decimal64Type>("numeric", 18, scale, &middle));
    cells += check(&mut client, &database, columns.collect()).await;
    let columns = (-9..=17).map(|scale| column::<Decimal128Type>("numeric", 38, scale, &wide));
    cells += check(&mut client, &database, columns.collect()).await;
    let columns = scales().map(|scale| column::<Decimal256Type>("numeric", 76, scale, &wider));
    cells += check(&mut client, &database, columns.collect()).await;

    // The ends of the range of 128 and 256 bits, and values with digits in some places only.
    let ends = |precision: u32| {
        let power = |exponent| i256::from_i128(10).checked_pow(exponent).unwrap();
        let powers = (0..precision).map(power);
        let values = powers.flat_map(|power| {
            let less = power - i256::ONE;
            let more = power + i256::ONE;
            [power, less, more]
                .into_iter()
                .chain(power.checked_mul(i256::from_i128(9999)))
        });
        let most = power(precision) - i256::ONE;
        let positive: Vec<i256> = values
            .chain([most])
            .filter(|value| *value <= most)
            .collect();
        let negative = positive.iter().map(|value| value.wrapping_neg());
        positive
            .iter()
            .copied()
            .chain(negative)
            .collect::<Vec<i256>>()
    };
    let wide: Vec<i128> = ends(38)
        .iter()
        .filter_map(|value| value.to_i128())
        .collect();
    let scales = [-38, -5, 0, 1, 2, 3, 4, 19, 37, 38];
    let columns = scales.map(|scale| column::<Decimal128Type>("numeric", 38, scale, &wide));
    cells += check(&mut client, &database, columns.into()).await;
    let scales = [-76, -7, 0, 1, 2, 3, 5, 38, 75, 76];
    let columns = scales.map(|scale| column::<Decimal256Type>("numeric", 76, scale, &ends(76)));
    cells += check(&mut client, &database, columns.into()).await;
    println!("{cells} decimals");
}
