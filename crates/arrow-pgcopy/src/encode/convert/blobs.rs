//! Conversions of text and bytes: other forms, cuts, cleaning.

use std::io::Write;
use std::net::{Ipv4Addr, Ipv6Addr};

use arrow_array::ArrayRef;
use arrow_array::cast::AsArray;
use arrow_cast::cast;
use arrow_schema::DataType;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use uuid::Uuid;

use super::{each_blob, each_text};
use crate::conversion::Form;
use crate::encode::column::Policy;
use crate::encode::problem::{Problem, Rejected};
use crate::encode::text::json;
use crate::encode::text::parse::hexadecimal;

/// Writes values as text, except for text and binary; sixteen bytes are a UUID if `uuid` is set.
pub(crate) fn texts(array: &ArrayRef, uuid: bool, policy: Policy) -> Result<ArrayRef, Rejected> {
    if let (true, Some(array)) = (uuid, array.as_fixed_size_binary_opt()) {
        return each_text(array, policy, |row, out| {
            let uuid = Uuid::from_slice(array.value(row)).map_err(|_| Problem::NotSixteenBytes)?;
            write!(out, "{}", uuid.hyphenated()).map_err(|_| Problem::Unplanned)
        });
    }
    let write = json::texts(array).map_err(|problem| problem.at(0))?;
    each_text(array, policy, |row, out| write(row, out))
}

/// Writes booleans as the text of a bit.
pub(crate) fn bits(array: &ArrayRef, policy: Policy) -> Result<ArrayRef, Rejected> {
    let array = array.as_boolean_opt().ok_or(Problem::Unplanned.at(0))?;
    each_text(array, policy, |row, out| {
        out.push(if array.value(row) { b'1' } else { b'0' });
        Ok(())
    })
}

/// Casts binary of any layout to one.
fn binary(array: &ArrayRef) -> Result<ArrayRef, Rejected> {
    cast(array, &DataType::LargeBinary).map_err(|_| Problem::Unplanned.at(0))
}

/// Casts text of any layout to one.
fn text(array: &ArrayRef) -> Result<ArrayRef, Rejected> {
    cast(array, &DataType::LargeUtf8).map_err(|_| Problem::Unplanned.at(0))
}

/// Decodes bytes as text, or writes them as hexadecimal digits or base64.
pub(crate) fn decode(array: &ArrayRef, form: Form, policy: Policy) -> Result<ArrayRef, Rejected> {
    let array = binary(array)?;
    let blobs = array.as_binary::<i64>();
    each_text(blobs, policy, |row, out| {
        let blob = blobs.value(row);
        match form {
            Form::Utf8 => {
                let text = std::str::from_utf8(blob).map_err(|_| Problem::NotUtf8)?;
                out.extend_from_slice(text.as_bytes());
            }
            Form::Utf8Lossy => {
                for chunk in blob.utf8_chunks() {
                    out.extend_from_slice(chunk.valid().as_bytes());
                    if !chunk.invalid().is_empty() {
                        out.extend_from_slice("\u{fffd}".as_bytes());
                    }
                }
            }
            Form::Hex => {
                out.reserve(blob.len() * 2);
                for byte in blob {
                    write!(out, "{byte:02x}").map_err(|_| Problem::Unplanned)?;
                }
            }
            Form::Base64 => {
                let start = out.len();
                let size = base64::encoded_len(blob.len(), true).ok_or(Problem::FieldTooLarge)?;
                out.resize(start + size, 0);
                let written = BASE64_STANDARD.encode_slice(blob, &mut out[start..]);
                written.map_err(|_| Problem::Unplanned)?;
            }
            Form::Text | Form::Number | Form::Part | Form::Address => {
                return Err(Problem::Unplanned);
            }
        }
        Ok(())
    })
}

/// Writes the bytes of an address as its text.
pub(crate) fn addresses(
    array: &ArrayRef,
    hardware: bool,
    policy: Policy,
) -> Result<ArrayRef, Rejected> {
    let array = binary(array)?;
    let blobs = array.as_binary::<i64>();
    each_text(blobs, policy, |row, out| {
        let blob = blobs.value(row);
        let written = match (hardware, blob.len()) {
            (false, 4) => {
                let octets = <[u8; 4]>::try_from(blob).map_err(|_| Problem::Unplanned)?;
                write!(out, "{}", Ipv4Addr::from(octets))
            }
            (false, 16) => {
                let octets = <[u8; 16]>::try_from(blob).map_err(|_| Problem::Unplanned)?;
                write!(out, "{}", Ipv6Addr::from(octets))
            }
            (true, 6 | 8) => blob.iter().try_for_each(|byte| write!(out, "{byte:02x}")),
            _ => return Err(Problem::NotInForm),
        };
        written.map_err(|_| Problem::Unplanned)
    })
}

/// Encodes text as bytes, or reads it as hexadecimal digits or base64.
pub(crate) fn encode(array: &ArrayRef, form: Form, policy: Policy) -> Result<ArrayRef, Rejected> {
    let array = text(array)?;
    let texts = array.as_string::<i64>();
    each_blob(texts, policy, |row, out| {
        let text = texts.value(row);
        match form {
            Form::Utf8 => {
                out.extend_from_slice(text.as_bytes());
                Ok(())
            }
            Form::Hex => hexadecimal(text.as_bytes(), out).map_err(|_| Problem::NotInForm),
            Form::Base64 => BASE64_STANDARD
                .decode_vec(text, out)
                .map_err(|_| Problem::NotInForm),
            Form::Utf8Lossy | Form::Text | Form::Number | Form::Part | Form::Address => {
                Err(Problem::Unplanned)
            }
        }
    })
}

/// Replaces NUL characters in text.
pub(crate) fn replace_nul(
    array: &ArrayRef,
    replacement: &str,
    policy: Policy,
) -> Result<ArrayRef, Rejected> {
    let array = text(array)?;
    let texts = array.as_string::<i64>();
    each_text(texts, policy, |row, out| {
        for (index, part) in texts.value(row).split('\0').enumerate() {
            if index > 0 {
                out.extend_from_slice(replacement.as_bytes());
            }
            out.extend_from_slice(part.as_bytes());
        }
        Ok(())
    })
}

/// Cuts text to a number of characters, or to whole characters of a number of bytes.
pub(crate) fn truncate(
    array: &ArrayRef,
    chars: Option<u32>,
    bytes: Option<u32>,
    policy: Policy,
) -> Result<ArrayRef, Rejected> {
    let array = text(array)?;
    let texts = array.as_string::<i64>();
    each_text(texts, policy, |row, out| {
        let text = texts.value(row);
        let mut ends = text.char_indices().map(|(at, _)| at);
        let end = match (chars, bytes) {
            (Some(chars), _) => ends.nth(chars as usize),
            (None, Some(bytes)) if text.len() > bytes as usize => {
                ends.take_while(|at| *at <= bytes as usize).last()
            }
            (None, _) => None,
        };
        out.extend_from_slice(&text.as_bytes()[..end.unwrap_or(text.len())]);
        Ok(())
    })
}

/// Adds a spatial reference system to well-known binary, in PostGIS's extended form.
pub(crate) fn with_srid(array: &ArrayRef, srid: u32, policy: Policy) -> Result<ArrayRef, Rejected> {
    /// `WKBSRIDFLAG` of PostGIS.
    const HAS_SRID: u32 = 0x2000_0000;
    let array = binary(array)?;
    let blobs = array.as_binary::<i64>();
    each_blob(blobs, policy, |row, out| {
        let Some(([order], kind, rest)) = split(blobs.value(row)) else {
            return Err(Problem::NotInForm);
        };
        let write = |word: u32| match order {
            0 => word.to_be_bytes(),
            _ => word.to_le_bytes(),
        };
        let kind = match order {
            0 => u32::from_be_bytes(kind),
            _ => u32::from_le_bytes(kind),
        };
        out.push(order);
        out.extend_from_slice(&write(kind | HAS_SRID));
        if kind & HAS_SRID == 0 {
            out.extend_from_slice(&write(srid));
        }
        out.extend_from_slice(rest);
        Ok(())
    })
}

/// Splits well-known binary into its byte order, its type, and the rest.
fn split(blob: &[u8]) -> Option<([u8; 1], [u8; 4], &[u8])> {
    let (order, rest) = blob.split_first_chunk::<1>()?;
    let (kind, rest) = rest.split_first_chunk::<4>()?;
    Some((*order, *kind, rest))
}
