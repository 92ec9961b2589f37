//! SIGHUP: reads the configuration again and applies the changes to the running components.

use pgflight::config::{Change, Config, Serve};
use pgflight::flight::{CallLimits, Identity};
use pgflight::write::{ReaperConfig, Targets};
use tokio::signal::unix::Signal;
use tokio::sync::watch;

/// The components of a running server that take a changed configuration.
pub(super) struct Reload {
    pub(super) limits: watch::Sender<CallLimits>,
    pub(super) identity: Identity,
    pub(super) reaper: watch::Sender<ReaperConfig>,
    pub(super) targets: Targets,
}

impl Reload {
    /// Reads the configuration again at every SIGHUP; never completes. An invalid configuration changes nothing.
    pub(super) async fn follow(self, mut hangups: Signal, options: Serve, mut current: Config) {
        while hangups.recv().await.is_some() {
            match Config::load(&options) {
                Ok(new) if opens_server(&current, &new) => tracing::error!(
                    "the configuration was read again and has no principals; the current one stays in use: restart \
                     the server to serve calls without credentials"
                ),
                Ok(new) => {
                    log_changes(&current.changes(&new));
                    // Changes that need a restart stay different, so the next reload logs them again.
                    take_live(&mut current, &new);
                    self.apply(&current);
                }
                Err(error) => tracing::error!(
                    "the configuration was read again and is invalid; the current one stays in use: {}",
                    error.report()
                ),
            }
        }
    }

    fn apply(&self, config: &Config) {
        self.limits.send_replace(config.server.limits.clone());
        // Reloaded in any case, since the files that the section names may have changed.
        if let Err(error) = self.identity.reload(&config.identity) {
            tracing::error!(
                error = %error.report(),
                "cannot reload the principals; the current ones stay in use"
            );
        }
        self.reaper.send_replace(config.reaper.clone());
        for (name, writer) in self.targets.iter() {
            if let Some(target) = config.targets.get(name) {
                writer.set_timeouts(target.pool.timeouts.clone());
                writer.set_volume(target.volume);
                writer.set_statements(target.statements.clone());
            }
        }
    }
}

/// Returns whether calls would no longer need credentials. A file that was cut short must not open a server.
fn opens_server(current: &Config, new: &Config) -> bool {
    !current.identity.principals.is_empty() && new.identity.principals.is_empty()
}

/// Copies the parts of the new configuration that the server has applied.
fn take_live(current: &mut Config, new: &Config) {
    let max_connections = current.server.limits.max_connections;
    current.server.limits = CallLimits {
        max_connections,
        ..new.server.limits.clone()
    };
    current.identity = new.identity.clone();
    current.reaper = new.reaper.clone();
    for (name, target) in &mut current.targets {
        if let Some(new) = new.targets.get(name) {
            target.pool.timeouts = new.pool.timeouts.clone();
            target.volume = new.volume;
            target.statements = new.statements.clone();
        }
    }
}

fn log_changes(changes: &[Change]) {
    let keys = |needs_restart: bool| {
        let changes = changes.iter().filter(|c| c.needs_restart == needs_restart);
        changes
            .map(|c| c.key.as_str())
            .collect::<Vec<_>>()
            .join(", ")
    };
    let (live, fixed) = (keys(false), keys(true));
    if !live.is_empty() {
        tracing::info!("the configuration was read again; applied: {live}");
    }
    if !fixed.is_empty() {
        tracing::warn!("the configuration was read again; these changes need a restart: {fixed}");
    }
    if changes.is_empty() {
        tracing::info!("the configuration was read again; nothing has changed");
    }
}
