//! Static tokens. The configuration holds only their SHA-256 digests.

use std::fmt;
use std::time::SystemTime;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use subtle::ConstantTimeEq;

use crate::error::{Error, Result};

/// The prefix of tokens, by which scanners for secrets recognise them.
const PREFIX: &str = "pgf_";
/// Random bytes in a token: guessing one takes 2^255 tries on average.
const RANDOM_BYTES: usize = 32;
/// The prefix of a digest.
const DIGEST_PREFIX: &str = "sha256:";

/// Makes a token of 256 random bits.
///
/// # Errors
/// [`ErrorKind::Internal`](crate::error::ErrorKind::Internal) when the system has no random numbers.
pub fn new_token() -> Result<String> {
    let mut bytes = [0; RANDOM_BYTES];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| Error::internal("could not read random numbers from the system"))?;
    Ok(format!("{PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(bytes)))
}

/// Returns the digest of a token for the configuration: `sha256:` and 64 hexadecimal digits.
pub fn digest_of(token: &str) -> String {
    Digest::of(token).to_string()
}

/// The SHA-256 digest of a token.
#[derive(Debug, Clone, Copy)]
pub(in crate::auth) struct Digest([u8; 32]);

impl Digest {
    pub(in crate::auth) fn of(token: &str) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
        Self(bytes)
    }

    pub(in crate::auth) fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix(DIGEST_PREFIX)?.as_bytes();
        let mut bytes = [0; 32];
        if digits.len() != 2 * bytes.len() {
            return None;
        }
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
            let pair = std::str::from_utf8(pair).ok()?;
            if pair.starts_with('+') {
                return None;
            }
            *byte = u8::from_str_radix(pair, 16).ok()?;
        }
        Some(Self(bytes))
    }

    /// Compares in constant time.
    pub(in crate::auth) fn is(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }

    /// Returns an id for the token that reveals nothing about it.
    pub(in crate::auth) fn id(&self) -> String {
        self.0.iter().take(8).map(|b| format!("{b:02x}")).collect()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(DIGEST_PREFIX)?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A token of a principal.
#[derive(Debug, Clone)]
pub(in crate::auth) struct Token {
    pub(in crate::auth) digest: Digest,
    pub(in crate::auth) expires: Option<SystemTime>,
}

impl Token {
    pub(in crate::auth) fn has_expired(&self, now: SystemTime) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::{Digest, digest_of, new_token};

    #[test]
    fn only_its_own_digest_matches_a_token() {
        let (token, other) = (new_token().unwrap(), new_token().unwrap());
        assert_ne!(token, other);
        assert_eq!(token.len(), 47);
        let digest = Digest::parse(&digest_of(&token)).unwrap();
        assert!(digest.is(&Digest::of(&token)));
        assert!(!digest.is(&Digest::of(&other)));
        // RFC 6234 and `printf abc | sha256sum` agree.
        let abc = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(digest_of("abc"), abc);
        for not_one in [
            "",
            "sha256:",
            "sha256:00",
            abc.strip_prefix("sha256:").unwrap(),
            &abc.replace('b', "g"),
        ] {
            assert!(Digest::parse(not_one).is_none(), "{not_one}");
        }
    }
}
