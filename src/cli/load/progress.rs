//! The progress of a load: a bar on a terminal that can draw one, else a line every few seconds.

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
/// The time before the first estimate, since an earlier rate is too inaccurate.
const FIRST_ESTIMATE: Duration = Duration::from_secs(1);
const BAR: &str = "{wide_bar} {percent:>3} %\n{msg}";

/// The progress of one file.
#[derive(Clone)]
pub(super) struct FileProgress {
    /// Bytes read from the file.
    pub(super) bytes: Arc<AtomicU64>,
    /// Rows passed to its stream.
    pub(super) rows: Arc<AtomicU64>,
    /// The bar of all files.
    bar: Option<ProgressBar>,
}

impl FileProgress {
    /// Resets the counts, for another try.
    pub(super) fn reset(&self) {
        self.bytes.store(0, Ordering::Relaxed);
        self.rows.store(0, Ordering::Relaxed);
    }

    /// Prints a message above the bar.
    pub(super) fn eprint(&self, message: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| eprint(message)),
            None => eprint(message),
        }
    }
}

/// The progress of all files.
pub(super) struct Progress {
    files: Vec<FileProgress>,
    /// The bytes of all files; `None` if one of them is a pipe.
    byte_count: Option<u64>,
    began: Instant,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Starts the progress of files of these sizes, in bytes, that count the bytes read from them.
    pub(super) fn new(files: impl Iterator<Item = (Option<u64>, Arc<AtomicU64>)> + Clone) -> Self {
        let byte_count = files.clone().map(|(size, _)| size).sum::<Option<u64>>();
        let target = ProgressDrawTarget::stderr();
        let bar = ProgressBar::with_draw_target(byte_count, target);
        let bar = match ProgressStyle::with_template(BAR) {
            Ok(style) => bar.with_style(style.progress_chars("━╸ ")),
            Err(_) => bar,
        };
        // Also hidden on a terminal that cannot move the cursor back (TERM=dumb).
        let bar = (!bar.is_hidden()).then_some(bar);
        Self {
            files: files
                .map(|(_, bytes)| FileProgress {
                    bytes,
                    rows: Arc::default(),
                    bar: bar.clone(),
                })
                .collect(),
            byte_count,
            began: Instant::now(),
            bar,
        }
    }

    /// Returns the progress of each file, in their order.
    pub(super) fn files(&self) -> &[FileProgress] {
        &self.files
    }

    /// Shows the progress for as long as it is polled.
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
                    let words = self.words(usize::MAX);
                    eprint(&match self.byte_count {
                        Some(all) => format!("{} %  {words}", self.bytes() * 100 / all.max(1)),
                        None => words,
                    });
                }
            }
        }
    }

    /// Removes the bar.
    pub(super) fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn bytes(&self) -> u64 {
        let bytes = self.files.iter().map(|file| &file.bytes);
        bytes.map(|bytes| bytes.load(Ordering::Relaxed)).sum()
    }

    /// Returns `12 seconds left, 250,000 rows/s, 1,234,567 rows, 12.34 MiB of 45.67 MiB`, without the parts that do not
    /// fit into `columns`.
    fn words(&self, columns: usize) -> String {
        let rows = self.files.iter().map(|file| &file.rows);
        let rows: u64 = rows.map(|rows| rows.load(Ordering::Relaxed)).sum();
        let (bytes, elapsed) = (self.bytes(), self.began.elapsed());
        let rate = per(rows, elapsed.as_millis(), 1000);
        let of = match self.byte_count {
            Some(all) => format!("{} of {}", HumanBytes(bytes), HumanBytes(all)),
            None => HumanBytes(bytes).to_string(),
        };
        let left = self.byte_count;
        let parts = [
            left.and_then(|all| time_left(bytes, all, elapsed)),
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

/// Estimates the remaining time from the speed so far; `None` while too little has been sent.
fn time_left(done: u64, all: u64, elapsed: Duration) -> Option<String> {
    if done == 0 || elapsed < FIRST_ESTIMATE {
        return None;
    }
    if done >= all {
        return Some("all files are read".to_owned());
    }
    let left = per(all - done, u128::from(done), elapsed.as_millis());
    // Rounded up, so that 0 seconds means the end.
    let left = Duration::from_secs(left.div_ceil(1000));
    Some(format!("{} left", HumanDuration(left)))
}

/// `count` × `factor` / `of`, in whole numbers.
fn per(count: u64, of: u128, factor: u128) -> u64 {
    u64::try_from(u128::from(count) * factor / of.max(1)).unwrap_or(u64::MAX)
}
