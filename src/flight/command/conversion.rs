//! Parses the conversions of a column.

use crate::error::{Error, Result};
use crate::proto::v1;
use crate::write::{Conversion, Form, Overflow, Rounding, Unit};

/// Parses the conversions of a column.
pub(super) fn conversion(requested: v1::Conversion) -> Result<Conversion> {
    let rounding = v1::Rounding::try_from(requested.rounding)
        .map_err(|_| unknown("rounding", requested.rounding))?;
    let nul = v1::Nul::try_from(requested.nul).map_err(|_| unknown("nul", requested.nul))?;
    let overflow = v1::Overflow::try_from(requested.overflow)
        .map_err(|_| unknown("overflow", requested.overflow))?;
    let too_long = v1::TooLong::try_from(requested.too_long)
        .map_err(|_| unknown("too_long", requested.too_long))?;
    let form = v1::Form::try_from(requested.form).map_err(|_| unknown("form", requested.form))?;
    let unit = v1::Unit::try_from(requested.unit).map_err(|_| unknown("unit", requested.unit))?;
    if !requested.nul_replacement.is_empty() && nul != v1::Nul::Replace {
        return Err(
            Error::invalid_command("nul_replacement has no meaning without nul replace")
                .with_hint("set nul to NUL_REPLACE, or leave nul_replacement out"),
        );
    }
    Ok(Conversion {
        rounding: match rounding {
            v1::Rounding::Unspecified | v1::Rounding::Reject => None,
            v1::Rounding::Floor => Some(Rounding::Floor),
            v1::Rounding::Nearest => Some(Rounding::Nearest),
        },
        zone: (!requested.zone.is_empty()).then_some(requested.zone),
        nul: match nul {
            v1::Nul::Unspecified | v1::Nul::Reject => None,
            v1::Nul::Remove => Some(String::new()),
            v1::Nul::Replace if requested.nul_replacement.is_empty() => Some("\u{fffd}".to_owned()),
            v1::Nul::Replace => Some(requested.nul_replacement),
        },
        overflow: match overflow {
            v1::Overflow::Unspecified | v1::Overflow::Reject => None,
            v1::Overflow::Clamp => Some(Overflow::Clamp),
            v1::Overflow::Null => Some(Overflow::Null),
            v1::Overflow::Infinity => Some(Overflow::Infinity),
        },
        infinity_sentinels: requested.infinity_sentinels,
        truncate: too_long == v1::TooLong::Truncate,
        form: match form {
            v1::Form::Unspecified => None,
            v1::Form::Text => Some(Form::Text),
            v1::Form::Number => Some(Form::Number),
            v1::Form::Part => Some(Form::Part),
            v1::Form::Utf8 => Some(Form::Utf8),
            v1::Form::Utf8Lossy => Some(Form::Utf8Lossy),
            v1::Form::Hex => Some(Form::Hex),
            v1::Form::Base64 => Some(Form::Base64),
            v1::Form::Address => Some(Form::Address),
        },
        unit: match unit {
            v1::Unit::Unspecified => None,
            v1::Unit::Days => Some(Unit::Days),
            v1::Unit::Seconds => Some(Unit::Seconds),
            v1::Unit::Milliseconds => Some(Unit::Milliseconds),
            v1::Unit::Microseconds => Some(Unit::Microseconds),
            v1::Unit::Nanoseconds => Some(Unit::Nanoseconds),
        },
        srid: (requested.srid != 0).then_some(requested.srid),
    })
}

/// Returns the error for an enum value that this server does not know.
pub(super) fn unknown(field: &str, value: i32) -> Error {
    Error::invalid_command(format!("{field} has the unknown value {value}"))
}
