//! The keys of an identity provider: read from a file, or fetched and refreshed at a bounded rate.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use crate::auth::{JwtConfig, KeySet};
use crate::error::{Error, Result, chain};
use crate::tls::{certificates, provider};

/// The time for a whole answer; a call may be waiting for it.
const FETCH_TIMEOUT: Duration = Duration::from_secs(10);
/// The size limit of a key set, in bytes: larger than any provider's.
const MAX_SET_BYTES: u64 = 1 << 20;
/// The shortest interval between two fetches that a configuration can set.
const MIN_REFRESH: Duration = Duration::from_secs(1);
/// A token with an unknown key triggers a fetch, at most this often per refresh interval.
const PAUSES_PER_REFRESH: u32 = 10;
/// Keys older than this are no longer accepted: the provider may have withdrawn them.
const MAX_AGE: Duration = Duration::from_secs(24 * 3600);

/// The source of the keys.
#[derive(Clone)]
pub(crate) enum Keys {
    /// Keys from a file, which change when the configuration is read again.
    Fixed(Arc<KeySet>),
    /// Keys from a URL.
    Fetched(Arc<Fetched>),
}

/// A key set at a URL.
pub(crate) struct Fetched {
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
    /// Reads the key file, or prepares to fetch the keys.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidCommand`](crate::error::ErrorKind::InvalidCommand) when a file cannot be used.
    pub(crate) fn load(config: Option<&JwtConfig>) -> Result<Self> {
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

    /// Returns the current keys; none when they are too old.
    pub(crate) fn current(&self) -> Arc<KeySet> {
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

    /// Fetches the keys again, unless they were fetched a moment ago. Returns whether there is a new answer.
    pub(crate) async fn refetch(&self) -> bool {
        match self {
            Self::Fixed(_) => false,
            Self::Fetched(fetched) => fetched.fetch_unless_recent().await,
        }
    }

    /// Fetches the keys at every refresh interval; never completes.
    pub(crate) async fn follow(&self) {
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
            // Another call fetched the keys while this one waited for the lock.
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
                tracing::debug!(url = self.url, "fetched the identity provider's keys");
                true
            }
            Err(error) => {
                tracing::error!(
                    url = self.url,
                    error = chain(&error),
                    "could not fetch the identity provider's keys; the current keys stay valid for a day"
                );
                false
            }
        }
    }
}

fn agent(config: &JwtConfig) -> Result<Agent> {
    let roots = match &config.keys_ca {
        Some(path) => certificates(path)?,
        // Certificates that cannot be read are not trusted.
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
        // The keys must come from the configured URL.
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
