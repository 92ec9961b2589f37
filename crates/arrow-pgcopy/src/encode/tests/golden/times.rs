//! Dates, times and intervals, compared to PostgreSQL's bytes.

use std::sync::Arc;

use arrow_array::*;
use arrow_buffer::IntervalMonthDayNano;

use super::{array, check};
use crate::table::PgTypeKind::*;

#[test]
fn dates_and_their_midnights() {
    let days = [0, 10_957, 16_070, -719_162, 2_932_896, -1];
    let days = days.into_iter().map(Some).chain([None]).collect::<Vec<_>>();
    let millis = days
        .iter()
        .map(|d| d.map(|d| i64::from(d) * 86_400_000))
        .collect::<Vec<_>>();
    let days = array::<Date32Array>(days);
    let millis = array::<Date64Array>(millis);
    check(
        "dates",
        vec![(days.clone(), Date), (millis.clone(), Timestamp)],
    );
    check("dates", vec![(millis, Date), (days, Timestamp)]);
    let extreme = vec![-2_440_588, 2_145_031_948 + 10_957];
    check("dates_extreme", vec![(array::<Date32Array>(extreme), Date)]);
}

#[test]
fn times_of_day_in_any_unit() {
    let seconds = vec![Some(0), Some(45_000), Some(86_399), Some(86_400), None];
    let times = |factor: i64| {
        seconds
            .iter()
            .map(move |s| s.map(|s| i64::from(s) * factor))
    };
    let millis = seconds
        .iter()
        .map(|s| s.map(|s| s * 1000))
        .collect::<Vec<_>>();
    let all = [
        array::<Time32SecondArray>(seconds.clone()),
        array::<Time32MillisecondArray>(millis),
        Arc::new(times(1_000_000).collect::<Time64MicrosecondArray>()),
        Arc::new(times(1_000_000_000).collect::<Time64NanosecondArray>()),
        Arc::new(times(1).collect::<DurationSecondArray>()),
        Arc::new(times(1000).collect::<DurationMillisecondArray>()),
        Arc::new(times(1_000_000).collect::<DurationMicrosecondArray>()),
        Arc::new(times(1_000_000_000).collect::<DurationNanosecondArray>()),
    ];
    for array in all {
        check("times", vec![(array.clone(), Time), (array, Interval)]);
    }
}

#[test]
fn timestamps_with_and_without_a_zone() {
    let micros = vec![
        Some(0),
        Some(-1),
        Some(1_372_681_800_250_000),
        Some(-62_135_596_800_000_000),
        Some(253_402_300_799_999_999),
        None,
    ];
    let local = array::<TimestampMicrosecondArray>(micros.clone());
    let zoned = TimestampMicrosecondArray::from(micros).with_timezone("Europe/Berlin");
    check(
        "timestamps",
        vec![(local, Timestamp), (Arc::new(zoned), Timestamptz)],
    );
    let extreme = vec![crate::format::MIN_TIMESTAMP + 946_684_800_000_000, i64::MAX];
    check(
        "timestamps_extreme",
        vec![(array::<TimestampMicrosecondArray>(extreme), Timestamp)],
    );
}

#[test]
fn intervals_of_months_days_and_nanoseconds() {
    let of = |months, days, nanos| Some(IntervalMonthDayNano::new(months, days, nanos));
    let values = vec![
        of(0, 0, 0),
        of(0, 0, 1_500_000_000),
        of(0, 0, -1_000_000_000),
        of(1, 2, 11_045_000_006_000),
        of(-1, 2, -1_000_000_000),
        None,
    ];
    check(
        "intervals",
        vec![(array::<IntervalMonthDayNanoArray>(values), Interval)],
    );
}
