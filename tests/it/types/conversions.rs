//! Conversions of values at the limits of their types, compared with PostgreSQL's own result.

use std::sync::Arc;

use arrow::array::*;
use arrow::datatypes::IntervalMonthDayNano;
use serde_json::{Value, json};

use super::random_types::put;
use crate::support::{Database, Pgflight, batch};

const DAY: i64 = 86_400;
/// 294250-01-01: later than microseconds from 1970 are counted in 64 bits.
const LATE: i64 = 106_753_078 * DAY;

/// The written values, the column type, the conversion, and the result as PostgreSQL reads it; or, if the write is
/// rejected, a part of the error.
type Case = (
    ArrayRef,
    &'static str,
    Value,
    Result<&'static [&'static str], &'static str>,
);

fn case(
    array: impl Array + 'static,
    sql_type: &'static str,
    asked: Value,
    lands: &'static [&'static str],
) -> Case {
    (Arc::new(array), sql_type, asked, Ok(lands))
}

fn refused(
    array: impl Array + 'static,
    sql_type: &'static str,
    asked: Value,
    part: &'static str,
) -> Case {
    (Arc::new(array), sql_type, asked, Err(part))
}

async fn check(cases: Vec<Case>) {
    let database = Database::new().await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    for (array, sql_type, asked, lands) in cases {
        let case = format!("{} into {sql_type} with {asked}", array.data_type());
        database
            .execute(&format!(
                "DROP TABLE IF EXISTS t; CREATE TABLE t (n int, c {sql_type})"
            ))
            .await;
        let numbers: ArrayRef = Arc::new(
            (0_i32..)
                .take(array.len())
                .map(Some)
                .collect::<Int32Array>(),
        );
        let rows = batch(&[("n", numbers), ("c", array)]);
        let spec = json!({"table": "t", "append": {}, "conversions": {"c": asked}});
        let done = client.put(put(rows, spec).await).await;
        let expected = match lands {
            Ok(texts) => texts,
            Err(part) => {
                let refused = done.expect_err(&case);
                assert!(refused.message().contains(part), "{case}: {refused}");
                continue;
            }
        };
        done.unwrap_or_else(|status| panic!("{case}: {status}"));
        let seen = |value: &str| {
            format!("concat_ws(' ', ({value})::text, encode(record_send(ROW({value})), 'hex'))")
        };
        for (n, text) in expected.iter().enumerate() {
            let landed = database
                .text(&format!("SELECT {} FROM t WHERE n = {n}", seen("c")))
                .await;
            let literal = if *text == "NULL" {
                "NULL".to_owned()
            } else {
                format!("'{text}'")
            };
            let judged = database
                .text(&format!(
                    "SELECT {}",
                    seen(&format!("{literal}::{sql_type}"))
                ))
                .await;
            assert_eq!(landed, judged, "{case}, row {n}");
        }
    }
}

#[tokio::test]
async fn times_out_of_range_are_clamped_in_every_unit() {
    let clamp = || json!({"overflow": "OVERFLOW_CLAMP"});
    let with = |mut asked: Value, name: &str, value: &str| {
        asked[name] = value.into();
        asked
    };
    let floor = |asked| with(asked, "rounding", "ROUNDING_FLOOR");
    let unit = |asked, unit: &str| with(asked, "unit", unit);
    let ends = [i64::MIN, i64::MAX, LATE];
    let millis = ends.map(|seconds| seconds.saturating_mul(1000));
    let ends_are: &[&str] = &["4714-11-24 BC", "294276-12-31 23:59:59", "294250-01-01"];
    let fine_ends_are: &[&str] = &["4714-11-24 BC", "294276-12-31 23:59:59.999", "294250-01-01"];
    let seconds = || TimestampSecondArray::from(ends.to_vec());
    let large = || UInt64Array::from(vec![u64::MAX, 0, 1_000_000_000_000_001_000]);
    check(vec![
        case(seconds(), "timestamp", clamp(), ends_are),
        case(seconds(), "timestamp", floor(clamp()), ends_are),
        case(
            seconds(),
            "timestamp(0)",
            with(clamp(), "rounding", "ROUNDING_NEAREST"),
            ends_are,
        ),
        case(
            TimestampMillisecondArray::from(millis.to_vec()),
            "timestamp",
            floor(clamp()),
            fine_ends_are,
        ),
        case(
            TimestampMillisecondArray::from(millis.to_vec()),
            "timestamp(0)",
            floor(clamp()),
            ends_are,
        ),
        case(
            TimestampMillisecondArray::from(vec![-1500, 1500]),
            "timestamp(0)",
            json!({"rounding": "ROUNDING_NEAREST"}),
            &["1969-12-31 23:59:58", "1970-01-01 00:00:02"],
        ),
        case(
            seconds().with_timezone("UTC"),
            "timestamptz",
            floor(with(clamp(), "overflow", "OVERFLOW_INFINITY")),
            &["-infinity", "infinity", "294250-01-01Z"],
        ),
        // Whole days of the zone, also where they are counted in milliseconds.
        case(
            Date64Array::from(vec![i64::MIN, i64::MAX, 0]),
            "date",
            clamp(),
            &["4714-11-24 BC", "5874897-12-31", "1970-01-01"],
        ),
        case(
            Date64Array::from(vec![i64::MIN, i64::MAX]),
            "timestamp",
            clamp(),
            &["4714-11-24 BC", "294276-12-31"],
        ),
        case(
            Date64Array::from(vec![i64::MIN, i64::MAX]),
            "timestamptz",
            with(clamp(), "zone", "+02:00"),
            &["4714-11-24 00:00Z BC", "294276-12-31 22:00Z"],
        ),
        // Integers that count more than a timestamp of their unit does.
        case(
            large(),
            "timestamp",
            unit(clamp(), "UNIT_SECONDS"),
            &["294276-12-31 23:59:59", "1970-01-01"],
        ),
        case(
            large(),
            "timestamptz",
            unit(json!({"overflow": "OVERFLOW_INFINITY"}), "UNIT_SECONDS"),
            &["infinity", "1970-01-01Z"],
        ),
        case(
            large(),
            "timestamp",
            unit(json!({"overflow": "OVERFLOW_NULL"}), "UNIT_SECONDS"),
            &["NULL"],
        ),
        refused(
            large(),
            "timestamp",
            unit(json!({}), "UNIT_SECONDS"),
            "out of range",
        ),
        case(
            large(),
            "timestamp",
            floor(unit(json!({}), "UNIT_NANOSECONDS")),
            &[
                "2554-07-21 23:34:33.709551",
                "1970-01-01",
                "2001-09-09 01:46:40.000001",
            ],
        ),
        case(
            large(),
            "timestamptz(3)",
            with(
                unit(clamp(), "UNIT_NANOSECONDS"),
                "rounding",
                "ROUNDING_NEAREST",
            ),
            &[
                "2554-07-21 23:34:33.710Z",
                "1970-01-01Z",
                "2001-09-09 01:46:40Z",
            ],
        ),
        case(
            large().slice(1, 2),
            "interval",
            unit(json!({}), "UNIT_NANOSECONDS"),
            &["0", "277777:46:40.000001"],
        ),
        refused(
            large(),
            "timestamp",
            unit(json!({}), "UNIT_NANOSECONDS"),
            "finer fraction",
        ),
        case(
            Int64Array::from(vec![i64::MIN, i64::MAX, 1]),
            "date",
            unit(clamp(), "UNIT_DAYS"),
            &["4714-11-24 BC", "5874897-12-31", "1970-01-02"],
        ),
        case(
            Int64Array::from(vec![i64::MIN, i64::MAX, 1]),
            "date",
            unit(json!({"overflow": "OVERFLOW_INFINITY"}), "UNIT_DAYS"),
            &["-infinity", "infinity", "1970-01-02"],
        ),
    ])
    .await;
}

#[tokio::test]
async fn zones_shift_times_at_the_end_of_nanoseconds() {
    let last = i64::MAX / 1000 * 1000;
    let local = || TimestampNanosecondArray::from(vec![last, -last]);
    let zone = |zone: &str| json!({"zone": zone});
    let floor = |zone: &str| json!({"zone": zone, "rounding": "ROUNDING_FLOOR"});
    check(vec![
        case(
            local(),
            "timestamptz",
            zone("-02:00"),
            &[
                "2262-04-11 23:47:16.854775-02:00",
                "1677-09-21 00:12:43.145225-02:00",
            ],
        ),
        case(
            local().with_timezone("UTC"),
            "timestamp",
            zone("+02:00"),
            &["2262-04-12 01:47:16.854775", "1677-09-21 02:12:43.145225"],
        ),
        case(
            TimestampNanosecondArray::from(vec![i64::MAX, i64::MIN]),
            "timestamptz(3)",
            floor("+02:00"),
            &[
                "2262-04-11 23:47:16.854+02:00",
                "1677-09-21 00:12:43.145+02:00",
            ],
        ),
        case(
            TimestampNanosecondArray::from(vec![i64::MAX, i64::MIN]).with_timezone("UTC"),
            "date",
            json!({"zone": "+02:00", "form": "FORM_PART"}),
            &["2262-04-12", "1677-09-21"],
        ),
        refused(
            TimestampNanosecondArray::from(vec![1]),
            "timestamptz",
            zone("UTC"),
            "finer fraction",
        ),
    ])
    .await;
}

#[tokio::test]
async fn numeric_columns_keep_fractions_of_counted_times() {
    let seconds = || json!({"unit": "UNIT_SECONDS"});
    let nearest = || json!({"unit": "UNIT_SECONDS", "rounding": "ROUNDING_NEAREST"});
    let millis = || DurationMillisecondArray::from(vec![Some(1_250), None, Some(-1)]);
    check(vec![
        case(millis(), "numeric", seconds(), &["1.250", "NULL", "-0.001"]),
        case(
            millis(),
            "numeric(10,3)",
            seconds(),
            &["1.250", "NULL", "-0.001"],
        ),
        case(
            millis(),
            "numeric(10,1)",
            nearest(),
            &["1.3", "NULL", "0.0"],
        ),
        case(millis(), "numeric", nearest(), &["1", "NULL", "0"]),
        refused(
            millis(),
            "numeric(10,1)",
            seconds(),
            "ask for it (conversion rounding), or widen the column",
        ),
        refused(millis(), "bigint", seconds(), "or make the column numeric"),
        case(
            TimestampMicrosecondArray::from(vec![i64::MAX, -1]).with_timezone("UTC"),
            "numeric",
            seconds(),
            &["9223372036854.775807", "-0.000001"],
        ),
        case(
            DurationSecondArray::from(vec![i64::MAX, 2]),
            "numeric",
            json!({"unit": "UNIT_NANOSECONDS"}),
            &["9223372036854775807000000000", "2000000000"],
        ),
        case(
            DurationSecondArray::from(vec![i64::MAX, 2]),
            "bigint",
            json!({"unit": "UNIT_NANOSECONDS", "overflow": "OVERFLOW_CLAMP"}),
            &["9223372036854775807", "2000000000"],
        ),
    ])
    .await;
}

#[tokio::test]
async fn intervals_are_rounded_unless_columns_limit_fields() {
    let intervals = || {
        IntervalMonthDayNanoArray::from(vec![
            Some(IntervalMonthDayNano::new(14, 3, 1_500_499_999)),
            Some(IntervalMonthDayNano::new(0, -1, -1_500_500_001)),
        ])
    };
    let nearest = || json!({"rounding": "ROUNDING_NEAREST"});
    check(vec![
        case(
            intervals(),
            "interval",
            json!({"rounding": "ROUNDING_FLOOR"}),
            &["14 mons 3 days 1.500499 secs", "-1 days -1.500501 secs"],
        ),
        case(
            intervals(),
            "interval(3)",
            nearest(),
            &["14 mons 3 days 1.500 secs", "-1 days -1.501 secs"],
        ),
        case(
            intervals(),
            "interval day to second(3)",
            nearest(),
            &["14 mons 3 days 1.500 secs", "-1 days -1.501 secs"],
        ),
        case(
            IntervalYearMonthArray::from(vec![14]),
            "interval second",
            nearest(),
            &["14 mons"],
        ),
        refused(
            intervals(),
            "interval",
            json!({}),
            "ask for it (conversion rounding)",
        ),
        refused(
            intervals(),
            "interval day to minute",
            nearest(),
            "keeps certain fields only",
        ),
    ])
    .await;
}

#[tokio::test]
async fn meaningless_conversions_name_the_callers_types() {
    let floor = || json!({"rounding": "ROUNDING_FLOOR"});
    check(vec![
        refused(
            Int64Array::from(vec![1]),
            "real",
            floor(),
            "ask for rounding: nearest",
        ),
        refused(
            Time64MicrosecondArray::from(vec![1]),
            "text",
            json!({"form": "FORM_TEXT", "zone": "UTC"}),
            "a zone was asked for and has no meaning for Time64(µs) into text",
        ),
    ])
    .await;
}
