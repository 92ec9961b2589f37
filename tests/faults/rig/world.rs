//! The processes of a run: a database behind a proxy, and two servers on it, each behind its own.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use tokio_postgres::NoTls;

use super::proxy::Proxy;
use crate::support::{Cluster, Database, File, Pgflight, Pooler, wait_until};

pub struct World {
    pub database: Database,
    /// Between the servers and PostgreSQL.
    pub link: Proxy,
    pub replicas: [Replica; 2],
    /// Between the link and PostgreSQL, where there is one.
    pub pooler: Option<Pooler>,
    /// PostgreSQL itself, if the test crashes it. Dropped last.
    cluster: Option<Arc<Cluster>>,
    standby: Option<Cluster>,
    crashes: AtomicU32,
}

/// Splits a URL into user, address and database.
fn parts(url: &str) -> (&str, &str, &str) {
    let (user, rest) = url.split_once('@').unwrap();
    let (address, name) = rest.split_once('/').unwrap();
    (user, address, name)
}

/// Statements around the rows of a write. [`AROUND`] keeps which write ran them.
const STATEMENTS: &str = "[targets.db.statements]
    before = \"INSERT INTO around VALUES ('before')\"
    after = \"INSERT INTO around VALUES ('after')\"";

const AROUND: &str =
    "CREATE TABLE around (what text, session text DEFAULT current_setting('application_name'))";

pub struct Replica {
    pub proxy: Proxy,
    url: String,
    configuration: File,
    process: Mutex<Option<Pgflight>>,
}

/// Short timeouts, so that a run ends although it waits for a lock of a stopped server.
const OPTIONS: [&str; 6] = [
    "--lock-timeout",
    "2s",
    "--copy-wait",
    "2s",
    "--reaper-interval",
    "100ms",
];

/// A pool that the servers share, in which a connection has another client a moment later.
const POOLED: [&str; 4] = [
    "pool_mode = transaction",
    "default_pool_size = 12",
    "server_login_retry = 0",
    "server_idle_timeout = 2",
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

    /// Creates the world of [`World::with_cluster`], with pgbouncer in transaction mode in front of PostgreSQL, which
    /// has fewer connections than the servers may open. Returns `None` if the machine has no pgbouncer.
    pub async fn with_pooler() -> Option<Self> {
        let cluster = Arc::new(Cluster::start());
        let database = Database::on(&cluster.url).await;
        let (_, postgres, _) = parts(&database.url);
        let pooler = Pooler::start(postgres, &POOLED)?;
        let link = Proxy::start().await;
        link.point_at(&pooler.address);
        let (user, _, name) = parts(&database.url);
        let url = format!("{user}@{}/{name}", link.address);
        let mut world = Self::of(database, link, &url, Some(cluster)).await;
        world.pooler = Some(pooler);
        Some(world)
    }

    /// On a primary with a standby that every commit waits for, and which can take its place.
    pub async fn with_standby() -> Self {
        let primary = Arc::new(Cluster::start());
        let standby = primary.standby();
        let database = Database::on(&primary.url).await;
        database
            .execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
            .await;
        database.execute("SELECT pg_reload_conf()").await;
        // Later commits reach the standby. The database itself was created before.
        let made = database.text("SELECT pg_current_wal_lsn()").await;
        let synchronous = format!(
            "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync' AND replay_lsn >= '{made}'"
        );
        wait_until(
            async || database.text(&synchronous).await == "1",
            "the standby follows",
        )
        .await;
        let (user, address, name) = parts(&database.url);
        let (_, other, _) = parts(&standby.url);
        let url = format!("{user}@{address},{other}/{name}?target_session_attrs=read-write");
        let link = Proxy::start().await;
        let mut world = Self::of(database, link, &url, Some(primary)).await;
        world.standby = Some(standby);
        world
    }

    async fn on(database: Database, cluster: Option<Arc<Cluster>>) -> Self {
        let link = Proxy::start().await;
        let (user, address, name) = parts(&database.url);
        link.point_at(address);
        let url = format!("{user}@{}/{name}", link.address);
        Self::of(database, link, &url, cluster).await
    }

    async fn of(database: Database, link: Proxy, url: &str, cluster: Option<Arc<Cluster>>) -> Self {
        database.execute(AROUND).await;
        let replicas = [Replica::new(url).await, Replica::new(url).await];
        for replica in &replicas {
            replica.start(None);
        }
        Self {
            database,
            link,
            replicas,
            pooler: None,
            cluster,
            standby: None,
            crashes: AtomicU32::new(0),
        }
    }

    /// Ends the primary without warning and promotes the standby.
    pub async fn fail_over(&self) {
        let (Some(primary), Some(standby)) = (&self.cluster, &self.standby) else {
            return;
        };
        self.crashes.fetch_add(1, Ordering::Relaxed);
        let primary = Arc::clone(primary);
        tokio::task::spawn_blocking(move || primary.halt())
            .await
            .unwrap();
        self.database.move_to(&standby.url).await;
        self.database.execute("SELECT pg_promote()").await;
        // It has no standby of its own to wait for.
        self.database
            .execute("ALTER SYSTEM RESET synchronous_standby_names")
            .await;
        self.database.execute("SELECT pg_reload_conf()").await;
    }

    /// Ends PostgreSQL without warning and starts it again: unlogged tables are empty then.
    pub async fn crash(&self) {
        if let Some(cluster) = &self.cluster {
            self.crashes.fetch_add(1, Ordering::Relaxed);
            let cluster = Arc::clone(cluster);
            tokio::task::spawn_blocking(move || cluster.crash())
                .await
                .unwrap();
            self.database.reconnect().await;
        }
        self.wait_for_pooler().await;
    }

    /// Waits until a pooler notices that PostgreSQL is back: before that, a server does not start.
    pub async fn wait_for_pooler(&self) {
        let Some(pooler) = &self.pooler else { return };
        let (user, _, name) = parts(&self.database.url);
        let url = format!("{user}@{}/{name}", pooler.address);
        let answers = async || match tokio_postgres::connect(&url, NoTls).await {
            Ok((client, connection)) => {
                tokio::spawn(connection);
                client.batch_execute("SELECT").await.is_ok()
            }
            Err(_) => false,
        };
        wait_until(answers, "the pooler has found PostgreSQL again").await;
    }

    /// Returns how often PostgreSQL has crashed or failed over.
    pub fn crashes(&self) -> u32 {
        self.crashes.load(Ordering::Relaxed)
    }
}

impl Replica {
    async fn new(url: &str) -> Self {
        Self {
            proxy: Proxy::start().await,
            url: url.to_owned(),
            configuration: File::new(STATEMENTS),
            process: Mutex::new(None),
        }
    }

    /// Starts the server, which stops at the failpoint if one is given.
    pub fn start(&self, failpoint: Option<&str>) {
        self.run(&[], failpoint);
    }

    pub fn start_with(&self, options: &[&str]) {
        self.run(options, None);
    }

    fn run(&self, options: &[&str], failpoint: Option<&str>) {
        let configuration = ["--config", self.configuration.name()];
        let options = [OPTIONS.as_slice(), &configuration, options].concat();
        let process = Pgflight::start_to_fail(&self.url, &options, failpoint);
        self.proxy.point_at(&process.address);
        *self.process.lock().unwrap() = Some(process);
    }

    /// Ends the server by kill −9, and all its connections.
    pub fn kill(&self) {
        drop(self.process.lock().unwrap().take());
        self.proxy.cut();
    }

    pub fn signal(&self, name: &str) {
        if let Some(process) = self.process.lock().unwrap().as_ref() {
            process.signal(name);
        }
    }

    /// Returns whether the server has stopped at its failpoint.
    pub fn has_failed(&self) -> bool {
        self.process
            .lock()
            .unwrap()
            .as_ref()
            .is_some_and(Pgflight::has_failed)
    }

    /// Returns the log of the server since it started.
    pub fn log(&self) -> Vec<String> {
        let process = self.process.lock().unwrap();
        process.as_ref().map(Pgflight::log).unwrap_or_default()
    }

    /// Returns whether the server has logged a panic.
    pub fn has_panicked(&self) -> bool {
        self.process
            .lock()
            .unwrap()
            .as_ref()
            .is_some_and(Pgflight::has_panicked)
    }
}
