//! `[metrics]`: the monitoring port.

use std::net::SocketAddr;

use clap::Args;
use serde::Deserialize;

use crate::config::problems::Problems;
use crate::config::value::{Address, impl_or};
use crate::error::Error;

/// The options of the monitoring port.
#[derive(Debug, Clone, Default, Args, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct MetricsOptions {
    /// Address for metrics, probes and the status page, over plain HTTP: /metrics, /healthz, /readyz and /. Off by
    /// default. Everyone who reaches it can read the names of tables and writes, and change nothing.
    #[arg(
        id = "metrics_listen",
        long = "metrics-listen",
        env = "PGFLIGHT_METRICS_LISTEN",
        value_name = "HOST:PORT"
    )]
    listen: Option<Address>,
}

impl_or!(MetricsOptions { listen });

impl MetricsOptions {
    /// Returns the address of the monitoring port, which must differ from that of the server.
    pub(in crate::config) fn build(
        &self,
        server: SocketAddr,
        problems: &mut Problems,
    ) -> Option<SocketAddr> {
        let listen = self.listen.map(|address| address.0);
        if listen == Some(server) && server.port() != 0 {
            let message = format!(
                "--listen and --metrics-listen (in the file server.listen and metrics.listen) are both {server}"
            );
            let error = Error::invalid_command(message).with_hint("give one of them another port");
            problems.add(error);
        }
        listen
    }
}
