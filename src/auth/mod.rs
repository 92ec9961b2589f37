//! Authentication and permissions: pure decisions from a configuration and a caller's credentials.

mod caller;
mod config;
mod credentials;
mod directory;
mod mode;
mod principal;
mod problem;
mod refusal;
mod volume;

pub use caller::Caller;
pub use config::{
    AuthConfig, GrantConfig, IdentityConfig, JwtConfig, PrincipalConfig, TokenConfig,
};
pub use credentials::jwt::KeySet;
pub use credentials::session::{SessionClaim, SessionKey};
pub use credentials::token::{digest_of, new_token};
pub use directory::{Credentials, Directory, Proof};
pub use mode::WriteMode;
pub use principal::{Limits, Principal};
pub use problem::Problem;
pub use refusal::Refusal;
pub use volume::Volume;
