//! Text of another encoding as UTF-8. Unlike a browser, it rejects what the encoding does not have.

use std::fmt;
use std::io::{self, Read};

use encoding_rs::{Decoder, DecoderResult, Encoding, UTF_8};

use crate::error::{Error, Result};

/// The mark that some programs begin UTF-8 with.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
const CHUNK: usize = 64 * 1024;

/// Returns an encoding by its name or label; `None` for UTF-8.
///
/// # Errors
/// [`ErrorKind::InvalidCommand`](crate::error::ErrorKind::InvalidCommand) for an unknown name.
pub(super) fn encoding(label: Option<&str>) -> Result<Option<&'static Encoding>> {
    let Some(label) = label else {
        return Ok(None);
    };
    // Python's and PostgreSQL's names of what the standard calls windows-1252, iso-8859-2 and so on.
    let label = match label.to_ascii_lowercase().replace('_', "-") {
        name if name == "utf8" || name == "utf-8-sig" => "utf-8".to_owned(),
        name if name.starts_with("win1") => name.replacen("win", "windows-", 1),
        name => name,
    };
    match Encoding::for_label_no_replacement(label.as_bytes()) {
        Some(encoding) if encoding == UTF_8 => Ok(None),
        Some(encoding) => Ok(Some(encoding)),
        None => Err(
            Error::invalid_command(format!("the encoding {label} is unknown"))
                .with_hint("utf-8, windows-1252, latin1, iso-8859-15, utf-16le, shift_jis, gbk and the other names of the WHATWG's Encoding Standard are known"),
        ),
    }
}

/// Returns the content as UTF-8 without a byte order mark. Content that is UTF-8 is not checked here.
///
/// # Errors
/// The errors of the content.
pub(super) fn utf8(
    mut content: Box<dyn Read + Send>,
    encoding: Option<&'static Encoding>,
) -> io::Result<Box<dyn Read + Send>> {
    if let Some(encoding) = encoding {
        return Ok(Box::new(Transcoded {
            content,
            decoder: encoding.new_decoder_with_bom_removal(),
            input: Vec::new(),
            output: Vec::new(),
            taken: 0,
            state: State::Reading,
        }));
    }
    let mut head = Vec::new();
    content.by_ref().take(3).read_to_end(&mut head)?;
    if head == BYTE_ORDER_MARK {
        head.clear();
    }
    Ok(Box::new(io::Cursor::new(head).chain(content)))
}

/// The error for bytes that the encoding does not have.
#[derive(Debug)]
struct Malformed;

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the bytes are not of the encoding")
    }
}

impl std::error::Error for Malformed {}

/// Returns whether a read failed because of the encoding.
pub(super) fn is_malformed(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|cause| cause.is::<Malformed>())
}

/// Content of another encoding.
struct Transcoded {
    content: Box<dyn Read + Send>,
    decoder: Decoder,
    /// Bytes that are not decoded yet.
    input: Vec<u8>,
    output: Vec<u8>,
    /// How many bytes of the output were returned.
    taken: usize,
    state: State,
}

#[derive(PartialEq, Eq)]
enum State {
    Reading,
    Malformed,
    Ended,
}

impl Transcoded {
    /// Decodes the next chunk.
    fn refill(&mut self) -> io::Result<()> {
        let kept = self.input.len();
        self.input.resize(kept + CHUNK, 0);
        let count = self.content.read(&mut self.input[kept..])?;
        self.input.truncate(kept + count);
        let size = self
            .decoder
            .max_utf8_buffer_length_without_replacement(self.input.len());
        self.output.resize(size.unwrap_or(4 * CHUNK), 0);
        let last = count == 0;
        let (result, read, written) =
            self.decoder
                .decode_to_utf8_without_replacement(&self.input, &mut self.output, last);
        self.input.drain(..read);
        self.output.truncate(written);
        self.taken = 0;
        match result {
            DecoderResult::Malformed(..) => self.state = State::Malformed,
            DecoderResult::InputEmpty if last => self.state = State::Ended,
            DecoderResult::InputEmpty | DecoderResult::OutputFull => {}
        }
        Ok(())
    }
}

impl Read for Transcoded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let left = self.output.get(self.taken..).unwrap_or_default();
            if !left.is_empty() {
                let count = left.len().min(buffer.len());
                buffer[..count].copy_from_slice(&left[..count]);
                self.taken += count;
                return Ok(count);
            }
            match self.state {
                State::Reading => self.refill()?,
                State::Ended => return Ok(0),
                State::Malformed => {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, Malformed));
                }
            }
        }
    }
}
