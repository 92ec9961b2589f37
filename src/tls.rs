//! Reads certificates and keys from files, for the listener and for connections to PostgreSQL.

use std::path::Path;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::error::{Error, Result};

/// Returns the cryptography provider of all TLS in this crate.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Reads a chain of certificates in PEM, the leaf first.
///
/// # Errors
/// [`ErrorKind::InvalidCommand`](crate::error::ErrorKind::InvalidCommand) when the file cannot be read or has no
/// certificate. The error names the file and none of its content.
pub(crate) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let read = || CertificateDer::pem_file_iter(path)?.collect::<Result<Vec<_>, _>>();
    match read() {
        Ok(certificates) if certificates.is_empty() => {
            Err(unreadable(path, "at least one certificate"))
        }
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(unreadable(path, "certificates").with_source(error)),
    }
}

/// Reads a private key in PEM, without a passphrase.
///
/// # Errors
/// The errors of [`certificates`], for a key.
pub(crate) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_file(path)
        .map_err(|error| unreadable(path, "a private key without a passphrase").with_source(error))
}

/// Reads the certificates of the trusted authorities.
///
/// # Errors
/// The errors of [`certificates`].
pub(crate) fn authorities(path: &Path) -> Result<Arc<RootCertStore>> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots
            .add(certificate)
            .map_err(|error| unreadable(path, "certificates").with_source(error))?;
    }
    Ok(Arc::new(roots))
}

fn unreadable(path: &Path, expected: &str) -> Error {
    Error::invalid_command(format!("cannot read {} as PEM", path.display()))
        .with_hint(format!("name a file with {expected}"))
}
