//! Named zones, and conversions for all columns, compared with PostgreSQL's own result.

use std::sync::Arc;

use arrow::array::*;
use serde_json::json;

use super::random_types::put;
use crate::support::{Database, Pgflight, batch};

const DAY: i64 = 86_400;
/// 2020-01-01, in seconds since 1970.
const YEAR_2020: i64 = 18_262 * DAY;

/// The rows of one write.
const ROWS: usize = 10_000;

/// Seconds since 1970: every quarter of an hour in 2011, when Samoa left out a day, and in 2020; now and then in other
/// years, to the end of PostgreSQL's timestamps; and before the first rules of zones.
fn seconds() -> Vec<i64> {
    let year_2011 = 14_975 * DAY;
    let quarters = |from: i64| (0..366 * 96).map(move |quarter| from + quarter * 900);
    let from_to = |first: i64, last: i64, count: i64| {
        let step = (last - first) / count;
        (0..count).map(move |index| first + index * step)
    };
    quarters(year_2011)
        .chain(quarters(YEAR_2020))
        .chain(from_to(-4_000_000_000, 4_000_000_000, 5_000))
        .chain(from_to(4_000_000_000, 9_000_000_000_000, 5_000))
        .chain(from_to(-200_000_000_000, -4_000_000_000, 100))
        .collect()
}

/// The same times as instants and as local times, in two units.
fn times(seconds: &[i64]) -> RecordBatch {
    let instants = TimestampSecondArray::from(seconds.to_vec()).with_timezone("UTC");
    let micros = seconds.iter().map(|second| second * 1_000_000);
    let naive = TimestampMicrosecondArray::from_iter_values(micros);
    let local = naive.clone().with_timezone("UTC");
    batch(&[
        ("instant", Arc::new(instants) as ArrayRef),
        ("local", Arc::new(local)),
        ("naive", Arc::new(naive.clone())),
        ("zoned", Arc::new(naive)),
    ])
}

#[tokio::test]
async fn times_change_by_the_rules_of_named_zones() {
    let database = Database::new().await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let zones = [
        "Europe/Berlin",
        "America/New_York",
        "America/St_Johns",
        "Asia/Kathmandu",
        "Asia/Tokyo",
        "Australia/Lord_Howe",
        "Pacific/Apia",
    ];
    for zone in zones {
        database
            .execute(
                "DROP TABLE IF EXISTS t;
                 CREATE TABLE t (instant timestamptz, local timestamp, naive timestamp, zoned timestamptz)",
            )
            .await;
        let asked = json!({"zone": zone});
        let conversions = json!({"local": asked, "zoned": asked});
        let spec = json!({"table": "t", "append": {}, "conversions": conversions});
        for seconds in seconds().chunks(ROWS) {
            let done = client.put(put(times(seconds), spec.clone()).await).await;
            done.unwrap_or_else(|status| panic!("{zone}: {status}"));
        }
        let wrong = format!(
            "SELECT count(*) || ' ' || coalesce(min(instant || ' ' || local || ', ' || naive || ' ' || zoned), '')
             FROM t WHERE local IS DISTINCT FROM instant AT TIME ZONE '{zone}'
                OR zoned IS DISTINCT FROM naive AT TIME ZONE '{zone}'"
        );
        assert_eq!(database.text(&wrong).await, "0 ", "{zone}");
    }
}

#[tokio::test]
async fn a_conversion_for_all_columns_changes_those_for_which_it_has_a_meaning() {
    let database = Database::new().await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let check = async |client: &mut crate::support::Client, conversions, expected: &str| {
        database
            .execute(
                "DROP TABLE IF EXISTS t;
                 CREATE TABLE t (n int, at timestamp, own timestamp, naive timestamptz, day date, s text, d numeric(4,1))",
            )
            .await;
        let instant = || TimestampMicrosecondArray::from(vec![YEAR_2020 * 1_000_000]);
        let columns: [(&str, ArrayRef); 7] = [
            ("n", Arc::new(Int32Array::from(vec![1]))),
            ("at", Arc::new(instant().with_timezone("UTC"))),
            ("own", Arc::new(instant().with_timezone("UTC"))),
            ("naive", Arc::new(instant())),
            ("day", Arc::new(Date32Array::from(vec![1]))),
            ("s", Arc::new(StringArray::from(vec!["a\0b"]))),
            (
                "d",
                Arc::new(
                    Decimal128Array::from(vec![125])
                        .with_precision_and_scale(5, 2)
                        .unwrap(),
                ),
            ),
        ];
        let spec = json!({"table": "t", "append": {}, "conversions": conversions});
        let done = client.put(put(batch(&columns), spec).await).await;
        let found = match done {
            Ok(_) => {
                let row = "SELECT (n, at, own, naive AT TIME ZONE 'UTC', day, s, d)::text FROM t";
                database.text(row).await
            }
            Err(status) => status.message().to_owned(),
        };
        assert!(found.contains(expected), "{conversions}: {found}");
    };
    let all =
        json!({"zone": "America/New_York", "nul": "NUL_REMOVE", "rounding": "ROUNDING_NEAREST"});
    check(
        &mut client,
        json!({"*": all, "own": {"zone": "+01:00"}}),
        "(1,\"2019-12-31 19:00:00\",\"2020-01-01 01:00:00\",\"2020-01-01 05:00:00\",1970-01-02,ab,1.3)",
    )
    .await;
    check(
        &mut client,
        json!({"own": {"zone": "+01:00"}}),
        "conversion zone",
    )
    .await;
    check(
        &mut client,
        json!({"*": {"zone": "Nowhere/None"}}),
        "there is no zone",
    )
    .await;
    check(&mut client, json!({"*": {"zone": "UTC"}}), "NUL").await;
}
