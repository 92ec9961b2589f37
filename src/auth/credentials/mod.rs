//! The kinds of credentials: certificates, JWTs, sessions and static tokens.

pub(super) mod certificate;
pub(super) mod jwt;
mod ring_verifier;
pub(super) mod session;
pub(super) mod token;
