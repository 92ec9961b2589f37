//! The reasons that credentials are rejected.

use crate::error::Error;

/// The reason that credentials were rejected. It holds nothing of the credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The call has no credentials.
    #[error("missing credentials")]
    MissingCredentials,
    /// The token matches no principal.
    #[error("the token is not valid")]
    InvalidToken,
    /// The token was valid and has expired.
    #[error("the token has expired")]
    Expired,
    /// The JWT breaks a rule.
    #[error("the token is not valid: {0}")]
    Jwt(&'static str),
    /// The JWT is signed with an unknown key.
    #[error("the token is signed with an unknown key")]
    UnknownKey,
    /// The JWT or the certificate is valid and belongs to no principal.
    #[error("no principal has this name")]
    NoPrincipal,
    /// The call has more than one authorization header.
    #[error("the call has more than one authorization header")]
    DuplicateHeader,
    /// The handshake has no name and token.
    #[error("the handshake has no name and token")]
    MissingPassword,
    /// The handshake sent name and token without TLS.
    #[error("name and token were sent without TLS")]
    PasswordWithoutTls,
    /// Name and token do not match.
    #[error("name and token do not match")]
    WrongPassword,
}

impl Refusal {
    /// Returns what the caller can do about it.
    pub fn hint(self) -> Option<&'static str> {
        match self {
            Self::MissingCredentials => Some("send `authorization: Bearer TOKEN`"),
            Self::DuplicateHeader => Some("send one authorization header"),
            Self::MissingPassword => Some("send `authorization: Basic …` with name and token"),
            Self::PasswordWithoutTls => Some("connect with TLS"),
            Self::Expired => Some("get a new token"),
            Self::InvalidToken
            | Self::Jwt(_)
            | Self::UnknownKey
            | Self::NoPrincipal
            | Self::WrongPassword => None,
        }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        let error = Self::unauthenticated(refusal.to_string());
        match refusal.hint() {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    }
}
