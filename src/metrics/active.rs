//! The streams of a server: those that run, and the last finished ones.

use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::SystemTime;

use super::activity::Outcome;
use super::handle::Metrics;
use super::stream::{Stream, StreamView};
use super::streams::{FinishedStream, RecentError, StreamRegistry, remember};

/// A registered stream. Dropping it removes the stream from the registry; without [`ActiveStream::end`] the outcome is
/// [`Outcome::Disconnected`].
pub struct ActiveStream {
    metrics: Metrics,
    stream: Arc<Stream>,
    number: u64,
    outcome: Outcome,
}

impl ActiveStream {
    /// Ends the stream with an outcome.
    pub fn end(mut self, outcome: Outcome) {
        self.outcome = outcome;
    }
}

impl Drop for ActiveStream {
    fn drop(&mut self) {
        let stream = self.stream.view();
        let instruments = &self.metrics.inner().instruments;
        instruments.streams_active.dec();
        instruments.count_stream(self.outcome);
        let mut registry = self.metrics.registry();
        registry.active.remove(&self.number);
        let ended = FinishedStream {
            stream,
            outcome: self.outcome,
            at: SystemTime::now(),
        };
        remember(&mut registry.finished, ended);
    }
}

impl Metrics {
    /// Registers a stream until the guard is dropped.
    pub fn register(&self, stream: &Arc<Stream>) -> ActiveStream {
        let number = self.registry().add(Arc::clone(stream));
        self.inner().instruments.streams_active.inc();
        ActiveStream {
            metrics: self.clone(),
            stream: Arc::clone(stream),
            number,
            outcome: Outcome::Disconnected,
        }
    }

    fn registry(&self) -> MutexGuard<'_, StreamRegistry> {
        let streams = &self.inner().streams;
        streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the number of running streams.
    pub fn active_count(&self) -> usize {
        self.registry().active.len()
    }

    /// Returns at most `limit` running streams, oldest first, with their times up to now.
    pub fn active_streams(&self, limit: usize) -> Vec<StreamView> {
        let streams = self.first_streams(limit);
        streams.iter().map(|stream| stream.view()).collect()
    }

    /// Adds the time of the running streams up to now to the metrics.
    pub(super) fn account_streams(&self) {
        for stream in self.first_streams(usize::MAX) {
            stream.account();
        }
    }

    /// Collects streams first, so that the registry is not locked while a stream's clock is.
    fn first_streams(&self, limit: usize) -> Vec<Arc<Stream>> {
        let registry = self.registry();
        registry.active.values().take(limit).cloned().collect()
    }

    /// Returns the finished streams, the last one first.
    pub fn finished_streams(&self) -> Vec<FinishedStream> {
        self.registry().finished.iter().cloned().collect()
    }

    /// Keeps an error for the status page.
    pub fn remember_error(&self, error: RecentError) {
        remember(&mut self.registry().recent_errors, error);
    }

    /// Returns the errors that callers got, the last one first.
    pub fn recent_errors(&self) -> Vec<RecentError> {
        self.registry().recent_errors.iter().cloned().collect()
    }
}
