//! The processes of a run: a database, and two servers on it, each behind its proxy.

use std::sync::Mutex;

use super::proxy::Proxy;
use super::support::{Database, Pgflight};

pub struct World {
    pub database: Database,
    pub replicas: [Replica; 2],
}

pub struct Replica {
    pub proxy: Proxy,
    url: String,
    process: Mutex<Option<Pgflight>>,
}

/// Short waits, so that a run that waits for a lock of a stopped server ends.
const OPTIONS: [&str; 6] = [
    "--lock-timeout",
    "2s",
    "--copy-wait",
    "2s",
    "--reaper-interval",
    "100ms",
];

impl World {
    pub async fn new() -> Self {
        let database = Database::new().await;
        let replicas = [
            Replica::new(&database.url).await,
            Replica::new(&database.url).await,
        ];
        for replica in &replicas {
            replica.start(None);
        }
        Self { database, replicas }
    }
}

impl Replica {
    async fn new(url: &str) -> Self {
        Self {
            proxy: Proxy::start().await,
            url: url.to_owned(),
            process: Mutex::new(None),
        }
    }

    /// Starts the server, to stop at a failpoint if one is named.
    pub fn start(&self, failpoint: Option<&str>) {
        let process = Pgflight::start_to_fail(&self.url, &OPTIONS, failpoint);
        self.proxy.point_at(&process.address);
        *self.process.lock().unwrap() = Some(process);
    }

    /// kill −9, and the end of all its connections.
    pub fn kill(&self) {
        drop(self.process.lock().unwrap().take());
        self.proxy.cut();
    }

    pub fn signal(&self, name: &str) {
        if let Some(process) = self.process.lock().unwrap().as_ref() {
            process.signal(name);
        }
    }

    /// Whether the server has stopped at its failpoint.
    pub fn has_failed(&self) -> bool {
        self.process
            .lock()
            .unwrap()
            .as_ref()
            .is_some_and(Pgflight::has_failed)
    }
}
