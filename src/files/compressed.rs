//! Compressed files: gzip, Zstandard, bzip2 and xz, which their first bytes tell apart, whatever their names are.

use std::io::{self, BufReader, Read};

use bzip2::read::MultiBzDecoder;
use flate2::read::MultiGzDecoder;
use lzma_rust2::XzReader;

/// The most memory for a window: what `zstd --ultra -22` and `xz -9` need.
const ZSTD_WINDOW_LOG: u32 = 27;
const XZ_KIB: u32 = 512 * 1024;

/// The compression of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    Gzip,
    Zstd,
    Bzip2,
    Xz,
}

impl Compression {
    /// Returns the compression of a file that begins with these bytes, at least ten if it has as many.
    pub(super) fn of(head: &[u8]) -> Self {
        match head {
            [0x1f, 0x8b, 8, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            [
                b'B',
                b'Z',
                b'h',
                b'1'..=b'9',
                0x31,
                0x41,
                0x59,
                0x26,
                0x53,
                0x59,
                ..,
            ] => Self::Bzip2,
            // The end of a bzip2 file of no bytes.
            [
                b'B',
                b'Z',
                b'h',
                b'1'..=b'9',
                0x17,
                0x72,
                0x45,
                0x38,
                0x50,
                0x90,
                ..,
            ] => Self::Bzip2,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            _ => Self::None,
        }
    }

    /// Returns a reader of the content. Files of several members, as `cat a.gz b.gz` makes them, are read to their end.
    ///
    /// # Errors
    /// The errors of the Zstandard library when it cannot allocate its state.
    pub(super) fn reader(
        self,
        file: impl Read + Send + 'static,
    ) -> io::Result<Box<dyn Read + Send>> {
        Ok(match self {
            Self::None => Box::new(file),
            Self::Gzip => Box::new(MultiGzDecoder::new(BufReader::new(file))),
            Self::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::new(file)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG)?;
                Box::new(decoder)
            }
            Self::Bzip2 => Box::new(MultiBzDecoder::new(BufReader::new(file))),
            Self::Xz => Box::new(XzReader::new_mem_limit(BufReader::new(file), true, XZ_KIB)),
        })
    }
}

/// Returns a name without the ending of a compression: `trips.csv` for `trips.csv.gz`.
pub(super) fn uncompressed_name(name: &str) -> &str {
    let endings = [".gz", ".gzip", ".zst", ".zstd", ".bz2", ".xz"];
    endings
        .into_iter()
        .find_map(|ending| name.strip_suffix(ending))
        .unwrap_or(name)
}
