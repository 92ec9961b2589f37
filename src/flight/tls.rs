//! TLS of the listener, with certificates that may be exchanged while it serves.

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

/// How long a client may take to agree on TLS before its connection is closed.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How often the files are looked at.
const RELOAD_INTERVAL: Duration = Duration::from_secs(1);

/// The files that TLS is made of, all in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The server's certificate, followed by those between it and its authority.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The authorities of clients; when given, a client needs a certificate of theirs.
    pub client_authorities: Option<PathBuf>,
}

impl TlsFiles {
    /// Says what is wrong with them, if anything is.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidCommand`](crate::error::ErrorKind::InvalidCommand) when one cannot be read or
    /// they do not belong together.
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
        // gRPC's clients go no further unless this is agreed on.
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Arc::new(config))
    }

    /// What changes when one of them does.
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

/// Secures connections with what the files hold now.
#[derive(Clone)]
pub(super) struct Tls {
    files: TlsFiles,
    /// As they were before they were read first: what changes from then on is noticed.
    loaded: Vec<Option<(SystemTime, u64)>>,
    current: watch::Sender<Arc<ServerConfig>>,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidCommand`](crate::error::ErrorKind::InvalidCommand) when one cannot be read or
    /// they do not belong together.
    pub(super) fn load(files: TlsFiles) -> Result<Self> {
        let loaded = files.stamps();
        let current = watch::Sender::new(files.load()?);
        Ok(Self {
            files,
            loaded,
            current,
        })
    }

    /// Agrees on TLS with a client.
    ///
    /// # Errors
    /// That it could not be agreed on, or took too long.
    pub(super) async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let acceptor = TlsAcceptor::from(Arc::clone(&self.current.borrow()));
        tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await?
    }

    /// Reads the files again whenever they change, for connections that come after; never completes.
    pub(super) async fn follow(&self) {
        let mut seen = self.loaded.clone();
        loop {
            tokio::time::sleep(RELOAD_INTERVAL).await;
            self.reload(&mut seen);
        }
    }

    /// Files that are being written, or do not belong together yet, leave things as they are until they
    /// change again.
    fn reload(&self, seen: &mut Vec<Option<(SystemTime, u64)>>) {
        let stamps = self.files.stamps();
        if stamps == *seen {
            return;
        }
        *seen = stamps;
        match self.files.load() {
            Ok(config) => {
                self.current.send_replace(config);
                tracing::info!(
                    "the certificates of the listener have changed and are used from now on"
                );
            }
            Err(error) => tracing::error!(
                error = chain(&error),
                "the changed certificates of the listener cannot be used; those before are kept"
            ),
        }
    }
}
