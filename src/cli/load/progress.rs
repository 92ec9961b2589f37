//! How far a load is: a bar on a terminal that can draw one, a line now and then elsewhere.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use console::Term;
use indicatif::{
    HumanBytes, HumanCount, HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle,
};
use tokio::time::{Instant, sleep};

use crate::cli::eprint;

const REDRAWN: Duration = Duration::from_millis(200);
const LINES_APART: Duration = Duration::from_secs(5);
/// Sooner, a rate says nothing of the time that is left.
const FIRST_ESTIMATE: Duration = Duration::from_secs(1);
const BAR: &str = "{wide_bar} {percent:>3} %\n{msg}";

/// How far one file is.
#[derive(Clone, Default)]
pub(super) struct FileProgress {
    /// Bytes of the file that were read.
    pub(super) bytes: Arc<AtomicU64>,
    /// Rows that were handed to its stream.
    pub(super) rows: Arc<AtomicU64>,
    /// That of all files.
    bar: Option<ProgressBar>,
}

impl FileProgress {
    /// Begins again.
    pub(super) fn reset(&self) {
        self.bytes.store(0, Ordering::Relaxed);
        self.rows.store(0, Ordering::Relaxed);
    }

    /// Tells a person what went wrong, above the bar.
    pub(super) fn eprint(&self, message: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| eprint(message)),
            None => eprint(message),
        }
    }
}

/// How far all files are.
pub(super) struct Progress {
    files: Vec<FileProgress>,
    byte_count: u64,
    began: Instant,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Of files of these sizes.
    pub(super) fn new(sizes: impl Iterator<Item = u64> + Clone) -> Self {
        let byte_count = sizes.clone().sum();
        let target = ProgressDrawTarget::stderr();
        let bar = ProgressBar::with_draw_target(Some(byte_count), target);
        let bar = match ProgressStyle::with_template(BAR) {
            Ok(style) => bar.with_style(style.progress_chars("━╸ ")),
            Err(_) => bar,
        };
        // Nor can a terminal that cannot move back (TERM=dumb) show one.
        let bar = (!bar.is_hidden()).then_some(bar);
        Self {
            files: sizes
                .map(|_| FileProgress {
                    bar: bar.clone(),
                    ..FileProgress::default()
                })
                .collect(),
            byte_count,
            began: Instant::now(),
            bar,
        }
    }

    /// Each file's, in their order.
    pub(super) fn files(&self) -> &[FileProgress] {
        &self.files
    }

    /// Shows it for as long as it is polled.
    pub(super) async fn show(&self) {
        loop {
            match &self.bar {
                Some(bar) => {
                    let (_, columns) = Term::stderr().size();
                    bar.set_message(self.words(columns.into()));
                    bar.set_position(self.bytes());
                    sleep(REDRAWN).await;
                }
                None => {
                    sleep(LINES_APART).await;
                    let percent = self.bytes() * 100 / self.byte_count.max(1);
                    eprint(&format!("{percent} %  {}", self.words(usize::MAX)));
                }
            }
        }
    }

    /// Takes the bar away.
    pub(super) fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn bytes(&self) -> u64 {
        let bytes = self.files.iter().map(|file| &file.bytes);
        bytes.map(|bytes| bytes.load(Ordering::Relaxed)).sum()
    }

    /// `12 seconds left, 250,000 rows/s, 1,234,567 rows, 12.34 MiB of 45.67 MiB`, as much of it as fits into so
    /// many columns: half a number would be a wrong one.
    fn words(&self, columns: usize) -> String {
        let rows = self.files.iter().map(|file| &file.rows);
        let rows: u64 = rows.map(|rows| rows.load(Ordering::Relaxed)).sum();
        let (bytes, elapsed) = (self.bytes(), self.began.elapsed());
        let rate = per(rows, elapsed.as_millis(), 1000);
        let of = format!("{} of {}", HumanBytes(bytes), HumanBytes(self.byte_count));
        let parts = [
            time_left(bytes, self.byte_count, elapsed),
            Some(format!("{} rows/s", HumanCount(rate))),
            Some(format!("{} rows", HumanCount(rows))),
            Some(of),
        ];
        let mut words = String::new();
        for part in parts.into_iter().flatten() {
            let separator = if words.is_empty() { "" } else { ", " };
            if words.len() + separator.len() + part.len() > columns {
                break;
            }
            words.push_str(separator);
            words.push_str(&part);
        }
        words
    }
}

/// How long the rest will take at the speed of what was read so far, as far as that can be told.
fn time_left(done: u64, all: u64, elapsed: Duration) -> Option<String> {
    if done == 0 || elapsed < FIRST_ESTIMATE {
        return None;
    }
    if done >= all {
        return Some("all is read".to_owned());
    }
    let left = per(all - done, u128::from(done), elapsed.as_millis());
    // Rounded up: nothing is left when all is done.
    let left = Duration::from_secs(left.div_ceil(1000));
    Some(format!("{} left", HumanDuration(left)))
}

/// `count` × `factor` / `of`, in whole numbers.
fn per(count: u64, of: u128, factor: u128) -> u64 {
    u64::try_from(u128::from(count) * factor / of.max(1)).unwrap_or(u64::MAX)
}
