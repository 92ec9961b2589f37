//! Checks JWTs of an identity provider: signature, issuer, audience and times.

use std::time::Duration;

use jsonwebtoken::jwk::{JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde_json::{Map, Value};

use super::ring_verifier;
use crate::auth::config::JwtConfig;
use crate::auth::problem::Problem;
use crate::auth::refusal::Refusal;
use crate::error::{Error, Result};

/// The number of keys in a set.
const MAX_KEYS: usize = 100;
/// The length limit of a key's name.
const MAX_KEY_ID_BYTES: usize = 256;

/// The public keys of a provider by their names.
#[derive(Debug, Clone, Default)]
pub struct KeySet(Vec<(Option<String>, Option<Algorithm>, DecodingKey)>);

impl KeySet {
    /// Parses a JWK set (RFC 7517). Skips keys of an unknown kind and keys that are not for signatures.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidCommand`](crate::error::ErrorKind::InvalidCommand) when the text is not a JWK set or has no
    /// usable key.
    pub fn parse(text: &str) -> Result<Self> {
        let set: JwkSet = serde_json::from_str(text).map_err(|error| {
            Error::invalid_command("the key set is not a JWK set").with_source(error)
        })?;
        let usable = |usage: &Option<PublicKeyUse>| {
            usage
                .as_ref()
                .is_none_or(|usage| *usage == PublicKeyUse::Signature)
        };
        let keys: Vec<_> = set
            .keys
            .iter()
            .filter(|key| usable(&key.common.public_key_use))
            .filter(|key| !key.common.key_algorithm.is_some_and(|a| is_symmetric(&a)))
            .filter_map(|key| {
                let algorithm = key.common.key_algorithm.map(|a| a.to_string());
                let algorithm = match algorithm {
                    Some(name) => Some(name.parse().ok()?),
                    None => None,
                };
                let decoding = DecodingKey::from_jwk(key).ok()?;
                Some((key.common.key_id.clone(), algorithm, decoding))
            })
            .take(MAX_KEYS)
            .collect();
        if keys.is_empty() {
            return Err(Error::invalid_command(
                "the key set holds no public key for signatures",
            ));
        }
        Ok(Self(keys))
    }

    /// Finds the key of a token: by its name, or the only key of the set.
    fn find(
        &self,
        key_id: Option<&str>,
    ) -> Option<&(Option<String>, Option<Algorithm>, DecodingKey)> {
        match (key_id, &*self.0) {
            (Some(id), keys) => keys
                .iter()
                .find(|(key_id, ..)| key_id.as_deref() == Some(id)),
            (None, [only]) => Some(only),
            (None, _) => None,
        }
    }
}

fn is_symmetric(algorithm: &jsonwebtoken::jwk::KeyAlgorithm) -> bool {
    algorithm.to_string().starts_with("HS")
}

/// The rules that a token must satisfy.
#[derive(Debug, Clone)]
pub(in crate::auth) struct Rules {
    issuer: String,
    audience: Vec<String>,
    algorithms: Vec<Algorithm>,
    claim: String,
    leeway: Duration,
}

impl Rules {
    /// Reads a configuration and adds its problems to `problems`.
    pub(in crate::auth) fn new(config: &JwtConfig, problems: &mut Vec<Problem>) -> Self {
        ring_verifier::install();
        let no_audience = config.audience.is_empty() || config.audience.contains(&String::new());
        for (is_empty, key) in [
            (config.issuer.is_empty(), "issuer"),
            (no_audience, "audience"),
            (config.algorithms.is_empty(), "algorithms"),
        ] {
            if is_empty {
                problems.push(Problem::of_jwt(format!("{key} is empty")));
            }
        }
        match (&config.keys_file, &config.keys_url) {
            (Some(_), Some(_)) => problems.push(
                Problem::of_jwt("both keys_file and keys_url are set")
                    .with_hint("keep one of them"),
            ),
            (None, None) => problems.push(
                Problem::of_jwt("neither keys_file nor keys_url is set")
                    .with_hint("set one of them"),
            ),
            (Some(_), None) | (None, Some(_)) => {}
        }
        let url = config.keys_url.as_deref().unwrap_or("https://");
        let is_local = ["http://127.0.0.1:", "http://[::1]:", "http://localhost:"]
            .iter()
            .any(|local| url.starts_with(local));
        // An attacker who changes the keys on the way can sign as any principal.
        if !url.starts_with("https://") && !is_local {
            problems.push(Problem::of_jwt("keys_url does not begin with https://"));
        }
        let algorithms = config.algorithms.iter().filter_map(|name| {
            let algorithm: Option<Algorithm> = name.parse().ok();
            let supported = algorithm.filter(|_| !name.starts_with("HS"));
            if supported.is_none() {
                problems.push(
                    Problem::of_jwt(format!("algorithm {name:?} is not supported")).with_hint(
                        "use RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384 or EdDSA",
                    ),
                );
            }
            supported
        });
        let algorithms = algorithms.collect();
        Self {
            issuer: config.issuer.clone(),
            audience: config.audience.clone(),
            algorithms,
            claim: config.claim.clone(),
            leeway: config.leeway,
        }
    }

    /// Checks a token and returns the claim that names the caller.
    ///
    /// # Errors
    /// [`Refusal::UnknownKey`] when a newer key set may have the key, else the reason the token was rejected.
    pub(in crate::auth) fn subject(&self, token: &str, keys: &KeySet) -> Result<String, Refusal> {
        let header = decode_header(token).map_err(|_| Refusal::InvalidToken)?;
        if !self.algorithms.contains(&header.alg) {
            return Err(Refusal::Jwt("its signature algorithm is not accepted"));
        }
        // RFC 7515, 4.1.11: a critical header that is not understood makes the token invalid.
        if header.crit.is_some() {
            return Err(Refusal::Jwt("it has an unknown critical header"));
        }
        let key_id = header.kid.as_deref();
        if key_id.is_some_and(|id| id.len() > MAX_KEY_ID_BYTES) {
            return Err(Refusal::InvalidToken);
        }
        let (_, algorithm, key) = keys.find(key_id).ok_or(Refusal::UnknownKey)?;
        if algorithm.is_some_and(|algorithm| algorithm != header.alg) {
            return Err(Refusal::Jwt("its key is for another algorithm"));
        }
        let mut validation = Validation::new(header.alg);
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        validation.set_issuer(&[&self.issuer]);
        validation.set_audience(&self.audience);
        validation.validate_nbf = true;
        validation.leeway = self.leeway.as_secs();
        let claims: Map<String, Value> = decode(token, key, &validation).map_err(refusal)?.claims;
        // The library also accepts a list that contains the issuer.
        if !claims.get("iss").is_some_and(Value::is_string) {
            return Err(Refusal::Jwt("it is from another issuer"));
        }
        match claims.get(&self.claim) {
            Some(Value::String(subject)) => Ok(subject.clone()),
            _ => Err(Refusal::Jwt("it lacks the claim that names its subject")),
        }
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the library's other errors are reported as one"
)]
fn refusal(error: jsonwebtoken::errors::Error) -> Refusal {
    use jsonwebtoken::errors::ErrorKind as E;
    match error.kind() {
        E::ExpiredSignature => Refusal::Expired,
        E::ImmatureSignature => Refusal::Jwt("it is not valid yet"),
        E::InvalidIssuer => Refusal::Jwt("it is from another issuer"),
        E::InvalidAudience => Refusal::Jwt("it is for another audience"),
        E::MissingRequiredClaim(_) => Refusal::Jwt("it lacks exp, iss or aud"),
        _ => Refusal::InvalidToken,
    }
}
