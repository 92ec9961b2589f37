//! `[targets.NAME]`: the databases, with their passwords, roles and limits.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use super::limits::{CONTROL_CONNECTIONS, LimitOptions};
use crate::config::problems::Problems;
use crate::config::value::{Count, Located, Number, Size, Time};
use crate::error::{Error, Result};
use crate::pg::{ConnectionConfig, PasswordSource, PoolConfig, Timeouts};
use crate::write::{Statements, VolumeLimits};

/// The name of the only target of a server without a file.
pub(in crate::config) const ONLY_TARGET: &str = "default";
/// The length limit of a target's name, which stands in paths, messages and labels.
const MAX_TARGET_NAME: usize = 63;
/// The idle time of a command's connections, as long as a server's by default: `pgflight writes --watch` runs long.
const COMMAND_IDLE: Duration = Duration::from_secs(300);
/// The lifetime of an IAM token of AWS.
const PASSWORD_LIFETIME: Duration = Duration::from_secs(15 * 60);

/// A database to write to.
#[derive(Debug, Clone)]
pub struct TargetConfig {
    /// Its address and credentials.
    pub connection: ConnectionConfig,
    /// The number of connections and their timeouts.
    pub pool: PoolConfig,
    /// The limits of streams and writes.
    pub volume: VolumeLimits,
    /// The statements that writes may name.
    pub statements: Statements,
}

/// The section of a target.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct TargetOptions {
    postgres: Option<Located<String>>,
    password_env: Option<Located<String>>,
    password_file: Option<Located<PathBuf>>,
    password_command: Option<Located<Vec<String>>>,
    password_lifetime: Option<Located<Time>>,
    role: Option<Located<String>>,
    max_copies: Option<Count<1000>>,
    copy_wait: Option<Time>,
    copy_stall_timeout: Option<Time>,
    max_transactions: Option<Count<1000>>,
    transaction_idle_timeout: Option<Time>,
    pool_idle_timeout: Option<Time>,
    lock_timeout: Option<Time>,
    max_rows_per_stream: Option<Number>,
    max_bytes_per_stream: Option<Size>,
    max_rows_per_write: Option<Number>,
    max_bytes_per_write: Option<Size>,
    max_expansion: Option<Count<{ u16::MAX }>>,
    statements: BTreeMap<String, Located<String>>,
}

/// The limits that apply to all targets.
#[derive(Clone, Copy)]
pub(in crate::config) enum CommonLimits<'a> {
    /// The limits of a server. Explicit options win over the target's own.
    Server {
        explicit: &'a LimitOptions,
        effective: &'a LimitOptions,
    },
    /// The limits of a command that carries no rows and waits for no turn.
    Command { lock_timeout: Duration },
}

impl CommonLimits<'_> {
    fn of_target(self, target: &TargetOptions) -> Result<(PoolConfig, VolumeLimits)> {
        match self {
            Self::Server {
                explicit,
                effective,
            } => {
                let limits = explicit.clone().or(target.limits()).or(effective.clone());
                Ok((limits.pool()?, limits.volume()?))
            }
            Self::Command { lock_timeout } => {
                let pool = PoolConfig {
                    max_copies: 1,
                    control_connections: CONTROL_CONNECTIONS,
                    max_transactions: 1,
                    timeouts: Timeouts {
                        wait_timeout: Duration::ZERO,
                        lock_timeout: target.lock_timeout.map_or(lock_timeout, |time| time.0),
                        stall_timeout: Duration::ZERO,
                        idle_timeout: COMMAND_IDLE,
                        transaction_idle: COMMAND_IDLE,
                    },
                };
                Ok((pool, VolumeLimits::default()))
            }
        }
    }
}

/// Builds the targets of the file, or else the one of flags and environment, whose connection text is `postgres`.
pub(in crate::config) fn build(
    postgres: &str,
    limits: CommonLimits<'_>,
    of_file: &BTreeMap<String, Spanned<TargetOptions>>,
    problems: &mut Problems,
) -> Result<BTreeMap<String, TargetConfig>> {
    let mut targets = BTreeMap::new();
    if of_file.is_empty() {
        match ConnectionConfig::from_environment(postgres) {
            Ok(connection) => {
                let none = TargetOptions::default();
                let target = none.build(ONLY_TARGET, connection, limits, problems)?;
                targets.insert(ONLY_TARGET.to_owned(), target);
            }
            Err(error) => problems.add(error),
        }
        return Ok(targets);
    }
    let is_alone = of_file.len() == 1;
    if !is_alone && !postgres.is_empty() {
        problems.add(
            Error::invalid_command(
                "--postgres (PGFLIGHT_POSTGRES) is for one target, and the file has several",
            )
            .with_hint("leave one of them out"),
        );
    }
    for (name, target) in of_file {
        let (span, target) = (target.span(), target.get_ref());
        check_name(name, &span, problems);
        let (span, connection) = match &target.postgres {
            _ if is_alone && !postgres.is_empty() => {
                (span, ConnectionConfig::from_environment(postgres))
            }
            Some(text) => {
                let connection = connection(&text.value, is_alone);
                (text.span.clone().unwrap_or(span), connection)
            }
            None => {
                let message = format!("target {name} has no postgres");
                let hint = "add postgres = \"postgres://loader@db.example:5432/trips\"";
                problems.at(&span, Error::invalid_command(message).with_hint(hint));
                continue;
            }
        };
        match connection {
            Ok(connection) => {
                let connection = target.complete(connection, name, problems);
                let target = target.build(name, connection, limits, problems)?;
                targets.insert(name.clone(), target);
            }
            Err(error) => problems.at(&span, error.caused(format!("target {name}"))),
        }
    }
    Ok(targets)
}

/// Parses a connection text. libpq's variables complete that of a single target; with several it would be unclear which
/// target they are for.
fn connection(text: &str, is_alone: bool) -> Result<ConnectionConfig> {
    if is_alone {
        return ConnectionConfig::from_environment(text);
    }
    ConnectionConfig::parse(text, |name| {
        (name == "USER").then(|| std::env::var(name).ok()).flatten()
    })
}

fn check_name(name: &str, span: &Range<usize>, problems: &mut Problems) {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if name.is_empty() || name.len() > MAX_TARGET_NAME || !name.chars().all(is_plain) {
        let message = format!("target {name:?} has an invalid name");
        let hint = format!("use 1 to {MAX_TARGET_NAME} ASCII letters, digits, _ and -");
        problems.at(span, Error::invalid_command(message).with_hint(hint));
    }
}

impl TargetOptions {
    /// Returns the file that the section names.
    pub(in crate::config) fn path_mut(&mut self) -> Option<&mut PathBuf> {
        self.password_file.as_mut().map(|path| &mut path.value)
    }

    fn limits(&self) -> LimitOptions {
        LimitOptions {
            max_copies: self.max_copies,
            copy_wait: self.copy_wait,
            copy_stall_timeout: self.copy_stall_timeout,
            max_transactions: self.max_transactions,
            transaction_idle_timeout: self.transaction_idle_timeout,
            pool_idle_timeout: self.pool_idle_timeout,
            lock_timeout: self.lock_timeout,
            max_rows_per_stream: self.max_rows_per_stream,
            max_bytes_per_stream: self.max_bytes_per_stream,
            max_rows_per_write: self.max_rows_per_write,
            max_bytes_per_write: self.max_bytes_per_write,
            max_expansion: self.max_expansion,
            ..LimitOptions::default()
        }
    }

    fn build(
        &self,
        name: &str,
        connection: ConnectionConfig,
        limits: CommonLimits<'_>,
        problems: &mut Problems,
    ) -> Result<TargetConfig> {
        let (pool, volume) = limits.of_target(self)?;
        for (option, limit) in volume.most.options() {
            // A size can be written as 0.
            if limit == Some(0) {
                let message = format!("target {name}: {option} is not greater than 0");
                problems.add(Error::invalid_command(message));
            }
        }
        Ok(TargetConfig {
            connection,
            pool,
            volume,
            statements: self.statements(name, problems),
        })
    }

    fn statements(&self, target: &str, problems: &mut Problems) -> Statements {
        for (name, text) in &self.statements {
            if let Err(error) = Statements::check_text(name, &text.value) {
                problems.add_at(text.span.as_ref(), error.caused(format!("target {target}")));
            }
        }
        let texts = self.statements.iter();
        Statements::new(
            texts
                .map(|(name, text)| (name.clone(), text.value.clone()))
                .collect(),
        )
    }

    /// Adds the password and the role to a connection.
    fn complete(
        &self,
        connection: ConnectionConfig,
        name: &str,
        problems: &mut Problems,
    ) -> ConnectionConfig {
        let in_text = self.postgres.is_some() && connection.has_password();
        let mut sources = self.password_sources(name, problems).into_iter();
        let connection = match (sources.next(), sources.next()) {
            (None, _) => connection,
            (Some((_, source)), None) if !in_text => connection.with_password(source),
            (Some((span, _)), second) => {
                let span = second.map_or(span, |(span, _)| span);
                let message = format!("target {name} has more than one password");
                let hint = "keep one of password_env, password_file, password_command and the one in postgres or \
                            PGPASSWORD";
                let error = Error::invalid_command(message).with_hint(hint);
                problems.add_at(span.as_ref(), error);
                connection
            }
        };
        let Some(role) = &self.role else {
            return connection;
        };
        match connection.clone().with_role(&role.value) {
            Ok(connection) => connection,
            Err(error) => {
                let error = error.caused(format!("target {name}: role"));
                problems.add_at(role.span.as_ref(), error);
                connection
            }
        }
    }

    /// Returns the sources of the password that the section names, with their places.
    fn password_sources(
        &self,
        name: &str,
        problems: &mut Problems,
    ) -> Vec<(Option<Range<usize>>, PasswordSource)> {
        let mut report = |span: &Option<Range<usize>>, error: Error| {
            problems.add_at(span.as_ref(), error);
        };
        let mut sources = Vec::new();
        if let Some(Located { value, span }) = &self.password_env {
            if std::env::var_os(value).is_none_or(|value| value.is_empty()) {
                let message = format!("target {name}: the environment variable {value} is not set");
                report(span, Error::invalid_command(message));
            }
            sources.push((span.clone(), PasswordSource::Environment(value.clone())));
        }
        if let Some(Located { value, span }) = &self.password_file {
            if let Err(error) = std::fs::read_to_string(value) {
                let message = format!("target {name}: cannot read {}: {error}", value.display());
                report(span, Error::invalid_command(message));
            }
            sources.push((span.clone(), PasswordSource::File(value.clone())));
        }
        if let Some(Located { value, span }) = &self.password_command {
            if value.first().is_none_or(String::is_empty) {
                let message = format!("target {name}: the password command is empty");
                let hint = "write the program and its arguments, as in [\"/usr/bin/pass\", \"show\", \"db\"]";
                report(span, Error::invalid_command(message).with_hint(hint));
            }
            let lifetime = self.password_lifetime.as_ref();
            let source = PasswordSource::Command {
                arguments: value.clone(),
                lifetime: lifetime.map_or(PASSWORD_LIFETIME, |time| time.value.0),
            };
            sources.push((span.clone(), source));
        } else if let Some(Located { span, .. }) = &self.password_lifetime {
            let message = format!("target {name}: password_lifetime has no password_command");
            let hint = "add password_command, or leave password_lifetime out";
            report(span, Error::invalid_command(message).with_hint(hint));
        }
        sources
    }
}
