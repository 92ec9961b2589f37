//! The changes of all values of a column, one after another, before they are encoded.

use std::fmt;

use arrow_buffer::i256;
use arrow_schema::{DataType, TimeUnit};

use super::{Form, Overflow, Rounding};

/// A change of all values of a column, made before they are encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Dictionaries and runs are replaced by their values.
    Values(DataType),
    /// Lists of all elements of a tensor are replaced by lists in lists of this type.
    Shape(DataType),
    /// Integers are what they count: a date, timestamps or durations.
    Times(DataType),
    /// Timestamps and durations are counted, with their fractions.
    Measure {
        /// In what.
        unit: TimeUnit,
        /// Digits after the point.
        scale: i8,
    },
    /// Timestamps and durations are counted, in whole numbers.
    Count {
        /// In what.
        unit: TimeUnit,
        /// How what is between becomes a whole number; nothing rejects it.
        rounding: Option<Rounding>,
    },
    /// Times, timestamps, durations and intervals to whole multiples of so many microseconds. They keep
    /// their unit, but nanoseconds become microseconds; so do unsigned integers that count such.
    Micros {
        /// How many.
        step: i64,
        /// How others become such; nothing rejects them.
        rounding: Option<Rounding>,
    },
    /// Dates to their midnights, as local timestamps.
    Midnight,
    /// Timestamps with a zone to local ones, or the reverse.
    Zone {
        /// Microseconds that the local time is ahead of UTC.
        east: i64,
        /// Whether they have a zone afterwards.
        zoned: bool,
    },
    /// Times of day to text with an offset from UTC.
    Offset {
        /// Microseconds that the local time is ahead of UTC.
        east: i64,
    },
    /// Local timestamps to their dates, or their times of day.
    Part {
        /// Whether to dates.
        date: bool,
    },
    /// Decimals, or floats by their shortest decimal form, to decimals of so many digits after the point.
    Scale {
        /// How many.
        scale: i8,
        /// How those that have more become such.
        rounding: Rounding,
    },
    /// Floats to floats that have no more than so many digits after the point.
    Fraction {
        /// How many; below zero, so many before the point are zero.
        scale: i32,
        /// How those that have more become such.
        rounding: Rounding,
    },
    /// Numbers to the nearest singles.
    Single {
        /// What becomes of those that are larger than any.
        overflow: Option<Overflow>,
    },
    /// Numbers to the nearest doubles.
    Double,
    /// Booleans to 1 and 0.
    Number,
    /// 1 and 0 to booleans.
    Boolean,
    /// Booleans to the text of a bit.
    Bit,
    /// Values to text.
    Text {
        /// Whether sixteen bytes are a UUID.
        uuid: bool,
    },
    /// Binary to text.
    Decode(Form),
    /// Bytes to the text of an address.
    Address {
        /// Whether of hardware, and not of a network.
        hardware: bool,
    },
    /// Text to binary.
    Encode(Form),
    /// Numbers and times outside of this to what ends it. Both count what the data does.
    Clamp {
        /// The least that stays.
        least: i256,
        /// The greatest that stays.
        most: i256,
        /// Whether to the ends of the Arrow type instead, which stand for infinity.
        infinity: bool,
    },
    /// Text with something else, or nothing, in place of NUL characters.
    Nul {
        /// What.
        replacement: String,
    },
    /// Text to as much of it as the column holds.
    Truncate {
        /// Characters.
        chars: Option<u32>,
        /// Bytes.
        bytes: Option<u32>,
    },
    /// Well-known binary to that which names a spatial reference system.
    Srid(u32),
    /// Values that the column does not hold to NULL.
    Null,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = |rounding: &Rounding| match rounding {
            Rounding::Floor => "down",
            Rounding::Nearest => "to the nearest",
        };
        match self {
            Self::Values(_) => f.write_str("by value"),
            Self::Shape(data_type) => write!(f, "as {data_type}"),
            Self::Times(data_type) => write!(f, "as {data_type}"),
            Self::Count { unit, .. } => write!(f, "counted in {}", plural(*unit)),
            Self::Measure { unit, scale } => {
                write!(
                    f,
                    "counted in {}, with {scale} digits after the point",
                    plural(*unit)
                )
            }
            Self::Micros {
                step,
                rounding: Some(rounding),
            } => write!(f, "rounded {} of {step} microseconds", how(rounding)),
            Self::Micros {
                step,
                rounding: None,
            } => write!(f, "in whole multiples of {step} microseconds"),
            Self::Midnight => f.write_str("at midnight"),
            Self::Zone { zoned: true, .. } | Self::Offset { .. } => {
                f.write_str("with the zone that was said")
            }
            Self::Zone { zoned: false, .. } => {
                f.write_str("as local time of the zone that was said")
            }
            Self::Part { date: true } => f.write_str("without the time of day"),
            Self::Part { date: false } => f.write_str("without the date"),
            Self::Scale { scale, rounding } => {
                write!(
                    f,
                    "rounded {} of {scale} digits after the point",
                    how(rounding)
                )
            }
            Self::Fraction { scale, rounding } => {
                write!(
                    f,
                    "rounded {} of {scale} digits after the point",
                    how(rounding)
                )
            }
            Self::Single { .. } => f.write_str("rounded to single precision"),
            Self::Double => f.write_str("rounded to double precision"),
            Self::Number | Self::Bit => f.write_str("true as 1, false as 0"),
            Self::Boolean => f.write_str("1 as true, 0 as false"),
            Self::Text { .. } => f.write_str("written out as text"),
            Self::Decode(form) => write!(f, "as text of its {}", letters(*form)),
            Self::Address { .. } => f.write_str("as text of an address"),
            Self::Encode(form) => write!(f, "as bytes of its {}", letters(*form)),
            Self::Clamp {
                infinity: false, ..
            } => f.write_str("held to what the column holds"),
            Self::Clamp { infinity: true, .. } => {
                f.write_str("infinity beyond what the column holds")
            }
            Self::Nul { replacement } if replacement.is_empty() => {
                f.write_str("without NUL characters")
            }
            Self::Nul { .. } => f.write_str("with something else for NUL characters"),
            Self::Truncate { .. } => f.write_str("cut to what the column holds"),
            Self::Srid(srid) => write!(f, "with SRID {srid}"),
            Self::Null => f.write_str("NULL for what the column does not hold"),
        }
    }
}

fn plural(unit: TimeUnit) -> &'static str {
    match unit {
        TimeUnit::Second => "seconds",
        TimeUnit::Millisecond => "milliseconds",
        TimeUnit::Microsecond => "microseconds",
        TimeUnit::Nanosecond => "nanoseconds",
    }
}

fn letters(form: Form) -> &'static str {
    match form {
        Form::Utf8 | Form::Utf8Lossy => "UTF-8",
        Form::Hex => "hexadecimal digits",
        Form::Base64 => "base64",
        Form::Text | Form::Number | Form::Part | Form::Address => "value",
    }
}
