//! TLS to PostgreSQL, as libpq's `sslmode` means it (PostgreSQL manual, 34.19).

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use percent_encoding::percent_decode_str;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_postgres::Socket;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;

use crate::error::{Error, Result};
use crate::tls::{authorities, certificates, private_key, provider};

/// The request that asks PostgreSQL for TLS. One byte answers it (PostgreSQL manual, 55.2.10).
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// The stream that carries the protocol.
pub(in crate::pg) type Wire = Either<Socket, TlsStream<Socket>>;

/// The parameters of libpq that are about TLS, where given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::pg) struct Parameters {
    mode: Option<String>,
    root_certificate: Option<PathBuf>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
}

impl Parameters {
    /// Takes them out of a connection text. Returns the text without them, which the driver understands, and the
    /// parameters. A text that cannot be parsed is returned as it is.
    pub(in crate::pg) fn take_from(text: &str) -> (String, Self) {
        let mut parameters = Self::default();
        let is_url = text.starts_with("postgres://") || text.starts_with("postgresql://");
        let rest = if is_url {
            parameters.take_from_url(text)
        } else {
            parameters.take_from_pairs(text)
        };
        (rest.unwrap_or_else(|| text.to_owned()), parameters)
    }

    pub(in crate::pg) fn mode(&self) -> Option<&str> {
        self.mode.as_deref()
    }

    /// Fills missing ones from libpq's environment variables.
    pub(in crate::pg) fn or(mut self, variable: &dyn Fn(&str) -> Option<String>) -> Self {
        self.mode = self.mode.or_else(|| variable("PGSSLMODE"));
        for (path, name) in [
            (&mut self.root_certificate, "PGSSLROOTCERT"),
            (&mut self.certificate, "PGSSLCERT"),
            (&mut self.key, "PGSSLKEY"),
        ] {
            if path.is_none() {
                *path = variable(name).map(PathBuf::from);
            }
        }
        self
    }

    fn take_from_url(&mut self, text: &str) -> Option<String> {
        // A password may hold a question mark; the driver reads it up to the first @ as well.
        let credentials = text.find('@').unwrap_or(0);
        let start = credentials + text.get(credentials..)?.find('?')?;
        let (base, query) = (text.get(..start)?, text.get(start + 1..)?);
        let is_left = |pair: &&str| match pair.split_once('=') {
            Some((name, value)) => {
                let value = percent_decode_str(value).decode_utf8_lossy();
                !self.set(name, &value)
            }
            None => true,
        };
        let left: Vec<&str> = query.split('&').filter(is_left).collect();
        Some(if left.is_empty() {
            base.to_owned()
        } else {
            format!("{base}?{}", left.join("&"))
        })
    }

    fn take_from_pairs(&mut self, text: &str) -> Option<String> {
        let mut left = String::with_capacity(text.len());
        let mut rest = text.trim_start();
        while !rest.is_empty() {
            let (name, after) = rest.split_once('=')?;
            let (value, after) = quoted(after.trim_start())?;
            if !self.set(name.trim_end(), &value) {
                left.push_str(rest.strip_suffix(after)?);
                left.push(' ');
            }
            rest = after.trim_start();
        }
        Some(left)
    }

    /// Sets a parameter. Returns false for one that is not about TLS.
    fn set(&mut self, name: &str, value: &str) -> bool {
        match name {
            "sslmode" => self.mode = Some(value.to_owned()),
            "sslrootcert" => self.root_certificate = Some(value.into()),
            "sslcert" => self.certificate = Some(value.into()),
            "sslkey" => self.key = Some(value.into()),
            _ => return false,
        }
        true
    }
}

/// Reads a value of `name=value` text. Returns the value and the rest of the text.
fn quoted(text: &str) -> Option<(String, &str)> {
    let quoted = text.strip_prefix('\'');
    let mut value = String::new();
    let mut characters = quoted.unwrap_or(text).chars();
    loop {
        let rest = characters.as_str();
        match characters.next() {
            Some('\\') => value.push(characters.next()?),
            Some('\'') if quoted.is_some() => return Some((value, characters.as_str())),
            Some(blank) if quoted.is_none() && blank.is_whitespace() => return Some((value, rest)),
            None => return quoted.is_none().then_some((value, rest)),
            Some(character) => value.push(character),
        }
    }
}

/// The TLS settings of a connection.
#[derive(Clone)]
pub(in crate::pg) struct Tls {
    /// The `sslmode`, for messages.
    mode: &'static str,
    /// `None` without TLS.
    config: Option<Arc<ClientConfig>>,
}

impl Tls {
    /// Reads the certificate and key files that the parameters name.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidCommand`](crate::error::ErrorKind::InvalidCommand) for a mode that libpq does not have, a
    /// mode that needs authorities and has none, and a file that cannot be read.
    pub(in crate::pg) fn new(parameters: &Parameters) -> Result<Self> {
        let mode = match parameters.mode.as_deref() {
            Some("disable") => {
                return Ok(Self {
                    mode: "disable",
                    config: None,
                });
            }
            // Both use TLS where the server offers it. libpq only tries in another order.
            None | Some("prefer" | "allow") => "prefer",
            Some("require") => "require",
            Some("verify-ca") => "verify-ca",
            Some("verify-full") => "verify-full",
            Some(_) => {
                return Err(Error::invalid_command("sslmode has an unknown value")
                    .with_hint("use disable, allow, prefer, require, verify-ca or verify-full"));
            }
        };
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::internal("cannot set up TLS").with_source(error))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Verifier::new(mode, parameters)?));
        let config = match (&parameters.certificate, &parameters.key) {
            (None, None) => builder.with_no_client_auth(),
            (Some(certificate), Some(key)) => builder
                .with_client_auth_cert(certificates(certificate)?, private_key(key)?)
                .map_err(|error| {
                    Error::invalid_command("sslkey does not match sslcert").with_source(error)
                })?,
            _ => {
                return Err(
                    Error::invalid_command("only one of sslcert and sslkey is given")
                        .with_hint("give both"),
                );
            }
        };
        Ok(Self {
            mode,
            config: Some(Arc::new(config)),
        })
    }

    /// Secures a connection to a host with this name or address, as the mode and PostgreSQL want it.
    pub(in crate::pg) async fn secure(self, mut socket: Socket, host: &str) -> io::Result<Wire> {
        let Some(config) = self.config else {
            return Ok(Either::Left(socket));
        };
        socket.write_all(&SSL_REQUEST).await?;
        // Reads one byte and no more: bytes that an attacker injects after it must not pass as PostgreSQL's.
        match socket.read_u8().await? {
            b'S' => {
                let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
                let stream = TlsConnector::from(config).connect(name, socket).await?;
                Ok(Either::Right(stream))
            }
            b'N' if self.mode == "prefer" => Ok(Either::Left(socket)),
            _ => Err(io::Error::other(NoTlsOffered(self.mode))),
        }
    }
}

/// PostgreSQL has no TLS, and this `sslmode` needs it.
#[derive(Debug, thiserror::Error)]
#[error("PostgreSQL offers no TLS, and sslmode={0} needs it")]
pub(super) struct NoTlsOffered(&'static str);

/// Verifies PostgreSQL's certificate.
#[derive(Debug)]
struct Verifier {
    provider: Arc<CryptoProvider>,
    /// `None` accepts any certificate.
    chain: Option<Arc<WebPkiServerVerifier>>,
    checks_name: bool,
}

impl Verifier {
    fn new(mode: &str, parameters: &Parameters) -> Result<Self> {
        let path = parameters.root_certificate.as_deref();
        if path.is_some_and(|path| path.as_os_str() == "system") {
            return Err(
                Error::invalid_command("sslrootcert=system is not supported").with_hint(
                    "name the file of the system's authorities, such as \
                     /etc/ssl/certs/ca-certificates.crt",
                ),
            );
        }
        let chain = match (mode, path) {
            ("verify-ca" | "verify-full", None) => {
                return Err(Error::invalid_command(format!(
                    "sslmode={mode} needs the authorities to trust"
                ))
                .with_hint("add sslrootcert=FILE"));
            }
            ("prefer", _) | (_, None) => None,
            // pgflight checks the certificate against named authorities with sslmode=require as well, like libpq.
            (_, Some(path)) => {
                let verifier =
                    WebPkiServerVerifier::builder_with_provider(authorities(path)?, provider());
                Some(verifier.build().map_err(|error| {
                    Error::invalid_command("sslrootcert cannot be used").with_source(error)
                })?)
            }
        };
        Ok(Self {
            provider: provider(),
            chain,
            checks_name: mode == "verify-full",
        })
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(chain) = &self.chain else {
            return Ok(ServerCertVerified::assertion());
        };
        match chain.verify_server_cert(certificate, intermediates, name, ocsp_response, now) {
            // rustls checks the name last: the rest of the certificate is valid.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if !self.checks_name => Ok(ServerCertVerified::assertion()),
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::Parameters;

    fn check(text: &str, rest: &str, mode: &str, root: &str) {
        let (left, parameters) = Parameters::take_from(text);
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let expected = Parameters {
            mode: some(mode),
            root_certificate: some(root).map(Into::into),
            ..Parameters::default()
        };
        assert_eq!((left.trim_end(), parameters), (rest, expected), "{text}");
    }

    #[test]
    fn tls_parameters_are_taken_out_of_a_connection_text() {
        check("", "", "", "");
        check("host=db user=ana", "host=db user=ana", "", "");
        check(
            "host=db sslmode = 'verify-ca'  sslrootcert='/a b/it\\'s.crt' user='a b'",
            "host=db user='a b'",
            "verify-ca",
            "/a b/it's.crt",
        );
        check(
            "password='sslmode=x' host=db",
            "password='sslmode=x' host=db",
            "",
            "",
        );
        check("host=db sslmode='x", "host=db sslmode='x", "", "");
        check(
            "postgres://a:b@h:1/d?sslmode=verify-full&connect_timeout=3&sslrootcert=%2Fa%20b.crt",
            "postgres://a:b@h:1/d?connect_timeout=3",
            "verify-full",
            "/a b.crt",
        );
        check(
            "postgresql://a:?sslmode=x@h?sslmode=require",
            "postgresql://a:?sslmode=x@h",
            "require",
            "",
        );
        check("postgres://a@h/d", "postgres://a@h/d", "", "");
    }
}
