//! Checks every node and buffer of a batch against the schema, the body and the limits.

use std::ops::Range;

use arrow::ipc::{Buffer, CompressionType, FieldNode, RecordBatch};

use super::layout::{Layout, Node};
use super::{Limits, malformed};
use crate::error::{Error, Result};

/// The number of values that may take no bytes, as in columns of NULLs and in structs. It keeps a message of a hundred
/// bytes from becoming more than 64 MiB of COPY.
const MAX_VALUES_WITHOUT_BYTES: u64 = 16 * 1024 * 1024;
/// The number of values that a byte may become: a byte holds eight booleans, and each may be inside a struct.
const MAX_VALUES_PER_BYTE: u64 = 16;
/// The length of the prefix of a compressed buffer, which is its uncompressed length.
const PREFIX_BYTES: usize = 8;
/// The prefix of a buffer that is stored uncompressed.
const NOT_COMPRESSED: i64 = -1;
/// The highest compression ratio of LZ4.
const MAX_LZ4_RATIO: u64 = 255;
/// The size of a view: a length, and then the string or its prefix, buffer and offset.
const VIEW_BYTES: usize = 16;

/// Checks a batch of these nodes and returns its decompressed size in bytes.
pub(super) fn check(
    nodes: &[Node],
    batch: RecordBatch<'_>,
    body: &[u8],
    limits: Limits,
) -> Result<u64> {
    let row_count = u64::try_from(batch.length())
        .map_err(|_| Error::invalid_command(format!("a batch has {} rows", batch.length())))?;
    let mut arrays = batch.nodes().ok_or_else(malformed)?.iter();
    let mut walk = Walk {
        buffers: batch.buffers().ok_or_else(malformed)?.iter(),
        codec: batch
            .compression()
            .map(|compression| codec(compression.codec()))
            .transpose()?,
        body,
        places: Vec::new(),
        decoded_bytes: 0,
        limits,
    };
    let mut view_buffer_counts = batch.variadicBufferCounts().into_iter().flatten();
    let mut value_count: u64 = 0;
    for node in nodes {
        let array = arrays.next().ok_or_else(|| miscounted("arrays"))?;
        let in_column = |error: Error| error.with_column(&*node.column);
        value_count = value_count.saturating_add(length(array).map_err(in_column)?);
        walk.check_array(node.layout, array, &mut view_buffer_counts)
            .map_err(in_column)?;
    }
    if arrays.next().is_some() {
        return Err(miscounted("arrays"));
    }
    if walk.buffers.next().is_some() || view_buffer_counts.next().is_some() {
        return Err(miscounted("buffers"));
    }
    check_apart(&mut walk.places)?;
    let value_count = value_count.max(row_count);
    let most = walk
        .decoded_bytes
        .saturating_mul(MAX_VALUES_PER_BYTE)
        .max(MAX_VALUES_WITHOUT_BYTES);
    if value_count > most {
        return Err(Error::invalid_command(format!(
            "a batch has {value_count} values in {} bytes; at most {MAX_VALUES_WITHOUT_BYTES} values may take \
             no bytes",
            walk.decoded_bytes
        ))
        .with_hint("send fewer rows in a batch"));
    }
    Ok(walk.decoded_bytes)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Codec {
    Lz4,
    Zstd,
}

/// The progress through the buffers of a batch.
struct Walk<'a, B> {
    buffers: B,
    codec: Option<Codec>,
    body: &'a [u8],
    /// The places in the body of the buffers that are not empty.
    places: Vec<Range<usize>>,
    decoded_bytes: u64,
    limits: Limits,
}

/// A buffer that lies within the body.
struct Placed<'a> {
    /// Its bytes in the body.
    stored: &'a [u8],
    /// Its decompressed length.
    byte_count: u64,
}

impl<'a, B: Iterator<Item = &'a Buffer>> Walk<'a, B> {
    fn check_array(
        &mut self,
        layout: Layout,
        array: &FieldNode,
        view_buffer_counts: &mut impl Iterator<Item = i64>,
    ) -> Result<()> {
        let length = length(array)?;
        if layout == Layout::Null {
            return Ok(());
        }
        let validity = self.next_buffer()?;
        if array.null_count() > 0 {
            needs("validity", &validity, length.div_ceil(8), 1)?;
        }
        match layout {
            Layout::Null | Layout::Validity => {}
            Layout::Fixed { bits } => {
                let values = self.next_buffer()?;
                // Dictionary keys are read as a whole buffer of values of their width. Writers pad buffers to 8 or
                // 64 bytes, a multiple of these widths only.
                let width = if matches!(bits, 16 | 32 | 64) {
                    bits / 8
                } else {
                    1
                };
                needs(
                    "values",
                    &values,
                    length.saturating_mul(bits).div_ceil(8),
                    width,
                )?;
            }
            Layout::Offsets { width } => self.check_offsets(length, width)?,
            Layout::Bytes { width } => {
                self.check_offsets(length, width)?;
                self.next_buffer()?;
            }
            Layout::Views => {
                let views = self.next_buffer()?;
                self.check_views(&views, length)?;
                let count = view_buffer_counts
                    .next()
                    .ok_or_else(|| miscounted("buffers"))?;
                // A count that is too large runs out of buffers.
                let count = u64::try_from(count).map_err(|_| miscounted("buffers"))?;
                for _ in 0..count {
                    self.next_buffer()?;
                }
            }
        }
        Ok(())
    }

    fn check_offsets(&mut self, length: u64, width: u64) -> Result<()> {
        let offsets = self.next_buffer()?;
        // Some writers send no offsets for an empty array.
        let count = if length == 0 {
            0
        } else {
            length.saturating_add(1)
        };
        needs("offsets", &offsets, count.saturating_mul(width), width)
    }

    /// Checks the sum of the lengths of all views, since many views may refer to the same bytes.
    fn check_views(&self, views: &Placed<'_>, length: u64) -> Result<()> {
        needs(
            "views",
            views,
            length.saturating_mul(VIEW_BYTES as u64),
            VIEW_BYTES as u64,
        )?;
        if self.codec.is_some() {
            return Err(Error::schema_mismatch(
                "string or binary views in a compressed batch are not supported",
            )
            .with_hint("send the batch uncompressed, or cast the column to string or binary"));
        }
        let rows = usize::try_from(length).unwrap_or(usize::MAX);
        let shown = views
            .stored
            .as_chunks::<VIEW_BYTES>()
            .0
            .iter()
            .take(rows)
            .fold(0_u64, |sum, [a, b, c, d, ..]| {
                sum.saturating_add(u64::from(u32::from_le_bytes([*a, *b, *c, *d])))
            });
        if shown > self.limits.max_decoded_bytes {
            return Err(Error::invalid_command(format!(
                "the views of a batch show {shown} bytes, more than the limit of {}",
                self.limits.max_decoded_bytes
            ))
            .with_hint("send fewer rows in a batch"));
        }
        Ok(())
    }

    fn next_buffer(&mut self) -> Result<Placed<'a>> {
        let buffer = self.buffers.next().ok_or_else(|| miscounted("buffers"))?;
        let place = usize::try_from(buffer.offset())
            .ok()
            .zip(usize::try_from(buffer.length()).ok())
            .and_then(|(offset, length)| Some(offset..offset.checked_add(length)?));
        let (place, stored) = place
            .and_then(|place| Some((place.clone(), self.body.get(place)?)))
            .ok_or_else(|| {
                Error::invalid_command(format!(
                    "a buffer claims {} bytes at offset {} of a body of {}",
                    buffer.length(),
                    buffer.offset(),
                    self.body.len()
                ))
            })?;
        // Writers put empty buffers anywhere.
        if !place.is_empty() {
            self.places.push(place);
        }
        let byte_count = match self.codec {
            Some(codec) if !stored.is_empty() => decoded_size(codec, stored)?,
            _ => size(stored),
        };
        self.decoded_bytes = self.decoded_bytes.saturating_add(byte_count);
        if self.decoded_bytes > self.limits.max_decoded_bytes {
            return Err(Error::invalid_command(format!(
                "a batch has more than {} bytes when decompressed",
                self.limits.max_decoded_bytes
            ))
            .with_hint("send fewer rows in a batch"));
        }
        Ok(Placed { stored, byte_count })
    }
}

/// Rejects overlapping buffers, with which a small body would be read as a large one.
fn check_apart(places: &mut [Range<usize>]) -> Result<()> {
    // Most writers put them one after another.
    if !places.is_sorted_by_key(|place| place.start) {
        places.sort_unstable_by_key(|place| place.start);
    }
    let shared = places.windows(2).find_map(|pair| match pair {
        [one, next] if next.start < one.end => Some(next.start),
        _ => None,
    });
    match shared {
        None => Ok(()),
        Some(at) => Err(Error::invalid_command(format!(
            "two buffers of a batch share the byte at {at} of its body"
        ))
        .with_hint("write each buffer once")),
    }
}

/// Returns the decompressed size that a compressed buffer claims. The decoder allocates this much at once.
fn decoded_size(codec: Codec, stored: &[u8]) -> Result<u64> {
    let unsound = |what: String| {
        Err(Error::invalid_command(format!(
            "a compressed buffer {what}"
        )))
    };
    let Some((prefix, compressed)) = stored.split_first_chunk::<PREFIX_BYTES>() else {
        return unsound(format!(
            "has {} bytes, too few for its length prefix",
            stored.len()
        ));
    };
    let length = i64::from_le_bytes(*prefix);
    if length == NOT_COMPRESSED {
        return Ok(size(compressed));
    }
    match u64::try_from(length) {
        Ok(length)
            if codec == Codec::Lz4 && length > size(compressed).saturating_mul(MAX_LZ4_RATIO) =>
        {
            unsound(format!(
                "of {} bytes claims to decompress to {length}, more than LZ4 can",
                compressed.len()
            ))
        }
        Ok(length) => Ok(length),
        Err(_) => unsound(format!("claims to decompress to {length} bytes")),
    }
}

fn codec(codec: CompressionType) -> Result<Codec> {
    match codec {
        CompressionType::LZ4_FRAME => Ok(Codec::Lz4),
        CompressionType::ZSTD => Ok(Codec::Zstd),
        _ => Err(
            Error::invalid_command("a batch is compressed with an unknown codec")
                .with_hint("compress with LZ4 or ZSTD"),
        ),
    }
}

fn length(array: &FieldNode) -> Result<u64> {
    match (
        u64::try_from(array.length()),
        u64::try_from(array.null_count()),
    ) {
        (Ok(length), Ok(nulls)) if nulls <= length => Ok(length),
        _ => Err(Error::invalid_command(format!(
            "an array claims {} values and {} NULLs",
            array.length(),
            array.null_count()
        ))),
    }
}

fn needs(what: &str, buffer: &Placed<'_>, byte_count: u64, width: u64) -> Result<()> {
    if buffer.byte_count >= byte_count && buffer.byte_count.is_multiple_of(width) {
        return Ok(());
    }
    Err(Error::invalid_command(format!(
        "the {what} of an array have {} bytes where its length needs {byte_count}",
        buffer.byte_count
    )))
}

fn miscounted(what: &str) -> Error {
    Error::invalid_command(format!(
        "a batch has more or fewer {what} than its schema says"
    ))
}

fn size(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}
