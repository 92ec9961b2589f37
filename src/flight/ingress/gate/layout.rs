//! The buffers of an array, by its type.

use std::sync::Arc;

/// One array of a batch. The nodes of a batch are those of its columns, each followed by its children.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    /// Its column, for errors.
    pub(super) column: Arc<str>,
    pub(super) layout: Layout,
}

/// The buffers of an array in their order (Arrow columnar format, "Buffer Listing for Each Layout").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// No buffers.
    Null,
    /// Validity: structs and lists of fixed size.
    Validity,
    /// Validity and values of `bits` bits.
    Fixed { bits: u64 },
    /// Validity and offsets of `width` bytes: lists and maps.
    Offsets { width: u64 },
    /// Validity, offsets of `width` bytes, and bytes.
    Bytes { width: u64 },
    /// Validity, views of 16 bytes, and the number of buffers of bytes that the batch declares.
    Views,
}
