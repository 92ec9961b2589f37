//! Random tables of random types in random layouts, sent over the wire and compared to the same values written as SQL,
//! as text and as binary.
//!
//! `PGFLIGHT_SEED` repeats a run, `PGFLIGHT_ROUNDS` makes it longer.

use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::{can_cast_types, cast};
use arrow::datatypes::{DataType, Field, Fields, TimeUnit};
use arrow::datatypes::{IntervalMonthDayNano, i256};
use arrow_flight::encode::{DictionaryHandling, FlightDataEncoderBuilder};
use fastrand::Rng;
use futures_util::TryStreamExt;
use serde_json::{Value, json};

use crate::support::{Database, Pgflight, Put, batch, end_record, write};

/// Microseconds as hours and the rest of them: before PostgreSQL 15 other units end sooner.
fn clock(micros: i64) -> String {
    let sign = if micros < 0 { "-" } else { "" };
    let v = micros.unsigned_abs();
    format!(
        "{sign}{:02}:{:02}:{:02}.{:06}",
        v / 3_600_000_000,
        v / 60_000_000 % 60,
        v / 1_000_000 % 60,
        v % 1_000_000
    )
}

/// Tables of a run, unless `PGFLIGHT_ROUNDS` says otherwise, and columns of each.
pub(crate) const ROUNDS: u64 = 15;
pub(crate) const COLUMNS: usize = 6;

/// Depth of nested lists and structs.
const DEPTH: usize = 2;

/// Values as Arrow has them and as SQL expressions, in a column of this type.
struct Generated {
    array: ArrayRef,
    sql_type: String,
    sql: Vec<String>,
}

/// The inputs of a round besides its rows.
struct Round {
    rng: Rng,
    /// CREATE TYPE of the composites.
    types: Vec<String>,
    layouts: usize,
}

impl Round {
    fn column(&mut self, rows: usize, depth: usize) -> Generated {
        let generated = match self.rng.u8(0..if depth == 0 { 20 } else { 24 }) {
            20 | 21 => self.list(rows, depth),
            22 => self.composite(rows, depth),
            23 => self.range(rows),
            kind => self.scalar(kind, rows),
        };
        let array = self.relayout(generated.array);
        Generated { array, ..generated }
    }

    fn scalar(&mut self, kind: u8, rows: usize) -> Generated {
        let rng = &mut self.rng;
        macro_rules! values {
            ($array:ty, $sql_type:expr, $value:expr, $sql:expr) => {{
                let values: Vec<Option<_>> = (0..rows)
                    .map(|_| (rng.u8(..) > 40).then(|| $value))
                    .collect();
                let sql: Vec<Option<String>> =
                    values.iter().map(|value| value.clone().map($sql)).collect();
                let array = values.into_iter().collect::<$array>();
                (Arc::new(array) as ArrayRef, $sql_type.to_owned(), sql)
            }};
        }
        let (array, sql_type, sql): (ArrayRef, String, Vec<Option<String>>) = match kind {
            0 => values!(BooleanArray, "bool", rng.bool(), |v: bool| v.to_string()),
            1 => values!(Int8Array, "int2", rng.i8(..), |v: i8| v.to_string()),
            2 => values!(Int16Array, "int4", rng.i16(..), |v: i16| v.to_string()),
            3 => values!(Int32Array, "int8", rng.i32(..), |v: i32| v.to_string()),
            4 => values!(Int64Array, "numeric", rng.i64(..), |v: i64| v.to_string()),
            5 => values!(UInt32Array, "oid", rng.u32(..), |v: u32| v.to_string()),
            6 => values!(UInt64Array, "numeric(20,0)", rng.u64(..), |v: u64| v
                .to_string()),
            7 => {
                let single = |rng: &mut Rng| loop {
                    let value = f32::from_bits(rng.u32(..));
                    if !value.is_nan() {
                        break value;
                    }
                };
                values!(Float32Array, "float4", single(rng), |v: f32| v.to_string())
            }
            8 => {
                let double = |rng: &mut Rng| loop {
                    let value = f64::from_bits(rng.u64(..));
                    if !value.is_nan() {
                        break value;
                    }
                };
                values!(Float64Array, "float8", double(rng), |v: f64| format!(
                    "{v:e}"
                ))
            }
            9 => {
                let small = |rng: &mut Rng| f64::from(rng.i32(..)) / f64::from(rng.u16(1..));
                values!(Float64Array, "numeric", small(rng), |v: f64| format!(
                    "{v:e}"
                ))
            }
            10 | 11 => {
                let scale = rng.i8(-3..=30);
                let digits = |rng: &mut Rng| {
                    let power = 10_i128.pow(rng.u32(0..=38));
                    rng.i128(1 - power..power)
                };
                let sql = |v: i128| format!("{v}e{}", -i32::from(scale));
                let (array, ty, sql) = values!(Decimal128Array, "numeric", digits(rng), sql);
                let array = array
                    .as_any()
                    .downcast_ref::<Decimal128Array>()
                    .unwrap()
                    .clone();
                let array = array.with_precision_and_scale(38, scale).unwrap();
                (Arc::new(array), ty, sql)
            }
            12 => {
                let digits = |rng: &mut Rng| {
                    let value = rng.i128(..);
                    i256::from_i128(value)
                        .wrapping_mul(i256::from_i128(10_i128.pow(rng.u32(0..=36))))
                };
                let sql = |v: i256| format!("{v}e-40");
                let (array, ty, sql) = values!(Decimal256Array, "numeric", digits(rng), sql);
                let array = array
                    .as_any()
                    .downcast_ref::<Decimal256Array>()
                    .unwrap()
                    .clone();
                let array = array.with_precision_and_scale(76, 40).unwrap();
                (Arc::new(array), ty, sql)
            }
            13 => {
                let text = |rng: &mut Rng| -> String {
                    (0..rng.usize(0..9))
                        .map(|_| ['a', 'é', '日', '\'', '"', '\\', '{', ','][rng.usize(0..8)])
                        .collect()
                };
                values!(StringArray, "text", text(rng), |v: String| v)
            }
            14 => {
                let bytes = |rng: &mut Rng| -> Vec<u8> {
                    (0..rng.usize(0..9)).map(|_| rng.u8(..)).collect()
                };
                let hex = |v: Vec<u8>| {
                    "\\x".to_owned() + &v.iter().map(|b| format!("{b:02x}")).collect::<String>()
                };
                values!(BinaryArray, "bytea", bytes(rng), hex)
            }
            15 => {
                let days = |v: i32| format!("(date '1970-01-01' + {v})");
                let (array, ty, sql) =
                    values!(Date32Array, "date", rng.i32(-719_162..2_932_896), days);
                let sql = sql.into_iter();
                return Generated {
                    array,
                    sql_type: ty,
                    sql: sql
                        .map(|v| v.unwrap_or_else(|| "NULL::date".to_owned()))
                        .collect(),
                };
            }
            16 => {
                let value = rng.i64(..);
                let (array, ty, sql) = values!(
                    DurationMicrosecondArray,
                    "interval",
                    rng.i64(..).wrapping_div(value | 1),
                    clock
                );
                (array, ty, sql)
            }
            17 => {
                let interval = |rng: &mut Rng| {
                    IntervalMonthDayNano::new(rng.i32(..), rng.i32(..), rng.i64(..) / 1000 * 1000)
                };
                let sql = |v: IntervalMonthDayNano| {
                    let time = clock(v.nanoseconds / 1000);
                    format!("{} mons {} days {time}", v.months, v.days)
                };
                values!(IntervalMonthDayNanoArray, "interval", interval(rng), sql)
            }
            18 => {
                let time = |v: i64| {
                    format!(
                        "{:02}:{:02}:{:02}.{:06}",
                        v / 3_600_000_000,
                        v / 60_000_000 % 60,
                        v / 1_000_000 % 60,
                        v % 1_000_000
                    )
                };
                values!(
                    Time64MicrosecondArray,
                    "time",
                    rng.i64(0..86_400_000_000),
                    time
                )
            }
            _ => {
                let zoned = rng.bool();
                // Whole days and the rest, so that PostgreSQL adds without floating point.
                let sql = |v: i64| {
                    let (days, rest) = (v.div_euclid(86_400_000), v.rem_euclid(86_400_000));
                    format!("{days} days {rest} milliseconds")
                };
                let millis = rng.i64(-62_135_596_800_000..253_402_300_799_999);
                let spread = |rng: &mut Rng| millis / 2 + rng.i64(-30_000_000_000..30_000_000_000);
                let (array, _, sql) = values!(TimestampMillisecondArray, "", spread(rng), sql);
                let unit = [TimeUnit::Millisecond, TimeUnit::Microsecond][rng.usize(0..2)];
                let zone = zoned.then(|| Arc::from("+00:00"));
                let array = cast(&array, &DataType::Timestamp(unit, zone)).unwrap();
                let ty = if zoned { "timestamptz" } else { "timestamp" };
                // In UTC, where no day has another length than 24 hours.
                let epoch = "timestamp '1970-01-01' + interval";
                let zone = if zoned { " AT TIME ZONE 'UTC'" } else { "" };
                let sql = sql.into_iter().map(|value| match value {
                    Some(value) => format!("(({epoch} '{value}'){zone})"),
                    None => format!("NULL::{ty}"),
                });
                return Generated {
                    array,
                    sql_type: ty.to_owned(),
                    sql: sql.collect(),
                };
            }
        };
        let literal = |value: Option<String>| match value {
            Some(value) => format!(
                "E'{}'::{sql_type}",
                value.replace('\\', "\\\\").replace('\'', "''")
            ),
            None => format!("NULL::{sql_type}"),
        };
        let sql = sql.into_iter().map(literal).collect();
        Generated {
            array,
            sql_type,
            sql,
        }
    }

    fn valid(&mut self, rows: usize) -> Vec<bool> {
        (0..rows).map(|_| self.rng.u8(..) > 40).collect()
    }

    fn list(&mut self, rows: usize, depth: usize) -> Generated {
        let valid = self.valid(rows);
        let lengths: Vec<usize> = (0..rows).map(|_| self.rng.usize(0..4)).collect();
        let mut items = self.column(lengths.iter().sum(), depth - 1);
        while items.sql_type.ends_with("[]") {
            items = self.column(lengths.iter().sum(), depth - 1);
        }
        let sql_type = format!("{}[]", items.sql_type);
        let mut rest = items.sql.into_iter();
        let sql = lengths.iter().zip(&valid).map(|(length, valid)| {
            // A NULL list has items in the values array as well.
            let items: Vec<String> = rest.by_ref().take(*length).collect();
            match valid {
                true => format!("ARRAY[{}]::{sql_type}", items.join(", ")),
                false => format!("NULL::{sql_type}"),
            }
        });
        let sql = sql.collect();
        let field = Arc::new(Field::new("item", items.array.data_type().clone(), true));
        let offsets = OffsetBuffer::from_lengths(lengths);
        let array = ListArray::new(field, offsets, items.array, Some(NullBuffer::from(valid)));
        Generated {
            array: Arc::new(array),
            sql_type,
            sql,
        }
    }

    fn composite(&mut self, rows: usize, depth: usize) -> Generated {
        let valid = self.valid(rows);
        let fields: Vec<Generated> = (0..self.rng.usize(1..4))
            .map(|_| self.column(rows, depth - 1))
            .collect();
        let sql_type = format!("composite_{}", self.types.len());
        let attributes: Vec<String> = fields
            .iter()
            .enumerate()
            .map(|(i, field)| format!("f{i} {}", field.sql_type))
            .collect();
        self.types.push(format!(
            "CREATE TYPE {sql_type} AS ({})",
            attributes.join(", ")
        ));
        let sql = (0..rows).map(|row| match valid[row] {
            true => {
                let values: Vec<&str> =
                    fields.iter().map(|field| field.sql[row].as_str()).collect();
                format!("ROW({})::{sql_type}", values.join(", "))
            }
            false => format!("NULL::{sql_type}"),
        });
        let sql = sql.collect();
        let named = fields
            .iter()
            .enumerate()
            .map(|(i, field)| Field::new(format!("f{i}"), field.array.data_type().clone(), true));
        let array = StructArray::new(
            named.collect::<Fields>(),
            fields.iter().map(|field| field.array.clone()).collect(),
            Some(NullBuffer::from(valid)),
        );
        Generated {
            array: Arc::new(array),
            sql_type,
            sql,
        }
    }

    fn range(&mut self, rows: usize) -> Generated {
        let valid = self.valid(rows);
        let lower: Vec<Option<i64>> = (0..rows)
            .map(|_| self.rng.bool().then(|| self.rng.i64(-99..0)))
            .collect();
        let upper: Vec<Option<i64>> = (0..rows)
            .map(|_| self.rng.bool().then(|| self.rng.i64(0..99)))
            .collect();
        let flags: Vec<bool> = (0..rows).map(|_| self.rng.bool()).collect();
        let text = |bound: Option<i64>| bound.map_or("NULL".to_owned(), |bound| bound.to_string());
        let sql = (0..rows).map(|row| match (valid[row], flags[row]) {
            (false, _) => "NULL::int8range".to_owned(),
            (true, flag) => {
                let bounds = if flag { "[]" } else { "()" };
                format!(
                    "int8range({}, {}, '{bounds}')",
                    text(lower[row]),
                    text(upper[row])
                )
            }
        });
        let sql = sql.collect();
        let flag = Field::new("", DataType::Boolean, false);
        let bound = Field::new("", DataType::Int64, true);
        let flags: ArrayRef = Arc::new(BooleanArray::from(flags));
        let array = StructArray::new(
            Fields::from(vec![
                bound.clone().with_name("lower"),
                bound.with_name("upper"),
                flag.clone().with_name("lower_inc"),
                flag.with_name("upper_inc"),
            ]),
            vec![
                Arc::new(Int64Array::from(lower)),
                Arc::new(Int64Array::from(upper)),
                flags.clone(),
                flags,
            ],
            Some(NullBuffer::from(valid)),
        );
        Generated {
            array: Arc::new(array),
            sql_type: "int8range".to_owned(),
            sql,
        }
    }

    /// The same values in another layout, where Arrow has one.
    fn relayout(&mut self, array: ArrayRef) -> ArrayRef {
        let data_type = array.data_type().clone();
        let other = match (self.rng.u8(0..6), &data_type) {
            (0, _) => {
                let from = self.rng.usize(0..=array.len());
                let padding = array.slice(from, array.len() - from);
                let longer = arrow::compute::concat(&[&padding, &array, &padding]).unwrap();
                self.layouts += 1;
                return longer.slice(padding.len(), array.len());
            }
            // The test's sender does not support dictionaries within other arrays.
            (1, _) => DataType::Dictionary(DataType::Int32.into(), data_type.clone().into()),
            (3, DataType::Utf8) => DataType::Utf8View,
            (4, DataType::Utf8) => DataType::LargeUtf8,
            (3, DataType::Binary) => DataType::BinaryView,
            (4, DataType::Binary) => DataType::LargeBinary,
            (4, DataType::List(item)) => DataType::LargeList(item.clone()),
            _ => return array,
        };
        let flat = !data_type.is_nested() || matches!(other, DataType::LargeList(_));
        match can_cast_types(&data_type, &other) && flat {
            true => cast(&array, &other)
                .inspect(|_| self.layouts += 1)
                .unwrap_or(array),
            false => array,
        }
    }
}

/// A write of one batch, dictionaries as they are.
pub(crate) async fn put(rows: RecordBatch, spec: Value) -> Put {
    let count = (rows.num_rows(), usize::from(rows.num_rows() > 0));
    let mut messages: Vec<_> = FlightDataEncoderBuilder::new()
        .with_schema(rows.schema())
        .with_flight_descriptor(Some(write(spec)))
        .with_dictionary_handling(DictionaryHandling::Resend)
        .build(futures_util::stream::iter([Ok(rows)]))
        .try_collect()
        .await
        .unwrap();
    messages.push(end_record(count.0, count.1));
    Put(messages)
}

#[tokio::test]
async fn random_tables_land_as_postgresql_itself_would_make_them() {
    let number = |name: &str| {
        std::env::var(name)
            .ok()
            .map(|text| text.parse::<u64>().unwrap())
    };
    let seed = number("PGFLIGHT_SEED").unwrap_or_else(|| fastrand::u64(..));
    let rounds = number("PGFLIGHT_ROUNDS").unwrap_or(ROUNDS);
    let database = Database::new().await;
    database.execute("SET intervalstyle = 'postgres'").await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let (mut columns, mut cells, mut layouts) = (0, 0, 0);
    for number in 0..rounds {
        let seed = seed.wrapping_add(number);
        let mut round = Round {
            rng: Rng::with_seed(seed),
            types: Vec::new(),
            layouts: 0,
        };
        let rows = [0, 1, 7, 60][round.rng.usize(0..4)];
        let generated: Vec<Generated> = (0..COLUMNS).map(|_| round.column(rows, DEPTH)).collect();
        let names: Vec<String> = (0..generated.len()).map(|i| format!("c{i}")).collect();
        let definitions: Vec<String> = names
            .iter()
            .zip(&generated)
            .map(|(name, column)| format!("{name} {}", column.sql_type))
            .collect();
        let all = format!("(n int8, {})", definitions.join(", "));
        database
            .execute(&format!(
                "DROP SCHEMA public CASCADE; CREATE SCHEMA public; {}; CREATE TABLE t {all}; CREATE TABLE expected {all}",
                round.types.join("; ")
            ))
            .await;
        let values: Vec<String> = (0..rows)
            .map(|row| {
                let cells: Vec<&str> = generated
                    .iter()
                    .map(|column| column.sql[row].as_str())
                    .collect();
                format!("({row}, {})", cells.join(", "))
            })
            .collect();
        if rows > 0 {
            database
                .execute(&format!(
                    "INSERT INTO expected VALUES {}",
                    values.join(", ")
                ))
                .await;
        }
        let ids: ArrayRef = Arc::new(Int64Array::from_iter_values((0..).take(rows)));
        let mut arrays = vec![("n", ids)];
        arrays.extend(
            names
                .iter()
                .zip(&generated)
                .map(|(name, c)| (name.as_str(), c.array.clone())),
        );
        let spec = json!({"table": "t", "append": {}});
        let put = put(batch(&arrays), spec).await;
        let types: Vec<String> = generated
            .iter()
            .map(|column| format!("{} into {}", column.array.data_type(), column.sql_type))
            .collect();
        let case = format!("PGFLIGHT_SEED={seed} PGFLIGHT_ROUNDS=1: {types:#?}");
        client
            .put(put)
            .await
            .unwrap_or_else(|status| panic!("{case}: {status}"));
        let seen = |table| {
            format!(
                "SELECT n || ' ' || r::text || ' ' || encode(record_send(r), 'hex') FROM {table} r"
            )
        };
        let (t, expected) = (seen("t"), seen("expected"));
        let difference = database
            .text(&format!("({t} EXCEPT {expected}) UNION ALL (SELECT 'missing ' || m FROM ({expected} EXCEPT {t}) q(m))"))
            .await;
        assert_eq!(difference, "", "{case}");
        columns += generated.len();
        cells += generated.len() * rows;
        layouts += round.layouts;
    }
    println!(
        "PGFLIGHT_SEED={seed}: {rounds} tables, {columns} columns, {cells} cells, {layouts} in another layout"
    );
}
