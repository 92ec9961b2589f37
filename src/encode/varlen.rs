//! Text and bytes: what goes over the wire as it is, after a look at its length and content.

use std::collections::HashSet;
use std::ops::Range;

use arrow_array::types::{ByteArrayType, ByteViewType};
use arrow_array::{Array, FixedSizeBinaryArray, GenericByteArray, GenericByteViewArray};
use arrow_buffer::ArrowNativeType;

use super::bind::{BoxedColumn, valid};
use super::column::{Values, Varying, u32_size};
use super::format::MAX_BYTES;
use super::problem::Problem;
use crate::plan::FieldPlan;

/// `NAMEDATALEN`, of which one byte is the terminator.
const NAME_BYTES: usize = 64;

/// What begins a value of `jsonb` (`jsonb_recv`, jsonb.c).
pub(super) const JSONB_VERSION: u8 = 1;

/// An array of bytes, or of text seen as bytes.
pub(super) trait Blobs: Array {
    /// The bytes of a value.
    fn blob(&self, row: usize) -> &[u8];

    /// The length of each, in any row whose slot is NULL too, where they are quickly found and all
    /// together are well below what a field may have.
    fn lengths(&self, _rows: Range<usize>) -> Option<impl Iterator<Item = u32>> {
        None::<std::iter::Empty<u32>>
    }

    /// Whether it is known that no value of these rows has a NUL; a quick look at all of them at
    /// once.
    fn has_no_nul(&self, rows: Range<usize>) -> bool;
}

impl<T: ByteArrayType> Blobs for GenericByteArray<T> {
    fn blob(&self, row: usize) -> &[u8] {
        self.value(row).as_ref()
    }

    fn lengths(&self, rows: Range<usize>) -> Option<impl Iterator<Item = u32>> {
        let offsets = &self.value_offsets()[rows.start..=rows.end];
        let total = offsets[rows.len()].as_usize() - offsets[0].as_usize();
        let pairs = offsets.iter().zip(&offsets[1..]);
        (total < MAX_BYTES / 2)
            .then(|| pairs.map(|(from, to)| u32_size(to.as_usize() - from.as_usize())))
    }

    fn has_no_nul(&self, rows: Range<usize>) -> bool {
        let offsets = self.value_offsets();
        let (first, last) = (offsets[rows.start].as_usize(), offsets[rows.end].as_usize());
        memchr::memchr(0, &self.value_data()[first..last]).is_none()
    }
}

impl<T: ByteViewType> Blobs for GenericByteViewArray<T> {
    fn blob(&self, row: usize) -> &[u8] {
        self.value(row).as_ref()
    }

    fn has_no_nul(&self, _rows: Range<usize>) -> bool {
        false
    }
}

impl Blobs for FixedSizeBinaryArray {
    fn blob(&self, row: usize) -> &[u8] {
        self.value(row)
    }

    fn has_no_nul(&self, _rows: Range<usize>) -> bool {
        false
    }
}

/// PostgreSQL believes what a document's declaration says of its encoding when it receives it (`xml_recv`, xml.c),
/// and Arrow's strings are UTF-8 whatever it says.
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

/// Text into whatever takes text.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "plan::mapping is the exhaustive table"
)]
pub(super) fn text<'a, A: Blobs>(
    plan: &'a FieldPlan,
    array: &'a A,
) -> Result<BoxedColumn<'a>, Problem> {
    Ok(match plan {
        FieldPlan::Text { max_chars: None } => blobs(array, Text::ANY),
        FieldPlan::Text {
            max_chars: Some(max),
        } => {
            let max = *max as usize;
            blobs(array, Text::that(move |text: &[u8]| fits(text, max)))
        }
        FieldPlan::Name => {
            let check = |text: &[u8]| {
                if text.len() < NAME_BYTES {
                    Ok(())
                } else {
                    Err(Problem::NameTooLong)
                }
            };
            blobs(array, Text::that(check))
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
            blobs(array, Text::that(check))
        }
        FieldPlan::Xml => blobs(array, Text::that(in_utf8)),
        FieldPlan::JsonbText => blobs(array, Jsonb { clean: false }),
        FieldPlan::Uuid => blobs(array, UuidText),
        _ => return Err(Problem::Unplanned),
    })
}

/// Bytes into `bytea`, or sixteen of them into `uuid`.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "plan::mapping is the exhaustive table"
)]
pub(super) fn binary<'a, A: Blobs>(
    plan: &FieldPlan,
    array: &'a A,
) -> Result<BoxedColumn<'a>, Problem> {
    match plan {
        FieldPlan::Bytea => Ok(blobs(array, Bytea)),
        FieldPlan::Uuid => Ok(blobs(array, UuidBytes)),
        _ => Err(Problem::Unplanned),
    }
}

fn blobs<'a, A: Blobs, S: Shape + 'a>(array: &'a A, shape: S) -> BoxedColumn<'a> {
    Box::new(Varying {
        values: Shaped { array, shape },
        nulls: valid(array),
    })
}

/// What is made of bytes.
trait Shape: Send + Sync {
    /// Told whether it is known that no value to come has a NUL.
    fn set_clean(&mut self, _clean: bool) {}

    /// Whether NULs are looked for.
    const TEXT: bool = false;

    /// What is added to the bytes' number, when nothing else is asked of them.
    fn plain(&self) -> Option<u32> {
        None
    }

    fn size(&self, blob: &[u8]) -> Result<usize, Problem>;

    fn put(&self, blob: &[u8], out: &mut [u8]) -> usize {
        out[..blob.len()].copy_from_slice(blob);
        blob.len()
    }
}

struct Shaped<'a, A, S> {
    array: &'a A,
    shape: S,
}

impl<A: Blobs, S: Shape> Values for Shaped<'_, A, S> {
    fn prepare(&mut self, rows: Range<usize>) {
        if S::TEXT {
            self.shape.set_clean(self.array.has_no_nul(rows));
        }
    }

    fn plain_sizes(&self, rows: Range<usize>) -> Option<impl Iterator<Item = u32>> {
        let more = self.shape.plain()?;
        Some(self.array.lengths(rows)?.map(move |length| length + more))
    }

    fn size(&self, row: usize) -> Result<usize, Problem> {
        self.shape.size(self.array.blob(row))
    }

    fn put(&self, row: usize, out: &mut [u8]) -> usize {
        self.shape.put(self.array.blob(row), out)
    }
}

/// `textrecv`, varlena.c: the text, in the client's encoding, which is UTF-8.
struct Text<F> {
    clean: bool,
    check: Option<F>,
}

impl Text<fn(&[u8]) -> Result<(), Problem>> {
    /// Any text.
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

/// `jsonb_recv`, jsonb.c: a version, then the text of the document.
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

/// `bytearecv`, varlena.c.
struct Bytea;

impl Shape for Bytea {
    fn plain(&self) -> Option<u32> {
        Some(0)
    }

    fn size(&self, bytes: &[u8]) -> Result<usize, Problem> {
        Ok(bytes.len())
    }
}

/// `uuid_recv`, uuid.c: sixteen bytes.
struct UuidBytes;

impl Shape for UuidBytes {
    fn size(&self, bytes: &[u8]) -> Result<usize, Problem> {
        if bytes.len() == 16 {
            Ok(16)
        } else {
            Err(Problem::NotSixteenBytes)
        }
    }
}

/// The same sixteen bytes from what `string_to_uuid` of uuid.c reads.
struct UuidText;

impl Shape for UuidText {
    fn size(&self, text: &[u8]) -> Result<usize, Problem> {
        parse_uuid(text)
            .map(|uuid| uuid.len())
            .ok_or(Problem::NotUuid)
    }

    fn put(&self, text: &[u8], out: &mut [u8]) -> usize {
        // Every value was parsed before.
        let uuid = parse_uuid(text).unwrap_or_default();
        out[..uuid.len()].copy_from_slice(&uuid);
        uuid.len()
    }
}

/// 32 hexadecimal digits, a hyphen allowed after every fourth, braces allowed around them all.
fn parse_uuid(text: &[u8]) -> Option<[u8; 16]> {
    fn nibble(digit: u8) -> Option<u8> {
        match digit {
            b'0'..=b'9' => Some(digit - b'0'),
            b'a'..=b'f' => Some(digit - b'a' + 10),
            b'A'..=b'F' => Some(digit - b'A' + 10),
            _ => None,
        }
    }
    let mut rest = match text {
        [b'{', inner @ .., b'}'] => inner,
        _ => text,
    };
    let mut uuid = [0; 16];
    for (index, byte) in uuid.iter_mut().enumerate() {
        let [high, low, after @ ..] = rest else {
            return None;
        };
        *byte = nibble(*high)? << 4 | nibble(*low)?;
        rest = match after {
            [b'-', after @ ..] if index % 2 == 1 && index < 15 => after,
            _ => after,
        };
    }
    rest.is_empty().then_some(uuid)
}

fn no_nul(clean: bool, text: &[u8]) -> Result<(), Problem> {
    if clean || memchr::memchr(0, text).is_none() {
        Ok(())
    } else {
        Err(Problem::Nul)
    }
}

/// `varcharrecv`, varchar.c, counts characters and cuts spaces that are too many.
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
