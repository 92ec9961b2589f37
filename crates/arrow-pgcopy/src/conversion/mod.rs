//! Changes to values that do not fit their column as they are, made only where a caller asks for them.

mod converted;
mod forms;
mod limits;
mod metadata;
mod overflow;
mod step;
mod steps;
mod times;
mod zone;

use serde::{Deserialize, Serialize};

use crate::refusal::Word;

pub use step::Step;
pub use zone::Zone;
pub(crate) use zone::ZoneKind;

/// The changes allowed for the values of one column; none by default.
///
/// A caller gives it to [`EncodePlan::with_conversions`](crate::EncodePlan::with_conversions), or a field carries
/// it in its metadata: `pgflight.rounding`, `.zone`, `.nul`, `.nul_replacement`, `.overflow`,
/// `.infinity_sentinels`, `.too_long`, `.form`, `.unit` and `.srid`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Conversion {
    /// The rounding of digits that the column does not keep; `None` rejects them.
    pub rounding: Option<Rounding>,
    /// The zone of local times: `UTC`, an offset from it, `+02:00`, or a name, `Europe/Berlin`.
    pub zone: Option<String>,
    /// The replacement for NUL characters in text; an empty one removes them.
    pub nul: Option<String>,
    /// The replacement for a value outside the column's range; `None` rejects it.
    pub overflow: Option<Overflow>,
    /// Whether the least and the greatest value of a date's or timestamp's Arrow type stand for infinity.
    pub infinity_sentinels: bool,
    /// Whether text that is too long for the column is cut.
    pub truncate: bool,
    /// The form of values, where their type alone does not decide it.
    pub form: Option<Form>,
    /// The unit of integers that become times, or of times that become numbers.
    pub unit: Option<Unit>,
    /// The spatial reference system for well-known binary that names none.
    pub srid: Option<u32>,
}

/// The rounding of digits that a column does not keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rounding {
    /// Down to the next value: one nanosecond before 1970 becomes one microsecond before 1970.
    Floor,
    /// To the nearest value, and from the middle away from zero, as PostgreSQL rounds numeric.
    Nearest,
}

/// The replacement for a value outside the column's range. Without one, the value is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Overflow {
    /// The least or the greatest value of the range.
    Clamp,
    /// NULL, also for NaN and infinities where the column takes only numbers.
    Null,
    /// Infinity: of a date, a timestamp or a single.
    Infinity,
}

/// The form of values, where their type alone does not decide it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Form {
    /// Other values as text: numbers in decimal, times in ISO 8601, nested values in JSON.
    Text,
    /// Booleans as 1 and 0, and 1 and 0 as booleans.
    Number,
    /// The part of a timestamp that the column stores: its date, or its time of day.
    Part,
    /// Binary and text as the same UTF-8.
    Utf8,
    /// The same as [`Utf8`](Self::Utf8), with U+FFFD in place of invalid bytes.
    Utf8Lossy,
    /// Binary and the text of its hexadecimal digits.
    Hex,
    /// Binary and the text of its base64 form (RFC 4648, padded).
    Base64,
    /// Binary of 4 or 16 bytes as a network address, of 6 or 8 bytes as a MAC address.
    Address,
}

/// The unit that an integer counts, since 1970-01-01 for a date or timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unit {
    /// Days, for dates.
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

/// The name under which a caller allows a conversion for all columns that have none of their own. There it changes the
/// columns for which it has a meaning.
pub const ALL_COLUMNS: &str = "*";

impl Conversion {
    /// Returns whether no change is allowed.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    fn without(mut self, word: Word) -> Self {
        match word {
            Word::Rounding => self.rounding = None,
            Word::Zone => self.zone = None,
            Word::Nul => self.nul = None,
            Word::Overflow => self.overflow = None,
            Word::Infinity => self.infinity_sentinels = false,
            Word::TooLong => self.truncate = false,
            Word::Form => self.form = None,
            Word::Unit => self.unit = None,
            Word::Srid => self.srid = None,
        }
        self
    }
}
