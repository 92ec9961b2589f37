//! The streams of this process: what each is doing and has done, and the last that ended.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;
use tracing::{Instrument, Span, field};

use super::activity::{Activity, SIDES, STAGES, Side};
use super::registry::{METRICS, index_of_side, index_of_stage};

/// How many streams that have ended are remembered, and how many errors.
const REMEMBERED: usize = 50;

/// One stream of rows: its clock, its counts, its spans.
///
/// It does one [`Activity`] at a time. Made when a DoPut comes, ended by [`ActiveStream`].
pub struct Stream {
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
    /// Until when time is accounted for.
    counted: Instant,
    sides: [Duration; SIDES.len()],
}

/// What a stream is about, as far as it is known yet.
#[derive(Debug, Clone, Default)]
struct About {
    target: String,
    write_id: String,
    partition_id: u32,
    attempt_id: String,
    table: String,
}

/// A stream as it stands.
#[derive(Debug, Clone)]
pub struct StreamView {
    /// The target, by its name in the configuration.
    pub target: String,
    /// The write it belongs to; empty until that is known.
    pub write_id: String,
    /// The partition it carries.
    pub partition_id: u32,
    /// The attempt; empty in a write of one stream.
    pub attempt_id: String,
    /// The table, quoted where SQL needs it; empty until that is known.
    pub table: String,
    /// Rows that PostgreSQL has taken.
    pub row_count: u64,
    /// Bytes of COPY that it has taken.
    pub byte_count: u64,
    /// What it is doing.
    pub activity: Activity,
    /// Since when it is doing that.
    pub activity_age: Duration,
    /// Since when it runs.
    pub age: Duration,
    /// Where its time went, in the order of [`SIDES`].
    pub sides: [Duration; SIDES.len()],
}

/// How a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Its rows are staged or committed.
    Succeeded,
    /// It was told an error.
    Failed,
    /// Its client left before it was told anything.
    Disconnected,
}

/// A stream that has ended.
#[derive(Debug, Clone)]
pub struct FinishedStream {
    /// As it was in the end.
    pub stream: StreamView,
    /// How it ended.
    pub outcome: Outcome,
    /// When.
    pub at: SystemTime,
}

/// An error that a caller was told: kinds, names and numbers, not its text, since that may repeat what a
/// trigger of somebody else's says.
#[derive(Debug, Clone)]
pub struct RecentError {
    /// When.
    pub at: SystemTime,
    /// The call: `DoPut`.
    pub call: &'static str,
    /// The kind: `UNAVAILABLE`.
    pub kind: &'static str,
    /// What PostgreSQL called it.
    pub sqlstate: String,
    /// The write.
    pub write_id: String,
    /// The table.
    pub table: String,
    /// The column.
    pub column: String,
    /// The partition.
    pub partition_id: Option<u32>,
}

#[derive(Default)]
struct StreamRegistry {
    next: u64,
    active: BTreeMap<u64, Arc<Stream>>,
    ended: VecDeque<FinishedStream>,
    recent_errors: VecDeque<RecentError>,
}

static STREAMS: LazyLock<Mutex<StreamRegistry>> = LazyLock::new(Mutex::default);

fn registry() -> MutexGuard<'static, StreamRegistry> {
    STREAMS.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Default for Stream {
    fn default() -> Self {
        let now = Instant::now();
        Self {
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
}

impl Stream {
    /// A stream that waits for its first message.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Puts it on the registry until the value is dropped.
    pub fn register(self: &Arc<Self>) -> ActiveStream {
        let mut registry = registry();
        let number = registry.next;
        registry.next += 1;
        registry.active.insert(number, Arc::clone(self));
        METRICS.streams_active.inc();
        ActiveStream {
            stream: Arc::clone(self),
            number,
            outcome: Outcome::Disconnected,
        }
    }

    /// The span of the whole stream, whose fields are filled when they are known.
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

    /// Says whose rows they are.
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

    /// Says to which database they go.
    pub fn set_target(&self, target: &str) {
        target.clone_into(&mut self.about().target);
    }

    /// Says to which table they go.
    pub fn set_table(&self, table: String) {
        self.about().table = table;
    }

    /// The partition, for whoever names a session after it.
    pub fn partition_id(&self) -> u32 {
        self.about().partition_id
    }

    /// Whether it is a write of its own that commits its rows at this moment.
    pub fn may_be_committed(&self) -> bool {
        let is_committing = self.clock().activity == Activity::Commit;
        is_committing && self.about().attempt_id.is_empty()
    }

    /// Begins to do something else; gives what was done before.
    pub fn enter(&self, activity: Activity) -> Activity {
        let now = Instant::now();
        let mut clock = self.clock();
        clock.account(now);
        clock.began = now;
        std::mem::replace(&mut clock.activity, activity)
    }

    /// Does something that takes no waiting, then what was done before.
    pub fn work<T>(&self, activity: Activity, work: impl FnOnce() -> T) -> T {
        let _guard = self.begin(activity);
        self.stage_span(activity).in_scope(work)
    }

    /// Waits for something, then does what was done before.
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

    /// One span for each stage, entered as often as the stage is.
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

    /// Counts a message that has come.
    pub fn received(&self, byte_count: usize) {
        METRICS.bytes.meter.inc_by(to_u64(byte_count));
    }

    /// Counts a batch that was decoded.
    pub fn decoded(&self, row_count: usize) {
        METRICS.rows.decode.inc_by(to_u64(row_count));
    }

    /// Counts a batch that was encoded.
    pub fn encoded(&self, row_count: usize) {
        METRICS.rows.encode.inc_by(to_u64(row_count));
    }

    /// Counts a chunk that was encoded and that PostgreSQL has taken.
    pub fn sent(&self, byte_count: usize) {
        let byte_count = to_u64(byte_count);
        METRICS.bytes.encode.inc_by(byte_count);
        METRICS.bytes.send.inc_by(byte_count);
        self.byte_count.fetch_add(byte_count, Ordering::Relaxed);
    }

    /// Counts a batch of which PostgreSQL has taken the last chunk.
    pub fn sent_batch(&self, row_count: usize) {
        let row_count = to_u64(row_count);
        METRICS.rows.send.inc_by(row_count);
        self.row_count.fetch_add(row_count, Ordering::Relaxed);
    }

    fn view(&self) -> StreamView {
        let about = self.about().clone();
        let now = Instant::now();
        let mut clock = self.clock();
        clock.account(now);
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
    /// Puts the time since the last time to the account of what was done meanwhile.
    fn account(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.counted);
        self.counted = now;
        let side = index_of_side(self.activity.side());
        self.sides[side] += elapsed;
        let seconds = elapsed.as_secs_f64();
        METRICS.side_seconds[side].inc_by(seconds);
        METRICS.stage_seconds[index_of_stage(self.activity.stage())].inc_by(seconds);
    }
}

/// Something a stream does for a while.
struct ActivityGuard<'a> {
    stream: &'a Stream,
    before: Activity,
}

impl Drop for ActivityGuard<'_> {
    fn drop(&mut self) {
        self.stream.enter(self.before);
    }
}

/// A stream on the registry. Dropped, it is taken off; unless [`ActiveStream::end`] was called, its client left.
pub struct ActiveStream {
    stream: Arc<Stream>,
    number: u64,
    outcome: Outcome,
}

impl ActiveStream {
    /// Says how it ended.
    pub fn end(mut self, outcome: Outcome) {
        self.outcome = outcome;
    }
}

impl Drop for ActiveStream {
    fn drop(&mut self) {
        let stream = self.stream.view();
        METRICS.streams_active.dec();
        METRICS.count_stream(self.outcome);
        let mut registry = registry();
        registry.active.remove(&self.number);
        let ended = FinishedStream {
            stream,
            outcome: self.outcome,
            at: SystemTime::now(),
        };
        remember(&mut registry.ended, ended);
    }
}

fn remember<T>(list: &mut VecDeque<T>, item: T) {
    if list.len() == REMEMBERED {
        list.pop_back();
    }
    list.push_front(item);
}

/// How many streams run.
pub fn active_count() -> usize {
    registry().active.len()
}

/// The streams that run, oldest first, at most so many. Their times are accounted for up to now.
pub fn active_streams(limit: usize) -> Vec<StreamView> {
    // Nobody may wait for a stream's clock while holding the registry.
    let streams: Vec<Arc<Stream>> = registry().active.values().take(limit).cloned().collect();
    streams.iter().map(|stream| stream.view()).collect()
}

/// Streams that have ended, the last one first.
pub fn ended_streams() -> Vec<FinishedStream> {
    registry().ended.iter().cloned().collect()
}

/// Keeps an error for those who look later.
pub fn remember_error(error: RecentError) {
    remember(&mut registry().recent_errors, error);
}

/// Errors that callers were told, the last one first.
pub fn recent_errors() -> Vec<RecentError> {
    registry().recent_errors.iter().cloned().collect()
}

impl Outcome {
    /// The value of the label `outcome`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Disconnected => "disconnected",
        }
    }
}

impl StreamView {
    /// The side that took most of its time.
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
