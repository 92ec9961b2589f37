//! Shared by the tests: databases, the server as a process, and a client.

mod certificates;
mod client;
mod database;
mod file;
mod folder;
mod monitor;
mod pooler;
mod process;

pub use certificates::Certificates;
pub use client::{
    CallError, Client, Put, attempt, batch, client_process, end_record, json, path, write,
};
pub use database::{COPIES, COPYING, Cluster, Database, left_out};
pub use file::File;
pub use folder::{Folder, load, stderr, stdout};
pub use monitor::{get, metric, request, status};
pub use pooler::Pooler;
pub use process::Pgflight;

/// Waits until a condition holds; fails after an implausibly long time.
pub async fn wait_until(mut done: impl AsyncFnMut() -> bool, what: &str) {
    let limit = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while !done().await {
        assert!(
            std::time::Instant::now() < limit,
            "waited too long until {what}"
        );
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}
