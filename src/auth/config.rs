//! The sections `[auth]` and `[principals.NAME]` of a configuration file.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use bytesize::ByteSize;
use serde::{Deserialize, Deserializer};

use super::mode::WriteMode;
use super::volume::Volume;

/// The principals and how they authenticate.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IdentityConfig {
    /// The authentication of callers.
    pub auth: AuthConfig,
    /// The principals by name. Without any, calls need no credentials.
    pub principals: BTreeMap<String, PrincipalConfig>,
}

/// The authentication of callers, besides static tokens.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuthConfig {
    /// The key that signs session tokens, at least 32 bytes; the same file for all replicas. Without one, each process
    /// makes its own and rejects the sessions of other replicas.
    pub session_key_file: Option<PathBuf>,
    /// The lifetime of a session token.
    #[serde(deserialize_with = "duration")]
    pub session_ttl: Duration,
    /// JWTs of an identity provider.
    pub jwt: Option<JwtConfig>,
}

impl AuthConfig {
    /// Returns the files that the section names.
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

/// The JWTs that are accepted.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JwtConfig {
    /// The value of `iss`.
    pub issuer: String,
    /// The accepted values of `aud`.
    pub audience: Vec<String>,
    /// The accepted algorithms; none with shared secrets.
    #[serde(default = "algorithms")]
    pub algorithms: Vec<String>,
    /// The claim that is compared with the principals' `jwt_subjects`.
    #[serde(default = "claim")]
    pub claim: String,
    /// The accepted difference between clocks.
    #[serde(default = "leeway", deserialize_with = "duration")]
    pub leeway: Duration,
    /// A file with the provider's JWK set; read again with the configuration.
    pub keys_file: Option<PathBuf>,
    /// The https URL of the provider's JWK set.
    pub keys_url: Option<String>,
    /// Authorities in PEM for `keys_url`, instead of the system's.
    pub keys_ca: Option<PathBuf>,
    /// The interval between two fetches of the set.
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

/// A principal: its credentials and its permissions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PrincipalConfig {
    /// Digests of its tokens; several, so that a new token can be added before the old one is removed.
    pub tokens: Vec<TokenConfig>,
    /// JWT subjects that authenticate as this principal.
    pub jwt_subjects: Vec<String>,
    /// Certificate names that authenticate as this principal: `CN=etl, O=Example`, `URI:spiffe://example/etl`,
    /// `DNS:etl.example`.
    pub certificates: Vec<String>,
    /// The tables that it may write; none without grants.
    pub grants: Vec<GrantConfig>,
    /// The PostgreSQL role that writes its rows, set with SET ROLE.
    pub role: Option<String>,
    /// Concurrent DoPut streams on one server; more wait.
    pub max_streams: Option<u32>,
    /// Open writes of many partitions in a database; more are rejected as UNAVAILABLE.
    pub max_open_writes: Option<u32>,
    /// Bytes of rows per second on one server; streams wait.
    #[serde(deserialize_with = "optional_size")]
    pub max_bytes_per_second: Option<ByteSize>,
    /// Rows of one stream; a stream with more is rejected.
    pub max_rows_per_stream: Option<u64>,
    /// Bytes of COPY of one stream; a stream with more is rejected.
    #[serde(deserialize_with = "optional_size")]
    pub max_bytes_per_stream: Option<ByteSize>,
    /// Rows of all recorded streams of a write; a stream beyond it is rejected.
    pub max_rows_per_write: Option<u64>,
    /// Bytes of COPY of all recorded streams of a write; a stream beyond it is rejected.
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

/// The digest of a token, with or without an expiry.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(
    untagged,
    expecting = "a token is \"sha256:…\" or { digest = \"sha256:…\", expires = \"2027-01-31T00:00:00Z\" }"
)]
pub enum TokenConfig {
    /// A token that does not expire.
    Digest(String),
    /// A token that expires.
    Expiring {
        /// `sha256:` and 64 hexadecimal digits, as `pgflight token` prints them.
        digest: String,
        /// RFC 3339, in UTC.
        #[serde(deserialize_with = "moment")]
        expires: SystemTime,
    },
}

/// The permission for some modes on some tables.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrantConfig {
    /// The targets, by name or with `*`; without any, the default one.
    #[serde(default)]
    pub targets: Vec<String>,
    /// Patterns `schema.table`; in each part `*` matches any characters and `?` matches one.
    pub tables: Vec<String>,
    /// The permitted modes.
    pub modes: Vec<WriteMode>,
    /// The statements of the target that may run around the rows, by name or with `*`; none without any.
    #[serde(default)]
    pub statements: Vec<String>,
}

fn parsed<'de, D, T>(deserializer: D, parse: fn(&str) -> Result<T, String>) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
{
    let text = String::deserialize(deserializer)?;
    parse(&text).map_err(|error| serde::de::Error::custom(format!("{text:?}: {error}")))
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    parsed(deserializer, |text| {
        as_text(humantime::parse_duration(text))
    })
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
