//! Bytes and text of any layout, written as they are or behind a version.

use std::ops::Range;

use arrow_array::types::{ByteArrayType, ByteViewType};
use arrow_array::{Array, FixedSizeBinaryArray, GenericByteArray, GenericByteViewArray};
use arrow_buffer::ArrowNativeType;

use super::{BoxedColumn, Values, Varying, u32_size, valid};
use crate::encode::format::MAX_BYTES;
use crate::encode::problem::Problem;

/// An array of bytes, or of text seen as bytes.
pub(crate) trait Blobs: Array {
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

pub(crate) fn shaped<'a, A: Blobs, S: Shape + 'a>(array: &'a A, shape: S) -> BoxedColumn<'a> {
    Box::new(Varying {
        values: Shaped { array, shape },
        nulls: valid(array),
    })
}

/// What is made of bytes.
pub(crate) trait Shape: Send + Sync {
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
