//! TLS of the listener, with certificates that are read again when their files change.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::error::{Error, Result, chain};
use crate::tls::{authorities, certificates, private_key, provider};

/// The time for a TLS handshake before the connection is closed.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// The interval between two checks of the files.
const RELOAD_INTERVAL: Duration = Duration::from_secs(1);

/// The TLS files, all in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The server's certificate, followed by the intermediate certificates.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The authorities of clients. If set, a client needs a certificate from one of them.
    pub client_authorities: Option<PathBuf>,
}

impl TlsFiles {
    /// Checks that the files can be used.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidCommand`](crate::error::ErrorKind::InvalidCommand) when a file cannot be read or the key
    /// does not match the certificate.
    pub fn check(&self) -> Result<()> {
        self.load().map(|_| ())
    }

    fn load(&self) -> Result<Arc<ServerConfig>> {
        let unusable = |error: rustls::Error| {
            let text = format!("cannot use {}", self.certificate.display());
            Error::invalid_command(text).with_source(error)
        };
        let builder = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(unusable)?;
        let builder = match &self.client_authorities {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(authorities(path)?, provider());
                let verifier = verifier.build().map_err(|error| {
                    let text = format!("cannot use {}", path.display());
                    Error::invalid_command(text).with_source(error)
                })?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let mut config = builder
            .with_single_cert(certificates(&self.certificate)?, private_key(&self.key)?)
            .map_err(unusable)?;
        // gRPC clients require this protocol.
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Arc::new(config))
    }

    /// Returns the modification times and sizes, which change when a file does.
    fn stamps(&self) -> Vec<Option<(SystemTime, u64)>> {
        let stamp = |path: &Path| {
            let metadata = std::fs::metadata(path).ok()?;
            Some((metadata.modified().ok()?, metadata.len()))
        };
        let paths = [
            Some(&self.certificate),
            Some(&self.key),
            self.client_authorities.as_ref(),
        ];
        paths
            .into_iter()
            .flatten()
            .map(|path| stamp(path))
            .collect()
    }
}

/// Performs TLS handshakes with the current certificates. Clones share them.
#[derive(Clone)]
pub(crate) struct Tls {
    files: TlsFiles,
    /// The state of the files before they were first read.
    loaded: Vec<Option<(SystemTime, u64)>>,
    current: watch::Sender<Arc<ServerConfig>>,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// The errors of [`TlsFiles::check`].
    pub(crate) fn load(files: TlsFiles) -> Result<Self> {
        let loaded = files.stamps();
        let current = watch::Sender::new(files.load()?);
        Ok(Self {
            files,
            loaded,
            current,
        })
    }

    /// Performs the handshake with a client.
    ///
    /// # Errors
    /// The error of a handshake that failed or took longer than [`HANDSHAKE_TIMEOUT`].
    pub(crate) async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let acceptor = TlsAcceptor::from(Arc::clone(&self.current.borrow()));
        tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await?
    }

    /// Reads the files again whenever they change, for later connections; never completes.
    pub(crate) async fn follow(&self) {
        let mut seen = self.loaded.clone();
        loop {
            tokio::time::sleep(RELOAD_INTERVAL).await;
            self.reload(&mut seen);
        }
    }

    /// Reads changed files. Files that cannot be used, such as half-written ones, leave the current certificates in
    /// place until the files change again.
    fn reload(&self, seen: &mut Vec<Option<(SystemTime, u64)>>) {
        let stamps = self.files.stamps();
        if stamps == *seen {
            return;
        }
        *seen = stamps;
        match self.files.load() {
            Ok(config) => {
                self.current.send_replace(config);
                tracing::info!("read the listener's changed certificates");
            }
            Err(error) => tracing::error!(
                error = chain(&error),
                "cannot use the listener's changed certificates; the current ones stay in use"
            ),
        }
    }
}
