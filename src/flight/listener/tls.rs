//! TLS of the listener, with certificates that are read again when their files change.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use rustls::server::WebPkiClientVerifier;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::error::{Error, Result, chain};
use crate::metrics::Metrics;
use crate::tls::{authorities, certificates, private_key, provider};

/// The time for a TLS handshake before the connection is closed.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// The interval between two warnings about a certificate that ends.
const WARNING_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);
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

    fn load(&self) -> Result<Loaded> {
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
        let chain = certificates(&self.certificate)?;
        let end = chain.first().and_then(end_of);
        let mut config = builder
            .with_single_cert(chain, private_key(&self.key)?)
            .map_err(unusable)?;
        // gRPC clients require this protocol.
        config.alpn_protocols = vec![b"h2".to_vec()];
        let config = Arc::new(config);
        Ok(Loaded { config, end })
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

/// The content of the files.
#[derive(Clone)]
struct Loaded {
    config: Arc<ServerConfig>,
    /// The end of the validity of the server's certificate, in seconds since 1970.
    end: Option<i64>,
}

/// Returns the end of a certificate's validity, in seconds since 1970 (RFC 5280, 4.1.2.5).
fn end_of(certificate: &CertificateDer<'_>) -> Option<i64> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    Some(certificate.validity().not_after.timestamp())
}

/// Performs TLS handshakes with the current certificates. Clones share them.
#[derive(Clone)]
pub(crate) struct Tls {
    files: TlsFiles,
    /// The state of the files before they were first read.
    loaded: Vec<Option<(SystemTime, u64)>>,
    current: watch::Sender<Loaded>,
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
        let acceptor = TlsAcceptor::from(Arc::clone(&self.current.borrow().config));
        tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await?
    }

    /// Reads the files again whenever they change, for later connections, and warns each day before the certificate
    /// ends; never completes.
    pub(crate) async fn follow(&self, metrics: &Metrics) {
        let mut seen = self.loaded.clone();
        let mut warned: Option<Instant> = None;
        loop {
            let end = self.current.borrow().end;
            if let Some(end) = end {
                metrics.set_certificate_end(end);
                if warned.is_none_or(|at| at.elapsed() > WARNING_INTERVAL) {
                    warned = warn_before(end).then(Instant::now);
                }
            }
            tokio::time::sleep(RELOAD_INTERVAL).await;
            if self.reload(&mut seen) {
                warned = None;
            }
        }
    }

    /// Reads changed files, and returns whether they are used from now on. Files that cannot be used, such as half-written ones, leave the current certificates in
    /// place until the files change again.
    fn reload(&self, seen: &mut Vec<Option<(SystemTime, u64)>>) -> bool {
        let stamps = self.files.stamps();
        if stamps == *seen {
            return false;
        }
        *seen = stamps;
        match self.files.load() {
            Ok(loaded) => {
                self.current.send_replace(loaded);
                tracing::info!("read the listener's changed certificates");
                true
            }
            Err(error) => {
                tracing::error!(
                    error = chain(&error),
                    "cannot use the listener's changed certificates; the current ones stay in use"
                );
                false
            }
        }
    }
}

/// Warns that the certificate has ended or ends within two weeks. Returns whether it did.
fn warn_before(end: i64) -> bool {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |now| i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
    let days_left = (end - now).div_euclid(24 * 60 * 60);
    match days_left {
        ..0 => tracing::warn!("the listener's certificate has expired; clients refuse to connect"),
        0..14 => tracing::warn!(days_left, "the listener's certificate expires soon"),
        _ => return false,
    }
    true
}
