//! What may be changed in values that do not fit as they are: only what was asked for, by column.

mod forms;
mod metadata;
mod overflow;
mod step;
mod steps;
mod times;
mod zone;

use serde::{Deserialize, Serialize};

pub use step::Step;

/// What a user allows for the values of a column. Nothing is the default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Conversion {
    /// What becomes of digits that the column does not keep.
    pub rounding: Option<Rounding>,
    /// The zone that local times are in: `UTC` or an offset from it, `+02:00`.
    pub zone: Option<String>,
    /// What stands in place of NUL characters in text; nothing when empty.
    pub nul: Option<String>,
    /// What becomes of values beyond what the column holds.
    pub overflow: Option<Overflow>,
    /// Whether the least and the greatest value of a date's or timestamp's Arrow type are infinities.
    pub infinity_sentinels: bool,
    /// Whether text that is too long for the column is cut.
    pub truncate: bool,
    /// As what values are taken, where their type alone does not say it.
    pub form: Option<Form>,
    /// What integers count that become times, or times that become integers.
    pub unit: Option<Unit>,
    /// The spatial reference system that well-known binary is given where it names none.
    pub srid: Option<u32>,
}

/// How digits that a column does not keep are lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rounding {
    /// To the next value below: one nanosecond before 1970 becomes one microsecond before 1970.
    Floor,
    /// To the nearest value; from the middle away from zero, as PostgreSQL rounds numeric.
    Nearest,
}

/// What becomes of values beyond what the column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Overflow {
    /// The least or the greatest value that it holds.
    Clamp,
    /// NULL, also for NaN and infinities where only numbers go.
    Null,
    /// Infinity: of a date, a timestamp or a single.
    Infinity,
}

/// As what values are taken, where their type alone does not say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Form {
    /// Values that are no text, as text: numbers in decimal, times in ISO 8601, nested values in JSON.
    Text,
    /// Booleans as 1 and 0, and 1 and 0 as booleans.
    Number,
    /// Of a timestamp what the column holds: its date, or its time of day.
    Part,
    /// Binary and text as the same UTF-8.
    Utf8,
    /// As [`Utf8`](Self::Utf8), with U+FFFD in place of what is no UTF-8.
    Utf8Lossy,
    /// Binary and text of its hexadecimal digits.
    Hex,
    /// Binary and text of its base64 (RFC 4648, padded).
    Base64,
    /// Binary of 4 or 16 bytes as an address of a network, of 6 or 8 as a MAC address.
    Address,
}

/// What an integer counts: since 1970-01-01 where it becomes, or was, a date or timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unit {
    /// Days, of a date.
    Days,
    /// Seconds.
    Seconds,
    /// Milliseconds.
    Milliseconds,
    /// Microseconds.
    Microseconds,
    /// Nanoseconds.
    Nanoseconds,
}

impl Conversion {
    /// Whether nothing may be changed.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}
