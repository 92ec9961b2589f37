//! Text that is sent unchanged, after checks of its length and content.

use std::collections::HashSet;

use super::uuid::UuidText;
use crate::encode::column::{Blobs, BoxedColumn, Shape, shaped};
use crate::encode::format::JSONB_VERSION;
use crate::encode::problem::Problem;
use crate::mapping::FieldPlan;

/// `NAMEDATALEN`, which includes a terminator.
const NAME_BYTES: usize = 64;

/// Makes a column from text, for all types that receive text.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the table in mapping is exhaustive"
)]
pub(crate) fn text<'a, A: Blobs>(
    plan: &'a FieldPlan,
    array: &'a A,
) -> Result<BoxedColumn<'a>, Problem> {
    Ok(match plan {
        FieldPlan::Text { max_chars: None } => shaped(array, Text::ANY),
        FieldPlan::Text {
            max_chars: Some(max),
        } => {
            let max = *max as usize;
            shaped(array, Text::that(move |text: &[u8]| fits(text, max)))
        }
        FieldPlan::Name => {
            let check = |text: &[u8]| {
                if text.len() < NAME_BYTES {
                    Ok(())
                } else {
                    Err(Problem::NameTooLong)
                }
            };
            shaped(array, Text::that(check))
        }
        FieldPlan::Enum { labels } => {
            let labels: HashSet<&[u8]> = labels.iter().map(String::as_bytes).collect();
            let check = move |text: &[u8]| {
                if labels.contains(text) {
                    Ok(())
                } else {
                    Err(Problem::UnknownLabel)
                }
            };
            shaped(array, Text::that(check))
        }
        FieldPlan::Xml => shaped(array, Text::that(in_utf8)),
        FieldPlan::JsonbText => shaped(array, Jsonb { clean: false }),
        FieldPlan::Uuid => shaped(array, UuidText),
        _ => return Err(Problem::Unplanned),
    })
}

/// Rejects a document whose XML declaration names another encoding than UTF-8. PostgreSQL converts from the
/// declared encoding (`xml_recv`, xml.c), and Arrow's strings are always UTF-8.
fn in_utf8(document: &[u8]) -> Result<(), Problem> {
    let Some(rest) = document.strip_prefix(b"<?xml") else {
        return Ok(());
    };
    let end = memchr::memmem::find(rest, b"?>").unwrap_or(rest.len());
    let declaration = &rest[..end];
    let Some(at) = memchr::memmem::find(declaration, b"encoding") else {
        return Ok(());
    };
    let is_part =
        |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':');
    let after = declaration[at + b"encoding".len()..].iter();
    let name: Vec<u8> = after
        .skip_while(|byte| !is_part(byte))
        .take_while(|byte| is_part(byte))
        .map(u8::to_ascii_lowercase)
        .collect();
    match &*name {
        b"" | b"utf-8" | b"utf8" => Ok(()),
        _ => Err(Problem::OtherEncoding),
    }
}

/// Text in the client's encoding, UTF-8 (`textrecv`, varlena.c).
struct Text<F> {
    clean: bool,
    check: Option<F>,
}

impl Text<fn(&[u8]) -> Result<(), Problem>> {
    /// Takes any text.
    const ANY: Self = Self {
        clean: false,
        check: None,
    };
}

impl<F: Fn(&[u8]) -> Result<(), Problem>> Text<F> {
    fn that(check: F) -> Self {
        Self {
            clean: false,
            check: Some(check),
        }
    }
}

impl<F: Fn(&[u8]) -> Result<(), Problem> + Send + Sync> Shape for Text<F> {
    const TEXT: bool = true;

    fn plain(&self) -> Option<u32> {
        (self.clean && self.check.is_none()).then_some(0)
    }

    fn set_clean(&mut self, clean: bool) {
        self.clean = clean;
    }

    fn size(&self, text: &[u8]) -> Result<usize, Problem> {
        no_nul(self.clean, text)?;
        if let Some(check) = &self.check {
            check(text)?;
        }
        Ok(text.len())
    }
}

/// A version byte and the text of a document (`jsonb_recv`, jsonb.c).
struct Jsonb {
    clean: bool,
}

impl Shape for Jsonb {
    const TEXT: bool = true;

    fn plain(&self) -> Option<u32> {
        self.clean.then_some(1)
    }

    fn set_clean(&mut self, clean: bool) {
        self.clean = clean;
    }

    fn size(&self, text: &[u8]) -> Result<usize, Problem> {
        no_nul(self.clean, text)?;
        Ok(1 + text.len())
    }

    fn put(&self, text: &[u8], out: &mut [u8]) -> usize {
        out[0] = JSONB_VERSION;
        out[1..=text.len()].copy_from_slice(text);
        1 + text.len()
    }
}

fn no_nul(clean: bool, text: &[u8]) -> Result<(), Problem> {
    if clean || memchr::memchr(0, text).is_none() {
        Ok(())
    } else {
        Err(Problem::Nul)
    }
}

/// Checks the length in characters. Like `varcharrecv` (varchar.c), it lets excess trailing spaces pass, which
/// PostgreSQL cuts.
fn fits(text: &[u8], max_chars: usize) -> Result<(), Problem> {
    if text.len() <= max_chars {
        return Ok(());
    }
    let starts = text
        .iter()
        .enumerate()
        .filter(|(_, byte)| **byte & 0xC0 != 0x80);
    let excess = starts.map(|(at, _)| at).nth(max_chars);
    match excess {
        Some(at) if text[at..].iter().any(|byte| *byte != b' ') => Err(Problem::TooManyCharacters),
        Some(_) | None => Ok(()),
    }
}
