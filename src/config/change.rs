//! The differences between two configurations, and which of them a running server can apply.

use std::collections::BTreeSet;

use super::load::Config;
use super::options::log::LogConfig;
use super::options::target::TargetConfig;
use crate::auth::IdentityConfig;
use crate::flight::{CallLimits, ServerConfig};
use crate::pg::{PoolConfig, Timeouts};
use crate::write::{BudgetConfig, FanOut, ReaperConfig, VolumeLimits};

/// A key of the file whose value differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The key: `limits.idle_timeout`.
    pub key: String,
    /// Whether the change needs a restart.
    pub needs_restart: bool,
}

/// Collects changes.
#[derive(Default)]
struct Changes(Vec<Change>);

impl Changes {
    fn live<T: PartialEq>(&mut self, key: &str, old: &T, new: &T) {
        self.push(key, old != new, false);
    }

    fn fixed<T: PartialEq>(&mut self, key: &str, old: &T, new: &T) {
        self.push(key, old != new, true);
    }

    fn push(&mut self, key: &str, is_changed: bool, needs_restart: bool) {
        if is_changed {
            let key = key.to_owned();
            self.0.push(Change { key, needs_restart });
        }
    }
}

impl Config {
    /// Lists the differences from `self` to `new`. It destructures every struct, so that a new field does not compile until
    /// it is handled here.
    pub fn changes(&self, new: &Self) -> Vec<Change> {
        let mut changes = Changes::default();
        let Self {
            server,
            identity,
            budget,
            reaper,
            log,
            metrics_listen,
            targets,
            default_target,
            fan_out,
        } = self;
        change_server(&mut changes, server, &new.server);
        change_identity(&mut changes, identity, &new.identity);
        let BudgetConfig {
            memory_limit,
            max_message_bytes,
            // Compared with the targets and the listener.
            max_copies: _,
            max_connections: _,
        } = budget;
        changes.fixed(
            "limits.memory_limit",
            memory_limit,
            &new.budget.memory_limit,
        );
        let new_size = &new.budget.max_message_bytes;
        changes.fixed("limits.max_message_size", max_message_bytes, new_size);
        change_reaper(&mut changes, reaper, &new.reaper);
        let LogConfig {
            format,
            filter,
            show_detail,
        } = log;
        changes.fixed("log.show_detail", show_detail, &new.log.show_detail);
        changes.fixed("log.format", format, &new.log.format);
        changes.fixed("log.filter", filter, &new.log.filter);
        changes.fixed("metrics.listen", metrics_listen, &new.metrics_listen);
        let FanOut { lanes, after_bytes } = fan_out;
        changes.fixed("limits.fan_out", lanes, &new.fan_out.lanes);
        changes.fixed(
            "limits.fan_out_after",
            after_bytes,
            &new.fan_out.after_bytes,
        );
        changes.fixed("server.default_target", default_target, &new.default_target);
        let names: BTreeSet<&String> = targets.keys().chain(new.targets.keys()).collect();
        for name in names {
            match (targets.get(name), new.targets.get(name)) {
                (Some(old), Some(new)) => change_target(&mut changes, name, old, new),
                _ => changes.push(&format!("targets.{name}"), true, true),
            }
        }
        changes.0
    }
}

fn change_server(changes: &mut Changes, old: &ServerConfig, new: &ServerConfig) {
    let ServerConfig {
        listen,
        tls,
        // Compared with the budget.
        max_message_bytes: _,
        max_connection_age,
        limits,
    } = old;
    changes.fixed("server.listen", listen, &new.listen);
    changes.fixed("server.tls_cert, tls_key or tls_client_ca", tls, &new.tls);
    let age = "server.max_connection_age";
    changes.fixed(age, max_connection_age, &new.max_connection_age);
    let CallLimits {
        idle_timeout,
        stream_timeout,
        stream_wait,
        max_connections,
        max_connections_per_peer,
        drain_timeout,
        // Follows from writes.driver_ttl.
        heartbeat_interval: _,
    } = limits;
    let new = &new.limits;
    changes.live("limits.idle_timeout", idle_timeout, &new.idle_timeout);
    changes.live("limits.stream_timeout", stream_timeout, &new.stream_timeout);
    changes.live("limits.copy_wait", stream_wait, &new.stream_wait);
    // The memory for the connections' windows is reserved at the start.
    changes.fixed(
        "limits.max_connections",
        max_connections,
        &new.max_connections,
    );
    let per_peer = "limits.max_connections_per_peer";
    changes.live(
        per_peer,
        max_connections_per_peer,
        &new.max_connections_per_peer,
    );
    changes.live("server.drain_timeout", drain_timeout, &new.drain_timeout);
}

fn change_identity(changes: &mut Changes, old: &IdentityConfig, new: &IdentityConfig) {
    let IdentityConfig { auth, principals } = old;
    changes.live("auth", auth, &new.auth);
    let names: BTreeSet<&String> = principals.keys().chain(new.principals.keys()).collect();
    for name in names {
        let (old, new) = (principals.get(name), new.principals.get(name));
        changes.live(&format!("principals.{name}"), &old, &new);
    }
}

fn change_reaper(changes: &mut Changes, old: &ReaperConfig, new: &ReaperConfig) {
    let ReaperConfig {
        interval,
        write_ttl,
        prepared_ttl,
        driver_ttl,
        retention,
    } = old;
    changes.live("writes.reaper_interval", interval, &new.interval);
    changes.live("writes.write_ttl", write_ttl, &new.write_ttl);
    changes.live("writes.prepared_ttl", prepared_ttl, &new.prepared_ttl);
    changes.live("writes.driver_ttl", driver_ttl, &new.driver_ttl);
    changes.live("writes.retention", retention, &new.retention);
}

fn change_target(changes: &mut Changes, name: &str, old: &TargetConfig, new: &TargetConfig) {
    let TargetConfig {
        connection,
        pool,
        volume,
        statements,
    } = old;
    let key = |key: &str| format!("targets.{name}.{key}");
    changes.live(&key("statements"), statements, &new.statements);
    // Includes the source of the password and the role.
    changes.fixed(&key("postgres"), connection, &new.connection);
    let PoolConfig {
        max_copies,
        control_connections: _,
        max_transactions,
        timeouts,
    } = pool;
    let most = &new.pool.max_transactions;
    changes.fixed(&key("max_transactions"), max_transactions, most);
    // The memory for COPYs is reserved at the start.
    changes.fixed(&key("max_copies"), max_copies, &new.pool.max_copies);
    let Timeouts {
        wait_timeout,
        lock_timeout,
        stall_timeout,
        idle_timeout,
        transaction_idle,
    } = timeouts;
    let VolumeLimits {
        most,
        max_expansion,
    } = volume;
    let options = most.options().into_iter().zip(new.volume.most.options());
    for ((option, old), (_, new)) in options {
        changes.live(&key(option), &old, &new);
    }
    changes.live(
        &key("max_expansion"),
        max_expansion,
        &new.volume.max_expansion,
    );
    let new = &new.pool.timeouts;
    changes.live(&key("copy_wait"), wait_timeout, &new.wait_timeout);
    changes.live(&key("lock_timeout"), lock_timeout, &new.lock_timeout);
    changes.live(
        &key("copy_stall_timeout"),
        stall_timeout,
        &new.stall_timeout,
    );
    changes.live(&key("pool_idle_timeout"), idle_timeout, &new.idle_timeout);
    changes.live(
        &key("transaction_idle_timeout"),
        transaction_idle,
        &new.transaction_idle,
    );
}
