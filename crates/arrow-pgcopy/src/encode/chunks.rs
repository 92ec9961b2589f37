//! The buffers of chunks, reused once their readers drop them.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

/// Buffers that are kept: those that a sink holds at a time, and one to write.
const REMEMBERED: usize = 4;

/// The buffers that the chunks of a stream are written into.
///
/// Making a new buffer takes twice as long as encoding into it: it is zeroed, and its pages are faulted in. So a
/// buffer is written over once all others have dropped its chunk.
#[derive(Debug)]
pub struct Chunks {
    target: usize,
    /// The whole buffers of the chunks handed out, the oldest first.
    given: VecDeque<Bytes>,
}

impl Chunks {
    /// Makes buffers for chunks of at most `target` bytes, or of one larger row.
    ///
    /// 64 KiB to 1 MiB work well with PostgreSQL. At most four buffers are kept.
    pub fn new(target: usize) -> Self {
        Self {
            target,
            given: VecDeque::with_capacity(REMEMBERED + 1),
        }
    }

    /// Returns the most bytes of a chunk.
    pub(crate) fn target(&self) -> usize {
        self.target
    }

    /// Returns a buffer of at least `bytes` and of the target size; its contents are unspecified.
    pub(crate) fn take(&mut self, bytes: usize) -> BytesMut {
        let bytes = bytes.max(self.target);
        match self.given.pop_front().map(Bytes::try_into_mut) {
            Some(Ok(buffer)) if buffer.len() >= bytes => buffer,
            Some(Err(in_use)) => {
                self.given.push_front(in_use);
                BytesMut::zeroed(bytes)
            }
            Some(Ok(_)) | None => BytesMut::zeroed(bytes),
        }
    }

    /// Hands out the first `bytes` of a buffer, and keeps the buffer for later.
    pub(crate) fn give(&mut self, buffer: BytesMut, bytes: usize) -> Bytes {
        let whole = buffer.freeze();
        let chunk = whole.slice(..bytes);
        if whole.len() == self.target {
            self.given.push_back(whole);
            if self.given.len() > REMEMBERED {
                self.given.pop_front();
            }
        }
        chunk
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_of_dropped_chunks_are_reused() {
        let mut chunks = Chunks::new(64);
        let mut next = |bytes| {
            let buffer = chunks.take(bytes);
            chunks.give(buffer, bytes)
        };
        let first = next(64);
        let place = first.as_ptr();
        let second = next(10);
        assert_ne!(second.as_ptr(), place);
        drop(first);
        assert_eq!(next(30).as_ptr(), place);
        assert_eq!(next(100).len(), 100, "a row larger than a chunk");
    }
}
