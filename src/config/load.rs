//! Combines flags, environment, file and defaults into one valid configuration.
//!
//! A flag or its environment variable wins over the file, and the file over the default. All problems are reported
//! together.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

use super::cli::destination::Destination;
use super::cli::serve::{Serve, ServeOptions};
use super::file::File;
use super::options::identity;
use super::options::log::LogConfig;
use super::options::target::{self, CommonLimits, ONLY_TARGET, TargetConfig};
use super::problems::Problems;
use super::value::{Located, required};
use crate::auth::IdentityConfig;
use crate::error::{Error, Result};
use crate::flight::ServerConfig;
use crate::write::{Budget, BudgetConfig, FanOut, ReaperConfig};

/// The configuration of a server, each part in the form that its module takes.
#[derive(Debug, Clone)]
pub struct Config {
    /// The listener.
    pub server: ServerConfig,
    /// The principals.
    pub identity: IdentityConfig,
    /// The memory budget.
    pub budget: BudgetConfig,
    /// The reaper.
    pub reaper: ReaperConfig,
    /// The log.
    pub log: LogConfig,
    /// The address of the monitoring port, if there is one.
    pub metrics_listen: Option<SocketAddr>,
    /// The targets by name; at least one.
    pub targets: BTreeMap<String, TargetConfig>,
    /// The target of writes that name none; `None` with several targets and no choice.
    pub default_target: Option<String>,
    /// The fan-out of streams.
    pub fan_out: FanOut,
}

impl Config {
    /// Loads the configuration from the options of `pgflight serve` and the file that they name.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidCommand`](crate::error::ErrorKind::InvalidCommand) with every problem, each on a line and with
    /// its line in the file.
    pub fn load(serve: &Serve) -> Result<Self> {
        let (file, mut problems) = File::read(serve.options.config.as_deref())?;
        let ServeOptions {
            config: _,
            server,
            postgres,
            token_digest,
            limits,
            writes,
            metrics,
            log,
        } = effective(serve, &file);
        let common = CommonLimits::Server {
            explicit: &serve.explicit.limits,
            effective: &limits,
        };
        let targets = target::build(&postgres.postgres, common, &file.targets, &mut problems)?;
        let default_target = default_target(&file, &mut problems);
        let log = log.build(&mut problems)?;
        let max_copies = targets.values().map(|target| target.pool.max_copies);
        let budget = limits.budget(max_copies.fold(0, |sum, count| sum + count as u64))?;
        if let Err(error) = Budget::new(&budget) {
            problems.add(error);
        }
        let server = server.build(&limits, &writes, &mut problems)?;
        let identity = identity::build(&file.auth, &file.principals, &token_digest, &mut problems);
        let metrics_listen = metrics.build(server.listen, &mut problems);
        let reaper = writes.build(&mut problems)?;
        problems.into_result()?;
        Ok(Self {
            server,
            identity,
            budget,
            reaper,
            log,
            metrics_listen,
            targets,
            default_target,
            fan_out: limits.fan_out()?,
        })
    }

    /// Loads the configuration of a server that is started with this file and the environment of the process.
    ///
    /// # Errors
    /// The errors of [`Config::load`]; [`ErrorKind::InvalidCommand`](crate::error::ErrorKind::InvalidCommand) for a
    /// variable that cannot be parsed.
    pub fn load_file(path: &Path) -> Result<Self> {
        let mut serve = Serve::from_environment()?;
        serve.options.config = Some(path.to_owned());
        Self::load(&serve)
    }
}

/// Takes each option from flags or environment, else from the file, else from the defaults.
fn effective(serve: &Serve, file: &File) -> ServeOptions {
    let (explicit, all) = (serve.explicit.clone(), serve.options.clone());
    ServeOptions {
        server: explicit.server.or(file.server.clone()).or(all.server),
        limits: explicit.limits.or(file.limits.clone()).or(all.limits),
        writes: explicit.writes.or(file.writes.clone()).or(all.writes),
        metrics: explicit.metrics.or(file.metrics.clone()).or(all.metrics),
        log: explicit.log.or(file.log.clone()).or(all.log),
        config: all.config,
        postgres: all.postgres,
        token_digest: all.token_digest,
    }
}

/// Loads the targets of a command with the limits of a server: the named target, or all.
///
/// # Errors
/// The errors of [`load_target`].
pub fn load_targets(options: &Destination) -> Result<BTreeMap<String, TargetConfig>> {
    let (file, mut problems) = File::read(options.config.as_deref())?;
    let mut serve = Serve::from_environment()?;
    serve.set_postgres(options.postgres.clone());
    let ServeOptions {
        postgres, limits, ..
    } = effective(&serve, &file);
    let common = CommonLimits::Server {
        explicit: &serve.explicit.limits,
        effective: &limits,
    };
    let mut targets = target::build(&postgres.postgres, common, &file.targets, &mut problems)?;
    problems.into_result()?;
    match &options.target {
        None => Ok(targets),
        Some(name) => match targets.remove_entry(name) {
            Some(found) => Ok(BTreeMap::from([found])),
            None => Err(unknown_target(name, &targets)),
        },
    }
}

/// Loads the target of a command: the named one, or the default.
///
/// # Errors
/// The errors of [`Config::load`] about targets; [`ErrorKind::NotFound`](crate::error::ErrorKind::NotFound) for an
/// unknown target.
pub fn load_target(options: &Destination) -> Result<TargetConfig> {
    let (file, mut problems) = File::read(options.config.as_deref())?;
    let lock_timeout = required(options.postgres.lock_timeout, "lock_timeout")?.0;
    let common = CommonLimits::Command { lock_timeout };
    let postgres = &options.postgres.postgres;
    let mut targets = target::build(postgres, common, &file.targets, &mut problems)?;
    let default = default_target(&file, &mut problems);
    problems.into_result()?;
    let name = options.target.clone().or(default).ok_or_else(|| {
        let names = targets.keys().cloned().collect::<Vec<_>>().join(", ");
        Error::invalid_command("the file has several targets and no default")
            .with_hint(format!("choose one with --target: {names}"))
    })?;
    let found = targets.remove(&name);
    found.ok_or_else(|| unknown_target(&name, &targets))
}

fn unknown_target(name: &str, targets: &BTreeMap<String, TargetConfig>) -> Error {
    let names: Vec<&str> = targets.keys().map(String::as_str).collect();
    Error::not_found(format!("unknown target {name:?}"))
        .with_hint(format!("choose one of {}", names.join(", ")))
}

/// Returns the name of the default target, if there is one.
fn default_target(file: &File, problems: &mut Problems) -> Option<String> {
    if let Some(Located { value, span }) = &file.server.default_target {
        if !file.targets.contains_key(value) {
            let message = format!("the file has no section [targets.{value}]");
            problems.add_at(span.as_ref(), Error::invalid_command(message));
            return None;
        }
        return Some(value.clone());
    }
    match file.targets.len() {
        0 => Some(ONLY_TARGET.to_owned()),
        1 => file.targets.keys().next().cloned(),
        _ => None,
    }
}
