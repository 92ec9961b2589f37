//! The names in a client's certificate.

use x509_parser::extensions::GeneralName;
use x509_parser::objects::{oid_registry, oid2abbrev};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

/// Returns the names of a certificate in DER as a configuration writes them: the subject (`CN=etl, O=Example`), and
/// the alternative names `URI:…` and `DNS:…`. Returns none when the certificate cannot be read.
///
/// A comma, a plus or a backslash within a value is escaped with a backslash, as in RFC 4514: otherwise a client that
/// controls one part of its subject could forge the others.
pub(in crate::auth) fn names(der: &[u8]) -> Vec<String> {
    let Ok((_, certificate)) = X509Certificate::from_der(der) else {
        return Vec::new();
    };
    let mut names: Vec<String> = subject(certificate.subject()).into_iter().collect();
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

/// Returns `None` when a value is not text.
fn subject(name: &X509Name<'_>) -> Option<String> {
    let parts = name.iter_rdn().map(|part| {
        let attributes: Option<Vec<String>> = part.iter().map(attribute).collect();
        Some(attributes?.join(" + "))
    });
    Some(parts.collect::<Option<Vec<String>>>()?.join(", "))
}

fn attribute(attribute: &AttributeTypeAndValue<'_>) -> Option<String> {
    let kind = attribute.attr_type();
    let named = oid2abbrev(kind, oid_registry()).map(str::to_owned);
    let named = named.unwrap_or_else(|_| kind.to_id_string());
    let mut text = format!("{named}=");
    for letter in attribute.as_str().ok()?.chars() {
        if matches!(letter, ',' | '+' | '\\') {
            text.push('\\');
        }
        text.push(letter);
    }
    Some(text)
}
