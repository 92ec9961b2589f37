//! What the tests share: a database of their own, the server as a process, a client.

mod certificates;
mod client;
mod database;
mod file;
mod monitor;
mod pooler;
mod process;

pub use certificates::Certificates;
pub use client::{
    Client, Put, Told, attempt, batch, client_process, end_record, json, path, write,
};
pub use database::{COPIES, COPYING, Cluster, Database, left_out};
pub use file::File;
pub use monitor::{get, metric, request, status};
pub use pooler::Pooler;
pub use process::Pgflight;

/// Asks again and again; fails when it takes implausibly long.
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
