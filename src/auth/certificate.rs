//! The names that a client's certificate gives its holder.

use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// The names of a certificate in DER as a configuration writes them: the subject (`CN=etl, O=Example`), and
/// of the alternative names `URI:…` and `DNS:…`. None when it cannot be read.
pub(super) fn names(der: &[u8]) -> Vec<String> {
    let Ok((_, certificate)) = X509Certificate::from_der(der) else {
        return Vec::new();
    };
    let mut names = vec![certificate.subject().to_string()];
    if let Ok(Some(alternative)) = certificate.subject_alternative_name() {
        for name in &alternative.value.general_names {
            if let GeneralName::URI(uri) = name {
                names.push(format!("URI:{uri}"));
            } else if let GeneralName::DNSName(host) = name {
                names.push(format!("DNS:{host}"));
            }
        }
    }
    names
}
