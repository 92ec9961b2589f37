//! Authentication and permissions: pure decisions from a configuration and a caller's credentials.

mod caller;
mod certificate;
mod config;
mod directory;
mod jwt;
mod principal;
mod problem;
mod ring_verifier;
mod session;
mod token;
mod volume;

pub use caller::Caller;
pub use config::{
    AuthConfig, GrantConfig, IdentityConfig, JwtConfig, PrincipalConfig, TokenConfig,
};
pub use directory::{Credentials, Directory, Proof, Refusal};
pub use jwt::KeySet;
pub use principal::{Limits, Principal, WriteMode};
pub use problem::Problem;
pub use session::SessionKey;
pub use token::{digest_of, new_token};
pub use volume::Volume;
