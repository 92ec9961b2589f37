//! The offsets of a zone, time by time.

use std::cell::RefCell;
use std::ops::Range;

use jiff::Timestamp;
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};

use crate::conversion::{Zone, ZoneKind};
use crate::encode::format::SECONDS_PER_DAY;
use crate::encode::problem::Problem;

/// The seconds after which the Gregorian calendar repeats itself, with its weekdays: 400 years.
const CYCLE: i64 = 146_097 * SECONDS_PER_DAY;

/// Times from here on are looked up whole cycles earlier, since years of the library end with 9999.
const LATEST: i64 = 7 * CYCLE + CYCLE / 2;

/// Finds the offsets of a zone, and remembers the one that was found last with the times for which it holds.
pub(super) struct Offsets<'a> {
    zone: &'a Zone,
    /// Whether the times to look up are local ones, or instants.
    local: bool,
    found: RefCell<(Range<i64>, i64)>,
}

impl<'a> Offsets<'a> {
    /// Looks up local times, or instants.
    pub(super) fn new(zone: &'a Zone, local: bool) -> Self {
        Self {
            zone,
            local,
            found: RefCell::new((0..0, 0)),
        }
    }

    /// Returns the offset from UTC in seconds at a time, which is in seconds since 1970.
    ///
    /// A local time that a transition skips has the offset before it, and one that comes twice has the offset after it,
    /// as PostgreSQL takes them (`DetermineTimeZoneOffset` in datetime.c).
    pub(super) fn at(&self, seconds: i64) -> Result<i64, Problem> {
        let zone = match &self.zone.0 {
            ZoneKind::Fixed(east) => return Ok(*east),
            ZoneKind::Named(zone) => zone,
        };
        if let (held, east) = &*self.found.borrow()
            && held.contains(&seconds)
        {
            return Ok(*east);
        }
        let cycles = match seconds > LATEST {
            true => (seconds - LATEST) / CYCLE + 1,
            false => 0,
        };
        let shift = cycles * CYCLE;
        let time = Timestamp::from_second(seconds - shift).map_err(|_| Problem::OutOfRange)?;
        let (east, held) = match self.local {
            true => of_local(zone, time)?,
            false => of_instant(zone, time)?,
        };
        let held = held.start.saturating_add(shift)..held.end.saturating_add(shift);
        self.found.replace((held, east));
        Ok(east)
    }
}

/// Returns the offset at an instant, and the instants around it that have the same offset.
fn of_instant(zone: &TimeZone, instant: Timestamp) -> Result<(i64, Range<i64>), Problem> {
    let next = Timestamp::from_second(instant.as_second() + 1).map_err(|_| Problem::OutOfRange)?;
    // The last transition that is not after the instant.
    let before = zone.preceding(next).next();
    let after = zone.following(instant).next();
    let start = before.map_or(i64::MIN, |transition| transition.timestamp().as_second());
    let end = after.map_or(i64::MAX, |transition| transition.timestamp().as_second());
    Ok((zone.to_offset(instant).seconds().into(), start..end))
}

/// Returns the offset at a local time, and local times around it that have the same offset.
fn of_local(zone: &TimeZone, local: Timestamp) -> Result<(i64, Range<i64>), Problem> {
    let second = local.as_second();
    let civil = Offset::UTC.to_datetime(local);
    let east = match zone.to_ambiguous_timestamp(civil).offset() {
        AmbiguousOffset::Unambiguous { offset } => i64::from(offset.seconds()),
        AmbiguousOffset::Gap { before: offset, .. }
        | AmbiguousOffset::Fold { after: offset, .. } => {
            return Ok((offset.seconds().into(), second..second + 1));
        }
    };
    let instant = Timestamp::from_second(second - east).map_err(|_| Problem::OutOfRange)?;
    let (_, instants) = of_instant(zone, instant)?;
    // Gaps and folds are shorter than a day.
    let start = instants.start.saturating_add(east + SECONDS_PER_DAY);
    let end = instants.end.saturating_add(east - SECONDS_PER_DAY);
    let held = match (start..end).contains(&second) {
        true => start..end,
        false => second..second + 1,
    };
    Ok((east, held))
}
