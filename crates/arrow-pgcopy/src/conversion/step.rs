//! The changes to all values of a column, one after another, before they are encoded.

use std::fmt;

use arrow_buffer::i256;
use arrow_schema::{DataType, TimeUnit};

use super::{Form, Overflow, Rounding, Zone};

/// A change to all values of a column, made before they are encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Replaces dictionaries and runs by their values, of this type.
    Values(DataType),
    /// Replaces the flat lists of a tensor by nested lists of this type.
    Shape(DataType),
    /// Reads integers as dates, timestamps or durations of this type.
    Times(DataType),
    /// Counts timestamps and durations in a unit, with their fractions.
    Measure {
        /// The unit.
        unit: TimeUnit,
        /// Digits after the point.
        scale: i8,
    },
    /// Counts timestamps and durations in a unit, in whole numbers.
    Count {
        /// The unit.
        unit: TimeUnit,
        /// The rounding of fractions; `None` rejects them.
        rounding: Option<Rounding>,
    },
    /// Makes times, timestamps, durations and intervals whole multiples of a number of microseconds. They keep
    /// their unit, but nanoseconds, and unsigned integers that count them, become microseconds.
    Micros {
        /// The scale, or the multiple in microseconds.
        step: i64,
        /// The rounding of other values; `None` rejects them.
        rounding: Option<Rounding>,
    },
    /// Turns dates into their midnights, as local timestamps.
    Midnight,
    /// Turns timestamps with a zone into local ones, or the reverse.
    Zone {
        /// The zone of the local times.
        zone: Zone,
        /// Whether the result has a zone.
        zoned: bool,
    },
    /// Adds the offset from UTC to text of timestamps that has none.
    Stamp {
        /// The zone of such timestamps.
        zone: Zone,
    },
    /// Turns times of day into text with an offset from UTC.
    Offset {
        /// The offset of local time from UTC, in seconds.
        east: i64,
    },
    /// Turns local timestamps into their dates, or their times of day.
    Part {
        /// Whether the result is a date.
        date: bool,
    },
    /// Rounds decimals, or floats in their shortest decimal form, to decimals of a scale.
    Scale {
        /// The scale, or the multiple in microseconds.
        scale: i8,
        /// The rounding of values with more digits.
        rounding: Rounding,
    },
    /// Rounds floats to a number of digits after the point.
    Fraction {
        /// Digits after the point; below zero, zeros before it.
        scale: i32,
        /// The rounding of values with more digits.
        rounding: Rounding,
    },
    /// Rounds numbers to single precision.
    Single {
        /// The replacement for numbers that are too large.
        overflow: Option<Overflow>,
    },
    /// Rounds numbers to double precision.
    Double,
    /// Turns booleans into 1 and 0.
    Number,
    /// Turns 1 and 0 into booleans.
    Boolean,
    /// Turns booleans into the text of a bit.
    Bit,
    /// Turns values into text.
    Text {
        /// Whether sixteen bytes are a UUID.
        uuid: bool,
    },
    /// Turns binary into text.
    Decode(Form),
    /// Turns bytes into the text of an address.
    Address {
        /// Whether it is a MAC address, and not one of a network.
        hardware: bool,
    },
    /// Turns text into binary.
    Encode(Form),
    /// Clamps numbers and times to a range, in the unit of the data.
    Clamp {
        /// The least value of the range.
        least: i256,
        /// The greatest value of the range.
        most: i256,
        /// Whether values outside become the extremes of the Arrow type instead, which stand for infinity.
        infinity: bool,
    },
    /// Replaces NUL characters in text.
    Nul {
        /// The replacement; an empty one removes them.
        replacement: String,
    },
    /// Cuts text to the column's length.
    Truncate {
        /// The most characters.
        chars: Option<u32>,
        /// The most bytes.
        bytes: Option<u32>,
    },
    /// Adds a spatial reference system to well-known binary that names none.
    Srid(u32),
    /// Replaces values outside the column's range by NULL.
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
            Self::Zone { zoned: true, .. } | Self::Stamp { .. } | Self::Offset { .. } => {
                f.write_str("in the zone of the conversion")
            }
            Self::Zone { zoned: false, .. } => {
                f.write_str("as local time in the zone of the conversion")
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
