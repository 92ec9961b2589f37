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

/// Text of timestamps: forms of their own, with and without an offset, around the changes of the clock, and before Christ.
fn stamps() -> Vec<String> {
    let mut stamps: Vec<String> = [
        "2020-01-01",
        "2020-01-01 10:00",
        " 2020-06-01T10:00:00.123456 ",
        "20200601T101112",
        "June 1, 2020 9:05 PM",
        "2020-03-29 02:30:00",
        "2020-10-25 02:30:00",
        "2020-01-01 10:00:00+03",
        "2020-01-01T10:00:00Z",
        "2020-01-01 10:00:00 -05:30",
        "0044-03-15 12:00:00 BC",
        "1850-01-01 00:00:00 AD",
        "infinity",
        "-Infinity",
        "294276-12-30 00:00:00",
    ]
    .map(str::to_owned)
    .into();
    // Every hour of the days on which clocks change in some of the zones.
    for day in [
        "2020-03-08",
        "2020-03-29",
        "2020-04-05",
        "2020-10-04",
        "2020-10-25",
        "2020-11-01",
        "2011-12-30",
    ] {
        stamps.extend((0..24).map(|hour| format!("{day} {hour:02}:30:00")));
    }
    stamps
}

#[tokio::test]
async fn text_without_an_offset_is_read_in_the_zone_as_postgresql_reads_it() {
    let database = Database::new().await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    for zone in [
        "UTC",
        "+02:00",
        "-05:30",
        "Europe/Berlin",
        "America/New_York",
        "Australia/Lord_Howe",
        "Pacific/Apia",
    ] {
        database
            .execute("DROP TABLE IF EXISTS t; CREATE TABLE t (n int, at timestamptz, stamp text)")
            .await;
        let stamps = stamps();
        let numbers = Int32Array::from_iter_values(0..i32::try_from(stamps.len()).unwrap());
        let texts = StringArray::from_iter_values(&stamps);
        let dictionary: DictionaryArray<arrow::datatypes::Int16Type> =
            stamps.iter().map(String::as_str).collect();
        for at in [Arc::new(texts.clone()) as ArrayRef, Arc::new(dictionary)] {
            let columns: [(&str, ArrayRef); 3] = [
                ("n", Arc::new(numbers.clone())),
                ("at", at),
                ("stamp", Arc::new(texts.clone())),
            ];
            let spec = json!({"table": "t", "append": {}, "conversions": {"at": {"zone": zone}}});
            let done = client.put(put(batch(&columns), spec).await).await;
            done.unwrap_or_else(|status| panic!("{zone}: {status}"));
        }
        // The sign of a POSIX zone in SET is reversed; an interval has the sign that we have.
        let set = match zone.strip_prefix(['+', '-']) {
            Some(_) => format!("SET TIME ZONE INTERVAL '{zone}' HOUR TO MINUTE"),
            None => format!("SET TIME ZONE '{zone}'"),
        };
        database.execute(&set).await;
        let wrong = "SELECT stamp || ' is ' || at FROM t WHERE at IS DISTINCT FROM stamp::timestamptz ORDER BY n LIMIT 1";
        assert_eq!(database.text(wrong).await, "", "{zone}");
        let count = (2 * stamps.len()).to_string();
        assert_eq!(database.text("SELECT count(*) FROM t").await, count);
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
