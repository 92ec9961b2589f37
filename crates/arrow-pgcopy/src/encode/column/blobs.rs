//! Bytes and text of any layout, written unchanged or after a version byte.

use std::ops::Range;

use arrow_array::types::{ByteArrayType, ByteViewType};
use arrow_array::{Array, FixedSizeBinaryArray, GenericByteArray, GenericByteViewArray};
use arrow_buffer::ArrowNativeType;

use super::{BoxedColumn, Values, Varying, u32_size, valid};
use crate::encode::format::MAX_BYTES;
use crate::encode::problem::Problem;

/// An array of bytes, or of text as bytes.
pub(crate) trait Blobs: Array {
    /// Returns the bytes of a value.
    fn blob(&self, row: usize) -> &[u8];

    /// Returns the length of each value, NULLs' slots included. `None` where lengths are slow to find, or their sum
    /// comes near the limit of a field.
    fn lengths(&self, _rows: Range<usize>) -> Option<impl Iterator<Item = u32>> {
        None::<std::iter::Empty<u32>>
    }

    /// Checks all values of these rows for NULs at once. Returns false where that is not possible.
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

pub(crate) fn shaped<'a, A: Blobs, S: Shape + 'a>(array: &'a A, shape: S) -> BoxedColumn<'a> {
    Box::new(Varying {
        values: Shaped { array, shape },
        nulls: valid(array),
    })
}

/// The check and the wire form of bytes.
pub(crate) trait Shape: Send + Sync {
    /// Sets whether the values of the prepared rows are known to be free of NULs.
    fn set_clean(&mut self, _clean: bool) {}

    /// Whether values must not contain NULs.
    const TEXT: bool = false;

    /// Returns how many bytes are added to a value's own, if values need no other check.
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
