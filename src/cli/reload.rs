//! SIGHUP: reads the configuration again and hands what changed to whom it is for.

use pgflight::config::{Change, Config, Serve};
use pgflight::error::chain;
use pgflight::flight::{CallLimits, Identity};
use pgflight::write::{ReaperConfig, Targets};
use tokio::signal::unix::Signal;
use tokio::sync::watch;

/// The parts of a running server that take a changed configuration. Here is where another module's part is
/// added: what is sent to it counts from then on.
pub(super) struct Reload {
    pub(super) limits: watch::Sender<CallLimits>,
    pub(super) identity: Identity,
    pub(super) reaper: watch::Sender<ReaperConfig>,
    pub(super) targets: Targets,
}

impl Reload {
    /// Reads the configuration again at every SIGHUP; does not complete. A configuration that does not hold
    /// together changes nothing.
    pub(super) async fn follow(self, mut hangups: Signal, options: Serve, mut current: Config) {
        while hangups.recv().await.is_some() {
            match Config::load(&options) {
                Ok(new) => {
                    log_changes(&current.changes(&new));
                    // What needs a restart is told again the next time: it is still to be done.
                    take_live(&mut current, &new);
                    self.apply(&current);
                }
                Err(error) => tracing::error!(
                    "the configuration was read again and is not used; the one before is kept: {}",
                    chain(&error)
                ),
            }
        }
    }

    fn apply(&self, config: &Config) {
        self.limits.send_replace(config.server.limits.clone());
        // Also when only the files that it names have changed.
        if let Err(error) = self.identity.reload(&config.identity) {
            tracing::error!(
                error = chain(&error),
                "who may call cannot be read again; what was before is kept"
            );
        }
        self.reaper.send_replace(config.reaper.clone());
        for (name, writer) in self.targets.iter() {
            if let Some(target) = config.targets.get(name) {
                writer.set_timeouts(target.pool.timeouts.clone());
                writer.set_volume(target.volume);
            }
        }
    }
}

/// Remembers what the server has taken.
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
        tracing::info!("the configuration was read again; changed now: {live}");
    }
    if !fixed.is_empty() {
        tracing::warn!("the configuration was read again; changed only by a restart: {fixed}");
    }
    if changes.is_empty() {
        tracing::info!("the configuration was read again; nothing has changed");
    }
}
