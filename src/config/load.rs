//! From what was typed and what the file says to one configuration that holds together.
//!
//! A flag or its environment variable wins over the file, the file over the default. All problems are
//! found before any is told.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Spanned;

use super::file::File;
use super::problems::Problems;
use super::serve::{ExplicitOptions, Serve};
use super::target::{TargetConfig, default_target, targets};
use crate::auth::{
    Directory, GrantConfig, IdentityConfig, PrincipalConfig, TokenConfig, WriteMode,
};
use crate::error::{Error, Result, chain};
use crate::flight::{CallLimits, ServerConfig, TlsFiles};
use crate::telemetry::{LogFormat, check_filter};
use crate::write::{Budget, BudgetConfig, FanOut, ReaperConfig, heartbeat_interval};

/// Who calls with a token that was explicit by flag.
const ONLY_PRINCIPAL: &str = "client";
/// Room for three heartbeats, of which a driver sends one each second at most.
const MIN_DRIVER_TTL: Duration = Duration::from_secs(3);

/// All that a server is told, each part as the module takes it that it is for.
#[derive(Debug, Clone)]
pub struct Config {
    /// The listener.
    pub server: ServerConfig,
    /// Who may call, and what.
    pub identity: IdentityConfig,
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
    /// When a stream takes more connections, and how many.
    pub fan_out: FanOut,
}

/// What is logged, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    /// How lines look.
    pub format: LogFormat,
    /// A level or directives.
    pub filter: String,
    /// Whether PostgreSQL's DETAIL is told, which holds values of rows.
    pub show_detail: bool,
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
            show_detail: options.show_detail,
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
                stream_wait: options.copy_wait,
                max_connections: options.max_connections.into(),
                max_connections_per_peer: options.max_connections_per_peer.into(),
                drain_timeout: options.drain_timeout,
                heartbeat_interval: heartbeat_interval(options.driver_ttl),
            },
        };
        let identity = identity(&options, &file, &mut problems);
        if options.metrics_listen == Some(options.listen) && options.listen.port() != 0 {
            problems.add(format!(
                "--listen and --metrics-listen (in the file server.listen and metrics.listen) are both {}; \
                 give one of them another port",
                options.listen
            ));
        }
        if options.driver_ttl < MIN_DRIVER_TTL {
            problems.add(format!(
                "--driver-ttl (in the file writes.driver_ttl) is {}; it takes {} at least, since drivers send a \
                 heartbeat each second at most",
                humantime::format_duration(options.driver_ttl),
                humantime::format_duration(MIN_DRIVER_TTL)
            ));
        }
        problems.into_result()?;
        Ok(Self {
            server,
            identity,
            budget,
            reaper: ReaperConfig {
                interval: options.reaper_interval,
                write_ttl: options.write_ttl,
                prepared_ttl: options.prepared_ttl,
                driver_ttl: options.driver_ttl,
                retention: options.retention,
            },
            log,
            metrics_listen: options.metrics_listen,
            targets,
            default_target,
            fan_out: FanOut {
                lanes: options.fan_out.into(),
                after_bytes: options.fan_out_after.as_u64(),
            },
        })
    }

    /// What a server would be told that is started with this file and the environment.
    ///
    /// # Errors
    /// As [`Config::load`], and for what the environment says and cannot be read.
    pub fn load_file(path: &Path) -> Result<Self> {
        let mut options = Serve::default_options()?;
        options.config = Some(path.to_owned());
        Self::load(&options)
    }
}

/// Reads the file, if one is named.
pub(super) fn read(path: Option<&Path>) -> Result<(File, Problems)> {
    let Some(path) = path else {
        return Ok((File::default(), Problems::without_file()));
    };
    let bytes = std::fs::read(path).map_err(|error| {
        Error::invalid_command(format!("cannot read {}: {error}", path.display()))
    })?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let before = error
            .as_bytes()
            .iter()
            .take(error.utf8_error().valid_up_to());
        let line = before.filter(|byte| **byte == b'\n').count() + 1;
        let path = path.display();
        Error::invalid_command(format!(
            "{path}, line {line}: not UTF-8; save the file as UTF-8"
        ))
    })?;
    let mut problems = Problems::of_file(path, &text);
    let mut file = File::parse(&text, &mut problems);
    // What is beside the file is named without its folder.
    let folder = path.parent().unwrap_or(Path::new(""));
    for path in file.paths_mut() {
        *path.get_mut() = folder.join(path.get_ref());
    }
    for path in file.auth.paths_mut() {
        *path = folder.join(&*path);
    }
    Ok((file, problems))
}

/// Takes from the file what was not typed.
pub(super) fn fill(options: &mut Serve, file: &File) {
    fn put<T: Clone>(explicit: &ExplicitOptions, option: &str, value: &mut T, from_file: Option<T>) {
        if let Some(from_file) = from_file
            && !explicit.has(option)
        {
            *value = from_file;
        }
    }
    let explicit = &options.explicit;
    let path =
        |path: &Option<Spanned<PathBuf>>| Some(path.as_ref().map(|path| path.get_ref().clone()));
    let server = &file.server;
    put(
        explicit,
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
        put(explicit, option, value, path(from_file));
    }
    put(explicit, "insecure", &mut options.insecure, server.insecure);
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
            "pool_idle_timeout",
            &mut options.pool_idle_timeout,
            limits.pool_idle_timeout,
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
        (
            "driver_ttl",
            &mut options.driver_ttl,
            file.writes.driver_ttl,
        ),
        ("retention", &mut options.retention, file.writes.retention),
        (
            "reaper_interval",
            &mut options.reaper_interval,
            file.writes.reaper_interval,
        ),
    ] {
        put(explicit, option, value, from_file.map(|v| v.0));
    }
    for (option, value, from_file) in [
        (
            "max_copies",
            &mut options.max_copies,
            limits.max_copies.map(|v| v.0),
        ),
        ("fan_out", &mut options.fan_out, limits.fan_out.map(|v| v.0)),
    ] {
        put(explicit, option, value, from_file);
    }
    for (option, value, from_file) in [
        (
            "fan_out_after",
            &mut options.fan_out_after,
            limits.fan_out_after,
        ),
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
        put(explicit, option, value, from_file.map(|v| v.0));
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
        put(explicit, option, value, from_file.map(|v| v.0));
    }
    for (option, value, from_file) in [
        (
            "max_rows_per_stream",
            &mut options.max_rows_per_stream,
            limits.max_rows_per_stream,
        ),
        (
            "max_rows_per_write",
            &mut options.max_rows_per_write,
            limits.max_rows_per_write,
        ),
    ] {
        put(explicit, option, value, from_file.map(|v| Some(v.0)));
    }
    for (option, value, from_file) in [
        (
            "max_bytes_per_stream",
            &mut options.max_bytes_per_stream,
            limits.max_bytes_per_stream,
        ),
        (
            "max_bytes_per_write",
            &mut options.max_bytes_per_write,
            limits.max_bytes_per_write,
        ),
    ] {
        put(explicit, option, value, from_file.map(|v| Some(v.0)));
    }
    let max_expansion = limits.max_expansion.map(|v| v.0);
    put(
        explicit,
        "max_expansion",
        &mut options.max_expansion,
        max_expansion,
    );
    put(
        explicit,
        "log_format",
        &mut options.log_format,
        file.log.format,
    );
    put(explicit, "log", &mut options.log, file.log.filter.clone());
    put(
        explicit,
        "show_detail",
        &mut options.show_detail,
        file.log.show_detail,
    );
    let metrics_listen = file.metrics.listen.map(|v| Some(v.0));
    put(
        explicit,
        "metrics_listen",
        &mut options.metrics_listen,
        metrics_listen,
    );
}

/// The principals of the file, and the one that is known by flags alone.
fn identity(options: &Serve, file: &File, problems: &mut Problems) -> IdentityConfig {
    let mut principals: BTreeMap<String, PrincipalConfig> = BTreeMap::new();
    for (name, principal) in &file.principals {
        principals.insert(name.clone(), principal.get_ref().clone());
    }
    if !options.token_digest.is_empty() {
        let everything = GrantConfig {
            targets: vec!["*".to_owned()],
            tables: vec!["*.*".to_owned()],
            modes: WriteMode::ALL.to_vec(),
        };
        let client = PrincipalConfig {
            tokens: options
                .token_digest
                .iter()
                .cloned()
                .map(TokenConfig::Digest)
                .collect(),
            grants: vec![everything],
            ..PrincipalConfig::default()
        };
        if principals
            .insert(ONLY_PRINCIPAL.to_owned(), client)
            .is_some()
        {
            problems.add(format!(
                "--token-digest makes a principal {ONLY_PRINCIPAL:?}, and the file has one of that name"
            ));
        }
    }
    let identity = IdentityConfig {
        auth: file.auth.clone(),
        principals,
    };
    if let Err(found) = Directory::new(&identity) {
        for problem in found {
            let section = problem.principal.as_ref();
            match section.and_then(|name| file.principals.get(name)) {
                Some(principal) => problems.at(&principal.span(), problem.to_string()),
                None => problems.add(problem.to_string()),
            }
        }
    }
    identity
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
    let mut report = |text: String| match &span {
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
                report(chain(&error));
            }
            Some(files)
        }
        (Some(_), None) => {
            report("tls_cert needs the private key: add tls_key (--tls-key)".to_owned());
            None
        }
        (None, Some(_)) => {
            report("tls_key needs its certificate: add tls_cert (--tls-cert)".to_owned());
            None
        }
        (None, None) if options.tls_client_ca.is_some() => {
            report(
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
            report(format!(
                "--listen {} can be reached from other machines, and without TLS anybody in between \
                 reads and changes what is sent; give --tls-cert and --tls-key, or --insecure on a \
                 network that you trust (in the file: tls_cert, tls_key, insecure)",
                options.listen
            ));
            None
        }
    }
}
