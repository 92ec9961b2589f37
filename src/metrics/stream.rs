//! A stream: its clock, its counts and its spans.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tracing::{Instrument, Span, field};

use super::activity::{Activity, SIDES, STAGES, Side};
use super::registry::{Instruments, index_of_side, index_of_stage};

/// One stream of rows: its clock, its counts and its spans.
///
/// It does one [`Activity`] at a time. A DoPut makes it; dropping its [`ActiveStream`](super::ActiveStream) ends it.
pub struct Stream {
    instruments: Arc<Instruments>,
    clock: Mutex<Clock>,
    about: Mutex<About>,
    row_count: AtomicU64,
    byte_count: AtomicU64,
    span: OnceLock<Span>,
    spans: [OnceLock<Span>; STAGES.len()],
}

struct Clock {
    activity: Activity,
    /// When the activity began.
    began: Instant,
    /// The time up to which the sides are accounted for.
    counted: Instant,
    sides: [Duration; SIDES.len()],
}

/// The write and the table of a stream, as far as they are known yet.
#[derive(Debug, Clone, Default)]
struct About {
    target: String,
    write_id: String,
    partition_id: u32,
    attempt_id: String,
    table: String,
}

/// The state of a stream at a moment.
#[derive(Debug, Clone)]
pub struct StreamView {
    /// The target, by its name in the configuration.
    pub target: String,
    /// The write; empty until it is known.
    pub write_id: String,
    /// The partition.
    pub partition_id: u32,
    /// The attempt; empty in a write of one stream.
    pub attempt_id: String,
    /// The table, quoted where SQL needs it; empty until it is known.
    pub table: String,
    /// Rows that PostgreSQL has received.
    pub row_count: u64,
    /// Bytes of COPY that PostgreSQL has received.
    pub byte_count: u64,
    /// The current activity.
    pub activity: Activity,
    /// The time since the activity began.
    pub activity_age: Duration,
    /// The time since the stream began.
    pub age: Duration,
    /// Its time by side, in the order of [`SIDES`].
    pub sides: [Duration; SIDES.len()],
}

impl Stream {
    /// Makes a stream that waits for its first message.
    pub(super) fn new(instruments: Arc<Instruments>) -> Self {
        let now = Instant::now();
        Self {
            instruments,
            clock: Mutex::new(Clock {
                activity: Activity::Receive,
                began: now,
                counted: now,
                sides: Default::default(),
            }),
            about: Mutex::default(),
            row_count: AtomicU64::new(0),
            byte_count: AtomicU64::new(0),
            span: OnceLock::new(),
            spans: Default::default(),
        }
    }

    /// Records how long the stream waited for its turn to copy.
    pub fn observe_turn_wait(&self, time: Duration) {
        self.instruments
            .turn_wait_seconds
            .observe(time.as_secs_f64());
    }

    /// Adds the time up to now to the metrics.
    pub(super) fn account(&self) {
        self.clock().account(Instant::now(), &self.instruments);
    }

    /// Returns the span of the whole stream, whose fields are set when they are known.
    pub fn span(&self) -> &Span {
        self.span.get_or_init(|| {
            tracing::info_span!(
                "stream",
                write_id = field::Empty,
                partition = field::Empty,
                attempt = field::Empty,
                trace_id = field::Empty,
            )
        })
    }

    /// Sets the write, the partition and the attempt.
    pub fn identify(&self, write_id: &str, partition_id: u32, attempt_id: &str) {
        let span = self.span();
        span.record("write_id", write_id);
        span.record("partition", partition_id);
        if !attempt_id.is_empty() {
            span.record("attempt", attempt_id);
        }
        let mut about = self.about();
        write_id.clone_into(&mut about.write_id);
        about.partition_id = partition_id;
        attempt_id.clone_into(&mut about.attempt_id);
    }

    /// Sets the target.
    pub fn set_target(&self, target: &str) {
        target.clone_into(&mut self.about().target);
    }

    /// Sets the table.
    pub fn set_table(&self, table: String) {
        self.about().table = table;
    }

    /// Returns the partition, for the names of sessions.
    pub fn partition_id(&self) -> u32 {
        self.about().partition_id
    }

    /// Whether the stream is a write of its own that is committing its rows.
    pub fn may_be_committed(&self) -> bool {
        let is_committing = self.clock().activity == Activity::Commit;
        is_committing && self.about().attempt_id.is_empty()
    }

    /// Switches to an activity and returns the one before.
    pub fn enter(&self, activity: Activity) -> Activity {
        let now = Instant::now();
        let mut clock = self.clock();
        clock.account(now, &self.instruments);
        clock.began = now;
        std::mem::replace(&mut clock.activity, activity)
    }

    /// Runs `work` as an activity, then switches back.
    pub fn work<T>(&self, activity: Activity, work: impl FnOnce() -> T) -> T {
        let _guard = self.begin(activity);
        self.stage_span(activity).in_scope(work)
    }

    /// Awaits `future` as an activity, then switches back.
    pub async fn wait<F: Future>(&self, activity: Activity, future: F) -> F::Output {
        let _guard = self.begin(activity);
        let span = self.stage_span(activity).clone();
        future.instrument(span).await
    }

    fn begin(&self, activity: Activity) -> ActivityGuard<'_> {
        ActivityGuard {
            stream: self,
            before: self.enter(activity),
        }
    }

    /// Returns the span of the stage, which is entered every time the stage is.
    fn stage_span(&self, activity: Activity) -> &Span {
        let stage = activity.stage();
        self.spans[index_of_stage(stage)].get_or_init(|| {
            let parent = self.span().id();
            // A span's name is part of its call site.
            match activity {
                Activity::Receive | Activity::Memory => {
                    tracing::debug_span!(parent: parent, "meter")
                }
                Activity::Turn => tracing::debug_span!(parent: parent, "turn"),
                Activity::Open => tracing::debug_span!(parent: parent, "open"),
                Activity::Plan => tracing::debug_span!(parent: parent, "plan"),
                Activity::Gate => tracing::debug_span!(parent: parent, "gate"),
                Activity::Decode => tracing::debug_span!(parent: parent, "decode"),
                Activity::Encode => tracing::debug_span!(parent: parent, "encode"),
                Activity::Send => tracing::debug_span!(parent: parent, "send"),
                Activity::Commit => tracing::debug_span!(parent: parent, "commit"),
            }
        })
    }

    /// Counts a received message.
    pub fn received(&self, byte_count: usize) {
        self.instruments.bytes.meter.inc_by(to_u64(byte_count));
    }

    /// Counts a decoded batch.
    pub fn decoded(&self, row_count: usize) {
        self.instruments.rows.decode.inc_by(to_u64(row_count));
    }

    /// Counts an encoded batch.
    pub fn encoded(&self, row_count: usize) {
        self.instruments.rows.encode.inc_by(to_u64(row_count));
    }

    /// Counts an encoded chunk that PostgreSQL has received.
    pub fn sent(&self, byte_count: usize) {
        let byte_count = to_u64(byte_count);
        self.instruments.bytes.encode.inc_by(byte_count);
        self.instruments.bytes.send.inc_by(byte_count);
        self.byte_count.fetch_add(byte_count, Ordering::Relaxed);
    }

    /// Counts a batch whose last chunk PostgreSQL has received.
    pub fn sent_batch(&self, row_count: usize) {
        let row_count = to_u64(row_count);
        self.instruments.rows.send.inc_by(row_count);
        self.row_count.fetch_add(row_count, Ordering::Relaxed);
    }

    /// Returns the state of the stream now.
    pub(super) fn view(&self) -> StreamView {
        let about = self.about().clone();
        let now = Instant::now();
        let mut clock = self.clock();
        clock.account(now, &self.instruments);
        StreamView {
            target: about.target,
            write_id: about.write_id,
            partition_id: about.partition_id,
            attempt_id: about.attempt_id,
            table: about.table,
            row_count: self.row_count.load(Ordering::Relaxed),
            byte_count: self.byte_count.load(Ordering::Relaxed),
            activity: clock.activity,
            activity_age: now.saturating_duration_since(clock.began),
            age: clock.sides.iter().sum(),
            sides: clock.sides,
        }
    }

    fn clock(&self) -> MutexGuard<'_, Clock> {
        self.clock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn about(&self) -> MutexGuard<'_, About> {
        self.about.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock {
    /// Adds the time since the last call to the current activity.
    fn account(&mut self, now: Instant, instruments: &Instruments) {
        let elapsed = now.saturating_duration_since(self.counted);
        self.counted = now;
        let side = index_of_side(self.activity.side());
        self.sides[side] += elapsed;
        let seconds = elapsed.as_secs_f64();
        instruments.side_seconds[side].inc_by(seconds);
        instruments.stage_seconds[index_of_stage(self.activity.stage())].inc_by(seconds);
    }
}

/// An activity that ends when the guard is dropped; the stream then goes back to the one before.
struct ActivityGuard<'a> {
    stream: &'a Stream,
    before: Activity,
}

impl Drop for ActivityGuard<'_> {
    fn drop(&mut self) {
        self.stream.enter(self.before);
    }
}

impl StreamView {
    /// Returns the side that took most of its time.
    pub fn slow_side(&self) -> Option<Side> {
        let longest = SIDES
            .into_iter()
            .zip(self.sides)
            .max_by_key(|(_, time)| *time);
        longest
            .filter(|(_, time)| !time.is_zero())
            .map(|(side, _)| side)
    }
}

fn to_u64(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
