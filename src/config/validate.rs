//! From what was typed and what the file says to one configuration that holds together.
//!
//! A flag or its environment variable wins over the file, the file over the default. All problems are
//! found before any is told.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Spanned;

use super::args::{Cli, Command, Destination, Given, Postgres, Serve};
use super::file::{File, TargetFile};
use super::problems::Problems;
use crate::error::{Error, Result, chain};
use crate::flight::{CallLimits, ServerConfig, TlsFiles};
use crate::pg::{ConnectionConfig, PoolConfig, Timeouts};
use crate::telemetry::{LogFormat, check_filter};
use crate::write::{Budget, BudgetConfig, ReaperConfig};

/// The target of a server that was given one database by flags or environment.
const ONLY_TARGET: &str = "default";
/// A target's name stands in paths, messages and labels.
const MAX_TARGET_NAME: usize = 63;
/// Connections beside those that carry rows: for begin, commit, abort, status, the catalog and the
/// reaper.
const CONTROL_CONNECTIONS: usize = 4;

/// All that a server is told, each part as the module takes it that it is for.
#[derive(Debug, Clone)]
pub struct Config {
    /// The listener.
    pub server: ServerConfig,
    /// How the memory is shared.
    pub budget: BudgetConfig,
    /// When the reaper comes and what it takes.
    pub reaper: ReaperConfig,
    /// What is logged, and how.
    pub log: LogConfig,
    /// Where metrics are served, if at all.
    pub metrics_listen: Option<SocketAddr>,
    /// The databases, by name; at least one.
    pub targets: BTreeMap<String, TargetConfig>,
    /// The target of a write that names none; none when there are several and none was chosen.
    pub default_target: Option<String>,
}

/// What is logged, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    /// How lines look.
    pub format: LogFormat,
    /// A level or directives.
    pub filter: String,
}

/// A database to write to.
#[derive(Debug, Clone)]
pub struct TargetConfig {
    /// Where it is and who we are there.
    pub connection: ConnectionConfig,
    /// How many connections, and how long things may take there.
    pub pool: PoolConfig,
}

impl Config {
    /// Puts together what was typed and what the file says that it names.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidCommand`](crate::error::ErrorKind::InvalidCommand) with every problem, each on
    /// a line of its own and with its line in the file.
    pub fn load(options: &Serve) -> Result<Self> {
        let (mut file, mut problems) = read(options.config.as_deref())?;
        let mut options = options.clone();
        fill(&mut options, &file);
        let targets = targets(
            &options.postgres,
            Some(&options),
            &file.targets,
            &mut problems,
        );
        let default_target = default_target(&file, &mut problems);
        let log = LogConfig {
            format: options.log_format,
            filter: options.log.clone(),
        };
        if let Err(problem) = check_filter(&log.filter) {
            problems.add(format!(
                "--log (in the file log.filter) {:?} cannot be read: {problem}",
                log.filter
            ));
        }
        let max_copies = targets.values().map(|target| target.pool.max_copies);
        let budget = BudgetConfig {
            memory_limit: options.memory_limit.as_u64(),
            max_message_bytes: options.max_message_size.as_u64(),
            max_copies: max_copies.fold(0, |sum, count| sum + count as u64),
            max_connections: options.max_connections.into(),
        };
        if let Err(error) = Budget::new(&budget) {
            problems.add(error.to_string());
        }
        let server = ServerConfig {
            listen: options.listen,
            tls: tls_files(&options, &mut file, &mut problems),
            max_message_bytes: usize::try_from(options.max_message_size.as_u64())
                .unwrap_or(usize::MAX),
            max_connection_age: options.max_connection_age,
            limits: CallLimits {
                idle_timeout: options.idle_timeout,
                stream_timeout: options.stream_timeout,
                max_connections: options.max_connections.into(),
                max_connections_per_peer: options.max_connections_per_peer.into(),
                drain_timeout: options.drain_timeout,
            },
        };
        problems.into_result()?;
        Ok(Self {
            server,
            budget,
            reaper: ReaperConfig {
                interval: options.reaper_interval,
                write_ttl: options.write_ttl,
                prepared_ttl: options.prepared_ttl,
                retention: options.retention,
            },
            log,
            metrics_listen: options.metrics_listen,
            targets,
            default_target,
        })
    }

    /// What a server would be told that is started with this file and the environment.
    ///
    /// # Errors
    /// As [`Config::load`], and for what the environment says and cannot be read.
    pub fn load_file(path: &Path) -> Result<Self> {
        let arguments = [
            "pgflight".as_ref(),
            "serve".as_ref(),
            "--config".as_ref(),
            path.as_os_str(),
        ];
        let cli =
            Cli::read_from(arguments).map_err(|error| Error::invalid_command(error.to_string()))?;
        let Command::Serve(options) = cli.command else {
            return Err(Error::internal("`serve` is another command"));
        };
        Self::load(&options)
    }
}

/// The target that a command is about which is no server: the one that is named, else the default.
///
/// # Errors
/// As [`Config::load`], of what the file says about targets; [`ErrorKind::NotFound`] when there is no
/// such target.
///
/// [`ErrorKind::NotFound`]: crate::error::ErrorKind::NotFound
pub fn load_target(options: &Destination) -> Result<TargetConfig> {
    let (file, mut problems) = read(options.config.as_deref())?;
    let mut targets = targets(&options.postgres, None, &file.targets, &mut problems);
    let default = default_target(&file, &mut problems);
    problems.into_result()?;
    let names = || targets.keys().cloned().collect::<Vec<_>>().join(", ");
    let name = options.target.clone().or(default).ok_or_else(|| {
        let text = format!(
            "there are several targets; choose one by --target: {}",
            names()
        );
        Error::invalid_command(text)
    })?;
    let missing = format!("there is no target {name:?}; there are: {}", names());
    targets
        .remove(&name)
        .ok_or_else(|| Error::not_found(missing))
}

/// Reads the file, if one is named.
fn read(path: Option<&Path>) -> Result<(File, Problems)> {
    let Some(path) = path else {
        return Ok((File::default(), Problems::without_file()));
    };
    let text = std::fs::read_to_string(path).map_err(|error| {
        Error::invalid_command(format!("cannot read {}: {error}", path.display()))
    })?;
    let mut problems = Problems::of_file(path, &text);
    let mut file = File::parse(&text, &mut problems);
    // What is beside the file is named without its folder.
    let folder = path.parent().unwrap_or(Path::new(""));
    for path in file.paths_mut() {
        *path.get_mut() = folder.join(path.get_ref());
    }
    Ok((file, problems))
}

/// Takes from the file what was not typed.
fn fill(options: &mut Serve, file: &File) {
    fn put<T: Clone>(given: &Given, option: &str, value: &mut T, from_file: Option<T>) {
        if let Some(from_file) = from_file
            && !given.has(option)
        {
            *value = from_file;
        }
    }
    let given = &options.given;
    let path =
        |path: &Option<Spanned<PathBuf>>| Some(path.as_ref().map(|path| path.get_ref().clone()));
    let server = &file.server;
    put(
        given,
        "listen",
        &mut options.listen,
        server.listen.map(|v| v.0),
    );
    for (option, value, from_file) in [
        ("tls_cert", &mut options.tls_cert, &server.tls_cert),
        ("tls_key", &mut options.tls_key, &server.tls_key),
        (
            "tls_client_ca",
            &mut options.tls_client_ca,
            &server.tls_client_ca,
        ),
    ] {
        put(given, option, value, path(from_file));
    }
    put(given, "insecure", &mut options.insecure, server.insecure);
    let limits = &file.limits;
    for (option, value, from_file) in [
        (
            "max_connection_age",
            &mut options.max_connection_age,
            server.max_connection_age,
        ),
        (
            "drain_timeout",
            &mut options.drain_timeout,
            server.drain_timeout,
        ),
        ("copy_wait", &mut options.copy_wait, limits.copy_wait),
        (
            "copy_stall_timeout",
            &mut options.copy_stall_timeout,
            limits.copy_stall_timeout,
        ),
        (
            "lock_timeout",
            &mut options.postgres.lock_timeout,
            limits.lock_timeout,
        ),
        (
            "idle_timeout",
            &mut options.idle_timeout,
            limits.idle_timeout,
        ),
        (
            "stream_timeout",
            &mut options.stream_timeout,
            limits.stream_timeout,
        ),
        ("write_ttl", &mut options.write_ttl, file.writes.write_ttl),
        (
            "prepared_ttl",
            &mut options.prepared_ttl,
            file.writes.prepared_ttl,
        ),
        ("retention", &mut options.retention, file.writes.retention),
        (
            "reaper_interval",
            &mut options.reaper_interval,
            file.writes.reaper_interval,
        ),
    ] {
        put(given, option, value, from_file.map(|v| v.0));
    }
    put(
        given,
        "max_copies",
        &mut options.max_copies,
        limits.max_copies.map(|v| v.0),
    );
    for (option, value, from_file) in [
        (
            "max_message_size",
            &mut options.max_message_size,
            limits.max_message_size,
        ),
        (
            "memory_limit",
            &mut options.memory_limit,
            limits.memory_limit,
        ),
    ] {
        put(given, option, value, from_file.map(|v| v.0));
    }
    for (option, value, from_file) in [
        (
            "max_connections",
            &mut options.max_connections,
            limits.max_connections,
        ),
        (
            "max_connections_per_peer",
            &mut options.max_connections_per_peer,
            limits.max_connections_per_peer,
        ),
    ] {
        put(given, option, value, from_file.map(|v| v.0));
    }
    put(
        given,
        "log_format",
        &mut options.log_format,
        file.log.format,
    );
    put(given, "log", &mut options.log, file.log.filter.clone());
    let metrics_listen = file.metrics.listen.map(|v| Some(v.0));
    put(
        given,
        "metrics_listen",
        &mut options.metrics_listen,
        metrics_listen,
    );
}

/// The databases: those of the file, else the one of flags and environment.
fn targets(
    options: &Postgres,
    serve: Option<&Serve>,
    of_file: &BTreeMap<String, Spanned<TargetFile>>,
    problems: &mut Problems,
) -> BTreeMap<String, TargetConfig> {
    let mut targets = BTreeMap::new();
    if of_file.is_empty() {
        match ConnectionConfig::from_environment(&options.postgres) {
            Ok(connection) => {
                let pool = pool_config(options, serve, &TargetFile::default());
                targets.insert(ONLY_TARGET.to_owned(), TargetConfig { connection, pool });
            }
            Err(error) => problems.add(chain(&error)),
        }
        return targets;
    }
    let is_alone = of_file.len() == 1;
    if !is_alone && !options.postgres.is_empty() {
        problems.add(
            "--postgres (PGFLIGHT_POSTGRES) is for one database, and the file has several targets: \
             leave one of them out",
        );
    }
    for (name, target) in of_file {
        check_target_name(name, &target.span(), problems);
        let (span, target) = (target.span(), target.get_ref());
        let text = match (&target.postgres, is_alone && !options.postgres.is_empty()) {
            (_, true) => (span, options.postgres.as_str()),
            (Some(text), false) => (text.span(), text.get_ref().as_str()),
            (None, false) => {
                let example = "\"postgres://loader@db.example:5432/trips\"";
                let text =
                    format!("target {name} does not say where it is: add postgres = {example}");
                problems.at(&span, text);
                continue;
            }
        };
        // What PGHOST or PGPASSWORD says can be meant for one of several only.
        let connection = match is_alone {
            true => ConnectionConfig::from_environment(text.1),
            false => ConnectionConfig::parse(text.1, |name| {
                (name == "USER").then(|| std::env::var(name).ok()).flatten()
            }),
        };
        match connection {
            Ok(connection) => {
                let pool = pool_config(options, serve, target);
                targets.insert(name.clone(), TargetConfig { connection, pool });
            }
            Err(error) => problems.at(&text.0, format!("target {name}: {}", chain(&error))),
        }
    }
    targets
}

fn check_target_name(name: &str, span: &Range<usize>, problems: &mut Problems) {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if name.is_empty() || name.len() > MAX_TARGET_NAME || !name.chars().all(is_plain) {
        problems.at(
            span,
            format!(
                "target {name:?} has a name of other than 1 to {MAX_TARGET_NAME} ASCII letters, digits, \
                 _ and -"
            ),
        );
    }
}

/// A flag wins over the target's own, that over the section of limits, which is in the options already.
/// A command that is no server carries no rows and does not wait.
fn pool_config(options: &Postgres, serve: Option<&Serve>, target: &TargetFile) -> PoolConfig {
    let own = |option: &str| !serve.is_some_and(|serve| serve.given.has(option));
    let lock_timeout = target.lock_timeout.filter(|_| own("lock_timeout"));
    let lock_timeout = lock_timeout.map_or(options.lock_timeout, |time| time.0);
    let Some(serve) = serve else {
        return PoolConfig {
            max_copies: 1,
            control_connections: CONTROL_CONNECTIONS,
            timeouts: Timeouts {
                wait_timeout: Duration::ZERO,
                lock_timeout,
                stall_timeout: Duration::ZERO,
            },
        };
    };
    let max_copies = target.max_copies.filter(|_| own("max_copies"));
    let copy_wait = target.copy_wait.filter(|_| own("copy_wait"));
    let stall = target
        .copy_stall_timeout
        .filter(|_| own("copy_stall_timeout"));
    PoolConfig {
        max_copies: max_copies.map_or(serve.max_copies, |count| count.0).into(),
        control_connections: CONTROL_CONNECTIONS,
        timeouts: Timeouts {
            wait_timeout: copy_wait.map_or(serve.copy_wait, |time| time.0),
            lock_timeout,
            stall_timeout: stall.map_or(serve.copy_stall_timeout, |time| time.0),
        },
    }
}

fn default_target(file: &File, problems: &mut Problems) -> Option<String> {
    match (&file.server.default_target, file.targets.len()) {
        (Some(name), _) if file.targets.contains_key(name.get_ref()) => {
            Some(name.get_ref().clone())
        }
        (Some(name), _) => {
            let text = format!("there is no [targets.{}]", name.get_ref());
            problems.at(&name.span(), text);
            None
        }
        (None, 0) => Some(ONLY_TARGET.to_owned()),
        (None, 1) => file.targets.keys().next().cloned(),
        (None, _) => None,
    }
}

/// What TLS is made of. Without it, only this machine is listened to, unless told otherwise.
fn tls_files(options: &Serve, file: &mut File, problems: &mut Problems) -> Option<TlsFiles> {
    let span = file
        .server
        .tls_cert
        .as_ref()
        .or(file.server.tls_key.as_ref());
    let span = span
        .or(file.server.tls_client_ca.as_ref())
        .map(Spanned::span);
    let mut complain = |text: String| match &span {
        Some(span) => problems.at(span, text),
        None => problems.add(text),
    };
    match (&options.tls_cert, &options.tls_key) {
        (Some(certificate), Some(key)) => {
            let files = TlsFiles {
                certificate: certificate.clone(),
                key: key.clone(),
                client_authorities: options.tls_client_ca.clone(),
            };
            if let Err(error) = files.check() {
                complain(chain(&error));
            }
            Some(files)
        }
        (Some(_), None) => {
            complain("tls_cert needs the private key: add tls_key (--tls-key)".to_owned());
            None
        }
        (None, Some(_)) => {
            complain("tls_key needs its certificate: add tls_cert (--tls-cert)".to_owned());
            None
        }
        (None, None) if options.tls_client_ca.is_some() => {
            complain(
                "tls_client_ca needs a certificate of the server: add tls_cert and tls_key (--tls-cert, \
                 --tls-key)"
                    .to_owned(),
            );
            None
        }
        (None, None) if options.insecure || options.listen.ip().to_canonical().is_loopback() => {
            None
        }
        (None, None) => {
            complain(format!(
                "--listen {} can be reached from other machines, and without TLS anybody in between \
                 reads and changes what is sent; give --tls-cert and --tls-key, or --insecure on a \
                 network that you trust (in the file: tls_cert, tls_key, insecure)",
                options.listen
            ));
            None
        }
    }
}
