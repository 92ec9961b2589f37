//! The databases: where each is, who we are there, and what may be taken there.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use bytesize::ByteSize;
use toml::Spanned;

use super::args::{Destination, Postgres};
use super::file::{File, TargetFile};
use super::problems::Problems;
use super::serve::Serve;
use super::validate::{fill, read};
use super::value::{Number, Size};
use crate::auth::Volume;
use crate::error::{Error, Result, chain};
use crate::pg::{ConnectionConfig, PasswordSource, PoolConfig, Timeouts};
use crate::write::VolumeLimits;

/// The target of a server that was explicit one database by flags or environment.
const ONLY_TARGET: &str = "default";
/// A target's name stands in paths, messages and labels.
const MAX_TARGET_NAME: usize = 63;
/// Connections beside those that carry rows: for begin, commit, abort, status, the catalog and the
/// reaper.
const CONTROL_CONNECTIONS: usize = 4;
/// As the server's default: `pgflight writes --watch` runs long.
const COMMAND_IDLE: Duration = Duration::from_secs(300);
/// As long as a token of AWS's IAM is valid.
const PASSWORD_LIFETIME: Duration = Duration::from_secs(15 * 60);

/// A database to write to.
#[derive(Debug, Clone)]
pub struct TargetConfig {
    /// Where it is and who we are there.
    pub connection: ConnectionConfig,
    /// How many connections, and how long things may take there.
    pub pool: PoolConfig,
    /// How much may be written there.
    pub volume: VolumeLimits,
}

/// The targets with the limits that a server would have there: the one that is named, else all.
///
/// # Errors
/// As [`load_target`].
pub fn load_targets(options: &Destination) -> Result<BTreeMap<String, TargetConfig>> {
    let (file, mut problems) = read(options.config.as_deref())?;
    let mut serve = Serve::default_options()?;
    serve.postgres = options.postgres.clone();
    fill(&mut serve, &file);
    let mut all = targets(&serve.postgres, Some(&serve), &file.targets, &mut problems);
    problems.into_result()?;
    match &options.target {
        None => Ok(all),
        Some(name) => match all.remove_entry(name) {
            Some(found) => Ok(BTreeMap::from([found])),
            None => Err(no_target(name, &all)),
        },
    }
}

/// The target that a command is about which is no server: the one that is named, else the default.
///
/// # Errors
/// As [`Config::load`](super::Config::load), of what the file says about targets; [`ErrorKind::NotFound`] when there is no
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
    let found = targets.remove(&name);
    found.ok_or_else(|| no_target(&name, &targets))
}

fn no_target(name: &str, targets: &BTreeMap<String, TargetConfig>) -> Error {
    let names: Vec<&str> = targets.keys().map(String::as_str).collect();
    let names = names.join(", ");
    Error::not_found(format!("there is no target {name:?}; there are: {names}"))
}

/// The databases: those of the file, else the one of flags and environment.
pub(super) fn targets(
    options: &Postgres,
    serve: Option<&Serve>,
    of_file: &BTreeMap<String, Spanned<TargetFile>>,
    problems: &mut Problems,
) -> BTreeMap<String, TargetConfig> {
    let mut targets = BTreeMap::new();
    if of_file.is_empty() {
        match ConnectionConfig::from_environment(&options.postgres) {
            Ok(connection) => {
                let none = TargetFile::default();
                let config = TargetConfig {
                    connection,
                    pool: pool_config(options, serve, &none),
                    volume: volume(serve, &none),
                };
                check_volume(ONLY_TARGET, &config.volume, problems);
                targets.insert(ONLY_TARGET.to_owned(), config);
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
                let connection = complete(connection, name, target, problems);
                let config = TargetConfig {
                    connection,
                    pool: pool_config(options, serve, target),
                    volume: volume(serve, target),
                };
                check_volume(name, &config.volume, problems);
                targets.insert(name.clone(), config);
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
    let own = |option: &str| !serve.is_some_and(|serve| serve.explicit.has(option));
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
                idle_timeout: COMMAND_IDLE,
            },
        };
    };
    let max_copies = target.max_copies.filter(|_| own("max_copies"));
    let copy_wait = target.copy_wait.filter(|_| own("copy_wait"));
    let stall = target
        .copy_stall_timeout
        .filter(|_| own("copy_stall_timeout"));
    let idle = target
        .pool_idle_timeout
        .filter(|_| own("pool_idle_timeout"));
    PoolConfig {
        max_copies: max_copies.map_or(serve.max_copies, |count| count.0).into(),
        control_connections: CONTROL_CONNECTIONS,
        timeouts: Timeouts {
            wait_timeout: copy_wait.map_or(serve.copy_wait, |time| time.0),
            lock_timeout,
            stall_timeout: stall.map_or(serve.copy_stall_timeout, |time| time.0),
            idle_timeout: idle.map_or(serve.pool_idle_timeout, |time| time.0),
        },
    }
}

/// As [`pool_config`].
fn volume(serve: Option<&Serve>, target: &TargetFile) -> VolumeLimits {
    let Some(serve) = serve else {
        return VolumeLimits::default();
    };
    let own = |option: &str| !serve.explicit.has(option);
    let rows = |option: &str, of_target: Option<Number>, of_server: Option<u64>| {
        let of_target = of_target.filter(|_| own(option));
        of_target.map(|rows| rows.0).or(of_server)
    };
    let bytes = |option: &str, of_target: Option<Size>, of_server: Option<ByteSize>| {
        let of_target = of_target.filter(|_| own(option));
        of_target
            .map(|size| size.0)
            .or(of_server)
            .map(|size| size.as_u64())
    };
    let max_expansion = target.max_expansion.filter(|_| own("max_expansion"));
    VolumeLimits {
        most: Volume {
            max_rows_per_stream: rows(
                "max_rows_per_stream",
                target.max_rows_per_stream,
                serve.max_rows_per_stream,
            ),
            max_bytes_per_stream: bytes(
                "max_bytes_per_stream",
                target.max_bytes_per_stream,
                serve.max_bytes_per_stream,
            ),
            max_rows_per_write: rows(
                "max_rows_per_write",
                target.max_rows_per_write,
                serve.max_rows_per_write,
            ),
            max_bytes_per_write: bytes(
                "max_bytes_per_write",
                target.max_bytes_per_write,
                serve.max_bytes_per_write,
            ),
        },
        max_expansion: max_expansion
            .map_or(serve.max_expansion, |count| count.0)
            .into(),
    }
}

/// A size can be written as 0.
fn check_volume(name: &str, volume: &VolumeLimits, problems: &mut Problems) {
    for (option, most) in volume.most.options() {
        if most == Some(0) {
            problems.add(format!(
                "target {name}: {option} is 0, with which nothing is ever written"
            ));
        }
    }
}

pub(super) fn default_target(file: &File, problems: &mut Problems) -> Option<String> {
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

/// Adds to a connection what its text does not say: the password and the role.
fn complete(
    connection: ConnectionConfig,
    name: &str,
    target: &TargetFile,
    problems: &mut Problems,
) -> ConnectionConfig {
    let mut sources = Vec::new();
    if let Some(variable) = &target.password_env {
        let variable_name = variable.get_ref().clone();
        if std::env::var_os(&variable_name).is_none_or(|value| value.is_empty()) {
            let text =
                format!("target {name}: the environment variable {variable_name} is not set");
            problems.at(&variable.span(), text);
        }
        sources.push((variable.span(), PasswordSource::Environment(variable_name)));
    }
    if let Some(path) = &target.password_file {
        if let Err(error) = std::fs::read_to_string(path.get_ref()) {
            let file = path.get_ref().display();
            problems.at(
                &path.span(),
                format!("target {name}: cannot read {file}: {error}"),
            );
        }
        sources.push((path.span(), PasswordSource::File(path.get_ref().clone())));
    }
    let lifetime = target.password_lifetime.as_ref();
    if let Some(command) = &target.password_command {
        let arguments = command.get_ref().clone();
        if arguments.first().is_none_or(String::is_empty) {
            let text = format!(
                "target {name}: the password command is empty: write the program and its arguments, as in \
                 [\"/usr/bin/pass\", \"show\", \"db\"]"
            );
            problems.at(&command.span(), text);
        }
        let lifetime = lifetime.map_or(PASSWORD_LIFETIME, |time| time.get_ref().0);
        let source = PasswordSource::Command {
            arguments,
            lifetime,
        };
        sources.push((command.span(), source));
    } else if let Some(lifetime) = lifetime {
        let text =
            format!("target {name}: password_lifetime is for password_command, which is missing");
        problems.at(&lifetime.span(), text);
    }
    let in_text = target.postgres.is_some() && connection.has_password();
    let mut sources = sources.into_iter();
    let connection = match (sources.next(), sources.next()) {
        (None, _) => connection,
        (Some((_, source)), None) if !in_text => connection.with_password(source),
        (Some((span, _)), second) => {
            let span = second.map_or(span, |(span, _)| span);
            let text = format!(
                "target {name} has more than one password: keep one of password_env, password_file, \
                 password_command and the one in postgres or PGPASSWORD"
            );
            problems.at(&span, text);
            connection
        }
    };
    match &target.role {
        Some(role) => match connection.clone().with_role(role.get_ref()) {
            Ok(connection) => connection,
            Err(error) => {
                problems.at(&role.span(), format!("target {name}: its role: {error}"));
                connection
            }
        },
        None => connection,
    }
}
