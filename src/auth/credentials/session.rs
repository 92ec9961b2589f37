//! Session tokens, which the handshake returns. They are signed, so every replica with the same key accepts them.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::hmac::{HMAC_SHA256, Key, sign, verify};
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The prefix of session tokens.
pub(in crate::auth) const PREFIX: &str = "pgfs_";
/// The length of an HMAC-SHA-256 (RFC 2104, 3): a shorter key is weaker.
const MIN_KEY_BYTES: usize = 32;

/// The key that signs session tokens.
#[derive(Clone)]
pub struct SessionKey(Key);

/// The content of a session token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::auth) struct Session {
    /// The principal's name.
    pub(in crate::auth) principal: String,
    /// The static token that opened the session. Removing that token ends the session.
    pub(in crate::auth) token_id: String,
    /// The end of the session, in seconds since 1970.
    pub(in crate::auth) expires: u64,
    /// The id of the session; empty in tokens of older servers.
    #[serde(default)]
    pub(in crate::auth) id: String,
    /// Whether a server keeps something for the session.
    #[serde(default)]
    pub(in crate::auth) is_stateful: bool,
}

/// The session of a call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SessionClaim {
    /// The id of the session, which a call without one may begin; empty for a caller that cannot have a session.
    pub id: String,
    /// Whether a server keeps something for the session, by the token of the call.
    pub is_stateful: bool,
    /// A token that says so, for the later calls of the session.
    pub token: Option<String>,
}

impl SessionKey {
    /// Returns the key that all replicas share; it has at least 32 bytes.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidCommand`](crate::error::ErrorKind::InvalidCommand) when it is shorter.
    pub fn new(bytes: &[u8]) -> Result<Self> {
        if bytes.len() < MIN_KEY_BYTES {
            return Err(Error::invalid_command(format!(
                "the session key has {} bytes and needs at least {MIN_KEY_BYTES}",
                bytes.len()
            ))
            .with_hint("make one with `openssl rand -base64 48`"));
        }
        Ok(Self(Key::new(HMAC_SHA256, bytes)))
    }

    /// Makes a key for this process.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`](crate::error::ErrorKind::Internal) when the system has no random numbers.
    pub fn random() -> Result<Self> {
        let mut bytes = [0; MIN_KEY_BYTES];
        SystemRandom::new()
            .fill(&mut bytes)
            .map_err(|_| Error::internal("could not read random numbers from the system"))?;
        Self::new(&bytes)
    }

    pub(in crate::auth) fn issue(
        &self,
        principal: &str,
        token_id: String,
        expires: SystemTime,
    ) -> Result<String> {
        self.sign(&Session {
            principal: principal.to_owned(),
            token_id,
            expires: seconds(expires),
            id: new_id(),
            is_stateful: false,
        })
    }

    /// Returns the claim of a session, with a token for it.
    pub(in crate::auth) fn claim(&self, session: Session) -> Result<SessionClaim> {
        let is_stateful = session.is_stateful;
        let stateful = Session {
            is_stateful: true,
            ..session
        };
        Ok(SessionClaim {
            token: Some(self.sign(&stateful)?),
            id: stateful.id,
            is_stateful,
        })
    }

    fn sign(&self, session: &Session) -> Result<String> {
        let payload = serde_json::to_vec(session)
            .map_err(|error| Error::internal("cannot encode a session").with_source(error))?;
        let payload = BASE64_URL_SAFE_NO_PAD.encode(payload);
        let tag = BASE64_URL_SAFE_NO_PAD.encode(sign(&self.0, payload.as_bytes()));
        Ok(format!("{PREFIX}{payload}.{tag}"))
    }

    /// Reads a token that this key has signed, expired or not.
    pub(in crate::auth) fn read(&self, token: &str) -> Option<Session> {
        let (payload, tag) = token.strip_prefix(PREFIX)?.split_once('.')?;
        let tag = BASE64_URL_SAFE_NO_PAD.decode(tag).ok()?;
        verify(&self.0, payload.as_bytes(), &tag).ok()?;
        serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(payload).ok()?).ok()
    }
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionKey(…)")
    }
}

impl Session {
    pub(in crate::auth) fn has_expired(&self, now: SystemTime) -> bool {
        self.expires <= seconds(now)
    }
}

/// Returns a new id of a session.
pub(in crate::auth) fn new_id() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

pub(in crate::auth) fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO)
        .as_secs()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::SessionKey;

    #[test]
    fn session_tokens_are_read_with_the_key_and_cannot_be_changed() {
        let (ours, same) = (
            SessionKey::new(&[7; 32]).unwrap(),
            SessionKey::new(&[7; 32]).unwrap(),
        );
        let now = SystemTime::now();
        let token = ours.issue("etl", "id".into(), now + Duration::from_secs(60));
        let token = token.unwrap();
        let session = same.read(&token).unwrap();
        assert_eq!((&*session.principal, &*session.token_id), ("etl", "id"));
        assert!(!session.has_expired(now));
        let (id, claim) = (session.id.clone(), ours.claim(session).unwrap());
        assert_eq!((&claim.id, claim.is_stateful), (&id, false));
        let next = ours.read(&claim.token.unwrap()).unwrap();
        assert_eq!((&next.id, next.is_stateful), (&id, true));
        let other = ours.issue("etl", "id".into(), now).unwrap();
        assert_ne!(
            ours.read(&other).unwrap().id,
            id,
            "each handshake is a session"
        );
        let session = same.read(&token).unwrap();
        assert!(session.has_expired(now + Duration::from_secs(61)));
        assert!(SessionKey::random().unwrap().read(&token).is_none());
        for at in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            // The last base64 digit has bits that the decoder ignores.
            assert!(
                at + 1 == token.len() || ours.read(&changed).is_none(),
                "{at}"
            );
        }
        assert!(SessionKey::new(&[7; 31]).is_err());
    }
}
