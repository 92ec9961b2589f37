//! What may be changed in values that do not fit as they are: only what was asked for, by column.

use std::fmt;
use std::sync::Arc;

use arrow_schema::{DECIMAL256_MAX_PRECISION, DataType, Field, TimeUnit};
use serde::{Deserialize, Serialize};

use super::mapping::{Refusal, values_type};
use super::relation::{Modifier, PgType, PgTypeKind};

/// Metadata of a field that asks for a conversion; an option of the write goes first.
const ROUNDING_KEY: &str = "pgflight.rounding";
const ZONE_KEY: &str = "pgflight.zone";
const NUL_KEY: &str = "pgflight.nul";

/// What a user allows for the values of a column. Nothing is the default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conversion {
    /// What becomes of digits that the column does not keep.
    pub rounding: Option<Rounding>,
    /// The zone that local times are in: `UTC` or an offset from it, `+02:00`.
    pub zone: Option<String>,
    /// Whether NUL characters are left out of text.
    pub remove_nul: bool,
}

/// How digits that a column does not keep are lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rounding {
    /// To the next value below: one nanosecond before 1970 becomes one microsecond before 1970.
    Floor,
    /// To the nearest value; from the middle away from zero, as PostgreSQL rounds numeric.
    Nearest,
}

/// A change of all values of a column, made before they are encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Dictionaries and runs are replaced by their values.
    Values(DataType),
    /// Times, timestamps and durations of any unit to whole multiples of so many microseconds.
    Micros {
        /// How many.
        step: i64,
        /// How others become such.
        rounding: Rounding,
    },
    /// Timestamps with a zone to local ones, or the reverse.
    Zone {
        /// Microseconds that the local time is ahead of UTC.
        east: i64,
        /// Whether they have a zone afterwards.
        zoned: bool,
    },
    /// Decimals to so many digits after the point.
    Scale {
        /// How many.
        scale: i8,
        /// How those that have more become such.
        rounding: Rounding,
    },
    /// Doubles to the nearest singles.
    Single,
    /// Text without NUL characters.
    RemoveNul,
}

impl Conversion {
    /// What the metadata of a field asks for.
    ///
    /// # Errors
    /// A value that means nothing.
    pub(super) fn of(field: &Field) -> Result<Self, Refusal> {
        let metadata = field.metadata();
        let rounding = metadata.get(ROUNDING_KEY).map(|text| match text.as_str() {
            "floor" => Ok(Rounding::Floor),
            "nearest" => Ok(Rounding::Nearest),
            _ => Err(format!(
                "{ROUNDING_KEY} in its metadata is neither floor nor nearest"
            )),
        });
        let remove_nul = match metadata.get(NUL_KEY).map(String::as_str) {
            None | Some("reject") => false,
            Some("remove") => true,
            Some(_) => {
                return Err(format!(
                    "{NUL_KEY} in its metadata is neither reject nor remove"
                ));
            }
        };
        Ok(Self {
            rounding: rounding.transpose()?,
            zone: metadata.get(ZONE_KEY).cloned(),
            remove_nul,
        })
    }

    /// Whether nothing may be changed.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// The steps to a column of this type, and the field as it is after them.
    ///
    /// # Errors
    /// What was asked for and means nothing for this pair of types.
    pub(super) fn steps(
        &self,
        field: &Field,
        ty: &PgType,
        typmod: i32,
    ) -> Result<(Vec<Step>, Field), Refusal> {
        let mut converted = Converted {
            steps: Vec::new(),
            data_type: values_type(field.data_type()).clone(),
        };
        if self.is_none() {
            return Ok((converted.steps, field.clone()));
        }
        if converted.data_type != *field.data_type() {
            converted
                .steps
                .push(Step::Values(converted.data_type.clone()));
        }
        let (ty, typmod) = ty.resolve(typmod);
        if let Some(zone) = &self.zone {
            converted.zone(offset(zone)?, ty)?;
        }
        if let Some(rounding) = self.rounding {
            converted.round(rounding, ty, Modifier::of(ty, typmod))?;
        }
        if self.remove_nul {
            converted.remove_nul()?;
        }
        let Converted { steps, data_type } = converted;
        Ok((steps, field.clone().with_data_type(data_type)))
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = |rounding: &Rounding| match rounding {
            Rounding::Floor => "down",
            Rounding::Nearest => "to the nearest",
        };
        match self {
            Self::Values(_) => f.write_str("by value"),
            Self::Micros { step, rounding } => {
                write!(f, "rounded {} of {step} microseconds", how(rounding))
            }
            Self::Zone { zoned: true, .. } => f.write_str("with the zone that was said"),
            Self::Zone { zoned: false, .. } => {
                f.write_str("as local time of the zone that was said")
            }
            Self::Scale { scale, rounding } => {
                write!(
                    f,
                    "rounded {} of {scale} digits after the point",
                    how(rounding)
                )
            }
            Self::Single => f.write_str("rounded to single precision"),
            Self::RemoveNul => f.write_str("without NUL characters"),
        }
    }
}

/// A type on its way.
struct Converted {
    steps: Vec<Step>,
    data_type: DataType,
}

impl Converted {
    fn zone(&mut self, east: i64, ty: &PgType) -> Result<(), Refusal> {
        let DataType::Timestamp(unit, zone) = &self.data_type else {
            return Err(meaningless("a zone", &self.data_type, ty));
        };
        let zoned = ty.kind == PgTypeKind::Timestamptz;
        if zoned == zone.is_some() || !zoned && ty.kind != PgTypeKind::Timestamp {
            return Err(meaningless("a zone", &self.data_type, ty));
        }
        self.data_type = DataType::Timestamp(*unit, zoned.then(|| Arc::from("UTC")));
        self.steps.push(Step::Zone { east, zoned });
        Ok(())
    }

    fn round(
        &mut self,
        rounding: Rounding,
        ty: &PgType,
        modifier: Modifier,
    ) -> Result<(), Refusal> {
        use DataType as D;
        use PgTypeKind as K;
        let step = match modifier {
            Modifier::Precision(digits) => 10_i64.pow(6_u32.saturating_sub(digits.into())),
            Modifier::None | Modifier::Length(_) | Modifier::Numeric { .. } | Modifier::Fields => 1,
        };
        let temporal = matches!(
            ty.kind,
            K::Time | K::Timestamp | K::Timestamptz | K::Interval
        );
        let scale = match (&ty.kind, modifier) {
            (K::Numeric, Modifier::Numeric { scale, .. }) => i8::try_from(scale).ok(),
            (K::Int2 | K::Int4 | K::Int8, _) => Some(0),
            (K::Money { fraction_digits }, _) => i8::try_from(*fraction_digits).ok(),
            _ => None,
        };
        let step = if let (D::Timestamp(_, zone), true) = (&self.data_type, temporal) {
            self.data_type = D::Timestamp(TimeUnit::Microsecond, zone.clone());
            Step::Micros { step, rounding }
        } else if let (D::Time32(_) | D::Time64(_), true) = (&self.data_type, temporal) {
            self.data_type = D::Time64(TimeUnit::Microsecond);
            Step::Micros { step, rounding }
        } else if let (D::Duration(_), true) = (&self.data_type, temporal) {
            self.data_type = D::Duration(TimeUnit::Microsecond);
            Step::Micros { step, rounding }
        } else if let (
            D::Decimal32(_, from)
            | D::Decimal64(_, from)
            | D::Decimal128(_, from)
            | D::Decimal256(_, from),
            Some(scale),
        ) = (&self.data_type, scale)
        {
            if *from <= scale {
                // There is nothing to lose.
                return Ok(());
            }
            self.data_type = D::Decimal256(DECIMAL256_MAX_PRECISION, scale);
            Step::Scale { scale, rounding }
        } else if (&self.data_type, &ty.kind, rounding)
            == (&D::Float64, &K::Float4, Rounding::Nearest)
        {
            self.data_type = D::Float32;
            Step::Single
        } else {
            return Err(meaningless("rounding", &self.data_type, ty));
        };
        self.steps.push(step);
        Ok(())
    }

    fn remove_nul(&mut self) -> Result<(), Refusal> {
        if !matches!(
            self.data_type,
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
        ) {
            return Err(format!(
                "NUL characters can be removed from strings alone, and this is {}",
                self.data_type
            ));
        }
        self.data_type = DataType::LargeUtf8;
        self.steps.push(Step::RemoveNul);
        Ok(())
    }
}

fn meaningless(what: &str, data_type: &DataType, ty: &PgType) -> Refusal {
    format!(
        "{what} was asked for and has no meaning for {data_type} into {}; leave that conversion out",
        ty.name
    )
}

/// Microseconds that `UTC`, `Z`, `+02:00` or `-0530` is ahead of UTC.
fn offset(zone: &str) -> Result<i64, Refusal> {
    let refused = || {
        format!(
            "zone {zone:?} is neither UTC nor an offset such as +02:00; for a zone with a name, whose offset changes with the seasons, convert the column before writing"
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
    fn a_zone_is_utc_or_an_offset() {
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
