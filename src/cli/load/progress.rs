//! How far a load is: a bar on a terminal, a line now and then elsewhere.

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use indicatif::{
    HumanBytes, HumanCount, HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle,
};
use tokio::time::{Instant, sleep};

use crate::cli::complain;

const REDRAWN: Duration = Duration::from_millis(200);
const LINES_APART: Duration = Duration::from_secs(5);
const BAR: &str = "{bar:32} {percent:>3} %  {msg}";

/// How far one file is.
#[derive(Clone, Default)]
pub(super) struct FileProgress {
    /// Bytes of the file that were read.
    pub(super) bytes: Arc<AtomicU64>,
    /// Rows that were handed to its stream.
    pub(super) rows: Arc<AtomicU64>,
}

impl FileProgress {
    /// Begins again.
    pub(super) fn reset(&self) {
        self.bytes.store(0, Ordering::Relaxed);
        self.rows.store(0, Ordering::Relaxed);
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
        let bar = std::io::stderr().is_terminal().then(|| {
            let target = ProgressDrawTarget::stderr();
            let bar = ProgressBar::with_draw_target(Some(byte_count), target);
            match ProgressStyle::with_template(BAR) {
                Ok(style) => bar.with_style(style.progress_chars("━╸ ")),
                Err(_) => bar,
            }
        });
        Self {
            files: sizes.map(|_| FileProgress::default()).collect(),
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
                    bar.set_position(self.bytes());
                    bar.set_message(self.words());
                    sleep(REDRAWN).await;
                }
                None => {
                    sleep(LINES_APART).await;
                    let percent = self.bytes() * 100 / self.byte_count.max(1);
                    complain(&format!("{percent} %  {}", self.words()));
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

    /// `1,234,567 rows of 12.3 MiB read, 250,000 rows/s, 12 seconds left`.
    fn words(&self) -> String {
        let rows: u64 = self
            .files
            .iter()
            .map(|file| file.rows.load(Ordering::Relaxed))
            .sum();
        let (bytes, elapsed) = (self.bytes(), self.began.elapsed());
        let milliseconds = u64::try_from(elapsed.as_millis())
            .unwrap_or(u64::MAX)
            .max(1);
        let rate = rows.saturating_mul(1000) / milliseconds;
        let left = self.byte_count.saturating_sub(bytes);
        let left = match bytes {
            0 => String::new(),
            bytes => {
                let seconds = elapsed.as_secs().saturating_mul(left) / bytes;
                format!(", {} left", HumanDuration(Duration::from_secs(seconds)))
            }
        };
        format!(
            "{} rows, {} of {}, {} rows/s{left}",
            HumanCount(rows),
            HumanBytes(bytes),
            HumanBytes(self.byte_count),
            HumanCount(rate)
        )
    }
}
