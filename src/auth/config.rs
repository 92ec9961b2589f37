//! What a configuration says about callers, as it is written.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use bytesize::ByteSize;
use serde::{Deserialize, Deserializer};

use super::principal::WriteMode;
use super::volume::Volume;

/// Who may call, and what.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IdentityConfig {
    /// How callers are known.
    pub auth: AuthConfig,
    /// Who they are, by name. Without any, nobody is asked.
    pub principals: BTreeMap<String, PrincipalConfig>,
}

/// How callers are known, beside their static tokens.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuthConfig {
    /// The key that signs session tokens, at least 32 bytes; the same file for all replicas. Without one,
    /// each process makes its own, and takes no session of another.
    pub session_key_file: Option<PathBuf>,
    /// How long a session token is good for.
    #[serde(deserialize_with = "duration")]
    pub session_ttl: Duration,
    /// JWTs of an identity provider.
    pub jwt: Option<JwtConfig>,
}

impl AuthConfig {
    /// The files that it names.
    pub fn paths_mut(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let jwt = self.jwt.as_mut();
        let of_jwt = jwt
            .into_iter()
            .flat_map(|jwt| [&mut jwt.keys_file, &mut jwt.keys_ca]);
        of_jwt.chain([&mut self.session_key_file]).flatten()
    }
}

impl Default for AuthConfig {
    fn default() -> Self {
        Self {
            session_key_file: None,
            session_ttl: Duration::from_secs(3600),
            jwt: None,
        }
    }
}

/// Which JWTs are believed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JwtConfig {
    /// What `iss` must be.
    pub issuer: String,
    /// One of which `aud` must be.
    pub audience: Vec<String>,
    /// The algorithms that are taken; none of shared secrets.
    #[serde(default = "algorithms")]
    pub algorithms: Vec<String>,
    /// The claim that is looked for in the principals' `jwt_subjects`.
    #[serde(default = "claim")]
    pub claim: String,
    /// How far clocks may differ.
    #[serde(default = "leeway", deserialize_with = "duration")]
    pub leeway: Duration,
    /// A file with the provider's JWK set; read again with the configuration.
    pub keys_file: Option<PathBuf>,
    /// Where the provider's JWK set is fetched, by https.
    pub keys_url: Option<String>,
    /// Authorities in PEM for `keys_url`, instead of the well-known ones.
    pub keys_ca: Option<PathBuf>,
    /// How often the set is fetched again.
    #[serde(default = "refresh", deserialize_with = "duration")]
    pub keys_refresh: Duration,
}

fn algorithms() -> Vec<String> {
    ["RS256", "ES256"].map(str::to_owned).to_vec()
}

fn claim() -> String {
    "sub".to_owned()
}

fn leeway() -> Duration {
    Duration::from_secs(30)
}

fn refresh() -> Duration {
    Duration::from_secs(300)
}

/// Somebody who may call: how it is known, and what it may do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PrincipalConfig {
    /// Digests of its tokens; several, so that a new one can come before the old one goes.
    pub tokens: Vec<TokenConfig>,
    /// Whose JWTs are its.
    pub jwt_subjects: Vec<String>,
    /// Names in certificates that are its: `CN=etl, O=Example`, `URI:spiffe://example/etl`, `DNS:etl.example`.
    pub certificates: Vec<String>,
    /// What it may write. Without any, nothing.
    pub grants: Vec<GrantConfig>,
    /// The role of PostgreSQL in which its rows are written, by SET ROLE.
    pub role: Option<String>,
    /// DoPut streams at once, of this server; more wait.
    pub max_streams: Option<u32>,
    /// Open writes of many partitions at once, of the database; more are refused as UNAVAILABLE.
    pub max_open_writes: Option<u32>,
    /// Bytes of rows a second, of this server; a stream waits.
    #[serde(deserialize_with = "optional_size")]
    pub max_bytes_per_second: Option<ByteSize>,
    /// Rows of one stream; one with more is refused.
    pub max_rows_per_stream: Option<u64>,
    /// Bytes of one stream, as COPY sends them to PostgreSQL; one with more is refused.
    #[serde(deserialize_with = "optional_size")]
    pub max_bytes_per_stream: Option<ByteSize>,
    /// Rows of all recorded streams of a write; a stream that brings more is refused.
    pub max_rows_per_write: Option<u64>,
    /// Bytes of all recorded streams of a write; a stream that brings more is refused.
    #[serde(deserialize_with = "optional_size")]
    pub max_bytes_per_write: Option<ByteSize>,
}

impl PrincipalConfig {
    pub(super) fn volume(&self) -> Volume {
        let bytes = |size: Option<ByteSize>| size.map(|size| size.as_u64());
        Volume {
            max_rows_per_stream: self.max_rows_per_stream,
            max_bytes_per_stream: bytes(self.max_bytes_per_stream),
            max_rows_per_write: self.max_rows_per_write,
            max_bytes_per_write: bytes(self.max_bytes_per_write),
        }
    }
}

/// A token: its digest, or that and when it is no longer taken.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(
    untagged,
    expecting = "a token is \"sha256:…\" or { digest = \"sha256:…\", expires = \"2027-01-31T00:00:00Z\" }"
)]
pub enum TokenConfig {
    /// For ever.
    Digest(String),
    /// Until then.
    Expiring {
        /// `sha256:` and 64 hexadecimal digits, as `pgflight token` prints them.
        digest: String,
        /// RFC 3339, in UTC.
        #[serde(deserialize_with = "moment")]
        expires: SystemTime,
    },
}

/// Tables and what may be done with them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrantConfig {
    /// The targets it holds for, by name or with `*`; without it, the default one.
    #[serde(default)]
    pub targets: Vec<String>,
    /// `schema.table`; `*` stands for any characters, `?` for one, in either part.
    pub tables: Vec<String>,
    /// What may be done.
    pub modes: Vec<WriteMode>,
}

fn parsed<'de, D, T>(deserializer: D, parse: fn(&str) -> Result<T, String>) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
{
    let text = String::deserialize(deserializer)?;
    parse(&text).map_err(|error| serde::de::Error::custom(format!("{text:?}: {error}")))
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    parsed(deserializer, |text| as_text(humantime::parse_duration(text)))
}

fn moment<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SystemTime, D::Error> {
    parsed(deserializer, |text| as_text(humantime::parse_rfc3339(text)))
}

fn optional_size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<ByteSize>, D::Error> {
    parsed(deserializer, |text| as_text(ByteSize::from_str(text))).map(Some)
}

fn as_text<T, E: Display>(parsed: Result<T, E>) -> Result<T, String> {
    parsed.map_err(|error| error.to_string())
}
