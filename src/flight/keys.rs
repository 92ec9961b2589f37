//! The keys of an identity provider: from a file, or fetched and kept fresh within bounds.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use crate::auth::{JwtConfig, KeySet};
use crate::error::{Error, Result, chain};
use crate::tls::{certificates, provider};

/// For a whole answer; a call may be waiting for it.
const FETCH_TIMEOUT: Duration = Duration::from_secs(10);
/// More than any provider's set takes.
const MAX_SET_BYTES: u64 = 1 << 20;
/// The shortest time between two fetches that a configuration can ask for.
const MIN_REFRESH: Duration = Duration::from_secs(1);
/// A key that is not known makes the set be fetched again, whoever asks, but not within this part of the time
/// between two fetches.
const PAUSES_PER_REFRESH: u32 = 10;
/// Keys that could not be fetched again for so long are no longer believed: the provider may have withdrawn
/// them.
const MAX_AGE: Duration = Duration::from_secs(24 * 3600);

/// Where the keys come from.
#[derive(Clone)]
pub(super) enum Keys {
    /// They do not change until the configuration is read again.
    Fixed(Arc<KeySet>),
    /// They are fetched.
    Fetched(Arc<Fetched>),
}

/// A set of keys at a URL.
pub(super) struct Fetched {
    url: String,
    agent: Agent,
    refresh: Duration,
    cache: Mutex<KeyCache>,
    fetching: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct KeyCache {
    keys: Arc<KeySet>,
    fetched: Option<Instant>,
    tried: Option<Instant>,
}

impl Keys {
    /// Reads the file, or prepares to fetch.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidCommand`](crate::error::ErrorKind::InvalidCommand) when a file cannot be used.
    pub(super) fn load(config: Option<&JwtConfig>) -> Result<Self> {
        let Some(config) = config else {
            return Ok(Self::Fixed(Arc::default()));
        };
        if let Some(path) = &config.keys_file {
            let named = |error: Error| {
                Error::invalid_command(format!("cannot use {}", path.display())).with_source(error)
            };
            let text = std::fs::read_to_string(path)
                .map_err(|error| named(Error::invalid_command(error.to_string())))?;
            let keys = KeySet::parse(&text).map_err(named)?;
            return Ok(Self::Fixed(Arc::new(keys)));
        }
        Ok(Self::Fetched(Arc::new(Fetched {
            url: config.keys_url.clone().unwrap_or_default(),
            agent: agent(config)?,
            refresh: config.keys_refresh.max(MIN_REFRESH),
            cache: Mutex::default(),
            fetching: tokio::sync::Mutex::default(),
        })))
    }

    /// The keys as they are now.
    pub(super) fn current(&self) -> Arc<KeySet> {
        match self {
            Self::Fixed(keys) => Arc::clone(keys),
            Self::Fetched(fetched) => {
                let cache = fetched.cache();
                match cache.fetched {
                    Some(fetched) if fetched.elapsed() < MAX_AGE => Arc::clone(&cache.keys),
                    _ => Arc::default(),
                }
            }
        }
    }

    /// Looks for a key that is not among them, unless that was done a moment ago; whether it was now.
    pub(super) async fn refetch(&self) -> bool {
        match self {
            Self::Fixed(_) => false,
            Self::Fetched(fetched) => fetched.fetch_unless_recent().await,
        }
    }

    /// Fetches them again and again; never completes.
    pub(super) async fn follow(&self) {
        match self {
            Self::Fixed(_) => std::future::pending().await,
            Self::Fetched(fetched) => loop {
                fetched.fetch_unless_recent().await;
                tokio::time::sleep(fetched.refresh).await;
            },
        }
    }
}

impl Fetched {
    fn cache(&self) -> MutexGuard<'_, KeyCache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn fetch_unless_recent(&self) -> bool {
        let asked = Instant::now();
        let _alone = self.fetching.lock().await;
        let tried = self.cache().tried;
        let pause = self.refresh / PAUSES_PER_REFRESH;
        if tried.is_some_and(|tried| tried.elapsed() < pause) {
            // Who waited for somebody else's answer has it now.
            return tried.is_some_and(|tried| tried >= asked);
        }
        let (agent, url) = (self.agent.clone(), self.url.clone());
        let answer = tokio::task::spawn_blocking(move || fetch(&agent, &url)).await;
        let answer =
            answer.unwrap_or_else(|_| Err(Error::internal("the fetch of the keys was cancelled")));
        let mut cache = self.cache();
        cache.tried = Some(Instant::now());
        match answer {
            Ok(keys) => {
                cache.keys = Arc::new(keys);
                cache.fetched = cache.tried;
                tracing::debug!(
                    url = self.url,
                    "the keys of the identity provider are fetched"
                );
                true
            }
            Err(error) => {
                tracing::error!(
                    url = self.url,
                    error = chain(&error),
                    "the keys of the identity provider cannot be fetched; those before are kept for a day"
                );
                false
            }
        }
    }
}

fn agent(config: &JwtConfig) -> Result<Agent> {
    let roots = match &config.keys_ca {
        Some(path) => certificates(path)?,
        // What of them cannot be read is not trusted.
        None => rustls_native_certs::load_native_certs().certs,
    };
    let roots: Vec<_> = roots
        .iter()
        .map(|der| Certificate::from_der(der).to_owned())
        .collect();
    let tls = TlsConfig::builder()
        .unversioned_rustls_crypto_provider(provider())
        .root_certs(RootCerts::from(roots))
        .build();
    let agent = Agent::config_builder()
        .timeout_global(Some(FETCH_TIMEOUT))
        // What is asked for is believed; it must come from where it was asked.
        .max_redirects(0)
        .tls_config(tls)
        .user_agent(concat!("pgflight/", env!("CARGO_PKG_VERSION")))
        .build();
    Ok(agent.into())
}

fn fetch(agent: &Agent, url: &str) -> Result<KeySet> {
    let failed =
        |error: ureq::Error| Error::unavailable("could not fetch the key set").with_source(error);
    let mut answer = agent.get(url).call().map_err(failed)?;
    if answer.status() != 200 {
        return Err(Error::unavailable(format!(
            "the identity provider answered with status {}",
            answer.status()
        )));
    }
    let body = answer.body_mut().with_config().limit(MAX_SET_BYTES);
    KeySet::parse(&body.read_to_string().map_err(failed)?)
}
