//! `[server]`: the listener.

use std::path::PathBuf;

use clap::{ArgAction, Args};
use serde::Deserialize;

use super::limits::LimitOptions;
use super::writes::WriteOptions;
use crate::config::problems::Problems;
use crate::config::value::{Address, Located, Time, impl_or, required};
use crate::error::{Error, Result};
use crate::flight::{ServerConfig, TlsFiles};

/// The options of the listener.
#[derive(Debug, Clone, Default, Args, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct ServerOptions {
    /// Address to listen on. Port 0 picks a free port, which the log shows.
    #[arg(
        long,
        env = "PGFLIGHT_LISTEN",
        value_name = "HOST:PORT",
        default_value = "127.0.0.1:8815"
    )]
    pub(in crate::config) listen: Option<Address>,

    /// The server's certificate in PEM, followed by the intermediate certificates. Clients then connect with
    /// grpc+tls://. The TLS files are read again when they change.
    #[arg(
        long,
        env = "PGFLIGHT_TLS_CERT",
        value_name = "FILE",
        requires = "tls_key"
    )]
    pub(in crate::config) tls_cert: Option<Located<PathBuf>>,

    /// Private key of the certificate in PEM, without a passphrase.
    #[arg(
        long,
        env = "PGFLIGHT_TLS_KEY",
        value_name = "FILE",
        requires = "tls_cert"
    )]
    pub(in crate::config) tls_key: Option<Located<PathBuf>>,

    /// Authorities in PEM. Clients then need a certificate from one of them.
    #[arg(
        long,
        env = "PGFLIGHT_TLS_CLIENT_CA",
        value_name = "FILE",
        requires = "tls_cert"
    )]
    pub(in crate::config) tls_client_ca: Option<Located<PathBuf>>,

    /// Listen without TLS on an address that other machines can reach. Anyone on the network can then read the data and
    /// write what the server's role may write.
    #[arg(long, env = "PGFLIGHT_INSECURE", action = ArgAction::SetTrue)]
    pub(in crate::config) insecure: Option<bool>,

    /// Age at which a connection takes no more calls and closes after its last one, so that clients spread over added
    /// replicas.
    #[arg(
        long,
        env = "PGFLIGHT_MAX_CONNECTION_AGE",
        value_name = "TIME",
        default_value = "1h"
    )]
    pub(in crate::config) max_connection_age: Option<Time>,

    /// Time for running streams to finish after SIGTERM before the server ends them.
    #[arg(
        long,
        env = "PGFLIGHT_DRAIN_TIMEOUT",
        value_name = "TIME",
        default_value = "30s"
    )]
    pub(in crate::config) drain_timeout: Option<Time>,

    /// The target of writes that name none; only in the file.
    #[arg(skip)]
    pub(in crate::config) default_target: Option<Located<String>>,
}

impl_or!(ServerOptions {
    listen,
    tls_cert,
    tls_key,
    tls_client_ca,
    insecure,
    max_connection_age,
    drain_timeout,
    default_target,
});

impl ServerOptions {
    /// Returns the files that the section names.
    pub(in crate::config) fn paths_mut(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let paths = [
            &mut self.tls_cert,
            &mut self.tls_key,
            &mut self.tls_client_ca,
        ];
        let paths = paths.into_iter().flatten();
        paths.map(|path| &mut path.value)
    }

    /// Builds the configuration of the listener.
    pub(in crate::config) fn build(
        &self,
        limits: &LimitOptions,
        writes: &WriteOptions,
        problems: &mut Problems,
    ) -> Result<ServerConfig> {
        let max_message_size = required(limits.max_message_size, "max_message_size")?;
        let drain_timeout = required(self.drain_timeout, "drain_timeout")?;
        Ok(ServerConfig {
            listen: required(self.listen, "listen")?.0,
            tls: self.tls_files(problems)?,
            max_message_bytes: usize::try_from(max_message_size.0.as_u64()).unwrap_or(usize::MAX),
            max_connection_age: required(self.max_connection_age, "max_connection_age")?.0,
            limits: limits.call_limits(drain_timeout.0, writes.heartbeat_interval()?)?,
        })
    }

    /// Returns the TLS files. Without them, the server may listen only on this machine's addresses, unless `insecure`
    /// is set.
    fn tls_files(&self, problems: &mut Problems) -> Result<Option<TlsFiles>> {
        let located = [&self.tls_cert, &self.tls_key, &self.tls_client_ca];
        let span = located
            .into_iter()
            .flatten()
            .find_map(|path| path.span.clone());
        let mut report = |message: &str, hint: &str| {
            let error = Error::invalid_command(message.to_owned()).with_hint(hint.to_owned());
            problems.add_at(span.as_ref(), error);
        };
        match (&self.tls_cert, &self.tls_key) {
            (Some(certificate), Some(key)) => {
                let client_authorities = self.tls_client_ca.as_ref();
                let files = TlsFiles {
                    certificate: certificate.value.clone(),
                    key: key.value.clone(),
                    client_authorities: client_authorities.map(|path| path.value.clone()),
                };
                if let Err(error) = files.check() {
                    problems.add_at(span.as_ref(), error);
                }
                return Ok(Some(files));
            }
            (Some(_), None) => report(
                "tls_cert is set without its private key",
                "add tls_key (--tls-key)",
            ),
            (None, Some(_)) => report(
                "tls_key is set without its certificate",
                "add tls_cert (--tls-cert)",
            ),
            (None, None) if self.tls_client_ca.is_some() => report(
                "tls_client_ca is set without a certificate of the server",
                "add tls_cert and tls_key (--tls-cert, --tls-key)",
            ),
            (None, None) => {
                let listen = required(self.listen, "listen")?.0;
                let is_local = listen.ip().to_canonical().is_loopback();
                if !is_local && self.insecure != Some(true) {
                    report(
                        &format!(
                            "--listen {listen} without TLS accepts connections from other machines"
                        ),
                        "give --tls-cert and --tls-key, or --insecure on a trusted network (in the file: \
                         tls_cert, tls_key, insecure)",
                    );
                }
            }
        }
        Ok(None)
    }
}
