//! The writes that have streams at this server.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The writes whose streams are at this server, waiting for their turn or in progress.
#[derive(Debug, Clone, Default)]
pub(crate) struct Streaming(Arc<Mutex<HashMap<String, usize>>>);

/// Counts a stream of a write until it is dropped.
#[derive(Debug)]
pub(crate) struct StreamSign {
    streaming: Streaming,
    write_id: String,
}

impl Streaming {
    /// Counts a stream of a write until the returned sign is dropped.
    pub(crate) fn begin(&self, write_id: &str) -> StreamSign {
        *self.counts().entry(write_id.to_owned()).or_default() += 1;
        StreamSign {
            streaming: self.clone(),
            write_id: write_id.to_owned(),
        }
    }

    /// Returns the writes that have streams here.
    pub(crate) fn write_ids(&self) -> Vec<String> {
        self.counts().keys().cloned().collect()
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for StreamSign {
    fn drop(&mut self) {
        let mut counts = self.streaming.counts();
        if let Entry::Occupied(mut count) = counts.entry(std::mem::take(&mut self.write_id)) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Streaming;

    #[test]
    fn a_write_is_streaming_until_its_last_stream_ends() {
        let streaming = Streaming::default();
        let first = streaming.begin("a");
        let second = streaming.begin("a");
        let other = streaming.begin("b");
        drop(first);
        drop(other);
        assert_eq!(streaming.write_ids(), ["a"]);
        drop(second);
        assert!(streaming.write_ids().is_empty());
    }
}
