//! The buffers that chunks are written into, used again once the sink has let go of them.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

/// Chunks that are remembered: as many as a sink holds at a time, and one to write.
const REMEMBERED: usize = 4;

/// Where a stream's chunks are written.
///
/// A new buffer costs twice what encoding into it does: it is zeroed, and its pages are faulted in.
/// A chunk that everybody else has dropped is written over instead.
#[derive(Debug)]
pub struct Chunks {
    target: usize,
    /// Whole buffers of chunks that were given out, the oldest first.
    given: VecDeque<Bytes>,
}

impl Chunks {
    /// Chunks of at most `target` bytes, unless a row is larger on its own.
    ///
    /// 64 KiB to 1 MiB serve PostgreSQL well. At most four buffers are held on to.
    pub fn new(target: usize) -> Self {
        Self {
            target,
            given: VecDeque::with_capacity(REMEMBERED + 1),
        }
    }

    /// Bytes of a chunk.
    pub(super) fn target(&self) -> usize {
        self.target
    }

    /// A buffer of at least `bytes`, and of the target; what is in it is anything.
    pub(super) fn take(&mut self, bytes: usize) -> BytesMut {
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

    /// Gives out the beginning of a buffer.
    pub(super) fn give(&mut self, buffer: BytesMut, bytes: usize) -> Bytes {
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
    fn a_chunk_that_was_dropped_is_written_over_and_one_that_is_held_is_not() {
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
