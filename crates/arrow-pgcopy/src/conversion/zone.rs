//! Zones: UTC, a fixed offset from it, or a name of the IANA time zone database.

use jiff::tz::TimeZone;

use crate::refusal::Refusal;

/// A zone of local times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone(pub(crate) ZoneKind);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ZoneKind {
    /// The offset of local time from UTC, in seconds.
    Fixed(i64),
    /// A zone whose offset changes.
    Named(TimeZone),
}

impl Zone {
    /// Returns the zone of `UTC`, `Z`, `+02:00`, `-0530` or `Europe/Berlin`. The rules of named zones are those of the
    /// IANA time zone database at the time of this build.
    pub(crate) fn parse(zone: &str) -> Result<Self, Refusal> {
        let fixed = match (zone, zone.split_at_checked(1)) {
            ("UTC" | "Z", _) => Some(0),
            (_, Some(("+", digits))) => seconds(digits),
            (_, Some(("-", digits))) => seconds(digits).map(|west| -west),
            _ => None,
        };
        if let Some(east) = fixed {
            return Ok(Self(ZoneKind::Fixed(east)));
        }
        let named = TimeZone::get(zone).map_err(|_| {
            Refusal::new(format!("there is no zone {zone:?}"))
                .with_hint("use UTC, an offset such as +02:00, or a name such as Europe/Berlin")
        });
        Ok(Self(ZoneKind::Named(named?)))
    }

    /// Returns the offset from UTC in seconds, if it never changes.
    pub(crate) fn fixed(&self) -> Option<i64> {
        match &self.0 {
            ZoneKind::Fixed(east) => Some(*east),
            ZoneKind::Named(_) => None,
        }
    }
}

/// Returns the seconds of `02:00` or `0530`.
fn seconds(offset: &str) -> Option<i64> {
    let digits = offset.replace(':', "");
    if digits.len() != 4 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let number: i64 = digits.parse().ok()?;
    let (hours, minutes) = (number / 100, number % 100);
    (hours <= 15 && minutes <= 59).then_some((hours * 60 + minutes) * 60)
}

#[cfg(test)]
mod tests {
    use super::Zone;

    #[test]
    fn zones_are_utc_offsets_and_names() {
        let minutes = |zone| Zone::parse(zone).unwrap().fixed().map(|east| east / 60);
        assert_eq!(minutes("UTC"), Some(0));
        assert_eq!(minutes("+02:00"), Some(120));
        assert_eq!(minutes("-0530"), Some(-330));
        for name in ["Europe/Berlin", "America/Argentina/Ushuaia", "EST5EDT"] {
            assert_eq!(minutes(name), None, "{name}");
        }
        for zone in [
            "",
            "+",
            "+2",
            "Europe",
            "+16:00",
            "+01:60",
            "é",
            "2:00",
            "/etc/passwd",
        ] {
            assert!(Zone::parse(zone).is_err(), "{zone}");
        }
    }
}
