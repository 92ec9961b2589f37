//! Zones: UTC, or a fixed offset from it.

use crate::refusal::Refusal;

/// Returns the offset of `UTC`, `Z`, `+02:00` or `-0530` in microseconds.
pub(crate) fn offset(zone: &str) -> Result<i64, Refusal> {
    let refused = || {
        Refusal::new(format!(
            "zone {zone:?} is neither UTC nor an offset such as +02:00"
        ))
        .with_hint(
            "convert the column before writing where the zone's offset changes with the seasons",
        )
    };
    if matches!(zone, "UTC" | "Z") {
        return Ok(0);
    }
    let (sign, digits) = match zone.split_at_checked(1) {
        Some(("+", digits)) => (1, digits.replace(':', "")),
        Some(("-", digits)) => (-1, digits.replace(':', "")),
        _ => return Err(refused()),
    };
    if digits.len() != 4 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(refused());
    }
    let number: i64 = digits.parse().map_err(|_| refused())?;
    let (hours, minutes) = (number / 100, number % 100);
    if hours > 15 || minutes > 59 {
        return Err(refused());
    }
    Ok(sign * (hours * 60 + minutes) * 60_000_000)
}

#[cfg(test)]
mod tests {
    use super::offset;

    #[test]
    fn zones_are_utc_or_an_offset() {
        let minutes = |zone| offset(zone).ok().map(|micros| micros / 60_000_000);
        assert_eq!(minutes("UTC"), Some(0));
        assert_eq!(minutes("+02:00"), Some(120));
        assert_eq!(minutes("-0530"), Some(-330));
        for zone in [
            "",
            "+",
            "+2",
            "Europe/Berlin",
            "+16:00",
            "+01:60",
            "é",
            "2:00",
        ] {
            assert_eq!(minutes(zone), None, "{zone}");
        }
    }
}
