//! The steps of times: units of integers, zones, parts, fractions of a second.

use std::sync::Arc;

use arrow_buffer::i256;
use arrow_schema::{DECIMAL128_MAX_PRECISION, DataType, IntervalUnit, TimeUnit};

use super::converted::Converted;
use super::{Rounding, Step, Unit, Zone};
use crate::field::Source;
use crate::refusal::{Refusal, Word};
use crate::table::{Modifier, PgTypeKind};

impl Converted<'_> {
    /// Reads integers as times, or counts times as numbers. Takes the rounding where it is part of the step.
    pub(crate) fn unit(
        &mut self,
        unit: Unit,
        rounding: &mut Option<Rounding>,
        held: bool,
    ) -> Result<(), Refusal> {
        use PgTypeKind as K;
        let time = match unit {
            Unit::Days => None,
            Unit::Seconds => Some(TimeUnit::Second),
            Unit::Milliseconds => Some(TimeUnit::Millisecond),
            Unit::Microseconds => Some(TimeUnit::Microsecond),
            Unit::Nanoseconds => Some(TimeUnit::Nanosecond),
        };
        match (Source::of(&self.data_type), &self.ty.kind, time) {
            (Source::Integer, K::Date, None) => self.times(DataType::Date32, held),
            (Source::Integer, K::Timestamp | K::Timestamptz | K::Interval, Some(mut unit)) => {
                // Half of these integers are out of the range of timestamps in nanoseconds, and all are within that
                // of microseconds.
                if self.data_type == DataType::UInt64 && unit == TimeUnit::Nanosecond {
                    let step = step(self.modifier);
                    let step = if rounding.is_some() { step } else { 1 };
                    let rounding = rounding.take();
                    self.push(Step::Micros { step, rounding }, DataType::Int64)?;
                    unit = TimeUnit::Microsecond;
                }
                let zone = (self.ty.kind == K::Timestamptz).then(|| Arc::from("UTC"));
                if self.ty.kind == K::Interval {
                    self.times(DataType::Duration(unit), false)
                } else {
                    self.times(DataType::Timestamp(unit, zone), held)
                }
            }
            (
                Source::Duration | Source::Timestamp | Source::TimestampWithZone,
                K::Int2 | K::Int4 | K::Int8 | K::Numeric,
                Some(unit),
            ) => self.count(unit, rounding),
            _ => self.meaningless(Word::Unit),
        }
    }

    /// Reads integers as times of this type.
    fn times(&mut self, times: DataType, held: bool) -> Result<(), Refusal> {
        use DataType as D;
        let ends = match (&self.data_type, &times) {
            (D::Int64 | D::UInt32 | D::UInt64, D::Date32) => {
                Some((i32::MIN.into(), i32::MAX.into()))
            }
            (D::UInt64, _) => Some((i64::MIN, i64::MAX)),
            _ => None,
        };
        // The range of the Arrow type; the column's may be smaller.
        if let (true, Some((least, most))) = (held, ends) {
            self.steps.push(Step::Clamp {
                least: i256::from(least),
                most: i256::from(most),
                infinity: false,
            });
        }
        self.push(Step::Times(times.clone()), times)
    }

    /// Counts times as numbers. Numeric keeps their fractions, unless they are rounded and the column has no scale.
    fn count(&mut self, unit: TimeUnit, rounding: &mut Option<Rounding>) -> Result<(), Refusal> {
        let (DataType::Timestamp(from, _) | DataType::Duration(from)) = self.data_type else {
            return self.meaningless(Word::Unit);
        };
        let digits = digits(from) - digits(unit);
        let scaled = matches!(self.modifier, Modifier::Numeric { .. });
        let keeps_fractions = self.ty.kind == PgTypeKind::Numeric && (rounding.is_none() || scaled);
        if digits < 0 || keeps_fractions {
            let scale = digits.max(0);
            let data_type = DataType::Decimal128(DECIMAL128_MAX_PRECISION, scale);
            return self.push(Step::Measure { unit, scale }, data_type);
        }
        let rounding = rounding.take();
        self.push(Step::Count { unit, rounding }, DataType::Int64)
    }

    /// Turns instants into local times of a zone, or the reverse.
    pub(crate) fn zone(&mut self, named: Zone, part: bool) -> Result<(), Refusal> {
        use PgTypeKind as K;
        let zoned = self.ty.kind == K::Timestamptz;
        if zoned && Source::of(&self.data_type) == Source::Text {
            return self.push(Step::Stamp { zone: named }, DataType::LargeUtf8);
        }
        if zoned && matches!(self.data_type, DataType::Date32 | DataType::Date64) {
            let local = DataType::Timestamp(TimeUnit::Second, None);
            self.push(Step::Midnight, local)?;
        }
        let DataType::Timestamp(unit, zone) = self.data_type.clone() else {
            return self.meaningless(Word::Zone);
        };
        let becomes_local = matches!(self.ty.kind, K::Timestamp | K::Date | K::Time);
        if zoned == zone.is_some() || !zoned && !becomes_local {
            return self.meaningless(Word::Zone);
        }
        // Near the ends of the range of nanoseconds, the local time is outside of it. A date needs no more than
        // microseconds.
        let date = part && self.ty.kind == K::Date;
        let unit = if unit == TimeUnit::Nanosecond && (!part || date) {
            self.micros(1, date.then_some(Rounding::Floor))?;
            TimeUnit::Microsecond
        } else {
            unit
        };
        let other = DataType::Timestamp(unit, zoned.then(|| Arc::from("UTC")));
        let zone = named;
        self.push(Step::Zone { zone, zoned }, other)
    }

    /// Turns times of day into text with an offset, which is then parsed.
    pub(crate) fn offset(&mut self, zone: &Zone) -> Result<(), Refusal> {
        if self.ty.kind != PgTypeKind::Timetz {
            return self.meaningless(Word::Zone);
        }
        let east = zone.fixed().ok_or_else(|| {
            Refusal::new("a time of day has no date that would decide the offset of the zone")
                .with_hint("use an offset such as +02:00")
        })?;
        self.push(Step::Offset { east }, DataType::LargeUtf8)
    }

    pub(crate) fn part(&mut self) -> Result<(), Refusal> {
        match (&self.data_type, &self.ty.kind) {
            (DataType::Timestamp(_, None), PgTypeKind::Date) => {
                self.push(Step::Part { date: true }, DataType::Date32)
            }
            (DataType::Timestamp(unit, None), PgTypeKind::Time) => {
                let time = match unit {
                    TimeUnit::Second | TimeUnit::Millisecond => DataType::Time32(*unit),
                    TimeUnit::Microsecond | TimeUnit::Nanosecond => DataType::Time64(*unit),
                };
                self.push(Step::Part { date: false }, time)
            }
            _ => self.meaningless(Word::Form),
        }
    }

    /// Makes times whole multiples of `step` microseconds, where they have finer ones. They keep their unit, since
    /// coarse units have a larger range; nanoseconds become microseconds.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "only times have a unit of time"
    )]
    pub(crate) fn micros(&mut self, step: i64, rounding: Option<Rounding>) -> Result<(), Refusal> {
        use DataType as D;
        use IntervalUnit as I;
        use TimeUnit as U;
        let (digits, data_type) = match &self.data_type {
            D::Timestamp(U::Nanosecond, zone) => (9, D::Timestamp(U::Microsecond, zone.clone())),
            D::Time64(U::Nanosecond) => (9, D::Time64(U::Microsecond)),
            D::Duration(U::Nanosecond) => (9, D::Duration(U::Microsecond)),
            D::Interval(I::YearMonth) => return Ok(()),
            D::Interval(I::DayTime) => (3, self.data_type.clone()),
            D::Interval(I::MonthDayNano) => (9, self.data_type.clone()),
            D::Timestamp(unit, _) | D::Time32(unit) | D::Time64(unit) | D::Duration(unit) => {
                (digits(*unit), self.data_type.clone())
            }
            _ => return self.meaningless(Word::Rounding),
        };
        // The step is a power of ten, so that coarse units are whole multiples already.
        let finest = 10_i64.pow(6_u32.saturating_sub(digits.unsigned_abs().into()));
        if digits <= 6 && step <= finest {
            return Ok(());
        }
        self.push(Step::Micros { step, rounding }, data_type)
    }
}

/// Returns the resolution of the column in microseconds.
pub(crate) fn step(modifier: Modifier) -> i64 {
    match modifier {
        Modifier::Precision(digits) => 10_i64.pow(6_u32.saturating_sub(digits.into())),
        Modifier::None | Modifier::Length(_) | Modifier::Numeric { .. } | Modifier::Fields => 1,
    }
}

/// Returns the fraction digits of a second that a unit has.
fn digits(unit: TimeUnit) -> i8 {
    match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 3,
        TimeUnit::Microsecond => 6,
        TimeUnit::Nanosecond => 9,
    }
}
