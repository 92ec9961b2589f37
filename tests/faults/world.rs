//! The processes of a run: a database, and two servers on it, each behind its proxy.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use super::proxy::Proxy;
use super::support::{Cluster, Database, Pgflight};

pub struct World {
    pub database: Database,
    pub replicas: [Replica; 2],
    /// PostgreSQL itself, where it is to crash. Dropped last.
    cluster: Option<Arc<Cluster>>,
    crashes: AtomicU32,
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
    /// On the PostgreSQL of all tests.
    pub async fn new() -> Self {
        Self::on(Database::new().await, None).await
    }

    /// On a PostgreSQL of its own, which can crash.
    pub async fn with_cluster() -> Self {
        let cluster = Arc::new(Cluster::start());
        Self::on(Database::on(&cluster.url).await, Some(cluster)).await
    }

    async fn on(database: Database, cluster: Option<Arc<Cluster>>) -> Self {
        let replicas = [
            Replica::new(&database.url).await,
            Replica::new(&database.url).await,
        ];
        for replica in &replicas {
            replica.start(None);
        }
        Self {
            database,
            replicas,
            cluster,
            crashes: AtomicU32::new(0),
        }
    }

    /// Ends PostgreSQL without any warning and starts it again: what was not logged is gone.
    pub async fn crash(&self) {
        if let Some(cluster) = &self.cluster {
            self.crashes.fetch_add(1, Ordering::Relaxed);
            let cluster = Arc::clone(cluster);
            tokio::task::spawn_blocking(move || cluster.crash())
                .await
                .unwrap();
            self.database.reconnect().await;
        }
    }

    /// How often PostgreSQL has crashed.
    pub fn crashes(&self) -> u32 {
        self.crashes.load(Ordering::Relaxed)
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
        self.run(&[], failpoint);
    }

    pub fn start_with(&self, options: &[&str]) {
        self.run(options, None);
    }

    fn run(&self, options: &[&str], failpoint: Option<&str>) {
        let options = [&OPTIONS, options].concat();
        let process = Pgflight::start_to_fail(&self.url, &options, failpoint);
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
