//! The options of `pgflight serve`.

use std::path::PathBuf;

use clap::parser::ValueSource;
use clap::{ArgMatches, Args, FromArgMatches};

use super::destination::Postgres;
use crate::config::options::limits::LimitOptions;
use crate::config::options::log::LogOptions;
use crate::config::options::metrics::MetricsOptions;
use crate::config::options::server::ServerOptions;
use crate::config::options::writes::WriteOptions;

pub(super) const EXAMPLES: &str = "\
Examples:
  pgflight serve --postgres postgres://loader@db.example:5432/trips
  PGHOST=db.example PGUSER=loader PGPASSWORD=… pgflight serve
  pgflight serve --listen 0.0.0.0:8815 --tls-cert server.crt --tls-key server.key

Then, in Python:
  import pgflight
  with pgflight.connect(\"grpc://localhost:8815\") as client:
      client.write(table, \"public.trips\", mode=\"create\")";

/// The options of `pgflight serve`.
#[derive(Debug, Clone, Args)]
pub struct Serve {
    /// All options, with their defaults.
    #[command(flatten)]
    pub(in crate::config) options: ServeOptions,

    /// The options that flags or environment variables set. They win over the configuration file.
    #[arg(skip)]
    pub(in crate::config) explicit: ServeOptions,
}

/// The options of a server, by section.
#[derive(Debug, Clone, Default, Args)]
pub(in crate::config) struct ServeOptions {
    /// Configuration file in TOML, for several databases and in place of flags. SIGHUP reads it again.
    #[arg(long, env = "PGFLIGHT_CONFIG", value_name = "FILE")]
    pub(in crate::config) config: Option<PathBuf>,

    #[command(flatten)]
    pub(in crate::config) server: ServerOptions,

    /// Digests of tokens, as `pgflight token` prints them. With any, a client needs one of these tokens and may write what
    /// the server's role may. A configuration file can define principals with fewer permissions.
    #[arg(
        long,
        env = "PGFLIGHT_TOKEN_DIGEST",
        value_name = "DIGEST",
        value_delimiter = ','
    )]
    pub(in crate::config) token_digest: Vec<String>,

    #[command(flatten)]
    pub(in crate::config) postgres: Postgres,

    #[command(flatten)]
    pub(in crate::config) limits: LimitOptions,

    #[command(flatten)]
    pub(in crate::config) writes: WriteOptions,

    #[command(flatten)]
    pub(in crate::config) metrics: MetricsOptions,

    #[command(flatten)]
    pub(in crate::config) log: LogOptions,
}

impl Serve {
    /// Reads the explicit options from the matches that the options were parsed from.
    pub(super) fn set_explicit(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        let ids = matches.ids().map(|id| id.as_str().to_owned());
        let is_default = |id: &String| {
            // Without a default, the connection text would be missing.
            matches.value_source(id) == Some(ValueSource::DefaultValue) && id != "postgres"
        };
        let defaults: Vec<String> = ids.filter(is_default).collect();
        let mut matches = matches.clone();
        for id in defaults {
            matches.try_clear_id(&id).ok();
        }
        self.explicit = ServeOptions::from_arg_matches(&matches)?;
        self.explicit.limits.lock_timeout = self.explicit.postgres.lock_timeout;
        self.options.limits.lock_timeout = self.options.postgres.lock_timeout;
        Ok(())
    }

    /// Replaces the connection, with its lock timeout, by that of a command.
    pub(in crate::config) fn set_postgres(&mut self, postgres: Postgres) {
        if self.explicit.limits.lock_timeout.is_some() {
            self.explicit.limits.lock_timeout = postgres.lock_timeout;
        }
        self.options.limits.lock_timeout = postgres.lock_timeout;
        self.options.postgres = postgres;
    }
}
