//! `uuid`, from text and from sixteen bytes.

use crate::encode::column::Shape;
use crate::encode::problem::Problem;

/// Sixteen bytes (`uuid_recv`, uuid.c).
pub(crate) struct UuidBytes;

impl Shape for UuidBytes {
    fn size(&self, bytes: &[u8]) -> Result<usize, Problem> {
        if bytes.len() == 16 {
            Ok(16)
        } else {
            Err(Problem::NotSixteenBytes)
        }
    }
}

/// Sixteen bytes, parsed from text as `string_to_uuid` of uuid.c does.
pub(crate) struct UuidText;

impl Shape for UuidText {
    fn size(&self, text: &[u8]) -> Result<usize, Problem> {
        parse_uuid(text)
            .map(|uuid| uuid.len())
            .ok_or(Problem::NotUuid)
    }

    fn put(&self, text: &[u8], out: &mut [u8]) -> usize {
        // Every value was parsed when it was measured.
        let uuid = parse_uuid(text).unwrap_or_default();
        out[..uuid.len()].copy_from_slice(&uuid);
        uuid.len()
    }
}

/// Parses 32 hexadecimal digits, with an optional hyphen after every fourth and optional braces around them all.
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
