//! The heartbeats of `load`, which keep its write open.

use std::time::Duration;

use pgflight::client::{Client, RemoteWrite};
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// The longest pause after a failed heartbeat.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// Sends heartbeats until it is dropped.
pub(super) struct Heartbeats(JoinHandle<()>);

impl Heartbeats {
    /// Starts sending, the first one at once.
    pub(super) fn start(client: &Client, write: &RemoteWrite, interval: Duration) -> Self {
        let (client, write) = (client.clone(), write.clone());
        Self(tokio::spawn(async move {
            loop {
                let pause = match client.heartbeat(&write).await {
                    Ok(()) => interval,
                    Err(_) => interval.min(AFTER_FAILURE),
                };
                sleep(pause).await;
            }
        }))
    }
}

impl Drop for Heartbeats {
    fn drop(&mut self) {
        self.0.abort();
    }
}
