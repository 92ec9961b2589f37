//! The server as a child process on its own port.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::client::Client;
use super::database::Database;
use super::wait_until;

/// A larger growth of memory means that the server kept rejected data.
const MAX_GROWTH: u64 = 100 << 20;

pub struct Pgflight {
    child: Child,
    pub address: String,
    /// The address of the monitoring port, if there is one.
    pub monitor: String,
    log: Arc<Mutex<Vec<String>>>,
    failed: Arc<AtomicBool>,
    panicked: Arc<AtomicBool>,
    /// Resident bytes when the server began to listen.
    first_memory: u64,
}

impl Pgflight {
    pub fn start(database: &Database) -> Self {
        Self::start_with(database, &[])
    }

    pub fn start_with(database: &Database, options: &[&str]) -> Self {
        Self::start_at(&database.url, options)
    }

    pub fn start_at(url: &str, options: &[&str]) -> Self {
        Self::start_to_fail(url, options, None)
    }

    /// Starts a server with a configuration file.
    pub fn start_with_file(file: &Path, options: &[&str]) -> Self {
        let options = [&["--config", file.to_str().unwrap()], options].concat();
        Self::start_at("", &options)
    }

    /// Starts a server with these environment variables.
    pub fn start_in(url: &str, variables: &[(&str, &str)], options: &[&str]) -> Self {
        let mut command = Self::command();
        command.envs(variables.iter().copied());
        Self::start_by(command, url, options, None)
    }

    /// Starts a server with a memory limit of the system (RLIMIT_DATA).
    pub fn start_below(database: &Database, bytes: u64, options: &[&str]) -> Self {
        Self::start_limited(database, &format!("--data={bytes}"), options)
    }

    /// Starts a server with a limit of the system, in the form of prlimit's options.
    pub fn start_limited(database: &Database, limit: &str, options: &[&str]) -> Self {
        let mut command = Command::new("prlimit");
        command.arg(limit).arg(env!("CARGO_BIN_EXE_pgflight"));
        Self::start_by(command, &database.url, options, None)
    }

    /// Starts a server that blocks at a failpoint.
    pub fn start_to_fail(url: &str, options: &[&str], failpoint: Option<&str>) -> Self {
        Self::start_by(Self::command(), url, options, failpoint)
    }

    fn start_by(
        mut command: Command,
        url: &str,
        options: &[&str],
        failpoint: Option<&str>,
    ) -> Self {
        let mut child = command
            .env("PGFLIGHT_FAILPOINT", failpoint.unwrap_or_default())
            .env("PGFLIGHT_POSTGRES", url)
            .args(["serve", "--listen", "127.0.0.1:0"])
            .args(options)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, receiver) = mpsc::channel();
        let log = Arc::new(Mutex::new(Vec::new()));
        let lines = Arc::clone(&log);
        let mut monitor = String::new();
        let failed = Arc::new(AtomicBool::new(false));
        let has_failed = Arc::clone(&failed);
        let panicked = Arc::new(AtomicBool::new(false));
        let has_panicked = Arc::clone(&panicked);
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                // cargo shows this output when the test fails.
                eprintln!("{line}");
                if line.starts_with("failpoint ") {
                    has_failed.store(true, Ordering::SeqCst);
                }
                if line.contains("panicked") {
                    has_panicked.store(true, Ordering::SeqCst);
                }
                if let Some((_, rest)) = line.split_once("status page are at http://") {
                    monitor = rest[..rest.find('/').unwrap()].to_owned();
                }
                if let Some((_, rest)) = line.split_once("listening on ") {
                    let end = rest.find([' ', '"']).unwrap_or(rest.len());
                    let _ = sender.send((rest[..end].to_owned(), monitor.clone()));
                }
                lines.lock().unwrap().push(line);
            }
        });
        let (address, monitor) = receiver
            .recv_timeout(Duration::from_secs(30))
            .expect("the server says where it listens");
        let mut server = Self {
            child,
            address,
            monitor,
            log,
            failed,
            panicked,
            first_memory: 0,
        };
        server.first_memory = server.memory("VmRSS");
        server
    }

    /// Returns the binary's command with an environment that names no PostgreSQL.
    pub fn command() -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pgflight"));
        for (name, _) in std::env::vars() {
            if name.starts_with("PG") {
                command.env_remove(name);
            }
        }
        command
    }

    /// Whether the server has reached its failpoint.
    pub fn has_failed(&self) -> bool {
        self.failed.load(Ordering::SeqCst)
    }

    /// Whether the server has logged a panic.
    pub fn has_panicked(&self) -> bool {
        self.panicked.load(Ordering::SeqCst)
    }

    /// The output so far. A line that the server has just written may still be on its way: see
    /// [`wait_for_line`](Self::wait_for_line).
    pub fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    /// Waits until a line of the output contains all `parts`, and returns it.
    pub async fn wait_for_line(&self, parts: &[&str]) -> String {
        let line = || {
            let mut log = self.log().into_iter();
            log.find(|line| parts.iter().all(|part| line.contains(part)))
        };
        let what = format!("a line has {parts:?}");
        wait_until(async || line().is_some(), &what).await;
        line().unwrap()
    }

    /// Reads a figure of `/proc/…/status`, in bytes.
    pub fn memory(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        let digits: String = line.chars().filter(char::is_ascii_digit).collect();
        digits.parse::<u64>().unwrap() * 1024
    }

    /// Returns the time that processors have spent on the server, whatever else they do.
    pub fn processor_time(&self) -> Duration {
        let tasks = format!("/proc/{}/task", self.child.id());
        let tasks = std::fs::read_dir(tasks).unwrap();
        let nanoseconds = tasks.filter_map(|task| {
            let text = std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
            text.split(' ').next()?.parse::<u64>().ok()
        });
        Duration::from_nanos(nanoseconds.sum())
    }

    /// Fails unless the server runs, serves clients, has not panicked, and uses about the memory that it had at first.
    pub async fn assert_unharmed(&self, what: &str) {
        assert!(!self.has_panicked(), "{what}");
        let mut health = HealthClient::new(self.client().await.channel);
        let answer = health.check(tonic_health::pb::HealthCheckRequest::default());
        let status = answer.await.expect(what).into_inner().status();
        assert_eq!(status, ServingStatus::Serving, "{what}");
        let more = self.memory("VmRSS").saturating_sub(self.first_memory);
        assert!(
            more < MAX_GROWTH,
            "{what}: {} MiB more are held",
            more >> 20
        );
    }

    pub async fn client(&self) -> Client {
        Client::connect(&self.address).await
    }

    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args([&format!("-{name}"), &pid])
                .status()
                .unwrap()
                .success()
        );
    }

    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        let end = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(
                Instant::now() < end,
                "the server still runs after {limit:?}"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Pgflight {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
