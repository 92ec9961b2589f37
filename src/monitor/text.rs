//! Formats numbers, sizes and times for people, and escapes text for HTML.

use std::fmt::{self, Display, Write};
use std::time::SystemTime;

/// Escapes text for HTML.
pub(super) struct Escaped<'a>(pub(super) &'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                _ => f.write_char(character)?,
            }
        }
        Ok(())
    }
}

/// Formats a time: `2013-01-31T22:05:09Z`.
pub(super) fn instant(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}

/// Cuts a time of the ledger to the second: `2013-01-31 22:05:09Z`.
pub(super) fn time_of_database(text: &str) -> String {
    let (time, rest) = text.split_once('.').unwrap_or((text, ""));
    let zone = rest.trim_start_matches(|c: char| c.is_ascii_digit());
    format!("{time}{zone}")
}

/// Formats a count: `1,234,567`.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Formats a rate without a fraction.
pub(super) fn rate(number: f64) -> String {
    count(whole(number))
}

/// Formats a size: `1.5 MiB`.
pub(super) fn size(bytes: f64) -> String {
    let mut value = bytes;
    let mut units = ["B", "KiB", "MiB", "GiB", "TiB"].into_iter();
    let mut unit = units.next().unwrap_or("B");
    for larger in units {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = larger;
    }
    match unit {
        "B" => format!("{value:.0} B"),
        _ => format!("{value:.1} {unit}"),
    }
}

/// Formats a duration: `850 ms`, `12 s`, `3 min 4 s`, `2 h 5 min`.
pub(super) fn duration(seconds: f64) -> String {
    if seconds < 1.0 {
        return format!("{} ms", whole(seconds * 1000.0));
    }
    let seconds = whole(seconds);
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    match (hours, minutes) {
        (0, 0) => format!("{seconds} s"),
        (0, _) => format!("{minutes} min {} s", seconds % 60),
        _ => format!("{hours} h {} min", minutes % 60),
    }
}

/// Formats a share: `42 %`.
pub(super) fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the number is not negative, and shown to people"
)]
fn whole(number: f64) -> u64 {
    number.round() as u64
}

#[cfg(test)]
mod tests {
    use super::{Escaped, count, duration, size, time_of_database};

    #[test]
    fn figures_are_formatted_for_people() {
        assert_eq!(
            [0, 999, 1000, 1_234_567].map(count).join(" "),
            "0 999 1,000 1,234,567"
        );
        assert_eq!(
            [512.0, 1536.0, 3e9].map(size).join("; "),
            "512 B; 1.5 KiB; 2.8 GiB"
        );
        let durations = [0.85, 12.2, 184.0, 7500.0].map(duration);
        assert_eq!(durations.join("; "), "850 ms; 12 s; 3 min 4 s; 2 h 5 min");
        let time = time_of_database("2013-01-31 22:05:09.123456Z");
        assert_eq!(time, "2013-01-31 22:05:09Z");
        assert_eq!(time_of_database(""), "");
    }

    #[test]
    fn html_in_text_is_escaped() {
        let text = Escaped("<b title=\"a\" id='b'>&</b>").to_string();
        assert_eq!(
            text,
            "&lt;b title=&quot;a&quot; id=&#39;b&#39;&gt;&amp;&lt;/b&gt;"
        );
    }
}
