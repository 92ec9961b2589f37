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

/// Asks PostgreSQL whether it speaks TLS; it answers with one byte (PostgreSQL manual, 55.2.10).
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// What carries the protocol.
pub(super) type Wire = Either<Socket, TlsStream<Socket>>;

/// The parameters of libpq that are about TLS, each as far as it was given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Parameters {
    mode: Option<String>,
    root_certificate: Option<PathBuf>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
}

impl Parameters {
    /// Takes them out of a connection text: gives them, and the text without them, which the driver
    /// understands. A text that cannot be read stays as it is.
    pub(super) fn take_from(text: &str) -> (String, Self) {
        let mut parameters = Self::default();
        let is_url = text.starts_with("postgres://") || text.starts_with("postgresql://");
        let rest = match is_url {
            true => parameters.take_from_url(text),
            false => parameters.take_from_pairs(text),
        };
        (rest.unwrap_or_else(|| text.to_owned()), parameters)
    }

    pub(super) fn mode(&self) -> Option<&str> {
        self.mode.as_deref()
    }

    /// Completes them from libpq's environment.
    pub(super) fn or(mut self, variable: &dyn Fn(&str) -> Option<String>) -> Self {
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
        Some(match left.is_empty() {
            true => base.to_owned(),
            false => format!("{base}?{}", left.join("&")),
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

    /// Keeps a parameter; false for one that is not about TLS.
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

/// Reads a value of `name=value` text, and gives what comes after it.
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

/// How a connection is secured.
#[derive(Clone)]
pub(super) struct Tls {
    /// Of `sslmode`, for messages.
    mode: &'static str,
    /// None: not at all.
    config: Option<Arc<ClientConfig>>,
}

impl Tls {
    /// Reads the files that are named.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidCommand`](crate::error::ErrorKind::InvalidCommand) for a mode that libpq does
    /// not have, one that needs authorities and is given none, and files that cannot be read.
    pub(super) fn new(parameters: &Parameters) -> Result<Self> {
        let mode = match parameters.mode.as_deref() {
            Some("disable") => {
                return Ok(Self {
                    mode: "disable",
                    config: None,
                });
            }
            // Both take what the other side offers; libpq only tries them in another order.
            None | Some("prefer" | "allow") => "prefer",
            Some("require") => "require",
            Some("verify-ca") => "verify-ca",
            Some("verify-full") => "verify-full",
            Some(_) => {
                return Err(Error::invalid_command(
                    "sslmode is none that libpq knows: disable, allow, prefer, require, verify-ca or \
                     verify-full",
                ));
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
                    Error::invalid_command("sslkey is not the key of sslcert").with_source(error)
                })?,
            _ => {
                return Err(Error::invalid_command(
                    "sslcert and sslkey are needed together; one of them is missing",
                ));
            }
        };
        Ok(Self {
            mode,
            config: Some(Arc::new(config)),
        })
    }

    /// Secures a connection to a host of this name or address, as far as the mode and PostgreSQL want it.
    pub(super) async fn secure(self, mut socket: Socket, host: &str) -> io::Result<Wire> {
        let Some(config) = self.config else {
            return Ok(Either::Left(socket));
        };
        socket.write_all(&SSL_REQUEST).await?;
        // One byte and no more: what somebody in between sends after it must not pass as PostgreSQL's.
        match socket.read_u8().await? {
            b'S' => {
                let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
                let stream = TlsConnector::from(config).connect(name, socket).await?;
                Ok(Either::Right(stream))
            }
            b'N' if self.mode == "prefer" => Ok(Either::Left(socket)),
            _ => Err(io::Error::other(format!(
                "PostgreSQL offers no TLS there, which sslmode={} asks for; turn its setting ssl on",
                self.mode
            ))),
        }
    }
}

/// Decides about PostgreSQL's certificate.
#[derive(Debug)]
struct Verifier {
    provider: Arc<CryptoProvider>,
    /// None: any certificate will do.
    chain: Option<Arc<WebPkiServerVerifier>>,
    checks_name: bool,
}

impl Verifier {
    fn new(mode: &str, parameters: &Parameters) -> Result<Self> {
        let path = parameters.root_certificate.as_deref();
        if path.is_some_and(|path| path.as_os_str() == "system") {
            return Err(Error::invalid_command(
                "sslrootcert=system is not supported; name the file of the system's authorities, such as \
                 /etc/ssl/certs/ca-certificates.crt",
            ));
        }
        let chain = match (mode, path) {
            ("verify-ca" | "verify-full", None) => {
                return Err(Error::invalid_command(format!(
                    "sslmode={mode} needs the authorities to trust: add sslrootcert=FILE"
                )));
            }
            ("prefer", _) | (_, None) => None,
            // So libpq has it: who asks for TLS and names authorities wants them asked.
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
            // The name is looked at last, when the rest is known to be right.
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
    fn what_is_about_tls_is_taken_out_of_a_connection_text_and_the_rest_left() {
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
