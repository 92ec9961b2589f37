//! Bit strings.

use crate::encode::column::length_word;
use crate::encode::nested::bits::check_count;
use crate::encode::problem::Problem;

/// Parses `0` and `1`, as `bit_in` of varbit.c does without a prefix.
pub(crate) fn parse(
    text: &[u8],
    length: Option<u32>,
    exact: bool,
    out: &mut Vec<u8>,
) -> Result<(), Problem> {
    check_count(text.len(), length, exact)?;
    out.extend_from_slice(&length_word(text.len()));
    for eight in text.chunks(8) {
        let mut byte = 0;
        for (place, bit) in eight.iter().enumerate() {
            match bit {
                b'0' => {}
                b'1' => byte |= 0x80 >> place,
                _ => return Err(Problem::NotParsed),
            }
        }
        out.push(byte);
    }
    Ok(())
}
