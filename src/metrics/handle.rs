//! The handle through which a server counts.

use std::fmt;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::history::History;
use super::registry::{Instruments, Reaping};
use super::stream::Stream;
use super::streams::StreamRegistry;

/// The metrics, streams, errors and history of one server. Clones share them.
///
/// Nothing here is called for a row: a batch, a chunk or a message costs a read of the clock and an addition.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

pub(super) struct Inner {
    pub(super) instruments: Arc<Instruments>,
    pub(super) streams: Mutex<StreamRegistry>,
    pub(super) history: Mutex<History>,
    is_draining: AtomicBool,
    started: Instant,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        #[cfg_attr(
            not(target_os = "linux"),
            expect(unused_mut, reason = "Linux has more metrics")
        )]
        let mut instruments = Instruments::new();
        #[cfg(target_os = "linux")]
        let collector = Box::new(super::process::ProcessCollector);
        #[cfg(target_os = "linux")]
        instruments.registry.register_collector(collector);
        Self(Arc::new(Inner {
            instruments: Arc::new(instruments),
            streams: Mutex::default(),
            history: Mutex::default(),
            is_draining: AtomicBool::new(false),
            started: Instant::now(),
        }))
    }
}

impl Metrics {
    pub(super) fn inner(&self) -> &Inner {
        &self.0
    }

    fn instruments(&self) -> &Instruments {
        &self.0.instruments
    }

    /// Makes a stream that waits for its first message.
    pub fn stream(&self) -> Arc<Stream> {
        Arc::new(Stream::new(Arc::clone(&self.0.instruments)))
    }

    /// Returns the time since the server started.
    pub fn uptime(&self) -> Duration {
        self.0.started.elapsed()
    }

    /// Counts an error returned to a caller, by its kind, which is from a closed set.
    pub fn count_error(&self, kind: &'static str) {
        let errors = &self.instruments().errors;
        errors.get_or_create(&[("kind", kind)]).inc();
    }

    /// Sets the end of the validity of the listener's certificate, in seconds since 1970.
    pub fn set_certificate_end(&self, seconds: i64) {
        self.instruments().certificate_end.set(seconds);
    }

    /// Counts a TLS handshake that failed.
    pub fn count_refused_handshake(&self) {
        self.instruments().handshakes_refused.inc();
    }

    /// Counts an action of the reaper.
    pub fn count_reaped(&self, reaping: Reaping, count: u64) {
        let reaped = &self.instruments().reaped;
        let label = [("action", reaping.name())];
        reaped.get_or_create(&label).inc_by(count);
    }

    /// Counts one more write as being published, until the guard is dropped.
    pub fn begin_publishing(&self) -> Publishing {
        self.instruments().publishing.inc();
        Publishing(self.clone())
    }

    /// Returns the number of writes that are being published.
    pub fn publishing_count(&self) -> u64 {
        u64::try_from(self.instruments().publishing.get()).unwrap_or(0)
    }

    /// Shows the publish methods, which are from a closed set, before the first write that uses them.
    pub fn show_publish_methods(&self, methods: impl Iterator<Item = &'static str>) {
        let seconds = &self.instruments().publish_seconds;
        methods.for_each(|method| drop(seconds.get_or_create(&[("way", method)])));
    }

    /// Records how long it took to publish a write, by the method, which is from a closed set.
    pub fn observe_publish(&self, way: &'static str, time: Duration) {
        let seconds = &self.instruments().publish_seconds;
        seconds
            .get_or_create(&[("way", way)])
            .observe(time.as_secs_f64());
    }

    /// Counts rows and bytes that are committed to their table, or staged and recorded.
    pub fn count_stored(&self, row_count: u64, byte_count: u64) {
        self.instruments().rows.commit.inc_by(row_count);
        self.instruments().bytes.commit.inc_by(byte_count);
    }

    /// Counts rows that have become visible in their table.
    pub fn count_published(&self, row_count: u64) {
        self.instruments().published_rows.inc_by(row_count);
    }

    /// Counts rows that a committed write has rejected.
    pub fn count_rejected(&self, row_count: u64) {
        self.instruments().rejected_rows.inc_by(row_count);
    }

    /// Counts rows that a write changed, by the names of its counts.
    pub fn count_changed(&self, counts: impl IntoIterator<Item = (&'static str, u64)>) {
        for (change, row_count) in counts {
            let changed = &self.instruments().changed_rows;
            changed
                .get_or_create(&[("change", change)])
                .inc_by(row_count);
        }
    }

    /// Marks the server as shutting down.
    pub fn set_draining(&self) {
        self.instruments().draining.set(1);
        self.0.is_draining.store(true, Ordering::Relaxed);
    }

    /// Whether the server is shutting down.
    pub fn is_draining(&self) -> bool {
        self.0.is_draining.load(Ordering::Relaxed)
    }
}

/// Counts a write as being published until it is dropped.
pub struct Publishing(Metrics);

impl Drop for Publishing {
    fn drop(&mut self) {
        self.0.instruments().publishing.dec();
    }
}
