//! The old calendar: Spark before 3.0, and Spark and Hive with an option, write the days before 15 October 1582 as the
//! Julian calendar counts them. The file's metadata says so, and each day is moved to the one with the same name in the
//! calendar that PostgreSQL, Arrow and Parquet use throughout.

use std::sync::Arc;

use arrow::array::cast::AsArray;
use arrow::array::{Array, ArrayRef, PrimitiveArray, RecordBatch, make_array};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Schema, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType,
};
use parquet::file::metadata::FileMetaData;

use super::leaves::map_leaves;
use super::meaning::value_of;
use super::value_fault;
use crate::error::{Error, Result};

/// Days from 1970-01-01 back to the first day of the new calendar, 1582-10-15.
const SWITCH: i64 = -141_427;
/// 1900-01-01. Before it, zones had offsets of minutes and seconds, which Java's old and new calendars take differently.
const ZONES_SETTLED: i64 = -25_567;
const DAY_SECONDS: i64 = 86_400;

/// How a file counts its days.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Days {
    New,
    Old,
}

/// How a file counts the days of its dates and of its times.
#[derive(Debug, Clone)]
pub(super) struct Calendar {
    dates: Days,
    times: Days,
    /// Whether the writer's zone is UTC, which has had no other offset.
    is_utc: bool,
}

impl Calendar {
    /// Reads the calendar from the metadata that Spark and Hive write.
    pub(super) fn of(file: &FileMetaData) -> Self {
        let has = |key: &str| value_of(file, key).is_some();
        let version = value_of(file, "org.apache.spark.version");
        let is_spark = version.is_some() || has("org.apache.spark.sql.parquet.row.metadata");
        // Versions before 2.4.6 do not write their number.
        let major = |text: &str| {
            text.split('.')
                .next()
                .and_then(|number| number.parse::<u32>().ok())
        };
        let is_before = |least: (u32, u32)| {
            let number = version.and_then(|text| {
                let minor = text
                    .split('.')
                    .nth(1)
                    .and_then(|number| number.parse::<u32>().ok());
                Some((major(text)?, minor.unwrap_or(0)))
            });
            is_spark && number.is_none_or(|number| number < least)
        };
        let is_hive = value_of(file, "writer.date.proleptic") == Some("false");
        let dates = has("org.apache.spark.legacyDateTime") || is_before((3, 0)) || is_hive;
        // Spark 3.0 wrote INT96 in the old calendar without a word.
        let times = dates || has("org.apache.spark.legacyINT96") || is_before((3, 1));
        let days = |is_old| if is_old { Days::Old } else { Days::New };
        let zone = value_of(file, "org.apache.spark.timeZone");
        Self {
            dates: days(dates),
            times: days(times),
            is_utc: matches!(zone, Some("UTC" | "Etc/UTC" | "GMT" | "Z" | "+00:00")),
        }
    }

    /// Returns a batch in the new calendar.
    ///
    /// # Errors
    /// [`ErrorKind::DataRejected`](crate::error::ErrorKind::DataRejected) for times before 1900 of a writer whose zone is
    /// unknown or not UTC.
    pub(super) fn rebase(&self, batch: RecordBatch) -> Result<RecordBatch> {
        if (self.dates, self.times) == (Days::New, Days::New) {
            return Ok(batch);
        }
        let schema: Arc<Schema> = batch.schema();
        let columns = schema.fields().iter().zip(batch.columns());
        let columns = columns.map(|(field, column)| {
            let data = map_leaves::<Fault>(&column.to_data(), &mut |leaf| self.rebase_leaf(leaf));
            data.map(make_array).map_err(|fault| match fault {
                Fault::Ancient(row) => {
                    let row = column.data_type().is_temporal().then_some(row);
                    value_fault(field.name(), row, "a time before 1900 is counted by the old calendar, in a zone that is unknown or not UTC")
                        .with_hint("write the file again with Spark 3 or newer: spark.sql.parquet.datetimeRebaseModeInWrite=CORRECTED, spark.sql.parquet.int96RebaseModeInWrite=CORRECTED")
                }
                Fault::Arrow(error) => Error::internal("cannot rebuild a column").with_source(error),
            })
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        RecordBatch::try_new(schema, columns)
            .map_err(|error| Error::internal("cannot rebuild a batch").with_source(error))
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "other types count no days")]
    fn rebase_leaf(&self, leaf: ArrayRef) -> Result<ArrayRef, Fault> {
        match leaf.data_type() {
            DataType::Date32 if self.dates == Days::Old => {
                let dates = leaf.as_primitive::<Date32Type>();
                let changed = dates.unary(|day| i32::try_from(new_day(day.into())).unwrap_or(day));
                Ok(Arc::new(PrimitiveArray::<Date32Type>::clone(&changed)))
            }
            DataType::Timestamp(TimeUnit::Microsecond, _) if self.times == Days::Old => {
                self.times::<TimestampMicrosecondType>(&leaf, 1_000_000)
            }
            DataType::Timestamp(TimeUnit::Millisecond, _) if self.times == Days::Old => {
                self.times::<TimestampMillisecondType>(&leaf, 1000)
            }
            _ => Ok(leaf),
        }
    }

    fn times<T>(&self, leaf: &ArrayRef, per_second: i64) -> Result<ArrayRef, Fault>
    where
        T: ArrowPrimitiveType<Native = i64>,
    {
        let (times, per_day) = (leaf.as_primitive::<T>(), per_second * DAY_SECONDS);
        if !self.is_utc {
            let mut values = times.iter();
            let ancient =
                |time: Option<i64>| time.is_some_and(|time| time < ZONES_SETTLED * per_day);
            return match values.position(ancient) {
                Some(row) => Err(Fault::Ancient(row)),
                None => Ok(Arc::clone(leaf)),
            };
        }
        let changed: PrimitiveArray<T> = times.unary(|time| {
            let day = time.div_euclid(per_day);
            new_day(day)
                .wrapping_mul(per_day)
                .wrapping_add(time.rem_euclid(per_day))
        });
        Ok(Arc::new(changed.with_data_type(leaf.data_type().clone())))
    }
}

/// Why a leaf cannot be rebased.
enum Fault {
    /// A time before 1900, and its place.
    Ancient(usize),
    Arrow(arrow::error::ArrowError),
}

impl From<arrow::error::ArrowError> for Fault {
    fn from(error: arrow::error::ArrowError) -> Self {
        Self::Arrow(error)
    }
}

/// Returns the day that has the name, in the new calendar, which the given one has in the old.
fn new_day(day: i64) -> i64 {
    if day >= SWITCH {
        return day;
    }
    // The Julian calendar has a cycle of 1461 days from 1 March of year 0, which is 719,470 days before 1970.
    let since = day + 719_470;
    let (cycle, within) = (since.div_euclid(1461), since.rem_euclid(1461));
    let year_of_cycle = (within - within / 1460) / 365;
    let day_of_year = within - year_of_cycle * 365;
    let year = cycle * 4 + year_of_cycle;
    // The new calendar, from the same 1 March (Howard Hinnant, chrono-Compatible Low-Level Date Algorithms). A 29 February
    // that it does not have becomes 1 March, as in Spark.
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_days_keep_their_names() {
        // What Spark 3.5's RebaseDateTime.rebaseJulianToGregorianDays returns.
        let cases = [
            (SWITCH, SWITCH),
            // 1582-10-04, the last day of the old calendar.
            (SWITCH - 1, SWITCH - 11),
            // 0001-01-01.
            (-719_164, -719_162),
            // 1000-01-01.
            (-354_280, -354_285),
            // 1200-02-29, which both have.
            (-281_171, -281_178),
            // 1000-02-29, which the new calendar does not have: 1 March.
            (-354_221, -354_226),
            (0, 0),
        ];
        for (old, new) in cases {
            assert_eq!(new_day(old), new, "{old}");
        }
    }
}
