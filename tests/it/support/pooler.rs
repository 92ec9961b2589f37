//! pgbouncer between a server and PostgreSQL.

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::left_out;

/// A pgbouncer for one test, on its own port.
pub struct Pooler {
    pub address: String,
    child: Child,
    folder: PathBuf,
}

/// System users that pgbouncer may run as, since it does not run as root.
const USERS: [&str; 2] = ["postgres", "daemon"];

impl Pooler {
    /// Starts one in front of the PostgreSQL at this address, with settings each as `name = value`. Returns `None` and
    /// reports it if the machine has no pgbouncer.
    pub fn start(postgres: &str, settings: &[&str]) -> Option<Self> {
        let Some(program) = program() else {
            left_out("this machine has no pgbouncer");
            return None;
        };
        let folder = std::env::temp_dir().join(format!("pgflight-pooler-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&folder).unwrap();
        std::fs::set_permissions(&folder, PermissionsExt::from_mode(0o777)).unwrap();
        // Another process may take the port before pgbouncer listens.
        for _ in 0..5 {
            let port = free_port();
            let child = run(&program, &folder, postgres, port, settings);
            let mut pooler = Self {
                address: format!("127.0.0.1:{port}"),
                child,
                folder: folder.clone(),
            };
            if pooler.listens() {
                return Some(pooler);
            }
            pooler.folder = PathBuf::new();
        }
        panic!(
            "pgbouncer does not start; its log is in {}",
            folder.display()
        );
    }

    fn listens(&mut self) -> bool {
        let end = Instant::now() + Duration::from_secs(10);
        while Instant::now() < end && self.child.try_wait().unwrap().is_none() {
            if std::net::TcpStream::connect(&self.address).is_ok() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        false
    }

    /// The output of pgbouncer so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn program() -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    let folders = path.split(':').chain(["/usr/sbin"]);
    folders
        .map(|folder| Path::new(folder).join("pgbouncer"))
        .find(|program| program.exists())
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

fn run(program: &Path, folder: &Path, postgres: &str, port: u16, settings: &[&str]) -> Child {
    let (host, server_port) = postgres.rsplit_once(':').unwrap();
    let users = folder.join("users");
    // Every listed role may log in.
    let roles = ["postgres", "loader"].map(|role| format!("\"{role}\" \"\"\n"));
    std::fs::write(&users, roles.concat()).unwrap();
    let mut text = format!(
        "[databases]\n* = host={host} port={server_port}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
         listen_port = {port}\nunix_socket_dir =\nauth_type = trust\nauth_file = {}\nmax_client_conn = 500\n\
         logfile = {}\n",
        users.display(),
        folder.join("log").display()
    );
    for setting in settings {
        writeln!(text, "{setting}").unwrap();
    }
    let configuration = folder.join("pgbouncer.ini");
    std::fs::write(&configuration, text).unwrap();
    let mut command = Command::new(program);
    if is_root() {
        let user = USERS.into_iter().find(|user| has_user(user));
        command.args(["--user", user.expect("a user to run pgbouncer as")]);
    }
    command.arg("--quiet").arg(&configuration);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap()
}

fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output().unwrap();
    output.stdout == b"0\n"
}

fn has_user(name: &str) -> bool {
    let output = Command::new("id").arg(name).output().unwrap();
    output.status.success()
}
