//! Which buffers an array has, by its type.

use std::sync::Arc;

/// One array of a batch: the nodes of a batch are those of its columns, each followed by those of its
/// children.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    /// The column it belongs to, for messages.
    pub(super) column: Arc<str>,
    pub(super) layout: Layout,
}

/// The buffers of an array in their order (Arrow columnar format, "Buffer Listing for Each Layout").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// None.
    Null,
    /// Validity. Structs, lists of fixed size.
    Validity,
    /// Validity, values of so many bits.
    Fixed { bits: u64 },
    /// Validity, offsets of so many bytes. Lists and maps.
    Offsets { width: u64 },
    /// Validity, offsets of so many bytes, bytes.
    Bytes { width: u64 },
    /// Validity, views of 16 bytes, and as many buffers of bytes as the batch says.
    Views,
}
