//! Counts the fields of a protobuf message before it is decoded: an empty message in a repeated field takes two bytes
//! on the wire, and a hundred in memory.

use bytes::Buf;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

/// The number of occurrences of a field with a length in a message, and the sum of their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Occurrences {
    pub(crate) count: usize,
    pub(crate) bytes: usize,
}

/// Counts a field. Stops where the message is malformed, which the decoder then reports.
pub(crate) fn occurrences(mut message: &[u8], field: u32) -> Occurrences {
    let mut found = Occurrences::default();
    while message.has_remaining() {
        let Ok((tag, wire_type)) = decode_key(&mut message) else {
            break;
        };
        if wire_type != WireType::LengthDelimited {
            if skip_field(wire_type, tag, &mut message, DecodeContext::default()).is_err() {
                break;
            }
            continue;
        }
        let length = decode_varint(&mut message).ok();
        let length = length.and_then(|length| usize::try_from(length).ok());
        let Some(length) = length.filter(|length| *length <= message.len()) else {
            break;
        };
        if tag == field {
            found.count += 1;
            found.bytes += length;
        }
        message.advance(length);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{Occurrences, occurrences};

    #[test]
    fn fields_are_counted_up_to_a_malformed_one() {
        // Field 1 is a varint, field 2 two strings, field 3 eight bytes.
        let whole = [
            &[8, 150, 1][..],
            &[18, 2, b'a', b'b'],
            &[25, 0, 0, 0, 0, 0, 0, 0, 0],
            &[18, 0],
        ]
        .concat();
        let found = |bytes: &[u8], field| {
            let Occurrences { count, bytes } = occurrences(bytes, field);
            (count, bytes)
        };
        assert_eq!(found(&whole, 2), (2, 2));
        assert_eq!(found(&whole, 1), (0, 0));
        assert_eq!(found(&whole[..8], 2), (1, 2));
        assert_eq!(found(&[18, 200, 1, 0], 2), (0, 0), "too long");
        assert_eq!(found(&[0xff; 12], 2), (0, 0), "no key");
    }
}
