//! The conversion in a field's metadata, which applies where the caller gives none.

use arrow_schema::Field;

use super::{Conversion, Form, Overflow, Rounding, Unit};
use crate::refusal::Refusal;

const ROUNDING: &str = "pgflight.rounding";
const ZONE: &str = "pgflight.zone";
const NUL: &str = "pgflight.nul";
const NUL_REPLACEMENT: &str = "pgflight.nul_replacement";
const OVERFLOW: &str = "pgflight.overflow";
const INFINITY_SENTINELS: &str = "pgflight.infinity_sentinels";
const TOO_LONG: &str = "pgflight.too_long";
const FORM: &str = "pgflight.form";
const UNIT: &str = "pgflight.unit";
const SRID: &str = "pgflight.srid";

/// All keys of conversions, and the key of a column's type, which is read when a table is created.
const KNOWN: [&str; 11] = [
    "pgflight.type",
    ROUNDING,
    ZONE,
    NUL,
    NUL_REPLACEMENT,
    OVERFLOW,
    INFINITY_SENTINELS,
    TOO_LONG,
    FORM,
    UNIT,
    SRID,
];

/// The replacement for NUL characters, unless the metadata has another.
pub(crate) const REPLACEMENT: &str = "\u{fffd}";

impl Conversion {
    /// Reads the conversion from the metadata of a field.
    ///
    /// # Errors
    /// Refuses unknown keys and values.
    pub(crate) fn of(field: &Field) -> Result<Self, Refusal> {
        let text = |key: &str| field.metadata().get(key).cloned();
        let mut keys = field
            .metadata()
            .keys()
            .filter(|key| key.starts_with("pgflight."));
        if let Some(key) = keys.find(|key| !KNOWN.contains(&key.as_str())) {
            return Err(
                Refusal::new(format!("its metadata has the unknown key {key:?}"))
                    .with_hint(format!("use one of {}", KNOWN.join(", "))),
            );
        }
        let nul = word(
            field,
            NUL,
            &[
                ("reject", None),
                ("remove", Some("")),
                ("replace", Some(REPLACEMENT)),
            ],
        )?;
        let replacement = text(NUL_REPLACEMENT);
        if replacement.is_some() && nul.flatten() != Some(REPLACEMENT) {
            return Err(Refusal::new(format!(
                "{NUL_REPLACEMENT} in its metadata goes with {NUL} replace"
            )));
        }
        let srid = text(SRID).map(|srid| srid.parse());
        Ok(Self {
            rounding: word(
                field,
                ROUNDING,
                &[
                    ("reject", None),
                    ("floor", Some(Rounding::Floor)),
                    ("nearest", Some(Rounding::Nearest)),
                ],
            )?
            .flatten(),
            zone: text(ZONE),
            nul: replacement.or_else(|| nul.flatten().map(str::to_owned)),
            overflow: word(
                field,
                OVERFLOW,
                &[
                    ("reject", None),
                    ("clamp", Some(Overflow::Clamp)),
                    ("null", Some(Overflow::Null)),
                    ("infinity", Some(Overflow::Infinity)),
                ],
            )?
            .flatten(),
            infinity_sentinels: word(
                field,
                INFINITY_SENTINELS,
                &[("false", false), ("true", true)],
            )?
            .unwrap_or_default(),
            truncate: word(field, TOO_LONG, &[("reject", false), ("truncate", true)])?
                .unwrap_or_default(),
            form: word(
                field,
                FORM,
                &[
                    ("text", Form::Text),
                    ("number", Form::Number),
                    ("part", Form::Part),
                    ("utf8", Form::Utf8),
                    ("utf8_lossy", Form::Utf8Lossy),
                    ("hex", Form::Hex),
                    ("base64", Form::Base64),
                    ("address", Form::Address),
                ],
            )?,
            unit: word(
                field,
                UNIT,
                &[
                    ("days", Unit::Days),
                    ("seconds", Unit::Seconds),
                    ("milliseconds", Unit::Milliseconds),
                    ("microseconds", Unit::Microseconds),
                    ("nanoseconds", Unit::Nanoseconds),
                ],
            )?,
            srid: srid
                .transpose()
                .map_err(|_| Refusal::new(format!("{SRID} in its metadata is not a number")))?,
        })
    }
}

/// Returns the meaning of the word under a key, if there is one.
fn word<T: Copy>(field: &Field, key: &str, words: &[(&str, T)]) -> Result<Option<T>, Refusal> {
    let Some(text) = field.metadata().get(key) else {
        return Ok(None);
    };
    match words.iter().find(|(word, _)| word == text) {
        Some((_, meaning)) => Ok(Some(*meaning)),
        None => {
            let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            Err(Refusal::new(format!(
                "{key} in its metadata is not one of {}",
                known.join(", ")
            )))
        }
    }
}
